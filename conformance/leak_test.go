package conformance

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
)

// scenario is one of the things that are done to upstreams.
type scenario struct {
	name string
	play func(*testing.T)
}

// scenarios lists them, the long ones first.
func scenarios(first int) []scenario {
	all := []scenario{
		{"names", targetNames}, // a look-up that is shared goes on until the resolver gives up
		{"timeouts", ownTimeouts},
		{"flapping", flapping},
		{"health thresholds", healthThresholds},
		{"health checks", healthChecks},
		{"hostile probes", hostileProbes},
		{"breakers", breakerWalks},
		{"breaker passed over", breakerPassedOver},
		{"ejection", ejection},
		{"certificates", certificates},
		{"targets as written", targetsAsWritten},
		{"never started", neverStarted},
		{"interim answer", func(t *testing.T) { interim(t, first) }},
	}
	for _, row := range faultRows() {
		all = append(all, scenario{"fault: " + row.title(), func(t *testing.T) { row.play(t, first) }})
	}
	return all
}

// atOnce is how many scenarios are under way: most of them wait for a second to pass.
const atOnce = 8

// TestChaos puts the proxy before targets that refuse, hang, break off, talk nonsense, come and go, or are
// not what the configuration takes them for. Each scenario says what clients see and what must not happen.
// When all proxies have stopped, no goroutine of theirs and no descriptor is left: TestChaos is not
// parallel, so that nobody else's come and go meanwhile.
//
//	go test ./conformance -run 'TestChaos/all/fault:_refuse$'
func TestChaos(t *testing.T) {
	var first int
	t.Run("first", func(t *testing.T) { first = firstChoice(t) }) // what it starts ends with it
	// Without the garbage collector, which closes what nobody can close any more.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(2 << 30))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := settled(t, func(h held) bool { return len(h.ours) == 0 })
	t.Run("all", func(t *testing.T) {
		var playing sync.WaitGroup
		places := make(chan struct{}, atOnce)
		for _, s := range scenarios(first) {
			places <- struct{}{}
			playing.Go(func() {
				defer func() { <-places }()
				t.Run(s.name, s.play)
			})
		}
		playing.Wait()
	})
	after := settled(t, func(h held) bool {
		return len(h.ours) == 0 && h.goroutines <= before.goroutines && len(h.descriptors) <= len(before.descriptors)
	})
	t.Logf("before: %d goroutines, %d descriptors; after: %d and %d",
		before.goroutines, len(before.descriptors), after.goroutines, len(after.descriptors))
}

// held is what this process has that a proxy could leave behind.
type held struct {
	goroutines  int
	ours        []string // stacks of those that run code of the proxy or of what it uses
	descriptors []string // with what they lead to
}

func holds(t testing.TB) (h held) {
	t.Helper()
	h.goroutines = runtime.NumGoroutine()
	all := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
		if strings.Contains(stack, "sentinel-go/sentinel") || strings.Contains(stack, "google.golang.org/grpc") {
			h.ours = append(h.ours, stack)
		}
	}
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if to, err := os.Readlink(fd); err == nil { // else it is the one that Glob had open
			h.descriptors = append(h.descriptors, filepath.Base(fd)+" "+to)
		}
	}
	return h
}

// settled waits for what ends by itself.
func settled(t *testing.T, well func(held) bool) (h held) {
	t.Helper()
	limit := time.NewTimer(*patience)
	defer limit.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for h = holds(t); !well(h); h = holds(t) {
		select {
		case <-again.C:
		case <-limit.C:
			t.Fatalf("%d goroutines and %d descriptors are left: %q\n%s", h.goroutines, len(h.descriptors), h.descriptors, strings.Join(h.ours, "\n\n"))
		}
	}
	return h
}
