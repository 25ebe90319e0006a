package conformance

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// lateClosing leaves listeners open for a while after the proxy was told to stop.
const lateClosing = `
system { shutdown-delay-secs 5; graceful-shutdown-timeout-secs 5 }
listeners { listener "main" { address "127.0.0.1:0" } }
routes {
    route "ready" { matches { path "/ready" }; builtin-handler "ready" }
    route "health" { matches { path "/health" }; builtin-handler "health" }
}
observability { logging { access-log { file "/dev/null" } } }
`

// closingDelay is lateClosing's shutdown-delay-secs.
const closingDelay = 5 * time.Second

// TestReadyFirst stops a proxy and follows what a load balancer sees: first that it is not ready, while requests are
// still served, on connections old and new, each of which is told to close; then a closed door.
func TestReadyFirst(t *testing.T) {
	t.Parallel()
	s := startText(t, "late.kdl", lateClosing)
	kept, silent, unused := dial(t, s.addr, whole), dial(t, s.addr, whole), dial(t, s.addr, whole)
	for _, c := range []*client{kept, silent} {
		c.send(get("/ready"))
		if m := wantStatus(t, c, 200); saysClose(m) {
			t.Error("a ready proxy says Connection: close")
		}
	}
	s.cancel()
	told := time.Now()
	for { // the stop is noticed a moment later
		c := dial(t, s.addr, whole)
		c.send(get("/ready"))
		m, err := c.response(false)
		if err != nil {
			t.Fatalf("after %v, before ready turned to 503: %v", time.Since(told), err)
		}
		c.close()
		if m.status() == 503 {
			break
		}
	}
	fresh := dial(t, s.addr, whole) // it is accepted before it has anything to say
	for _, c := range []*client{kept, dial(t, s.addr, whole), fresh} {
		c.send(get("/health"))
		if m := wantStatus(t, c, 200); !saysClose(m) {
			t.Error("a connection is not told to close")
		}
		wantEOF(t, c)
	}
	for _, c := range []*client{silent, unused} {
		_ = c.nc.SetReadDeadline(told.Add(closingDelay + *patience))
		wantEOF(t, c)
	}
	s.stop(t)
	if took := time.Since(told); took < closingDelay {
		t.Errorf("the door was closed after %v", took)
	}
	if nc, err := net.Dial("tcp", s.addr); err == nil {
		_ = nc.Close()
		t.Error("a stopped proxy accepts connections")
	}
}

// TestReplaced ends a proxy whose sockets another process has: it closes them at once, and lets idle connections
// send one more request, since a client that is just sending one would lose it.
func TestReplaced(t *testing.T) {
	t.Parallel()
	p, err := sentinel.New(sentinel.Options{Text: []byte(lateClosing), Name: "late.kdl", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	addr := p.Addr(listenerID).String()
	kept, unused := dial(t, addr, whole), dial(t, addr, whole)
	kept.send(get("/health"))
	wantStatus(t, kept, 200)
	cancel(sentinel.ErrReplaced)
	for end := time.Now().Add(*patience); ; {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		_ = nc.Close()
		if time.Now().After(end) {
			t.Fatal("a replaced proxy accepts connections")
		}
	}
	for _, c := range []*client{kept, unused} {
		c.send(get("/health"))
		if m := wantStatus(t, c, 200); !saysClose(m) {
			t.Error("the last answer does not say so")
		}
		wantEOF(t, c)
	}
	select {
	case <-ended:
	case <-time.After(*patience):
		t.Error("Run did not return")
	}
}
