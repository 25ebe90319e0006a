package conformance

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// checkup is one way of asking a target how it is.
type checkup struct {
	id    string
	check string // the type of probe
	cause string // why it is unhealthy
	start func(testing.TB, *tls.Config) *ward
	tls   bool
}

var checkups = []checkup{
	{"http", `type "http" { path "/health" }`, "status 503, expected 2xx", newWard, false},
	{"https", `type "http" { path "/health" }`, "status 503, expected 2xx", newWard, true},
	{"tcp", `type "tcp"`, "connection refused", newConnected, false},
	{"grpc", `type "grpc" { service "ward" }`, "not serving", newServing, false},
	{"grpcs", `type "grpc" { service "ward" }`, "not serving", newServing, true},
}

// practice is a checkup at work on two targets.
type practice struct {
	checkup
	*site
	wards [2]*ward
}

// healthChecks makes targets ill and well again, asked in each way there is. It holds that the balancer
// gives an unhealthy target nothing, though it would answer, and that the log, the audit trail, the metrics
// and /upstreams say so.
func healthChecks(t *testing.T) {
	all := openPractices(t)
	for _, p := range all {
		p.wantShares(t, 5, 5)
		p.wards[0].turn(true)
	}
	for _, p := range all {
		p.wantEvent(t, 0, "unhealthy", p.cause)
		p.wantShares(t, 0, 10)
		p.wantShown(t, 0, false)
		p.wantShown(t, 1, true)
		p.wards[1].turn(true)
	}
	for _, p := range all {
		p.wantEvent(t, 1, "unhealthy", p.cause)
		p.wantNobody(t)
		p.wards[0].turn(false)
		p.wards[1].turn(false)
	}
	for _, p := range all {
		p.wantEvent(t, 0, "healthy", "probes")
		p.wantEvent(t, 1, "healthy", "probes")
		p.wantShares(t, 5, 5)
		p.wantShown(t, 0, true)
		p.wantTurns(t)
	}
}

func openPractices(t *testing.T) (all []*practice) {
	a := newAuthority(t)
	pair := &tls.Config{Certificates: []tls.Certificate{a.issue(t, "ward.example")}}
	text := ""
	for _, c := range checkups {
		p := &practice{checkup: c}
		secure, block := (*tls.Config)(nil), ""
		if c.tls {
			secure, block = pair, fmt.Sprintf(`tls { sni "ward.example"; ca-cert %q }`, a.path("ca.pem"))
		}
		p.wards = [2]*ward{c.start(t, secure), c.start(t, secure)}
		text += fmt.Sprintf("upstream %q {\n target %q; target %q\n recovery-ramp-secs 0\n %s\n"+
			" health-check { %s; interval-secs 1; timeout-secs 1; unhealthy-threshold 1; healthy-threshold 1 }\n}\n"+
			"route %[1]q { matches { path \"/%[1]s\" }; upstream %[1]q; service-type \"api\" }\n",
			c.id, p.wards[0].addr, p.wards[1].addr, block, c.check)
		all = append(all, p)
	}
	s := openSite(t, text, nil)
	for _, p := range all {
		p.site = s
	}
	return all
}

// wantShares asks ten times and counts who answered.
func (p *practice) wantShares(t *testing.T, want ...int64) {
	t.Helper()
	var before, got []int64
	for _, w := range p.wards {
		before = append(before, w.requests.Load())
	}
	for range 10 {
		p.get(t, "/"+p.id, 200)
	}
	for i, w := range p.wards {
		got = append(got, w.requests.Load()-before[i])
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: of ten requests the targets got %d, want %d", p.id, got, want)
	}
}

// wantEvent waits for a change of the nth target in the log and in the audit trail.
func (p *practice) wantEvent(t *testing.T, n int, turned, cause string) {
	t.Helper()
	target := p.wards[n].addr
	p.messages.find(t, record{"level": "WARN", "msg": "upstream " + turned, "upstream": p.id, "target": target, "cause": cause})
	r := p.audit.find(t, record{
		"event_type": "upstream_health_change", "reason": turned,
		"metadata.upstream": p.id, "metadata.target": target, "metadata.cause": cause,
	})
	if r["client_ip"] != "internal" || r["method"] != "-" || r["path"] != "-" {
		t.Errorf("%s: the audit entry %v looks like a request's", p.id, r)
	}
}

