package conformance

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// gift is what a request gets from its step.
type gift int

const (
	allows gift = iota
	blocks
	fails  // no verdict
	either // an allow, which the proxy may also distrust
)

// step is what the agent does with one request, in one phase of it; in the other it allows.
type step struct {
	name  string
	is    gift
	phase rogue.Kind
	act   rogue.Act
}

// steps lists what an agent of a dialect may do. The mark is that of the request.
func steps(d rogue.Dialect) map[gift][]step {
	doubly := either
	if d != rogue.V1 { // there the second answer has an id, and finds nobody
		doubly = allows
	}
	add := func(all map[gift][]step, is gift, name string, act rogue.Act) {
		all[is] = append(all[is], step{name: name, is: is, act: act})
	}
	all := map[gift][]step{}
	for _, good := range rogue.GoodDecisions() {
		add(all, allows, good.Name, rogue.Act{Answer: rogue.Answer{Decision: good.Is}})
	}
	add(all, allows, "drips", rogue.Act{Fault: rogue.Drip(time.Microsecond)})
	add(all, allows, "large", rogue.Act{Fault: rogue.Giant(200_000)})
	add(all, doubly, "twice", rogue.Act{Fault: rogue.Twice()})
	add(all, either, "twice, then closes", rogue.Act{Fault: rogue.TwiceThenClose()})
	for _, bad := range rogue.BadDecisions() {
		add(all, fails, bad.Name, rogue.Act{Answer: rogue.Answer{Decision: bad.Is}})
	}
	for _, f := range rogue.Frames(d) {
		add(all, fails, f.String(), rogue.Act{Fault: f})
	}
	add(all, fails, "late", rogue.Act{Delay: fuzzTimeout * 3 / 2})
	add(all, fails, "postponed", rogue.Act{Fault: rogue.Postpone()})
	add(all, blocks, "blocks", rogue.Act{})
	add(all, blocks, "blocks twice", rogue.Act{Fault: rogue.Twice()})
	return all
}

// fuzzTimeout is how long the agent has: some of the faults use it up.
const fuzzTimeout = 100 * time.Millisecond

// lane is a route with an agent of its own, to which one request comes after the other.
type lane struct {
	path   string
	fake   *rogue.Agent
	random *rand.Rand
	steps  map[gift][]step
	count  map[string]int // of requests by what became of them

	mu    sync.Mutex // guards the rest
	plans map[string]step
	given map[string]map[rogue.Kind]bool // phases in which the agent allowed a request
}

// act is the agent's script.
func (l *lane) act(e *rogue.Event) rogue.Act {
	l.mu.Lock()
	defer l.mu.Unlock()
	plan, known := l.plans[e.Mark]
	if !known || e.Kind != rogue.RequestHeaders && e.Kind != rogue.RequestBody {
		return rogue.Act{}
	}
	if e.Kind != plan.phase || plan.is == allows || plan.is == either {
		if l.given[e.Mark] == nil {
			l.given[e.Mark] = map[rogue.Kind]bool{}
		}
		l.given[e.Mark][e.Kind] = true
	}
	if e.Kind != plan.phase {
		return rogue.Act{}
	}
	if plan.is == blocks {
		plan.act.Answer.Decision = rogue.Block(418, e.Mark)
	}
	return plan.act
}

// plan draws what the agent does with a request.
func (l *lane) plan(id string, body bool) step {
	kind := []gift{allows, allows, blocks, fails, fails, either}[l.random.IntN(6)]
	p := l.steps[kind][l.random.IntN(len(l.steps[kind]))]
	p.phase = rogue.RequestHeaders
	if body && l.random.IntN(2) == 0 {
		p.phase = rogue.RequestBody
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plans[id] = p
	return p
}

// allowed reports whether the agent has allowed the request in each phase that it has.
func (l *lane) allowed(id string, body bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.given[id][rogue.RequestHeaders] && (!body || l.given[id][rogue.RequestBody])
}

// TestRandomFaults is AG-04 through the proxy: a thousand random sequences of requests at which an agent does
// well or goes wrong in any way. On a closed route, what comes to the origin is exactly what the agent has
// allowed, and nobody gets the verdict on another request.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	const lanesEach = 5
	sequences := 1000 * *scale
	o := newCounter(t)
	lanes, s := newLanes(t, o, lanesEach)
	var done atomic.Int64
	var playing sync.WaitGroup
	for _, l := range lanes {
		playing.Go(func() {
			for done.Add(1) <= int64(sequences) {
				l.sequence(t, s, o)
			}
		})
	}
	playing.Wait()
	total := map[string]int{}
	for _, l := range lanes {
		for what, n := range l.count {
			total[what] += n
		}
	}
	if total["allowed"] < sequences/2 || total["failed"] < sequences/2 || total["blocked"] < sequences/4 || total["late"] > total["allowed"]/4 {
		t.Errorf("the requests became %v: that proves little", total)
	}
	if o.Total() != total["allowed"] {
		t.Errorf("%d requests came to the origin, want %d", o.Total(), total["allowed"])
	}
	t.Logf("%d sequences: the requests became %v", sequences, total)
}

