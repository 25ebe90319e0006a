package conformance

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	walks      = 20
	walkSteps  = 40
	walkWaits  = 3 // times that a walk waits for an open breaker
	walkAtOnce = 4 // requests of a walk under way
)

// TestBreakerWalks is UP-06 on the wire: random walks of breakers of targets and of routes, through one
// proxy, beside a reference model. Clients, the log, the audit trail, /metrics and /upstreams must all tell
// what the model says. (A thousand walks more, without a wire, are in internal/breaker.)
func TestBreakerWalks(t *testing.T) {
	t.Parallel()
	var all []*walk
	var text strings.Builder
	for i := range walks * *scale {
		w := newWalk(t, i)
		all = append(all, w)
		text.WriteString(w.config())
	}
	s := openSite(t, text.String(), nil)
	var busy sync.WaitGroup
	for _, w := range all {
		w.s = s
		busy.Go(func() {
			if err := w.run(); err != nil {
				t.Errorf("%s (%d failures, %d successes, %d slots): %v\n  steps: %s\n  changes: %v", w.id, w.m.failureThreshold,
					w.m.successThreshold, w.m.slots, err, strings.Join(w.steps, ", "), w.m.changes)
			}
		})
	}
	busy.Wait()
	metrics, steps, changes, refused := s.metrics(t), 0, map[string]int{}, 0
	for _, w := range all {
		w.checkChanges(t, metrics)
		steps += len(w.steps)
		refused += w.refused
		for _, c := range w.m.changes {
			from, to, _ := strings.Cut(c, " ")
			to, _, _ = strings.Cut(to, " ")
			changes[from+" -> "+to]++
		}
	}
	for _, c := range []string{"closed -> open", "open -> half_open", "half_open -> closed", "half_open -> open"} {
		if changes[c] < walks/4 {
			t.Errorf("%s happened %d times only", c, changes[c])
		}
	}
	t.Logf("%d walks, %d steps, %d requests refused, changes: %v", len(all), steps, refused, changes)
}

// walk is one breaker and what happens to it. One goroutine walks it.
type walk struct {
	id      string
	ofRoute bool // the breaker is a route's, not a target's
	random  *rand.Rand
	m       *model
	s       *site
	addr    string
	arrived chan *arrival

	underWay []*trip
	pages    *caller // for /metrics and /upstreams
	asked    int     // requests so far, each with a connection of its own
	refused  int
	waits    int
	steps    []string
}

// arrival is a request at the walk's target, which answers as it is told.
type arrival struct{ end chan outcome }

// trip is a request that was admitted.
type trip struct {
	*arrival
	pass
	id  string
	c   *caller
	got chan int // the status that the client gets; 0: none
}

func newWalk(t testing.TB, i int) *walk {
	random := rand.New(rand.NewPCG(uint64(i), 6))
	w := &walk{
		id: "walk-" + strconv.Itoa(i), ofRoute: i%2 == 1, random: random, arrived: make(chan *arrival, 1),
		m: newModel(1+random.IntN(3), 1+random.IntN(3), 1+random.IntN(3), time.Second),
	}
	ln := listen(t)
	w.addr = ln.Addr().String()
	server := &http.Server{Handler: w}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ln) }) // it ends with Close
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
	})
	return w
}

// config is the walk's part of the configuration. No connection is kept: what ends on a kept one is no
// failure. A breaker that is not the one in question never opens.
func (w *walk) config() string {
	written := fmt.Sprintf("circuit-breaker { failure-threshold %d; success-threshold %d; half-open-max-requests %d; timeout-seconds 1 }",
		w.m.failureThreshold, w.m.successThreshold, w.m.slots)
	ofTarget, ofRoute := written, ""
	if w.ofRoute {
		ofTarget, ofRoute = "circuit-breaker { failure-threshold 1000000 }", written
	}
	return fmt.Sprintf("upstream %[1]q { target %[2]q; connection-pool { max-idle 0 }; %[3]s }\n"+
		"route %[1]q { matches { path \"/%[1]s\" }; upstream %[1]q; %[4]s }\n", w.id, w.addr, ofTarget, ofRoute)
}

// ServeHTTP holds each request until its end is decided.
func (w *walk) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	a := &arrival{make(chan outcome, 1)}
	select {
	case w.arrived <- a:
	case <-r.Context().Done():
		return
	}
	select {
	case o := <-a.end:
		answer(rw, o)
	case <-r.Context().Done():
	}
}