// wantShown compares the metrics and /upstreams with the nth target's health.
func (p *practice) wantShown(t *testing.T, n int, healthy bool) {
	t.Helper()
	value, status, problem := 0.0, "unhealthy", p.cause
	if healthy {
		value, status, problem = 1, "healthy", "none"
	}
	p.wantMetric(t, value, "upstream_target_healthy", "upstream", p.id, "target", p.wards[n].addr)
	v := p.target(t, p.id, n)
	if v.Address != p.wards[n].addr || v.Healthy != healthy || v.Eligible != healthy || v.Status != status || v.Ejected || v.Breaker != "closed" {
		t.Errorf("%s: /upstreams shows %+v, want it %s", p.id, v, status)
	}
	if or(v.ProbeError) != problem || v.LastProbe == nil || (v.Since == nil) != healthy {
		t.Errorf("%s: /upstreams shows the probe of %s as %q, since %s; want %q", p.id, or(v.LastProbe), or(v.ProbeError), or(v.Since), problem)
	}
}

// wantNobody checks the answer for an upstream without a healthy target.
func (p *practice) wantNobody(t *testing.T) {
	t.Helper()
	m := p.get(t, "/"+p.id, 503)
	if !strings.Contains(string(m.body), `"NO_HEALTHY_UPSTREAM"`) || len(values(m.fields, "Retry-After")) != 1 {
		t.Errorf("%s: 503 with %q and %q", p.id, m.fields, m.body)
	}
	p.failures.find(t, record{"route_id": p.id, "error_type": "no_healthy_target"})
	p.wantMetric(t, 0, "upstream_healthy_backends", "upstream", p.id)
	v := p.access.snapshot()
	if !slices.ContainsFunc(v, func(l accessLine) bool {
		return l.RouteID == p.id && l.Error == "no_healthy_target" && l.Status == 503 && l.Attempts == 0
	}) {
		t.Errorf("%s: no such access line: %+v", p.id, p.access.last())
	}
}

// wantTurns holds that each target turned once each way, and that everybody counted the same.
func (p *practice) wantTurns(t *testing.T) {
	t.Helper()
	for _, w := range p.wards {
		for _, to := range []string{"unhealthy", "healthy"} {
			p.wantMetric(t, 1, "upstream_health_transitions_total", "upstream", p.id, "target", w.addr, "to", to)
		}
		turns := p.audit.column(record{"metadata.upstream": p.id, "metadata.target": w.addr}, "reason")
		if !slices.Equal(turns, []string{"unhealthy", "healthy"}) {
			t.Errorf("%s: the audit trail says %q", p.id, turns)
		}
	}
	p.wantMetric(t, 2, "upstream_healthy_backends", "upstream", p.id)
}

// course is what a target's probes find one by one, + or -, and the target's state at each of them and at
// the next: 1 is healthy. The last result is that of all that follow.
type course struct {
	id              string
	unhealthy       int // thresholds
	healthy         int
	results, states string
	turns           []string
	seen            string        // the states, by probe
	over, opened    chan struct{} // closed when there are all; when the proxy can be asked
	*site
}

// healthThresholds holds that as many failures in a row as the threshold says make a target unhealthy,
// as many successes in a row healthy, and no fewer.
func healthThresholds(t *testing.T) {
	opened := make(chan struct{})
	courses := []*course{
		{id: "down", unhealthy: 2, healthy: 1, results: "-+--", states: "11110", turns: []string{"unhealthy"}},
		{id: "up", unhealthy: 1, healthy: 2, results: "-+-++", states: "100001", turns: []string{"unhealthy", "healthy"}},
	}
	text := ""
	for _, c := range courses {
		c.over, c.opened = make(chan struct{}), opened
		w := newWard(t, nil)
		w.probed = func(rw http.ResponseWriter, _ *http.Request) { c.probe(t, rw, w.addr) }
		text += fmt.Sprintf("upstream %q { target %q; health-check { type \"http\"; interval-secs 1; unhealthy-threshold %d; healthy-threshold %d } }\n"+
			"route %[1]q { matches { path \"/%[1]s\" }; upstream %[1]q }\n", c.id, w.addr, c.unhealthy, c.healthy)
	}
	s := openSite(t, text, nil)
	for _, c := range courses {
		c.site = s
	}
	close(opened)
	for _, c := range courses {
		select {
		case <-c.over:
		case <-bounded(t).Done():
			t.Fatalf("%s: the probes do not come", c.id)
		}
		if c.seen != c.states {
			t.Errorf("%s: the results %s took the target through %s, want %s", c.id, c.results, c.seen, c.states)
		}
	}
	s.stop(t)
	for _, c := range courses {
		if turns := s.audit.column(record{"metadata.upstream": c.id}, "reason"); !slices.Equal(turns, c.turns) {
			t.Errorf("%s: the audit trail says %q, want %q", c.id, turns, c.turns)
		}
	}
}

