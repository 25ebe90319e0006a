package conformance

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// doomed is an agent in a process of its own, and a proxy with three routes to one origin: "closed" and "open"
// ask the agent and are named after their failure mode, "plain" asks nobody. What their clients, the agent and
// the origin saw of a request bears the same id.
type doomed struct {
	*rogue.Process
	o *fault.Origin
	s *site
}

// newDoomed starts them. The settings are the agent's.
func newDoomed(t testing.TB, d rogue.Dialect, settings string) *doomed {
	t.Helper()
	p, err := rogue.StartProcess(rogue.Options{Path: filepath.Join(t.TempDir(), "a"), Dialect: d})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("ending an agent: %v", err)
		}
		for _, violation := range p.Violations() {
			t.Error(violation)
		}
	})
	o := newCounter(t)
	s := openSite(t, fmt.Sprintf(`
agents { agent "a" type="waf" { unix-socket %q; %s } }
upstream "o" { target %q; circuit-breaker { failure-threshold 1000000 } }
filters {
    filter "closed" { type "agent"; agent "a"; failure-mode "closed" }
    filter "open" { type "agent"; agent "a"; failure-mode "open" }
}
route "closed" { matches { path "/closed" }; upstream "o"; filters "closed" }
route "open" { matches { path "/open" }; upstream "o"; filters "open" }
route "plain" { matches { path "/plain" }; upstream "o" }
`, p.Path(), settings, o.Addr()), nil)
	s.reaches(t, "a")
	return &doomed{p, o, s}
}

// reaches waits until the proxy is connected to an agent.
func (s *site) reaches(t testing.TB, agent string) {
	t.Helper()
	eventually(t, "a connection to "+agent, func() bool { return s.metrics(t)[series("agent_connections", "agent", agent)] > 0 })
}

// kill ends the agent with SIGKILL and returns when that was.
func (d *doomed) kill(t testing.TB) (k kill) {
	t.Helper()
	k.from = time.Now()
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	k.to = time.Now()
	return k
}

func (d *doomed) restart(t testing.TB) {
	t.Helper()
	if err := d.Restart(); err != nil {
		t.Fatal(err)
	}
}

// settle ends the proxy and the agent, after which nothing is on its way to a log or to the ledger.
func (d *doomed) settle(t testing.TB) {
	t.Helper()
	d.s.stop(t)
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	if d.Full() {
		t.Fatal("the ledger is full: it proves nothing")
	}
}

// well is the size of the body of the origin's answer.
const well = len("ok")

// checkClosed holds that nothing came to the origin that the agent had not been asked about, and that nothing
// that was refused came there. It returns what was refused.
func (d *doomed) checkClosed(t testing.TB, calls []call) (refused []call) {
	t.Helper()
	for _, c := range calls {
		asked, came := d.Seen(c.id), d.o.Seen(c.id)
		switch {
		case c.good() && asked > 0 && came == 1:
		case c.err == nil && (c.status == 503 || c.status == 504) && came == 0:
			refused = append(refused, c)
		default:
			t.Errorf("%s: the client got %d (%v), the agent was asked %d times, and it came to the origin %d times", c.id, c.status, c.err, asked, came)
		}
	}
	return refused
}

// checkOpen holds that no client noticed anything, that every request that passed without a verdict has its
// audit entry, and that the counter says how many they are. Kills are the times at which the agent may have
// died while it was asked. It returns the number that passed so.
func (d *doomed) checkOpen(t testing.TB, calls []call, kills []kill, bypassed float64) int {
	t.Helper()
	passed := map[string]string{}
	for _, r := range d.s.audit.those(record{"event_type": "agent_decision", "action": "fail_open"}) {
		if why, twice := passed[r["trace_id"]]; twice {
			t.Errorf("two audit entries of %s: %s and %s", r["trace_id"], why, r["reason"])
		}
		passed[r["trace_id"]] = r["reason"]
	}
	unasked, died, late := 0, 0, 0
	for _, c := range calls {
		asked, came := d.Seen(c.id), d.o.Seen(c.id)
		if !c.good() || came != 1 {
			t.Errorf("%s: the client got %d (%v), and it came to the origin %d times", c.id, c.status, c.err, came)
		}
		why, noted := passed[c.id]
		switch {
		case asked == 0 && !noted:
			t.Errorf("%s passed unasked, and no audit entry says so", c.id)
		case asked == 0:
			unasked++
		case noted && why == "agent_timeout":
			late++
		case noted && spansAny(&c, kills):
			died++
		case noted:
			t.Errorf("%s passed for %s, though the agent was asked and not killed meanwhile", c.id, why)
		}
	}
	if n := unasked + died + late; len(passed) != n || bypassed != float64(n) {
		t.Errorf("%d requests passed without a verdict, %d have an audit entry, the counter says %v", n, len(passed), bypassed)
	}
	t.Logf("open: %d of %d passed without a verdict: %d unasked, %d asked when the agent died, %d not answered in time",
		len(passed), len(calls), unasked, died, late)
	return len(passed)
}

func spansAny(c *call, kills []kill) bool {
	for _, k := range kills {
		if c.spans(k.from, k.to) {
			return true
		}
	}
	return false
}

// during returns the calls that began and ended within a time.
func during(calls []call, from, to time.Time) (some []call) {
	for _, c := range calls {
		if c.began.After(from) && c.ended.Before(to) {
			some = append(some, c)
		}
	}
	return some
}

// statuses counts the calls by status.
func statuses(calls []call) map[int]int {
	all := map[int]int{}
	for _, c := range calls {
		all[c.status]++
	}
	return all
}

// spanOf writes the percentiles of some calls.
func spanOf(calls []call) string {
	all := latencies(calls)
	round := func(p int) time.Duration { return percentile(all, p).Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d requests, p50 %v, p99 %v, slowest %v", len(all), round(50), round(99), round(100))
}
