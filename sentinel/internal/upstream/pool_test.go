package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestConnectionsAreCounted follows one target's books.
func TestConnectionsAreCounted(t *testing.T) {
	t.Parallel()
	p, target := poolOf(t, server(t, silent), func(o *Options) { o.MaxConnections, o.MaxIdle = 2, 1 })
	a, b := open(t, target), open(t, target)
	expectCounts(t, p, 2, 0)
	if a.Reused || b.Reused {
		t.Error("a new connection is marked as reused")
	}
	a.Put()
	expectCounts(t, p, 2, 1)
	again := open(t, target)
	if again != a || !again.Reused {
		t.Error("the idle connection was not reused")
	}
	again.Put()
	b.Put() // over max-idle
	expectCounts(t, p, 1, 1)
	open(t, target).Close()
	expectCounts(t, p, 0, 0)
}

// TestLastUsedFirst shows that the connection used last is taken first, so that the others can grow old.
func TestLastUsedFirst(t *testing.T) {
	t.Parallel()
	_, target := poolOf(t, server(t, silent), nil)
	a, b := open(t, target), open(t, target)
	a.Put()
	b.Put()
	if got := open(t, target); got != b {
		t.Error("an older connection was taken")
	}
}

// TestDialFails shows what a failed dial leaves: its error, and no connection on the books.
func TestDialFails(t *testing.T) {
	t.Parallel()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nl.Close()
	p, target := poolOf(t, nl.Addr().String(), func(o *Options) { o.MaxConnections = 1 })
	for range 3 {
		if _, err := target.Dial(context.Background()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialling nobody: %v", err)
		}
		expectCounts(t, p, 0, 0)
	}
}

func TestDialIsCancelled(t *testing.T) {
	t.Parallel()
	p, target := poolOf(t, server(t, silent), nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := target.Dial(ctx); !errors.Is(err, context.Canceled) && err == nil {
		t.Errorf("a cancelled dial: %v", err)
	}
	expectCounts(t, p, 0, 0)
}

// TestSweep shows which idle connections a sweep ends.
func TestSweep(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for _, test := range []struct {
		name    string
		change  func(*Options)
		speak   string        // what the target sends to the idle connection
		hangUp  bool          // it closes it
		elapsed time.Duration // between the first sweep and the second
		kept    int
	}{
		{"fresh", nil, "", false, time.Second, 1},
		{"just within idle-timeout", nil, "", false, time.Minute, 1},
		{"over idle-timeout", nil, "", false, time.Minute + 1, 0},
		{"closed by the target", nil, "", true, 0, 0},
		{"spoken to", nil, "x", false, 0, 0},
		{"over its lifetime", func(o *Options) { o.MaxLifetime = 1 }, "", false, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			act := make(chan struct{})
			p, target := poolOf(t, server(t, func(c net.Conn) {
				<-act
				_, _ = io.WriteString(c, test.speak)
				if !test.hangUp {
					silent(c)
				}
			}), test.change)
			c := open(t, target)
			if test.change != nil { // a connection that is old when it is given back is not kept at all
				c.Put()
				close(act)
				expectCounts(t, p, 0, 0)
				return
			}
			c.Put()
			p.Sweep(start)
			expectCounts(t, p, 1, 1)
			close(act)
			if test.hangUp || test.speak != "" {
				readable(t, c)
			}
			p.Sweep(start.Add(test.elapsed))
			expectCounts(t, p, test.kept, test.kept)
		})
	}
}

// TestUseRestartsIdleness shows that idleness is counted from the last use.
func TestUseRestartsIdleness(t *testing.T) {
	t.Parallel()
	p, target := poolOf(t, server(t, silent), nil)
	start := time.Now()
	open(t, target).Put()
	for i := range 5 {
		p.Sweep(start.Add(time.Duration(i) * 50 * time.Second))
		expectCounts(t, p, 1, 1)
		open(t, target).Put()
	}
}

// TestGetSkipsTouched shows that a connection on which anything happened while it was idle is not handed
// out, however short that was ago and whatever sweeps saw.
func TestGetSkipsTouched(t *testing.T) {
	t.Parallel()
	for event, say := range touches {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			testTouched(t, say, func(script func(net.Conn)) string { return server(t, script) }, nil)
		})
	}
}

// touches is what a target may do to an idle connection: write this to it, or close it.
var touches = map[string]string{"closed": "", "spoken to": "x"}

func testTouched(t *testing.T, say string, start func(func(net.Conn)) string, change func(*Options)) {
	t.Helper()
	act := make(chan struct{})
	p, target := poolOf(t, start(func(c net.Conn) {
		if secure, ok := c.(*tls.Conn); ok {
			_ = secure.Handshake()
		}
		<-act
		if say != "" {
			_, _ = io.WriteString(c, say)
			silent(c)
		}
	}), change)
	c := open(t, target)
	c.Put()
	close(act)
	readable(t, c)
	if got := target.Get(); got != nil {
		t.Errorf("got %p; the idle one was %p", got, c)
	}
	expectCounts(t, p, 0, 0)
}

// TestPoolClose shows that idle connections end at once and others when they are given back.
func TestPoolClose(t *testing.T) {
	t.Parallel()
	p, target := poolOf(t, server(t, silent), nil)
	a, b := open(t, target), open(t, target)
	a.Put()
	p.Close()
	expectCounts(t, p, 1, 0)
	b.Put()
	expectCounts(t, p, 0, 0)
}
