package conformance

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// judge is a target that keeps every request waiting until the test says how it is answered.
type judge struct {
	arrived chan struct{} // one for each request
	answer  chan int      // its status
	left    chan struct{} // one for each whose client left first
	over    chan struct{} // closed when nobody says anything any more
}

func (j *judge) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	select {
	case j.arrived <- struct{}{}:
	case <-j.over:
		return
	}
	select {
	case status := <-j.answer:
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, "ok")
	case <-r.Context().Done():
		j.left <- struct{}{}
	case <-j.over:
	}
}

// newJudge starts one and returns its address.
func newJudge(t testing.TB) (*judge, string) {
	t.Helper()
	j := &judge{make(chan struct{}), make(chan int), make(chan struct{}, 10), make(chan struct{})}
	ln := listen(t)
	server := &http.Server{Handler: j}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ln) }) // it ends with Close
	t.Cleanup(func() {
		close(j.over)
		_ = server.Close()
		running.Wait()
	})
	return j, ln.Addr().String()
}

// fuse is one breaker under test: that of a target, or that of a route.
type fuse struct {
	id    string
	route bool
	opens int // seconds
	*site
	*judge
	at      string // the target's address
	refused int    // requests so far, of the breaker's own route
}

// block opens after two failures in a row, and closes after two successes, one at a time.
func (f *fuse) block() string {
	return fmt.Sprintf("circuit-breaker { failure-threshold 2; success-threshold 2; timeout-seconds %d; half-open-max-requests 1 }", f.opens)
}

// routes configures two routes to one upstream.
func (f *fuse) routes() string {
	ofTarget, ofRoute := f.block(), ""
	if f.route {
		ofTarget, ofRoute = "circuit-breaker { failure-threshold 1000000 }", f.block()
	}
	text := fmt.Sprintf("upstream %q { target %q; recovery-ramp-secs 0; %s }\n", f.id, f.at, ofTarget)
	text += fmt.Sprintf("route %q { matches { path \"/%[1]s\" }; upstream %[1]q; service-type \"api\"; %s }\n", f.id, ofRoute)
	return text + fmt.Sprintf("route \"%s-other\" { matches { path \"/%[1]s-other\" }; upstream %[1]q; service-type \"api\" }\n", f.id)
}

// component and labels are how the audit trail and the metrics call the breaker.
func (f *fuse) component() string {
	if f.route {
		return "upstream:" + f.id
	}
	return "upstream:" + f.id + "/" + f.at
}

func (f *fuse) labels(more ...string) []string {
	route := ""
	if f.route {
		route = f.id
	}
	return append([]string{"component", f.component(), "route", route}, more...)
}

// changes are the breaker's entries in the audit trail.
func (f *fuse) changes() record {
	r := record{"event_type": "circuit_breaker_change", "metadata.component": f.component()}
	if f.route {
		r["route_id"] = f.id
	}
	return r
}

// TestBreakerOpen walks breakers through all their states, and reads each state off the wire, the metrics,
// /upstreams, the log and the audit trail: closed, open, half-open and closed again, and half-open to open.
func TestBreakerOpen(t *testing.T) {
	t.Parallel()
	breakerWalks(t)
}

func breakerWalks(t *testing.T) {
	fuses := []*fuse{
		{id: "target", opens: 1},
		{id: "route", opens: 1, route: true},
		{id: "target-stays", opens: 3600},
		{id: "route-stays", opens: 3600, route: true},
	}
	text := ""
	for _, f := range fuses {
		f.judge, f.at = newJudge(t)
		text += f.routes()
	}
	s := openSite(t, text, nil)
	var all sync.WaitGroup
	for _, f := range fuses {
		f.site = s
		walk := f.walk
		if f.opens > 1 {
			walk = f.stay
		}
		all.Go(func() { t.Run(f.id, walk) })
	}
	all.Wait()
}

// walk goes every way there is.
func (f *fuse) walk(t *testing.T) {
	f.wantState(t, "closed")
	f.blow(t)

	p := f.trial(t)
	f.wantState(t, "half_open")
	f.wantRefused(t, "/"+f.id) // one at a time
	f.decide(t, p, 200)
	f.wantState(t, "half_open") // one success of two
	f.abandon(t)
	f.decide(t, f.trial(t), 200)
	f.wantState(t, "closed")

	f.blow(t)
	f.decide(t, f.trial(t), 500)
	f.wantState(t, "open")
	f.wantHistory(t,
		"closed open upstream_status", "open half_open timeout", "half_open closed recovered",
		"closed open upstream_status", "open half_open timeout", "half_open open upstream_status")
	f.wantCounts(t)
}