func newLanes(t *testing.T, o *fault.Origin, each int) (lanes []*lane, s *site) {
	t.Helper()
	dir := t.TempDir()
	var agents, filters, routes strings.Builder
	for i := range each * len(rogue.Dialects()) {
		d := rogue.Dialects()[i%len(rogue.Dialects())]
		l := &lane{
			path: fmt.Sprint("/l", i), random: rand.New(rand.NewPCG(4, uint64(i))), steps: steps(d), count: map[string]int{},
			fake:  newFake(t, rogue.Options{Path: filepath.Join(dir, fmt.Sprint(i)), Dialect: d}),
			plans: map[string]step{}, given: map[string]map[rogue.Kind]bool{},
		}
		l.fake.Set(l.act)
		lanes = append(lanes, l)
		fmt.Fprintf(&agents, " agent \"l%d\" type=\"waf\" { unix-socket %q; events \"request_headers\" \"request_body\"; "+
			"circuit-breaker { failure-threshold 1000000 } }\n", i, l.fake.Path())
		fmt.Fprintf(&filters, " filter \"l%[1]d\" { type \"agent\"; agent \"l%[1]d\"; timeout-ms %[2]d }\n", i, fuzzTimeout.Milliseconds())
		fmt.Fprintf(&routes, "route \"l%[1]d\" { matches { path \"/l%[1]d\" }; upstream \"o\"; filters \"l%[1]d\" }\n", i)
	}
	s = openSite(t, fmt.Sprintf("agents {\n%s}\nfilters {\n%s}\nupstream \"o\" { target %q }\n%s", &agents, &filters, o.Addr(), &routes), nil)
	for i := range lanes {
		s.reaches(t, fmt.Sprint("l", i))
	}
	return lanes, s
}

// sequence plays some requests one after the other.
func (l *lane) sequence(t *testing.T, s *site, o *fault.Origin) {
	c := &caller{addr: s.addr}
	defer c.close()
	for range 1 + l.random.IntN(5) {
		id := fmt.Sprintf("%s-%d", l.path[1:], len(l.plans))
		method, body := "GET", ""
		if l.random.IntN(2) == 0 {
			method, body = "POST", seeds
		}
		p := l.plan(id, body != "")
		m, err := c.call(demand(method, l.path, id, body))
		if err != nil {
			t.Errorf("%s: %s: %v", id, p.name, err)
			continue
		}
		what, well := l.judge(o, id, p, m, body != "")
		l.count[what]++
		if !well {
			t.Errorf("%s: the agent does %q in %s; the client got %q %q, the agent has allowed it: %t, it came to the origin %d times; %+v",
				id, p.name, p.phase, m.start, clip(m.body), l.allowed(id, body != ""), o.Seen(id), s.traced(t, id))
		}
	}
}

// judge says what became of a request, and whether that is what had to.
func (l *lane) judge(o *fault.Origin, id string, p step, m *message, body bool) (what string, well bool) {
	allowed, came := l.allowed(id, body), o.Seen(id)
	refused := m.status() == 503 || m.status() == 504
	switch {
	case came > 0:
		return "allowed", came == 1 && allowed && m.status() == 200
	case p.is == blocks && m.status() == 418:
		return "blocked", string(m.body) == id
	case allowed && p.is == either:
		return "distrusted", refused
	case allowed: // on a slow machine it was too late
		return "late", m.status() == 504
	default:
		return "failed", refused
	}
}
