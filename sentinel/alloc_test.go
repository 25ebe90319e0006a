//go:build !race

// The race detector makes sync.Pool forget at random, so allocations are counted without it.

package sentinel_test

import (
	"runtime"
	"testing"
)

// TestFiltersAllocateNothing shows the same for a route that encodes its answers and says who may read them.
func TestFiltersAllocateNothing(t *testing.T) {
	for _, coding := range []string{"gzip", "br", "zstd"} {
		t.Run(coding, func(t *testing.T) {
			k := newEncodedCaller(t, coding, 4<<10)
			request := encodedRequest(coding)
			run := func(n int) {
				for range n {
					if err := k.call(request); err != nil {
						t.Fatal(err)
					}
				}
			}
			const requests = 2000
			run(100)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			run(requests)
			runtime.ReadMemStats(&after)
			if perRequest := float64(after.Mallocs-before.Mallocs) / requests; perRequest > 0.05 {
				t.Errorf("%.3f allocations per request, want 0", perRequest)
			}
		})
	}
}

// TestSteadyStateAllocatesNothing shows over real sockets, with access log and metrics on, that serving
// a request allocates nothing once buffers and connections exist, whatever watches over the upstream.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	for name, config := range map[string]string{"plain": steadyConfig, "guarded": guardedConfig, "limited": limitedConfig} {
		t.Run(name, func(t *testing.T) { testSteadyState(t, config) })
	}
}

func testSteadyState(t *testing.T, config string) {
	const requests = 100_000
	p := startProxy(t, config, origin(t, steadyAnswer), nil)
	k := newCaller(t, p)
	request := []byte(steadyRequest)
	run := func(n int) {
		for range n {
			if err := k.call(request); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(1000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run(requests)
	runtime.ReadMemStats(&after)
	// The sweeper's clock writes a Date now and then; nothing may grow with the requests.
	if perRequest := float64(after.Mallocs-before.Mallocs) / requests; perRequest > 0.01 {
		t.Errorf("%.3f allocations per request, want 0 (%d over %d requests)", perRequest, after.Mallocs-before.Mallocs, requests)
	}
}