func answer(rw http.ResponseWriter, o outcome) {
	switch o {
	case answered500:
		rw.WriteHeader(http.StatusInternalServerError)
	case wasReset:
		nc, _, err := rw.(http.Hijacker).Hijack()
		if err == nil {
			_ = nc.(*net.TCPConn).SetLinger(0)
			_ = nc.Close()
		}
	default:
	}
}

// run takes steps until the walk has had its time, and settles what is still under way.
func (w *walk) run() error {
	w.pages = &caller{addr: w.s.addr}
	defer func() {
		w.pages.close()
		for _, p := range w.underWay {
			p.c.close()
		}
	}()
	for range walkSteps {
		if err := w.step(); err != nil {
			return err
		}
		if err := w.compare(); err != nil {
			return err
		}
	}
	for len(w.underWay) > 0 {
		if err := w.settle(0, wentWell); err != nil {
			return err
		}
	}
	return w.compare()
}

func (w *walk) step() error {
	switch n := len(w.underWay); {
	case n > 0 && (n == walkAtOnce || w.random.IntN(2) == 0):
		// Half of the outcomes are failures.
		o := []outcome{wentWell, wentWell, answered500, wasReset, answered500, clientLeft}[w.random.IntN(6)]
		return w.settle(w.random.IntN(n), o)
	case w.waits < walkWaits && w.random.IntN(3) == 0 && (w.m.state == "open" || w.m.state == "half_open" && len(w.m.probes) == w.m.slots):
		w.waits++
		return w.wait()
	}
	_, err := w.ask()
	return err
}

// wait asks again and again until the time is over for which an open breaker refuses, or for which a probe
// has its slot to itself.
func (w *walk) wait() error {
	w.steps = append(w.steps, "wait")
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for {
		admitted, err := w.ask()
		if err != nil || admitted {
			return err
		}
		<-pace.C
	}
}

// ask sends a request and compares whether it is admitted.
func (w *walk) ask() (admitted bool, err error) {
	p := &trip{id: fmt.Sprintf("%s-%d", w.id, w.asked), c: &caller{addr: w.s.addr}, got: make(chan int, 1)}
	w.asked++
	asked := span{from: time.Now()}
	if err := p.c.connect(); err != nil {
		return false, err
	}
	if _, err := p.c.nc.Write([]byte(demand("GET", "/"+w.id, p.id, ""))); err != nil {
		return false, err
	}
	go func(br *bufio.Reader) {
		status := 0
		if m, err := readResponse(br, false); err == nil {
			status = m.status()
		}
		p.got <- status
	}(p.c.br)
	limit := time.NewTimer(*patience)
	defer limit.Stop()
	select {
	case p.arrival = <-w.arrived:
		admitted = true
		w.underWay = append(w.underWay, p)
	case status := <-p.got:
		p.c.close()
		if status != 503 {
			return false, fmt.Errorf("refused with %d, want 503", status)
		}
		if err := w.logged(p.id, 503, "breaker_open"); err != nil {
			return false, err
		}
		w.refused++
	case <-limit.C:
		p.c.close()
		return false, errors.New("a request neither arrived nor was refused")
	}
	asked.to = time.Now()
	w.steps = append(w.steps, fmt.Sprint("ask ", admitted))
	var doubtful []int
	if p.pass, doubtful, err = w.m.ask(admitted, asked); err != nil {
		return admitted, err
	}
	for _, serial := range doubtful {
		n := slices.IndexFunc(w.underWay, func(p *trip) bool { return p.serial == serial })
		if err := w.settle(n, clientLeft); err != nil {
			return admitted, err
		}
	}
	return admitted, nil
}

// ends is what the client gets, and the log, for each outcome.
var ends = map[outcome]struct {
	status, logged int
	word           string
}{
	wentWell:    {200, 200, ""},
	answered500: {500, 500, ""},
	wasReset:    {502, 502, "upstream_reset"},
	clientLeft:  {0, 499, "client_gone"},
}

