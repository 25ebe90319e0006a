package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// TestAgentKilled is AG-01 and AG-02: the agent is killed under load and started again a second later. A route
// that is closed answers 503 meanwhile, and nothing comes to the origin undecided; on one that is open nobody
// notices, and what passed without a verdict is on record.
func TestAgentKilled(t *testing.T) {
	t.Parallel()
	for _, dialect := range rogue.Dialects() {
		t.Run(dialect.String(), func(t *testing.T) { killed(t, dialect) })
	}
}

func killed(t *testing.T, dialect rogue.Dialect) {
	d := newDoomed(t, dialect, "timeout-ms 1000")
	d.think(t)
	closed, open := lay(t, d.s.addr, "/closed", 200**scale), lay(t, d.s.addr, "/open", 100**scale)
	more(t, well, 50, closed, open)
	k := d.kill(t)
	atLeast(t, d.s.audit, 1, agentTurned("a", "open"))
	opened := time.Now()
	closed.until(t, opened.Add(time.Second))
	open.until(t, opened.Add(time.Second))
	back := time.Now()
	d.restart(t)
	returned := time.Now()
	atLeast(t, d.s.audit, 1, agentTurned("a", "closed"))
	more(t, well, 50, closed, open)
	refusable, passing := closed.raise(), open.raise()
	bypassed := d.s.metrics(t)[series("agent_bypass_total", "agent", "a")]
	d.settle(t)
	refused := d.checkClosed(t, refusable)
	down := during(refusable, k.to, back)
	if got := statuses(down); got[503] != len(down) || len(down) < 50 {
		t.Errorf("while the agent was down, clients of the closed route got %v, want nothing but 503", got)
	}
	if d.checkOpen(t, passing, []kill{k}, bypassed) < 25 {
		t.Error("hardly a request passed without a verdict: that proves nothing")
	}
	t.Logf("closed: %d of %d refused, %v; while down %s", len(refused), len(refusable), statuses(refused), spanOf(down))
	// 20 ms is the promise for each; a machine with other things to do gets much more.
	quick := during(refusable, opened, back)
	if p99 := percentile(latencies(quick), 99); p99 > 500*time.Millisecond || len(quick) < 50 {
		t.Errorf("with the breaker open p99 is %v of %d", p99, len(quick))
	}
	t.Logf("closed, with the breaker open: %s; promised is a p99 of 20ms", spanOf(quick))
	checkReturn(t, refusable, returned, time.Second)
}

// agentTurned is the audit entry of an agent's breaker that changed.
func agentTurned(agent, to string) record {
	return record{"event_type": "circuit_breaker_change", "metadata.component": "agent:" + agent, "action": to}
}

// think makes the agent take its time for each answer, so that some requests are with it when it dies.
func (d *doomed) think(t *testing.T) {
	t.Helper()
	if err := d.Set(rogue.Answer{}, 2*time.Millisecond/time.Duration(*scale)); err != nil {
		t.Fatal(err)
	}
}

// lifetime is how long the agent of TestAgentKilledForEver lives each time.
const lifetime = 200 * time.Millisecond

// TestAgentKilledForEver kills the agent again as soon as it has lived for 200 ms, under load. Closed, whatever
// it has not seen is refused; open, no client notices. In both modes nothing takes longer than the agent's
// timeout and what the proxy needs for itself.
//
//	go test ./conformance -run TestAgentKilledForEver -v -args -scale 10 # 10,000 requests in each mode
func TestAgentKilledForEver(t *testing.T) {
	t.Parallel()
	for _, dialect := range rogue.Dialects() {
		t.Run(dialect.String(), func(t *testing.T) { killedForEver(t, dialect) })
	}
}

func killedForEver(t *testing.T, dialect rogue.Dialect) {
	const timeout = 250 * time.Millisecond
	d := newDoomed(t, dialect, "timeout-ms 250")
	d.think(t)
	const rate = 250 // of each mode
	n := 1000 * *scale
	began := time.Now()
	closed, open, plain := lay(t, d.s.addr, "/closed", rate), lay(t, d.s.addr, "/open", rate), lay(t, d.s.addr, "/plain", rate/5)
	kills := d.killWhile(t, func() bool { return closed.had() < n || open.had() < n })
	refusable, passing, base := closed.raise(), open.raise(), plain.raise()
	took := time.Since(began)
	bypassed := d.s.metrics(t)[series("agent_bypass_total", "agent", "a")]
	d.settle(t)
	refused := d.checkClosed(t, refusable)
	passed := d.checkOpen(t, passing, kills, bypassed)
	if len(refused) == 0 || len(refused) == len(refusable) || passed == 0 || passed == len(passing) {
		t.Errorf("%d of %d refused, %d of %d passed without a verdict: that proves nothing", len(refused), len(refusable), passed, len(passing))
	}
	t.Logf("%d kills in %v; closed: %d of %d refused, %v", len(kills), took.Round(time.Millisecond), len(refused), len(refusable), statuses(refused))
	t.Logf("without an agent: %s", spanOf(base))
	for mode, calls := range map[string][]call{"closed": refusable, "open": passing} {
		added := percentile(d.s.asking(mode), 99)
		if added > timeout+time.Second {
			t.Errorf("%s: the agent adds %v at p99", mode, added)
		}
		t.Logf("%s: %s; of that for the agent p99 %v, promised %v", mode, spanOf(calls), added, timeout+20*time.Millisecond)
	}
	for _, c := range failed(base) {
		t.Errorf("%s, which asks no agent, got %d (%v)", c.id, c.status, c.err)
	}
}

// asking returns what each request of a route spent on its agent, as the access log tells it.
func (s *site) asking(route string) (all []time.Duration) {
	for _, l := range s.access.snapshot() {
		if l.RouteID == route {
			all = append(all, time.Duration(l.AgentMillis*float64(time.Millisecond)))
		}
	}
	return all
}

// killWhile kills and restarts the agent until it is enough, and returns when that was.
func (d *doomed) killWhile(t *testing.T, goOn func() bool) (kills []kill) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(6**scale)**patience)
	defer cancel()
	for goOn() {
		alive := time.NewTimer(lifetime)
		select {
		case <-alive.C:
		case <-ctx.Done():
			t.Fatalf("after %d kills the clients are not done", len(kills))
		}
		kills = append(kills, d.kill(t))
		d.restart(t)
	}
	return kills
}

// had returns how many requests of the siege have ended.
func (s *siege) had() (n int) {
	s.update(func() { n = len(s.calls) })
	return n
}
