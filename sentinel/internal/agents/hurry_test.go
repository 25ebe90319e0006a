package agents

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestHurry finds an agent that is back at once, though the next attempt to connect is due much later; and does not
// try more often for callers than hurryAfter says.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Bool
		var attempts atomic.Int64
		o := options("pipe")
		o.Protocol = 2
		piped(&o, V2D, func(p *peer) {
			p.greet()
			for q, err := p.next(); err == nil; q, err = p.next() {
				if q.kind == typeRequestHeaders {
					p.send(typeVerdict, p.echo(&q))
				}
			}
		})
		connect := o.dialer
		o.dialer = func(ctx context.Context) (net.Conn, error) {
			attempts.Add(1)
			if back.Load() {
				return connect(ctx)
			}
			return nil, errors.New("refused")
		}
		a := begin(t, o)
		time.Sleep(time.Minute)
		before := attempts.Load()
		for range 100 {
			_, err := one(t, a, "x", patience)
			expect(t, err, Unavailable)
		}
		if n := attempts.Load() - before; n > 1 {
			t.Errorf("%d attempts for callers that came together", n)
		}
		time.Sleep(hurryAfter)
		back.Store(true)
		began := time.Now()
		if _, err := one(t, a, "y", patience); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("waited for %v", waited)
		}
		a.Close(0)
	})
}

// TestTell tells an agent of a request that it was not asked about, and does nothing when none is connected.
func TestTell(t *testing.T) {
	for _, d := range []Dialect{V1, V2R} {
		t.Run(d.String(), func(t *testing.T) {
			told := make(chan string, 1)
			f := newFake(t, d, func(p *peer) {
				p.greet()
				for q, err := p.next(); err == nil; q, err = p.next() {
					if q.event == "request_complete" || q.kind == typesV2R.complete {
						told <- q.body["correlation_id"].(string)
					}
				}
			})
			n := newNotices()
			o := options(f.path)
			o.Notify = n.add
			a := begin(t, o)
			n.await(t, Connected)
			var s Session
			s.Begin(a, []byte("quiet"))
			s.Tell(event(RequestComplete, "quiet"))
			select {
			case id := <-told:
				if id != "quiet" {
					t.Errorf("told of %q", id)
				}
			case <-time.After(patience):
				t.Error("not told")
			}
		})
	}
	o := options("/nowhere")
	a := begin(t, o)
	var s Session
	s.Begin(a, []byte("nobody"))
	s.Tell(event(RequestComplete, "nobody"))
	if s.agent != nil {
		t.Error("the session goes on")
	}
}
