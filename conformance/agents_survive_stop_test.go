package conformance

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// TestAgentStopped is AG-03: the agent is stopped with SIGSTOP under load, when connects still succeed and
// nothing answers. Nobody waits for longer than its timeout, who does not ask it notices nothing, and what it
// says when it goes on comes too late for everybody.
func TestAgentStopped(t *testing.T) {
	t.Parallel()
	for _, dialect := range rogue.Dialects() {
		t.Run(dialect.String(), func(t *testing.T) { stopped(t, dialect) })
	}
}

func stopped(t *testing.T, dialect rogue.Dialect) {
	const timeout = 200 * time.Millisecond
	d := newDoomed(t, dialect, "timeout-ms 200; circuit-breaker { failure-threshold 1000000 }")
	closed, open, plain := lay(t, d.s.addr, "/closed", 50**scale), lay(t, d.s.addr, "/open", 50**scale), lay(t, d.s.addr, "/plain", 100**scale)
	began := time.Now()
	more(t, well, 25, closed, open, plain)
	before := time.Now()
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	from := time.Now()
	for _, siege := range []*siege{closed, open, plain} {
		siege.until(t, from.Add(time.Second))
	}
	to := time.Now()
	if err := d.Cont(); err != nil {
		t.Fatal(err)
	}
	more(t, well, 25, closed, open, plain)
	refusable, passing, base := closed.raise(), open.raise(), plain.raise()
	bypassed := d.s.metrics(t)[series("agent_bypass_total", "agent", "a")]
	d.settle(t)
	refused := d.checkClosed(t, refusable)
	d.checkOpen(t, passing, nil, bypassed)
	for mode, calls := range map[string][]call{"closed": during(refusable, from, to), "open": during(passing, from, to)} {
		d.s.checkWaits(t, mode, calls, timeout)
	}
	for _, c := range during(refusable, from, to) {
		if l := d.s.traced(t, c.id); l.Error != "agent_timeout" {
			t.Errorf("while the agent stood still, %s got %d for %q, want 504 for agent_timeout", c.id, c.status, l.Error)
		}
	}
	for _, c := range failed(base) {
		t.Errorf("%s, which asks no agent, got %d (%v)", c.id, c.status, c.err)
	}
	alone, beside := during(base, began, before), during(base, from, to)
	t.Logf("closed: %d of %d refused; a route without the agent: before %s; meanwhile %s: p99 %.2f times, promised 1.5 times",
		len(refused), len(refusable), spanOf(alone), spanOf(beside), ratio(percentile(latencies(beside), 99), percentile(latencies(alone), 99)))
}

// checkWaits checks how long requests waited for an agent that says nothing.
func (s *site) checkWaits(t *testing.T, mode string, calls []call, timeout time.Duration) {
	t.Helper()
	all := s.asking(mode)
	// 50 ms is the promise for each; a machine with other things to do gets much more.
	if slowest := percentile(all, 100); slowest > timeout+2*time.Second || percentile(latencies(calls), 50) < timeout || len(calls) < 10 {
		t.Errorf("%s: %d requests waited for up to %v", mode, len(calls), slowest)
	}
	t.Logf("%s, while the agent stood still: %s; of that for the agent at most %v, promised %v",
		mode, spanOf(calls), percentile(all, 100), timeout+50*time.Millisecond)
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }

// TestLateVerdicts holds back an agent's answers until nobody waits for them any more, and lets them all go
// while others ask. Every verdict says whose it is: nobody gets another one's.
func TestLateVerdicts(t *testing.T) {
	t.Parallel()
	for _, dialect := range rogue.Dialects() {
		t.Run(dialect.String(), func(t *testing.T) {
			t.Parallel()
			lateVerdicts(t, dialect)
		})
	}
}

// named is the field by which a verdict says whose it is.
const named = "X-Verdict-On"

// naming is the answer that allows a request and names it, to the origin and to the client.
func naming(e *rogue.Event) rogue.Answer {
	ops := []rogue.Op{{Kind: "set", Name: named, Value: e.Mark}}
	return rogue.Answer{RequestOps: ops, ResponseOps: ops}
}