// settle ends a request that is under way.
func (w *walk) settle(n int, o outcome) error {
	p := w.underWay[n]
	w.underWay = append(w.underWay[:n], w.underWay[n+1:]...)
	w.steps = append(w.steps, fmt.Sprintf("settle %d of era %d: %d", n, p.era, o))
	at := span{from: time.Now()}
	_ = p.c.nc.SetDeadline(time.Now().Add(*patience)) // not before: it may have been held for long
	if o == clientLeft {
		p.c.close()
	} else {
		p.end <- o
	}
	if status := <-p.got; status != ends[o].status {
		return fmt.Errorf("the client got %d, want %d", status, ends[o].status)
	}
	p.c.close()
	if err := w.logged(p.id, ends[o].logged, ends[o].word); err != nil {
		return err
	}
	at.to = time.Now()
	w.m.settle(p.pass, o, at)
	return nil
}

// logged waits for a request's line in the log: only then is it settled in the proxy.
func (w *walk) logged(id string, status int, word string) error {
	var line accessLine
	found := w.s.access.await(func() bool {
		for i := range w.s.access.lines {
			if w.s.access.lines[i].TraceID == id {
				line = w.s.access.lines[i]
				return true
			}
		}
		return false
	})
	if !found || line.Status != status || line.Error != word {
		return fmt.Errorf("the log has %+v, want %d %q", line, status, word)
	}
	return nil
}

// component is what logs and metrics call the breaker.
func (w *walk) component() (component, route string) {
	if w.ofRoute {
		return "upstream:" + w.id, w.id
	}
	return "upstream:" + w.id + "/" + w.addr, ""
}

// compare looks at the breaker's state from outside, on one page or the other: /upstreams has no routes.
func (w *walk) compare() error {
	if !w.ofRoute && w.random.IntN(2) == 0 {
		return w.compareShown()
	}
	m, err := w.pages.call(string(get("/metrics")))
	if err != nil {
		return err
	}
	component, route := w.component()
	gauge := series("circuit_breaker_state", "component", component, "route", route)
	want := fmt.Sprintf("\n%s %d\n", gauge, map[string]int{"closed": 0, "open": 1, "half_open": 2}[w.m.state])
	if !strings.Contains(string(m.body), want) {
		_, rest, _ := strings.Cut(string(m.body), "\n"+gauge+" ")
		line, _, _ := strings.Cut(rest, "\n")
		return fmt.Errorf("%s is %q, want the breaker %s", gauge, line, w.m.state)
	}
	return nil
}

func (w *walk) compareShown() error {
	m, err := w.pages.call(string(get("/upstreams")))
	if err != nil {
		return err
	}
	var page struct {
		Upstreams []struct {
			Targets []shown `json:"targets"`
		} `json:"upstreams"`
	}
	if err := json.Unmarshal(m.body, &page); err != nil {
		return err
	}
	for _, u := range page.Upstreams {
		if u.Targets[0].Address != w.addr {
			continue
		}
		if word := u.Targets[0].Breaker; word != w.m.state {
			return fmt.Errorf("/upstreams says %q, want %s", word, w.m.state)
		}
		return nil
	}
	return errors.New("/upstreams does not have the target")
}

// checkChanges compares every change with the audit trail and the counters.
func (w *walk) checkChanges(t *testing.T, metrics map[string]float64) {
	t.Helper()
	component, route := w.component()
	want := record{"event_type": "circuit_breaker_change", "metadata.component": component}
	if w.ofRoute {
		want["route_id"] = route
	}
	atLeast(t, w.s.audit, len(w.m.changes), want)
	var told []string
	for _, r := range w.s.audit.those(want) {
		told = append(told, r["metadata.from"]+" "+r["metadata.to"]+" "+r["reason"])
	}
	if fmt.Sprint(told) != fmt.Sprint(w.m.changes) {
		t.Errorf("%s: the audit trail has\n  %v, want\n  %v", w.id, told, w.m.changes)
	}
	counts := map[string]float64{"closed": 0, "open": 0, "half_open": 0}
	for _, c := range w.m.changes {
		counts[strings.Fields(c)[1]]++
	}
	for to, n := range counts {
		if got := metrics[series("circuit_breaker_transitions_total", "component", component, "route", route, "to", to)]; got != n {
			t.Errorf("%s: %v transitions to %s were counted, want %v", w.id, got, to, n)
		}
	}
	if got := metrics[series("circuit_breaker_rejected_total", "component", component, "route", route)]; w.ofRoute && got != float64(w.refused) {
		t.Errorf("%s: %v requests were counted as rejected, want %d", w.id, got, w.refused)
	}
}