// probe answers a probe, after a look at what the ones before it have done.
func (c *course) probe(t *testing.T, rw http.ResponseWriter, addr string) {
	<-c.opened
	n := len(c.seen)
	if n < len(c.states) {
		c.seen += fmt.Sprint(c.metrics(t)[series("upstream_target_healthy", "upstream", c.id, "target", addr)])
	}
	if n+1 == len(c.states) {
		close(c.over)
	}
	if c.results[min(n, len(c.results)-1)] == '-' {
		rw.WriteHeader(http.StatusInternalServerError)
	}
}

// ejection lets a target's answers alone speak against it, while its probes find it well: the passive
// check. With nobody else left, ejections are ignored.
func ejection(t *testing.T) {
	text := ""
	wards := map[string][2]*ward{}
	for id, healthy := range map[string]int{"stays": 1_000_000, "returns": 1} {
		w := [2]*ward{newWard(t, nil), newWard(t, nil)}
		wards[id] = w
		text += fmt.Sprintf("upstream %q {\n target %q; target %q\n recovery-ramp-secs 0\n"+
			" health-check { type \"http\"; interval-secs 1; healthy-threshold %d }\n}\nroute %[1]q { matches { path \"/%[1]s\" }; upstream %[1]q }\n",
			id, w[0].addr, w[1].addr, healthy)
	}
	s := openSite(t, text, nil)
	for id, w := range wards {
		w[0].status.Store(500)
		// Of its ten answers the last makes it ten, and all failed.
		for w[0].requests.Load() < 10 {
			s.ask(asked{method: "GET", path: "/" + id})
		}
		s.messages.find(t, record{"msg": "upstream ejected", "upstream": id, "target": w[0].addr, "cause": "upstream_status"})
		s.audit.find(t, record{"event_type": "upstream_health_change", "reason": "ejected", "metadata.upstream": id, "metadata.target": w[0].addr})
		s.wantMetric(t, 1, "upstream_ejections_total", "upstream", id, "target", w[0].addr)
	}
	stays, returns := &practice{checkup{id: "stays"}, s, wards["stays"]}, &practice{checkup{id: "returns"}, s, wards["returns"]}
	stays.wantShares(t, 0, 10)
	if v := s.target(t, "stays", 0); !v.Ejected || v.Eligible || v.Healthy || v.Status != "unhealthy" || or(v.LastError) != "upstream_status" || v.Failures != 10 {
		t.Errorf("/upstreams shows %+v, want it ejected", v)
	}
	stays.wantPanic(t)
	returns.wards[0].status.Store(0)
	s.messages.find(t, record{"msg": "upstream readmitted", "upstream": "returns", "cause": "probes"})
	returns.wantShares(t, 5, 5)
	s.wantMetric(t, 1, "upstream_health_transitions_total", "upstream", "returns", "target", returns.wards[0].addr, "to", "readmitted")
}

// wantPanic makes the second target fail as well: then both are asked again.
func (p *practice) wantPanic(t *testing.T) {
	t.Helper()
	p.wards[1].status.Store(500)
	for p.wards[1].requests.Load() < 1000 && len(p.messages.those(record{"msg": "upstream panic_began", "upstream": p.id})) == 0 {
		p.get(t, "/"+p.id, 500)
	}
	p.audit.find(t, record{"event_type": "upstream_health_change", "reason": "panic_began", "metadata.upstream": p.id})
	p.wantMetric(t, 1, "upstream_panic", "upstream", p.id)
	p.wards[0].status.Store(0)
	p.wards[1].status.Store(0)
	p.wantShares(t, 5, 5)
}