func lateVerdicts(t *testing.T, dialect rogue.Dialect) {
	const rounds, crowd = 8, 6
	fake := newFake(t, rogue.Options{Path: filepath.Join(t.TempDir(), "a"), Dialect: dialect})
	o := newOrigin(t, "127.0.0.1:0")
	o.auto = func(r *request) { r.answer([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) }
	s := openSite(t, fmt.Sprintf(`
agents { agent "a" type="waf" { unix-socket %q; circuit-breaker { failure-threshold 1000000 } } }
upstream "o" { target %q }
filters { filter "held" { type "agent"; agent "a"; timeout-ms 50 }; filter "asked" { type "agent"; agent "a"; timeout-ms 5000 } }
route "held" { matches { path "/held" }; upstream "o"; filters "held" }
route "asked" { matches { path "/asked" }; upstream "o"; filters "asked" }
`, fake.Path(), o.addr()), nil)
	s.reaches(t, "a")
	for round := range rounds {
		fake.Set(func(e *rogue.Event) rogue.Act { return rogue.Act{Answer: naming(e), Hold: e.URI == "/held"} })
		together(crowd, func(i int) {
			id := fmt.Sprintf("held-%d-%d", round, i)
			if m := s.play(t, "/held", id); m.status() != 504 && m.status() != 503 {
				t.Errorf("%s: the client got %q, want 504", id, m.start)
			}
		})
		var asking sync.WaitGroup
		asking.Go(func() {
			together(crowd, func(i int) {
				id := fmt.Sprintf("asked-%d-%d", round, i)
				if m := s.play(t, "/asked", id); m.status() != 200 || !slices.Equal(values(m.fields, named), []string{id}) {
					t.Errorf("%s: the client got %q with %q, want the verdict on it", id, m.start, values(m.fields, named))
				}
			})
		})
		s.waits(t, (round+1)*crowd)
		fake.Set(func(e *rogue.Event) rogue.Act { return rogue.Act{Answer: naming(e)} })
		fake.Release()
		asking.Wait()
	}
	checkNamed(t, o, rounds*crowd)
	t.Logf("%d verdicts came too late, over %d connections", rounds*crowd, fake.Stats().Conns)
}

// TestNeverAsked lets a request wait for a connection on which the agent still owes an answer, until its time
// is over. It never came to the agent, which therefore must not hear of its end.
func TestNeverAsked(t *testing.T) {
	t.Parallel()
	for _, dialect := range rogue.Dialects() {
		t.Run(dialect.String(), func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, rogue.Options{Path: filepath.Join(t.TempDir(), "a"), Dialect: dialect})
			o := newCounter(t)
			s := openSite(t, fmt.Sprintf(`
agents { agent "a" type="waf" { unix-socket %q; timeout-ms 20000; max-concurrent-calls 1; circuit-breaker { failure-threshold 1000000 } } }
upstream "o" { target %q }
filters { filter "f" { type "agent"; agent "a"; timeout-ms 100 } }
route "r" { matches { path "/r" }; upstream "o"; filters "f" }
`, fake.Path(), o.Addr()), nil)
			s.reaches(t, "a")
			fake.Set(rogue.Only(rogue.Complete, rogue.Act{Hold: true}))
			s.play(t, "/r", "first")
			if dialect != rogue.V2D { // which has another word for it, and no answer
				must(t, fake, func(stats rogue.Stats) bool { return stats.Events[rogue.Complete] == 1 })
			}
			m := s.play(t, "/r", "second")
			fake.Set(nil)
			fake.Release()
			if m.status() == 200 && len(fake.Of("second")) == 0 {
				t.Errorf("the client got %q, and the agent was not asked", m.start)
			}
			if third := s.play(t, "/r", "third"); third.status() != 200 {
				t.Errorf("the third client got %q: %+v", third.start, s.access.last())
			}
			s.stop(t)
		})
	}
}

// waits waits until so many requests were allowed or are on their way to the agent.
func (s *site) waits(t *testing.T, n int) {
	t.Helper()
	eventually(t, "the requests of a round", func() bool {
		m := s.metrics(t)
		return m[series("agent_in_flight", "agent", "a")]+m[series("agent_requests_total", "agent", "a", "decision", "allow")] >= float64(n)
	})
}

// together calls f with every number below n at once, and returns when all have returned.
func together(n int, f func(i int)) {
	var busy sync.WaitGroup
	for i := range n {
		busy.Go(func() { f(i) })
	}
	busy.Wait()
}

// play makes a GET request on a connection of its own.
func (s *site) play(t *testing.T, path, id string) *message {
	t.Helper()
	c := &caller{addr: s.addr}
	defer c.close()
	m, err := c.call(demand("GET", path, id, ""))
	if err != nil {
		t.Errorf("%s: %v", id, err)
	}
	return m
}

// checkNamed holds that each request at the origin has the verdict on it and no other.
func checkNamed(t *testing.T, o *origin, want int) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.requests) != want {
		t.Errorf("%d requests came to the origin, want %d", len(o.requests), want)
	}
	for _, r := range o.requests {
		if id, on := values(r.fields, rogue.MarkHeader), values(r.fields, named); !slices.Equal(id, on) {
			t.Errorf("the origin got %q with the verdict on %q", id, on)
		}
	}
}