// stay looks at an open breaker. A target's stops every route to it, a route's only the route.
func (f *fuse) stay(t *testing.T) {
	f.blow(t)
	for range 3 {
		f.wantRefused(t, "/"+f.id)
	}
	if f.route {
		p := f.send("/" + f.id + "-other")
		f.wantArrived(t, p)
		f.decide(t, p, 200)
	} else {
		f.wantRefused(t, "/"+f.id+"-other")
		f.refused--
	}
	f.wantHistory(t, "closed open upstream_status")
	f.wantCounts(t)
}

// send asks in the background.
func (f *fuse) send(path string) chan reply {
	p := make(chan reply, 1)
	go func() { p <- f.ask(asked{method: "GET", path: path}) }()
	return p
}

// wantArrived waits for a request to come to the target.
func (f *fuse) wantArrived(t *testing.T, p chan reply) {
	t.Helper()
	select {
	case <-f.arrived:
	case r := <-p:
		t.Fatalf("the request did not come to the target: %q (%v)\n%s", r.start, r.err, f.errors)
	}
}

// decide has a request at the target answered.
func (f *fuse) decide(t *testing.T, p chan reply, status int) {
	t.Helper()
	f.answer <- status
	if r := <-p; r.status() != status || r.err != nil {
		t.Errorf("the client got %q %v, want %d", r.start, r.err, status)
	}
}

// blow makes the target fail as often as the breaker stands.
func (f *fuse) blow(t *testing.T) {
	t.Helper()
	for range 2 {
		f.wantState(t, "closed")
		p := f.send("/" + f.id)
		f.wantArrived(t, p)
		f.decide(t, p, 500)
	}
	f.wantState(t, "open")
}

// trial asks until a request comes to the target, which it still is at then. The others are refused.
func (f *fuse) trial(t *testing.T) (p chan reply) {
	t.Helper()
	eventually(t, "a trial", func() bool {
		p = f.send("/" + f.id)
		select {
		case <-f.arrived:
			return true
		case r := <-p:
			f.checkRefused(t, r)
			return false
		}
	})
	return p
}

// abandon lets the client of a trial leave: its place is free for the next.
func (f *fuse) abandon(t *testing.T) {
	t.Helper()
	c := dial(t, f.addr, whole)
	c.send(get("/" + f.id))
	select {
	case <-f.arrived:
	case <-bounded(t).Done():
		t.Fatal("the trial did not come to the target")
	}
	f.wantRefused(t, "/"+f.id)
	c.close()
	select {
	case <-f.left: // else its answer could be taken for the next one's
	case <-bounded(t).Done():
		t.Fatal("the target was not told that the client has left")
	}
	f.access.must(t, "the client's leaving is logged", func() bool {
		return slices.ContainsFunc(f.access.lines, func(l accessLine) bool {
			return l.RouteID == f.id && l.Status == 499 && l.Error == "client_gone"
		})
	})
	f.wantState(t, "half_open")
}

// wantRefused asks and checks that the target is not bothered.
func (f *fuse) wantRefused(t *testing.T, path string) {
	t.Helper()
	p := f.send(path)
	select {
	case <-f.arrived:
		t.Fatal("the request came to the target")
	case r := <-p:
		f.checkRefused(t, r)
	}
}

func (f *fuse) checkRefused(t *testing.T, r reply) {
	t.Helper()
	f.refused++
	if r.status() != 503 || !strings.Contains(string(r.body), `"CIRCUIT_BREAKER_OPEN"`) || strings.Join(values(r.fields, "Retry-After"), " ") != "1" {
		t.Errorf("the client got %q %q %q (%v)", r.start, r.fields, r.body, r.err)
	}
}

// wantState waits for the breaker's state in the metrics, where no request is needed to know it, and compares
// /upstreams.
func (f *fuse) wantState(t *testing.T, state string) {
	t.Helper()
	number := float64(slices.Index([]string{"closed", "open", "half_open"}, state))
	eventually(t, "the breaker is "+state, func() bool {
		return f.metrics(t)[series("circuit_breaker_state", f.labels()...)] == number
	})
	if v := f.target(t, f.id, 0); !f.route && (v.Breaker != state || v.Eligible && state == "open" || !v.Healthy) {
		t.Errorf("/upstreams shows %+v, want a breaker that is %s", v, state)
	}
}

