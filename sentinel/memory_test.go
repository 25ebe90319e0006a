package sentinel

import (
	"context"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"
)

// limitsConfig has a route that can only fail with 502, since nothing listens at its target, and a handler of
// our own.
const limitsConfig = `
system { }
listeners { listener "main" { address "127.0.0.1:0" } }
routes {
    route "own" { matches { path "/own" }; builtin-handler "health" }
    route "o" { matches { path-prefix "/" }; upstream "o"; filters "f" }
    route "p" { matches { path-prefix "/p" }; upstream "o" }
}
filters { filter "f" { type "rate-limit"; max-rps 1000000 } }
upstreams { upstream "o" { target "127.0.0.1:1"; circuit-breaker { failure-threshold 1000000 } } }
rate-limits { default-rps 1000000 }
limits { LIMITS }
`

// status asks a proxy for a path.
func status(t *testing.T, p *Proxy, path string) (status int, retryAfter string) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr("main").String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	request(t, c, "GET "+path+" HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	b, err := io.ReadAll(c)
	if err != nil || len(b) < 12 {
		t.Fatalf("%q %v", b, err)
	}
	resp := parseHead(t, b)
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

// serveFor runs a proxy until the test ends.
func serveFor(t *testing.T, p *Proxy) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

// TestMemoryShort lets memory become short and enough again. What is measured is the test's word, and the limit
// is one that the garbage collector does not notice.
func TestMemoryShort(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	const limit = 1 << 45
	p := limited(t, "max-memory-bytes 35184372088832")
	var used atomic.Int64
	p.limits.memory.read = used.Load
	serveFor(t, p)
	awaitStatus := func(want int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; {
			got, after := status(t, p, "/")
			if got == want {
				if (want == http.StatusServiceUnavailable) != (after == "1") {
					t.Errorf("status %d with Retry-After %q", got, after)
				}
				return
			}
			if time.Now().After(end) {
				t.Fatalf("status %d, want %d", got, want)
			}
		}
	}
	awaitStatus(http.StatusBadGateway)
	used.Store(limit)
	awaitStatus(http.StatusServiceUnavailable)
	if got, _ := status(t, p, "/own"); got != http.StatusOK {
		t.Errorf("a handler of our own answers %d", got)
	}
	if s := p.limits.stats(); !s.MemoryShort {
		t.Errorf("the metrics say %+v", s)
	}
	used.Store(limit / 2)
	awaitStatus(http.StatusBadGateway)
	if got, want := debug.SetMemoryLimit(-1), p.limits.memory.Collector(); got != want || want >= limit {
		t.Errorf("the garbage collector's limit is %d, want %d", got, want)
	}
}

// TestMemoryRead holds what is measured against what the runtime says otherwise: not nothing, and no address space.
func TestMemoryRead(t *testing.T) {
	t.Parallel()
	if n := goMemory()(); n < 1<<20 || n > 1<<40 {
		t.Errorf("%d bytes are said to be in use", n)
	}
	p := limited(t, "max-memory-percent 50")
	defer p.release()
	if n := p.limits.memory.Limit(); n < 1<<20 || n == math.MaxInt64 {
		t.Errorf("half of the memory is %d bytes", n)
	}
	q := limited(t, "max-memory-percent 50; max-memory-bytes 1000000000000000")
	defer q.release()
	r := limited(t, "max-memory-percent 50; max-memory-bytes 1000")
	defer r.release()
	if a, b := q.limits.memory.Limit(), r.limits.memory.Limit(); a != p.limits.memory.Limit() || b != 1000 {
		t.Errorf("the smaller of two limits is not that which holds: %d and %d", a, b)
	}
}

func limited(t *testing.T, limits string) *Proxy {
	t.Helper()
	p, err := New(Options{Text: limitsText(limits), Name: t.Name(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
