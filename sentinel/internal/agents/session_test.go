package agents

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
)

// TestV2DAgentThatLeavesMidRequest gives later events of a request no other process.
func TestV2DAgentThatLeavesMidRequest(t *testing.T) {
	var bodies atomic.Int64
	f := handling(t, V2D, func(p *peer, q *inquiry) {
		if q.kind != typeRequestHeaders {
			bodies.Add(1)
			_ = p.Close()
			return
		}
		p.send(typeVerdict, p.echo(q))
	})
	a := begin(t, options(f.path))
	var s Session
	s.Begin(a, []byte("x"))
	if _, err := ask(t, &s, event(RequestHeaders, "x")); err != nil {
		t.Fatal(err)
	}
	_, err := ask(t, &s, event(RequestBody, "x"))
	expect(t, err, Unavailable)
	_, err = ask(t, &s, event(ResponseHeaders, "x"))
	expect(t, err, Unavailable)
	s.End(nil)
	if n := bodies.Load(); n != 1 {
		t.Errorf("asked about the body %d times", n)
	}
}

// TestTooLarge refuses what fits no frame, which is not held against the agent.
func TestTooLarge(t *testing.T) {
	for _, d := range unixDialects {
		f := echoing(t, d)
		o := options(f.path)
		o.Breaker.FailureThreshold = 1
		a := begin(t, o)
		var s Session
		s.Begin(a, []byte("x"))
		_, err := ask(t, &s, event(RequestHeaders, "x"))
		if err != nil {
			t.Fatal(err)
		}
		e := event(RequestBody, "x")
		e.Chunk.Data = bytes.Repeat([]byte("a"), 13<<20)
		_, err = ask(t, &s, e)
		expect(t, err, Unavailable)
		s.End(event(RequestComplete, "x"))
		if _, err = one(t, a, "y", patience); err != nil {
			t.Errorf("%s: %v", d, err)
		}
	}
}

// TestBusy fills the calls and the line.
func TestBusy(t *testing.T) {
	release := make(chan struct{})
	f := handling(t, V2D, func(p *peer, q *inquiry) {
		<-release
		p.send(typeVerdict, p.echo(q))
	})
	o := options(f.path)
	o.MaxCalls, o.MaxWaiting, o.Breaker.FailureThreshold = 2, 1, 1
	a := begin(t, o)
	for a.State().Links < o.Links { // each that is made wakes the line
		waitABit(t)
	}
	var work sync.WaitGroup
	for n := range 3 {
		work.Go(func() {
			if _, err := one(t, a, "x", patience); err != nil {
				t.Error(n, err)
			}
		})
	}
	for st := a.State(); st.InFlight < 2 || st.Waiting < 1; st = a.State() {
		waitABit(t)
	}
	_, err := one(t, a, "full", patience)
	expect(t, err, Busy)
	close(release)
	work.Wait()
	if n := a.State().Busy; n != 1 {
		t.Errorf("%d busy", n)
	}
	if _, err := one(t, a, "after", patience); err != nil {
		t.Errorf("its being busy is held against it: %v", err)
	}
}

// TestCanceled has a client leave while the agent thinks.
func TestCanceled(t *testing.T) {
	for _, d := range unixDialects {
		t.Run(d.String(), func(t *testing.T) {
			asked := make(chan struct{})
			f := handling(t, d, func(*peer, *inquiry) { close(asked) })
			a := begin(t, options(f.path))
			ctx, cancel := context.WithCancel(t.Context())
			var s Session
			s.Begin(a, []byte("x"))
			go func() {
				<-asked
				cancel()
			}()
			_, err := s.Ask(ctx, event(RequestHeaders, "x"))
			expect(t, err, Canceled)
			s.Cancel(ClientDisconnect)
		})
	}
}

// TestPause keeps from an agent what it has no room for, which is not held against it.
func TestPause(t *testing.T) {
	f := handling(t, V2R, func(p *peer, q *inquiry) {
		p.send(typesV2R.pause, `{"correlation_id":null,"action":1}`)
		p.send(typeVerdict, p.echo(q))
	})
	o := options(f.path)
	o.Links, o.Protocol, o.Breaker.FailureThreshold = 1, 2, 1
	a := begin(t, o)
	if _, err := one(t, a, "x", patience); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := one(t, a, "y", patience)
		expect(t, err, Busy)
	}
}

// TestFlow reads every form of a pause and its end. What is about one request changes nothing.
func TestFlow(t *testing.T) {
	for text, want := range map[string][2]bool{ // pause, known
		`{"correlation_id":null,"action":1}`:    {true, true},
		`{"action":"pause"}`:                    {true, true},
		`{"action":{"type":"pause"}}`:           {true, true},
		`{"action":2}`:                          {false, true},
		`{"action":{"type":"resume"}}`:          {false, true},
		`{"correlation_id":"","action":2}`:      {false, true},
		`{"correlation_id":"x","action":1}`:     {},
		`{"correlation_id":"pause","action":2}`: {},
		`{"action":3}`:                          {},
		`{"action":{"type":"update_capacity"}}`: {},
		`{"note":"pause"}`:                      {},
		`"pause"`:                               {},
		``:                                      {},
	} {
		if pause, known := flowOf([]byte(text)); pause != want[0] || known != want[1] {
			t.Errorf("%s: %v, %v", text, pause, known)
		}
	}
}

// TestNotAloneIsNotAskedAgain loses a question beside another: nobody can tell which of them the agent has begun on.
func TestNotAloneIsNotAskedAgain(t *testing.T) {
	for _, d := range []Dialect{V2D, V2R} {
		t.Run(d.String(), func(t *testing.T) {
			began := make(chan struct{}, 1)
			f := handling(t, d, func(p *peer, q *inquiry) {
				switch {
				case p.serial > 1:
					p.send(typeVerdict, p.echo(q))
				case q.id() == "old":
					began <- struct{}{}
				default:
					_ = p.Close()
				}
			})
			o := options(f.path)
			o.Links, o.Protocol = 1, 2
			a := begin(t, o)
			var work sync.WaitGroup
			work.Go(func() { _, _ = one(t, a, "old", patience) })
			<-began
			_, err := one(t, a, "young", patience)
			expect(t, err, Unavailable)
			work.Wait()
		})
	}
}
