package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// kills of one target are what TestKilledTarget counts failures over.
const kills = 10

// TestKilledTarget is UP-01: one of three targets is killed and restarted ten times under load. With a
// retry-policy of one retry no client notices. Without, a client does only if its request was under way at
// that target when it was killed: nothing else is lost. On a kept connection not even that shows, since what
// died unheard there is sent again; so there is a third upstream that keeps none.
func TestKilledTarget(t *testing.T) {
	t.Parallel()
	f := launch(t, 3, 20*time.Millisecond) // so that some requests are under way at any moment
	s := openSite(t, fmt.Sprintf(`
upstream "hidden" { %[1]s }
upstream "plain" { %[1]s }
upstream "fresh" { %[1]s; connection-pool { max-idle 0 } }
route "hidden" { matches { path "/hidden" }; upstream "hidden"; retry-policy { max-attempts 2; backoff-base-ms 1 } }
route "plain" { matches { path "/plain" }; upstream "plain" }
route "fresh" { matches { path "/fresh" }; upstream "fresh" }
`, f.targets()+"circuit-breaker { timeout-seconds 1 }; recovery-ramp-secs 0"), nil)
	upstreams := []string{"hidden", "plain", "fresh"}
	hidden, plain, fresh := lay(t, s.addr, "/hidden", 500**scale), lay(t, s.addr, "/plain", 500**scale), lay(t, s.addr, "/fresh", 200**scale)
	began, all := time.Now(), make([]kill, kills)
	const victim = 1
	for i := range all {
		more(t, victim+1, 20, hidden, plain, fresh)
		all[i] = f.kill(t, victim)
		for _, upstream := range upstreams {
			atLeast(t, s.audit, i+1, turned(upstream, f[victim].Addr(), "open"))
		}
		f.restart(t, victim)
		for _, upstream := range upstreams {
			atLeast(t, s.audit, i+1, turned(upstream, f[victim].Addr(), "closed"))
		}
	}
	more(t, victim+1, 20, hidden, plain, fresh)
	took := time.Since(began)
	kept := hidden.raise()
	checkLoad(t, kept, took)
	for _, c := range failed(kept) {
		t.Errorf("with a retry-policy the client of %s got %d (%v) after %v", c.id, c.status, c.err, c.ended.Sub(c.began))
	}
	t.Logf("%d kills in %v; with a retry-policy: %d of %d failed, p99 %v, slowest %v", kills, took.Round(time.Millisecond),
		len(failed(kept)), len(kept), percentile(latencies(kept), 99), percentile(latencies(kept), 100))
	for _, siege := range []*siege{plain, fresh} {
		lost := siege.raise()
		checkLoad(t, lost, took)
		t.Logf("without, %s: %d of %d failed", siege.path, len(failed(lost)), len(lost))
	}
	m := s.metrics(t)
	for _, upstream := range upstreams {
		t.Logf("%s: %v attempts failed at the target", upstream, m[series("upstream_target_failures_total", "upstream", upstream, "target", f[victim].Addr())])
	}
	s.stop(t)
	checkLost(t, s, f, victim, all, plain.calls)
	if checkLost(t, s, f, victim, all, fresh.calls) == 0 {
		t.Error("no request was lost on any new connection: that proves nothing")
	}
}

// checkLoad makes sure that there was a load worth the name, on a slow machine as well.
func checkLoad(t *testing.T, calls []call, took time.Duration) {
	t.Helper()
	if float64(len(calls)) < 50*took.Seconds() {
		t.Errorf("%d requests in %v are no load", len(calls), took)
	}
}

// checkLost checks that each request that failed was under way at the victim when it was killed,
// and returns how many those are.
func checkLost(t *testing.T, s *site, f fleet, victim int, all []kill, calls []call) int {
	t.Helper()
	under, lost := make([]int, len(all)), make([]int, len(all))
	during := func(c *call) int {
		for i, k := range all {
			if c.spans(k.from, k.to) {
				return i
			}
		}
		return -1
	}
	for _, c := range calls {
		i := during(&c)
		if i >= 0 && f[victim].Seen(c.id) > 0 {
			under[i]++
		}
		if c.good() {
			continue
		}
		why := s.failures.those(record{"trace_id": c.id})
		switch {
		case i < 0:
			t.Errorf("the client of %s got %d (%v), and it was not under way at any kill: %v", c.id, c.status, c.err, why)
		case c.status != 502 || len(why) != 1 || !strings.HasPrefix(why[0]["details"], "target "+f[victim].Addr()+":"):
			t.Errorf("the client of %s got %d (%v): %v", c.id, c.status, c.err, why)
		case why[0]["error_type"] != "upstream_reset" && why[0]["error_type"] != "upstream_closed":
			t.Errorf("%s failed for %s", c.id, why[0]["error_type"])
		default:
			lost[i]++
		}
	}
	if sum(under) == 0 {
		t.Error("no request was under way at the target at any kill: that proves nothing")
	}
	slowest := time.Duration(0)
	for _, k := range all {
		slowest = max(slowest, k.to.Sub(k.from))
	}
	t.Logf("failed at each kill: %v; begun by the target, answered or not: %v; a kill took %v at most", lost, under, slowest)
	return sum(lost)
}