// wantHistory compares the changes, as "from to cause", with the log and the audit trail.
func (f *fuse) wantHistory(t *testing.T, want ...string) {
	t.Helper()
	said := record{"upstream": f.id, "route": "", "target": f.at}
	if f.route {
		said = record{"upstream": f.id, "route": f.id, "target": ""}
	}
	f.audit.await(func() bool { return len(f.audit.all) >= len(want) })
	var audited, logged []string
	eventually(t, fmt.Sprintf("%d changes in the logs", len(want)), func() bool {
		audited, logged = nil, nil
		for _, r := range f.audit.those(f.changes()) {
			audited = append(audited, r["metadata.from"]+" "+r["metadata.to"]+" "+r["reason"])
		}
		for _, r := range f.messages.those(said) {
			logged = append(logged, r["from"]+" "+strings.TrimPrefix(r["msg"], "circuit breaker ")+" "+r["cause"])
		}
		return len(audited) >= len(want) && len(logged) >= len(want)
	})
	if !slices.Equal(audited, want) || !slices.Equal(logged, want) {
		t.Errorf("the breaker changed\n%q in the audit trail,\n%q in the log, want\n%q", audited, logged, want)
	}
	for to, n := range map[string]int{"open": 0, "half_open": 0, "closed": 0} {
		for _, change := range want {
			if strings.Fields(change)[1] == to {
				n++
			}
		}
		f.wantMetric(t, float64(n), "circuit_breaker_transitions_total", f.labels("to", to)...)
	}
}

// wantCounts compares what was refused with the metrics, the access log and the error log.
func (f *fuse) wantCounts(t *testing.T) {
	t.Helper()
	if f.route {
		f.wantMetric(t, float64(f.refused), "circuit_breaker_rejected_total", f.labels()...)
	}
	var lines, told int
	eventually(t, fmt.Sprintf("%d refused requests in the logs", f.refused), func() bool {
		lines, told = 0, len(f.failures.those(record{"route_id": f.id, "error_type": "breaker_open", "status": "503"}))
		for _, l := range f.access.snapshot() {
			if l.RouteID == f.id && l.Error == "breaker_open" && l.Status == 503 && l.Attempts == 0 {
				lines++
			}
		}
		return lines >= f.refused && told >= f.refused
	})
	if lines > f.refused || told > f.refused {
		t.Errorf("%d access lines and %d error lines say breaker_open, %d requests were refused", lines, told, f.refused)
	}
}

// breakerPassedOver opens the breaker of one target of two: the other gets everything, and nobody
// notices. A probe that succeeds lets it be tried long before its time.
func breakerPassedOver(t *testing.T) {
	text := ""
	practices := map[string]*practice{}
	for id, check := range map[string]string{"alone": "", "probed": "health-check { type \"http\"; interval-secs 1 }"} {
		p := &practice{checkup: checkup{id: id}, wards: [2]*ward{newWard(t, nil), newWard(t, nil)}}
		practices[id] = p
		text += fmt.Sprintf("upstream %q {\n target %q; target %q; recovery-ramp-secs 0; %s\n"+
			" circuit-breaker { failure-threshold 2; success-threshold 2; timeout-seconds 3600 }\n}\n"+
			"route %[1]q { matches { path \"/%[1]s\" }; upstream %[1]q }\n", id, p.wards[0].addr, p.wards[1].addr, check)
	}
	s := openSite(t, text, nil)
	for id, p := range practices {
		p.site = s
		p.wards[0].status.Store(500)
		for p.wards[0].requests.Load() < 2 {
			s.ask(asked{method: "GET", path: "/" + id})
		}
		s.messages.find(t, record{"msg": "circuit breaker open", "upstream": id, "target": p.wards[0].addr, "cause": "upstream_status"})
	}
	practices["alone"].wantShares(t, 0, 10)
	p := practices["probed"]
	s.audit.find(t, record{"event_type": "circuit_breaker_change", "reason": "probe", "action": "half_open", "metadata.component": "upstream:probed/" + p.wards[0].addr})
	p.wards[0].status.Store(0)
	p.wantShares(t, 5, 5)
	s.audit.find(t, record{"reason": "recovered", "action": "closed", "metadata.component": "upstream:probed/" + p.wards[0].addr})
}
