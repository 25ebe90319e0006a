package conformance

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/sentinel-proxy/sentinel-go/sentinel/cmd/sentinel-agent/ratelimit"
)

// newLimited starts a proxy before an origin, with a rate limit that gives nothing back within a test.
func newLimited(t *testing.T, network string, burst int, redis ratelimit.Redis) *guarded {
	t.Helper()
	h, err := ratelimit.New(ratelimit.Options{
		Limits: []ratelimit.Limit{{Name: "all", Rate: 0.001, Burst: burst}}, Redis: redis, Log: slog.New(slog.DiscardHandler),
	})
	sound(t, err)
	return newGuarded(t, `type "rate_limit"; timeout-ms 10000; `+serveAgent(t, network, h))
}

// TestRateLimit makes one request more than a limit allows. Clients learn from every answer where they stand.
func TestRateLimit(t *testing.T) {
	overEach(t, func(t *testing.T, network string) {
		const burst = 3
		g := newLimited(t, network, burst, ratelimit.Redis{})
		for i := range burst + 1 {
			id := fmt.Sprint("r-", i)
			m := g.exchange(t, g.request("/a", id, ""))
			passes := i < burst
			status, left := 200, max(burst-1-i, 0)
			if !passes {
				status = 429
				g.wantBlocked(t, id, status, "rate_limited")
				if after := values(m.fields, "Retry-After"); len(after) != 1 || !atLeastOne(after[0]) {
					t.Errorf("%s: Retry-After is %q", id, after)
				}
			}
			if m.status() != status || !slices.Equal(values(m.fields, "X-RateLimit-Limit"), []string{"3"}) ||
				!slices.Equal(values(m.fields, "X-RateLimit-Remaining"), []string{strconv.Itoa(left)}) ||
				len(values(m.fields, "X-RateLimit-Reset")) != 1 || (g.got(id) != nil) != passes {
				t.Errorf("%s: the client got %q %q, want %d with %d left", id, m.start, m.fields, status, left)
			}
		}
	})
}

func atLeastOne(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n > 0
}

// TestRateLimitShared has two proxies, each with an agent of its own, admit exactly what one may: their agents
// keep the limit in one Redis. One is asked over a Unix socket, the other over gRPC.
func TestRateLimitShared(t *testing.T) {
	t.Parallel()
	const burst, asked = 20, 60
	redis := ratelimit.Redis{Address: miniredis.RunT(t).Addr(), Timeout: 10 * time.Second, OnFailure: ratelimit.Fail}
	proxies := []*guarded{newLimited(t, "unix", burst, redis), newLimited(t, "grpc", burst, redis)}
	var mu sync.Mutex
	admitted := map[int]int{}
	together(asked, func(i int) {
		g := proxies[i%2]
		m := g.exchange(t, g.request("/a", fmt.Sprint("s-", i), ""))
		mu.Lock()
		defer mu.Unlock()
		admitted[m.status()]++
	})
	if admitted[200] != burst || admitted[429] != asked-burst {
		t.Errorf("clients got %v, want %d times 200 and else 429", admitted, burst)
	}
	begun := 0
	for _, g := range proxies {
		n, _ := g.o.count()
		begun += n
	}
	if begun != burst {
		t.Errorf("%d requests came to the origins, want %d", begun, burst)
	}
}