func sum(numbers []int) (n int) {
	for _, k := range numbers {
		n += k
	}
	return n
}

// returning is an upstream one of whose targets goes and comes back.
type returning struct {
	name, rules string
	gone, back  record // the audit entries that say so
}

// returnings come back by their breaker; but adaptive avoids what fails before that opens, so that its check
// has to.
func returnings(addr string) (all []returning) {
	for _, name := range []string{"round_robin", "least_connections", "power_of_two_choices"} {
		all = append(all, returning{name, "circuit-breaker { timeout-seconds 1 }", turned(name, addr, "open"), turned(name, addr, "closed")})
	}
	is := func(word string) record {
		return record{"event_type": "upstream_health_change", "metadata.upstream": "adaptive", "metadata.target": addr, "reason": word}
	}
	return append(all, returning{
		"adaptive", "health-check { interval-secs 1; timeout-secs 1; healthy-threshold 1; unhealthy-threshold 1 }",
		is("unhealthy"), is("healthy"),
	})
}

// TestRecoveryShares is the gradual return of a killed target: no second carries more than p(t)/n + 10
// points of the traffic to it, p(t) being the ramp at that second.
func TestRecoveryShares(t *testing.T) {
	t.Parallel()
	const (
		n, victim = 3, 2
		ramp      = 4 // seconds
	)
	f := launch(t, n, 10*time.Millisecond)
	all := returnings(f[victim].Addr())
	var text strings.Builder
	for _, u := range all {
		fmt.Fprintf(&text, "upstream %q { %s load-balancing %[1]q; recovery-ramp-secs %[3]d; %[4]s }\n"+
			"route %[1]q { matches { path \"/%[1]s\" }; upstream %[1]q }\n", u.name, f.targets(), ramp, u.rules)
	}
	s := openSite(t, text.String(), nil)
	sieges := map[string]*siege{}
	for _, u := range all {
		sieges[u.name] = lay(t, s.addr, "/"+u.name, 200**scale)
	}
	for _, u := range all {
		more(t, victim+1, 20, sieges[u.name])
	}
	f.kill(t, victim)
	for _, u := range all {
		atLeast(t, s.audit, 1, u.gone)
	}
	f.restart(t, victim)
	for _, u := range all {
		atLeast(t, s.audit, 1, u.back)
		begins := when(t, s.audit.those(u.back)[0])
		sieges[u.name].until(t, begins.Add((ramp+1)*time.Second)) // and a second with the full share
		checkRamp(t, u.name, sieges[u.name].raise(), begins, ramp, n, victim)
	}
}

// checkRamp counts by second what the returning target answered.
func checkRamp(t *testing.T, name string, calls []call, begins time.Time, ramp, n, victim int) {
	t.Helper()
	total, its := make([]int, ramp+1), make([]int, ramp+1)
	for _, c := range calls {
		second := int(c.began.Sub(begins) / time.Second)
		if c.began.Before(begins) || second > ramp || !c.good() {
			continue
		}
		total[second]++
		if c.size == victim+1 {
			its[second]++
		}
	}
	worst, shares := -1.0, make([]string, ramp+1)
	for i := range total {
		p := min((float64(i)+0.5)/float64(ramp), 1) // in the middle of the second
		share := float64(its[i]) / float64(max(total[i], 1))
		shares[i] = fmt.Sprintf("%.1f%% (p/n %.1f%%)", 100*share, 100*p/float64(n))
		if i == ramp {
			break // it is as any other now
		}
		worst = max(worst, share-p/float64(n))
		if share > p/float64(n)+0.10 {
			t.Errorf("%s: second %d carries %.1f%% to the returning target, at most %.1f%% may be", name, i, 100*share, 100*(p/float64(n)+0.10))
		}
	}
	if name != "adaptive" && 5*its[ramp] < total[ramp] {
		t.Errorf("%s: after the ramp the target gets %d of %d requests only", name, its[ramp], total[ramp])
	}
	t.Logf("%s, by second: %v, at most %+.1f points over p/n; requests %v", name, shares, 100*worst, total)
}
