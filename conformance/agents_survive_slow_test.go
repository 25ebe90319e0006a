package conformance

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// TestSlowAgent is AG-07: one agent takes 500 ms for every answer, may be asked about two requests at a time,
// and four may wait. It has more to do than it can, and nobody else notices: not the routes of another agent,
// and not those without any.
func TestSlowAgent(t *testing.T) {
	t.Parallel()
	for _, dialect := range rogue.Dialects() {
		t.Run(dialect.String(), func(t *testing.T) {
			t.Parallel()
			slowAgent(t, dialect)
		})
	}
}

func slowAgent(t *testing.T, dialect rogue.Dialect) {
	const (
		delay          = 500 * time.Millisecond
		calls, waiting = 2, 4
	)
	dir := t.TempDir()
	slow := newFake(t, rogue.Options{Path: filepath.Join(dir, "slow"), Dialect: dialect})
	quick := newFake(t, rogue.Options{Path: filepath.Join(dir, "quick"), Dialect: dialect})
	slow.Set(rogue.Only(rogue.RequestHeaders, rogue.Act{Delay: delay}))
	o := newCounter(t)
	s := openSite(t, fmt.Sprintf(`
limits { max-agent-queue-depth %d }
agents {
    agent "slow" type="waf" { unix-socket %q; timeout-ms 5000; max-concurrent-calls %d; circuit-breaker { failure-threshold 1000000 } }
    agent "quick" type="waf" { unix-socket %q; timeout-ms 5000 }
}
upstream "o" { target %q }
route "slow" { matches { path "/slow" }; upstream "o"; agents "slow" }
route "quick" { matches { path "/quick" }; upstream "o"; agents "quick" }
route "plain" { matches { path "/plain" }; upstream "o" }
`, waiting, slow.Path(), calls, quick.Path(), o.Addr()), nil)
	s.reaches(t, "slow")
	s.reaches(t, "quick")
	others := []*siege{lay(t, s.addr, "/quick", 50**scale), lay(t, s.addr, "/plain", 50**scale)}
	began := time.Now()
	more(t, well, 50, others...)
	from := time.Now()
	slows := lay(t, s.addr, "/slow", 30**scale)
	look := time.NewTicker(delay / 10)
	defer look.Stop()
	for now := from; now.Sub(from) < 4*delay; now = <-look.C {
		s.wantAtMost(t, calls, "agent_in_flight", "agent", "slow")
		s.wantAtMost(t, waiting, "agent_waiting", "agent", "slow")
	}
	to := time.Now()
	checkBusy(t, s, slows.raise(), delay)
	for _, siege := range others {
		all := siege.raise()
		for _, c := range failed(all) {
			t.Errorf("%s got %d (%v)", c.id, c.status, c.err)
		}
		alone, beside := during(all, began, from), during(all, from, to)
		// Who had to wait for the slow agent would wait for its delay; a machine with other things to do is not
		// as slow for half of all.
		if p50 := percentile(latencies(beside), 50); p50 > delay/2 || len(beside) < 30 {
			t.Errorf("%s: %d requests beside the slow agent, p50 %v", siege.path, len(beside), p50)
		}
		t.Logf("%s: alone %s; beside the slow agent %s", siege.path, spanOf(alone), spanOf(beside))
	}
}

// wantAtMost checks that a gauge is within its limit now.
func (s *site) wantAtMost(t *testing.T, limit float64, name string, labels ...string) {
	t.Helper()
	if got := s.metrics(t)[series(name, labels...)]; got > limit {
		t.Errorf("%s is %v, at most %v may be", series(name, labels...), got, limit)
	}
}

// checkBusy checks what became of the requests to an agent with too much to do.
func checkBusy(t *testing.T, s *site, all []call, delay time.Duration) {
	t.Helper()
	turned := map[string]int{}
	for _, c := range all {
		switch {
		case c.good() && c.ended.Sub(c.began) < delay:
			t.Errorf("%s passed after %v, before the agent can have answered", c.id, c.ended.Sub(c.began))
		case c.good():
			turned["passed"]++
		case c.err == nil && c.status == 503 && s.traced(t, c.id).Error == "agent_busy":
			turned["refused"]++
		default:
			t.Errorf("%s got %d (%v): %+v", c.id, c.status, c.err, s.traced(t, c.id))
		}
	}
	if turned["passed"] < 4 || turned["refused"] < 4 {
		t.Errorf("with the slow agent %v: that proves nothing", turned)
	}
	t.Logf("with the slow agent: %v", turned)
}
