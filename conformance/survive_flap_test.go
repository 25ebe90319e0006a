package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
)

// flapTurns is how often TestFlappingSiege's target goes or comes.
const flapTurns = 8

// TestFlappingSiege is UP-08: one of two targets is there for a second and gone for a second, under load.
// One retry hides it. Its breaker opens only for failures in a row and never more than once in its time.
// (That ejections grow longer is shown in internal/upstream: they begin at 30 s.)
func TestFlappingSiege(t *testing.T) {
	t.Parallel()
	const threshold, timeout = 5, time.Second
	relay, _ := newFault(t)
	good := newCounter(t)
	s := openSite(t, fmt.Sprintf(`
upstream "o" { target %q; target %q; recovery-ramp-secs 0; circuit-breaker { failure-threshold %d; timeout-seconds 1 } }
route "o" { matches { path "/o" }; upstream "o"; retry-policy { max-attempts 2; backoff-base-ms 1 } }
`, relay.Addr(), good.Addr(), threshold), nil)
	clients := lay(t, s.addr, "/o", 300**scale)
	began := time.Now()
	relay.Flap(fault.Pass(), fault.Refuse(), time.Second)
	if err := relay.Await(t.Context(), func(r fault.Stats) bool { return r.Switches >= flapTurns**scale }); err != nil {
		t.Fatal(err)
	}
	relay.SetAll(fault.Pass())
	calls := clients.raise()
	took, m := time.Since(began), s.metrics(t)
	s.stop(t)
	for _, c := range failed(calls) {
		t.Errorf("%s got %d (%v)", c.id, c.status, c.err)
	}
	all := record{"event_type": "circuit_breaker_change", "metadata.component": "upstream:o/" + relay.Addr()}
	told := s.audit.those(all)
	opened := map[string]int{} // by the state before
	var last time.Time
	for _, r := range told {
		if r["action"] != "open" {
			continue
		}
		opened[r["metadata.from"]]++
		at := when(t, r)
		if at.Sub(last) < timeout/2 { // the log reads its clock after the breaker, on a busy machine some time after
			t.Errorf("the breaker opened again after %v: %v", at.Sub(last), r)
		}
		last = at
	}
	failures := m[series("upstream_target_failures_total", "upstream", "o", "target", relay.Addr())]
	if least := threshold*opened["closed"] + opened["half_open"]; failures < float64(least) {
		t.Errorf("%v failures opened the breaker %v times, which takes %d", failures, opened, least)
	}
	if n := opened["closed"] + opened["half_open"]; n == 0 || n > int(took/timeout)+1 {
		t.Errorf("the breaker opened %d times in %v", n, took)
	}
	counted := 0.0
	for _, to := range []string{"closed", "open", "half_open"} {
		counted += m[series("circuit_breaker_transitions_total", "component", "upstream:o/"+relay.Addr(), "route", "", "to", to)]
	}
	if int(counted) > len(told) || len(told)-int(counted) > 1 { // the last one may have come after the scrape
		t.Errorf("%v transitions were counted, the audit trail has %d", counted, len(told))
	}
	t.Logf("%d requests over %d turns in %v, %d failed; p99 %v; failures of the target %v, its breaker opened %v, transitions %v, ejections %v",
		len(calls), relay.Stats().Switches, took.Round(time.Millisecond), len(failed(calls)), percentile(latencies(calls), 99), failures, opened,
		counted, m[series("upstream_ejections_total", "upstream", "o", "target", relay.Addr())])
}

