package sentinel

import (
	"log/slog"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// starved is a listener that has run out of descriptors for a while, and is closed then.
type starved struct {
	net.Listener
	failures int
	at       []time.Time
}

func (l *starved) Accept() (net.Conn, error) {
	l.at = append(l.at, time.Now())
	if len(l.at) > l.failures {
		return nil, net.ErrClosed
	}
	return nil, syscall.EMFILE
}

// deaf returns a socket of a proxy that has nothing else.
func deaf(stopped chan struct{}, nl net.Listener) *socket {
	p := &Proxy{log: slog.New(slog.DiscardHandler), stopped: stopped, remarks: newNotes(func(int) {})}
	s := &socket{p: p, nl: nl}
	s.current.Store(&listener{p: p, socket: s})
	return s
}

// TestAcceptSurvives shows that failing accepts end nothing and are tried again at growing intervals, up to
// a second.
func TestAcceptSurvives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nl := &starved{failures: 12}
		l := deaf(make(chan struct{}), nl)
		l.accept()
		var last time.Duration
		for i := 1; i < len(nl.at); i++ {
			pause := nl.at[i].Sub(nl.at[i-1])
			if pause < last || pause > time.Second || pause < 5*time.Millisecond {
				t.Errorf("pause %d is %s after %s", i, pause, last)
			}
			last = pause
		}
		if last != time.Second || len(nl.at) != 13 {
			t.Errorf("%d tries, the last after %s", len(nl.at), last)
		}
	})
}

// TestAcceptStops shows that a proxy that drains does not wait for the next try.
func TestAcceptStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		l := deaf(stopped, &starved{failures: 1000})
		time.AfterFunc(10*time.Second, func() { close(stopped) })
		start := time.Now()
		l.accept()
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("accept returned after %s", took)
		}
	})
}

// TestFreeList shows that what nobody needed for a whole period is freed, that what was needed is kept,
// and that grown buffers are not kept at all.
func TestFreeList(t *testing.T) {
	t.Parallel()
	p := &Proxy{}
	p.snapshot.Store(&snapshot{})
	f, nobody := &freeList{p: p}, &conn{p: p}
	var all []*exchange
	for range 10 {
		all = append(all, f.take(nobody))
	}
	for _, x := range all {
		f.give(x)
	}
	f.trim() // least is from before they were given
	for range 4 {
		all = append(all[:0], f.take(nobody), f.take(nobody), f.take(nobody))
		for _, x := range all {
			f.give(x)
		}
		f.trim()
	}
	if len(f.free) != 3 {
		t.Errorf("%d exchanges are free, 3 were in use at once", len(f.free))
	}
	for _, grow := range []func(*exchange){
		func(x *exchange) { x.in = make([]byte, 2*bufferSize) },
		func(x *exchange) { x.up = make([]byte, 2*bufferSize) },
		func(x *exchange) { x.out = make([]byte, 0, 5*bufferSize) },
	} {
		x, before := f.take(nobody), 0
		before = len(f.free)
		grow(x)
		f.give(x)
		if len(f.free) != before {
			t.Error("a grown exchange was kept")
		}
	}
	if f.trim(); len(f.free) > maxIdleExchanges {
		t.Errorf("%d exchanges are free", len(f.free))
	}
}
