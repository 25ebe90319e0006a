package conformance

import (
	"fmt"
	"testing"
	"time"
)

// TestOverload offers one route ten times and more of what it may have under way, while its upstream answers
// nothing: what is over the limit is told so at once, and the other route does not notice. The figures are logged;
// only what cannot be the machine's fault is an error.
func TestOverload(t *testing.T) {
	t.Parallel()
	sick, well, cured := newOrigin(t, "127.0.0.1:0"), newCounter(t), make(chan struct{})
	sick.auto = func(r *request) {
		<-cured
		r.answer(defaultAnswer)
	}
	const limit = besiegers // as many as a siege can have under way: the other route never comes to it
	s := openSite(t, fmt.Sprintf(`
upstream "sick" { target %q }
upstream "well" { target %q }
route "sick" { matches { path-prefix "/sick" }; upstream "sick"; service-type "api" }
route "well" { matches { path-prefix "/well" }; upstream "well" }
limits { max-connections-per-client 10000; max-connections-per-route %d }
`, sick.addr(), well.Addr(), limit), nil)
	const rate = 2 * limit
	size := len(s.get(t, "/well", 200).body)
	good := lay(t, s.addr, "/well", rate)
	more(t, size, rate/2, good)
	var quiet int
	good.update(func() { quiet = len(good.calls) })
	flood := []*siege{lay(t, s.addr, "/sick", 3*rate), lay(t, s.addr, "/sick/too", 3*rate)}
	for _, f := range flood {
		f.must(t, "ten times the limit is refused", func() bool { return len(f.calls) >= 5*limit })
	}
	more(t, size, rate/2, good)
	sick.update(func() {
		if len(sick.requests) != limit {
			t.Errorf("the sick upstream has %d requests, want %d", len(sick.requests), limit)
		}
	})
	calls := good.raise()
	close(cured)
	all := append(flood[0].raise(), flood[1].raise()...)
	shed, served := 0, 0
	var took []time.Duration
	for _, c := range all {
		switch {
		case c.good():
			served++
		case c.status == 503:
			shed++
			took = append(took, c.ended.Sub(c.began))
		default:
			t.Errorf("a request of the sick route: %d %v", c.status, c.err)
		}
	}
	if bad := failed(calls); len(bad) != 0 || shed < 10*limit || served < limit {
		t.Errorf("%d of %d requests of the other route failed; %d were shed, %d served: %+v", len(bad), len(calls), shed, served, bad[:min(len(bad), 3)])
	}
	before, during, refused := latencies(calls[:quiet]), latencies(calls[quiet:]), percentile(took, 99)
	t.Logf("the other route: p50 %v and p99 %v when quiet, %v and %v under the flood; refusals: p50 %v, p99 %v of %d",
		percentile(before, 50), percentile(before, 99), percentile(during, 50), percentile(during, 99), percentile(took, 50), refused, shed)
	if slow := percentile(during, 99); slow > 2*time.Second || refused > 2*time.Second {
		t.Errorf("p99 is %v on the other route and %v for refusals", slow, refused)
	}
	eventually(t, "every refusal is counted", func() bool {
		return s.metrics(t)[series("blocked_requests_total", "reason", "route_limit")] == float64(shed)
	})
}