// TestBlackhole lets one of two targets take connections and never answer: that costs clients at most its
// max-connections and failure-threshold requests.
func TestBlackhole(t *testing.T) {
	t.Parallel()
	const connections, threshold = 4, 5
	relay, behind := newFault(t)
	good := newCounter(t)
	s := openSite(t, fmt.Sprintf(`
upstream "o" {
    target %q; target %q
    connection-pool { max-connections %d; max-pending 1000 }
    circuit-breaker { failure-threshold %d }
    timeouts { request-secs 1 }
}
route "o" { matches { path "/o" }; upstream "o" }
`, relay.Addr(), good.Addr(), connections, threshold), nil)
	relay.Set(fault.Blackhole())
	clients := lay(t, s.addr, "/o", 300**scale)
	atLeast(t, s.audit, 1, turned("o", relay.Addr(), "open"))
	clients.until(t, time.Now().Add(1500*time.Millisecond)) // whatever was under way has ended
	calls := clients.raise()
	s.stop(t)
	lost := checkHole(t, s, relay, calls)
	if lost > connections+threshold || lost < threshold {
		t.Errorf("%d requests failed, want %d to %d", lost, threshold, connections+threshold)
	}
	if n := relay.Stats().Requests; n != lost {
		t.Errorf("the black hole got %d requests, and %d failed", n, lost)
	}
	if n := behind.Total(); n > 0 {
		t.Errorf("%d requests came out of the black hole", n)
	}
	t.Logf("%d of %d requests failed; at most %d may", lost, len(calls), connections+threshold)
}

// checkHole returns how many requests failed: those that the black hole got, each for want of an answer.
func checkHole(t *testing.T, s *site, relay *fault.Relay, calls []call) (lost int) {
	t.Helper()
	for _, c := range failed(calls) {
		lost++
		why := s.failures.those(record{"trace_id": c.id, "error_type": "upstream_timeout"})
		if c.status != 504 || len(why) != 1 || !strings.HasPrefix(why[0]["details"], "target "+relay.Addr()) {
			t.Errorf("%s got %d (%v): %v", c.id, c.status, c.err, s.failures.those(record{"trace_id": c.id}))
		}
	}
	if n := relay.Stats().Requests; n < lost || lost == 0 {
		t.Errorf("%d requests failed, and the black hole got %d", lost, n)
	}
	return lost
}

// TestBlackholeProbed lets a target become a black hole under load, with a breaker that never opens: its
// check finds out within threshold x interval + one probe's timeout, and then nobody is sent there.
func TestBlackholeProbed(t *testing.T) {
	t.Parallel()
	const interval, threshold, timeout = 1, 2, 1 // seconds, probes, seconds
	relay, _ := newFault(t)
	good := newCounter(t)
	s := openSite(t, fmt.Sprintf(`
upstream "o" {
    target %q; target %q
    connection-pool { max-connections 4; max-pending 1000 }
    circuit-breaker { failure-threshold 1000000 }
    health-check { type "http"; interval-secs %d; unhealthy-threshold %d; timeout-secs %d }
    timeouts { request-secs 1 }
}
route "o" { matches { path "/o" }; upstream "o" }
`, relay.Addr(), good.Addr(), interval, threshold, timeout), nil)
	clients := lay(t, s.addr, "/o", 300**scale)
	more(t, 2, 100, clients)
	relay.SetAll(fault.Blackhole())
	fell := time.Now()
	unhealthy := record{"event_type": "upstream_health_change", "metadata.target": relay.Addr(), "reason": "unhealthy"}
	atLeast(t, s.audit, 1, unhealthy)
	found := time.Since(fell)
	marked := when(t, s.audit.those(unhealthy)[0])
	clients.until(t, time.Now().Add(1500*time.Millisecond))
	calls := clients.raise()
	s.stop(t)
	lost := checkHole(t, s, relay, calls)
	for _, c := range failed(calls) {
		if c.began.After(marked.Add(100 * time.Millisecond)) {
			t.Errorf("%s was sent to the black hole %v after it was found", c.id, c.began.Sub(marked))
		}
	}
	const promised = (threshold*interval + timeout) * time.Second
	if found > 2*promised {
		t.Errorf("the black hole was found after %v, promised are %v", found, promised)
	}
	t.Logf("found after %v, promised %v; %d of %d requests failed", found, promised, lost, len(calls))
}
