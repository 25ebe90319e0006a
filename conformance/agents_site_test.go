package conformance

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// What a trial's client sends and its origin answers.
const (
	seeds = "seeds"
	fruit = "fruit"
)

// trial is a route with an agent and an origin of its own. Its id is that of the route, of the agent and of
// the upstream, and its path.
type trial struct {
	id       string
	open     bool       // the failure mode
	phase    rogue.Kind // where the agent fails
	settings string     // more of the agent's block
	filter   string     // more of the filter's block
	coding   string     // the Content-Encoding of the phase's body
	body     string     // that body; empty: seeds or fruit
	alone    bool       // the agent has one connection
	d        rogue.Dialect
	fake     *rogue.Agent
	o        *origin
	s        *site

	mu    sync.Mutex
	gates gates

	beside sync.WaitGroup // requests beside those of the trial
	held   chan int       // their statuses, of those that are held
}

// gates hold back the origin's answer.
type gates struct{ head, body chan struct{} }

// newFake starts an agent until the test ends, when it must not have seen a byte outside its dialect.
func newFake(t testing.TB, o rogue.Options) *rogue.Agent {
	t.Helper()
	a, err := rogue.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("closing an agent: %v", err)
		}
		for _, violation := range a.Violations() {
			t.Error(violation)
		}
	})
	return a
}

// newTrials starts an agent and an origin for each trial, and a proxy before them.
func newTrials(t testing.TB, d rogue.Dialect, all []*trial, limits string) *site {
	t.Helper()
	dir := t.TempDir()
	var agents, filters, rest strings.Builder
	for i, tr := range all {
		tr.d = d
		tr.fake = newFake(t, rogue.Options{Path: filepath.Join(dir, fmt.Sprint(i)), Dialect: d})
		tr.o = newOrigin(t, "127.0.0.1:0")
		tr.o.auto = tr.answer
		agents.WriteString(tr.agent())
		fmt.Fprintf(&rest, "upstream %[1]q { target %[2]q; circuit-breaker { failure-threshold 1000000 } }\n"+
			"route %[1]q { matches { path \"/%[1]s\" }; upstream %[1]q; filters %[1]q }\n", tr.id, tr.o.addr())
		fmt.Fprintf(&rest, "route %[1]q { matches { path \"/%[1]s\" }; upstream %[2]q; filters %[1]q }\n", "beside-"+tr.id, tr.id)
		fmt.Fprintf(&filters, " filter %[1]q { type \"agent\"; agent %[1]q; %[2]s }\n", tr.id, tr.filter)
		fmt.Fprintf(&filters, " filter %q { type \"agent\"; agent %q; failure-mode \"closed\" }\n", "beside-"+tr.id, tr.id)
	}
	s := openSite(t, "agents {\n"+agents.String()+"}\nfilters {\n"+filters.String()+"}\n"+limits+rest.String(), nil)
	for _, tr := range all {
		tr.s = s
	}
	return s
}

// agent is the agent's block.
func (tr *trial) agent() string {
	mode := "closed"
	if tr.open {
		mode = "open"
	}
	return fmt.Sprintf(" agent %q type=\"waf\" { unix-socket %q; failure-mode %q; %s\n"+
		"  events \"request_headers\" \"request_body\" \"response_headers\" \"response_body\" }\n", tr.id, tr.fake.Path(), mode, tr.settings)
}

// answer is the origin's, held back by the gates.
func (tr *trial) answer(r *request) {
	tr.mu.Lock()
	g := tr.gates
	tr.mu.Unlock()
	<-g.head
	r.answer(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Origin: %s\r\n%s\r\n",
		len(tr.fruit()), tr.id, tr.encoding(rogue.ResponseBody)))
	<-g.body
	r.answer([]byte(tr.fruit()))
}

// seeds and fruit are the bodies of the request and of the answer.
func (tr *trial) seeds() string { return tr.either(rogue.RequestBody, seeds) }
func (tr *trial) fruit() string { return tr.either(rogue.ResponseBody, fruit) }

func (tr *trial) either(phase rogue.Kind, usual string) string {
	if tr.phase == phase && tr.body != "" {
		return tr.body
	}
	return usual
}

// coded is the Content-Encoding of the body in a phase.
func (tr *trial) coded(phase rogue.Kind) string {
	if tr.phase != phase {
		return ""
	}
	return tr.coding
}

// encoding is the field that says so.
func (tr *trial) encoding(phase rogue.Kind) string {
	if coding := tr.coded(phase); coding != "" {
		return "Content-Encoding: " + coding + "\r\n"
	}
	return ""
}

// coding is what a message says of its body.
func (m *message) coding() string { return strings.Join(values(m.fields, "Content-Encoding"), ",") }

// play makes one request, named by a mark. When all that is missing is what makes the proxy ask the agent about
// a phase, it calls before.
func (tr *trial) play(t testing.TB, mark string, phase rogue.Kind, before func()) (*message, error) {
	t.Helper()
	g := gates{make(chan struct{}), make(chan struct{})}
	openHead, openBody := sync.OnceFunc(func() { close(g.head) }), sync.OnceFunc(func() { close(g.body) })
	defer openBody()
	defer openHead()
	tr.mu.Lock()
	tr.gates = g
	tr.mu.Unlock()
	begun, _ := tr.o.count()
	answered := maps.Clone(tr.fake.Stats().Answered)
	done := func(k rogue.Kind) { // the agent has answered about a phase
		must(t, tr.fake, func(s rogue.Stats) bool { return s.Answered[k] > answered[k] })
	}
	at := func(k rogue.Kind) {
		if k == phase {
			before()
		}
	}
	c := dial(t, tr.s.addr, whole)
	defer c.close()
	at(rogue.RequestHeaders)
	c.send(tr.head(mark))
	if phase != rogue.RequestHeaders {
		done(rogue.RequestHeaders)
	}
	at(rogue.RequestBody)
	c.send([]byte(tr.seeds()))
	if phase == rogue.ResponseHeaders && tr.o.request(begun, complete) == nil {
		t.Fatalf("%s: %s did not come to the origin: %+v", tr.id, mark, tr.s.access.last())
	}
	at(rogue.ResponseHeaders)
	openHead()
	if phase == rogue.ResponseBody {
		done(rogue.ResponseHeaders)
	}
	at(rogue.ResponseBody)
	openBody()
	return c.response(false)
}

func (tr *trial) head(mark string) []byte {
	return fmt.Appendf(nil, "POST /%s HTTP/1.1\r\nHost: a.example\r\nX-Trace-Id: %s\r\nX-Fault-Id: %[2]s\r\nContent-Length: %d\r\n%s\r\n",
		tr.id, mark, len(tr.seeds()), tr.encoding(rogue.RequestBody))
}

// isBeside reports whether an event is of a request that is made beside those of the trial.
func isBeside(e *rogue.Event) bool { return strings.HasPrefix(e.Mark, "beside") }

// askBeside makes a request that asks the same agent, in closed mode, and returns its status.
func (tr *trial) askBeside(n int) int {
	r := tr.s.ask(asked{method: "GET", path: "/beside-" + tr.id, id: fmt.Sprintf("beside-%d", n)})
	return r.status()
}

// occupy makes requests that the agent holds, one after the other, and that wait for it: they are blocked when
// it is released.
func (tr *trial) occupy(t testing.TB, waiting int) {
	t.Helper()
	tr.fake.Set(func(e *rogue.Event) rogue.Act {
		if !isBeside(e) {
			return rogue.Act{}
		}
		return rogue.Act{Hold: true, Answer: rogue.Answer{Decision: rogue.Block(403, "beside")}}
	})
	asked := tr.fake.Stats().Events[rogue.RequestHeaders]
	tr.held = make(chan int, 1+waiting)
	for n := range 1 + waiting {
		tr.beside.Go(func() { tr.held <- tr.askBeside(n) })
		if n == 0 {
			must(t, tr.fake, func(s rogue.Stats) bool { return s.Events[rogue.RequestHeaders] > asked })
		}
	}
	eventually(t, "the line at "+tr.id, func() bool {
		m := tr.s.metrics(t)
		return m[series("agent_waiting", "agent", tr.id)] == float64(waiting) && m[series("agent_in_flight", "agent", tr.id)] == 1
	})
}

// heard waits until the proxy has taken every answer of the agent: a success taken later would be counted after
// the failures that follow.
func (tr *trial) heard(t testing.TB) {
	t.Helper()
	answered := tr.fake.Stats().Answered
	eventually(t, "the answers of "+tr.id, func() bool {
		m := tr.s.metrics(t)
		return !slices.ContainsFunc(rogue.Phases(), func(k rogue.Kind) bool {
			return m[series("agent_latency_seconds_count", "agent", tr.id, "event", "on_"+string(k))] < float64(answered[k])
		})
	})
}

// trip makes the agent fail until its circuit breaker opens.
func (tr *trial) trip(t testing.TB, failures int) {
	t.Helper()
	tr.heard(t)
	tr.fake.Set(func(e *rogue.Event) rogue.Act {
		if !isBeside(e) {
			return rogue.Act{}
		}
		return rogue.Act{Answer: rogue.Answer{Decision: rogue.Missing}}
	})
	for n := range failures {
		if status := tr.askBeside(n); status != 503 {
			t.Errorf("%s: a request at which the agent failed got %d, want 503", tr.id, status)
		}
	}
	component := "agent:" + tr.id
	tr.s.wantMetric(t, 1, "circuit_breaker_state", "component", component, "route", "")
	tr.s.audit.find(t, record{
		"event_type": "circuit_breaker_change", "agent_id": tr.id, "action": "open", "metadata.component": component, "metadata.to": "open",
	})
}

// release ends what occupy began. The next in line is held in its turn.
func (tr *trial) release(t testing.TB) {
	t.Helper()
	tr.fake.Set(func(e *rogue.Event) rogue.Act {
		if !isBeside(e) {
			return rogue.Act{}
		}
		return rogue.Act{Answer: rogue.Answer{Decision: rogue.Block(403, "beside")}}
	})
	tr.fake.Release()
	tr.beside.Wait()
	close(tr.held)
	for status := range tr.held {
		if status != 403 {
			t.Errorf("%s: a request that waited for its turn got %d, want the agent's 403", tr.id, status)
		}
	}
	tr.held = nil
}

// must waits for an agent's counts to become as they have to.
func must(t testing.TB, a *rogue.Agent, holds func(rogue.Stats) bool) {
	t.Helper()
	if err := a.Await(bounded(t), holds); err != nil {
		t.Fatalf("%v: the agent has %+v, violations %q", err, a.Stats(), a.Violations())
	}
}

// traced returns the access line of a request.
func (s *site) traced(t testing.TB, mark string) accessLine {
	t.Helper()
	var found accessLine
	s.access.must(t, "the access line of "+mark, func() bool {
		for _, l := range s.access.lines {
			if l.TraceID == mark {
				found = l
			}
		}
		return found.TraceID != ""
	})
	return found
}

// reborn kills the agent and, when the proxy knows of that, starts it again with another script.
func (tr *trial) reborn(t testing.TB, s rogue.Script) {
	t.Helper()
	tr.fake.Kill()
	tr.fake.Set(s)
	eventually(t, "the end of the connections to "+tr.id, func() bool {
		return tr.s.metrics(t)[series("agent_connections", "agent", tr.id)] == 0
	})
	if err := tr.fake.Restart(); err != nil {
		t.Fatal(err)
	}
}

// connected waits until the proxy has all the connections to the agent that it wants to have, and knows of them.
func (tr *trial) connected(t testing.TB) {
	t.Helper()
	want := 4
	if tr.d == rogue.V1 || tr.alone {
		want = 1
	}
	if err := tr.fake.Await(bounded(t), func(s rogue.Stats) bool { return s.Open >= want }); err != nil {
		t.Fatalf("%d connections to %s: %v: the agent has %+v", want, tr.id, err, tr.fake.Stats())
	}
	eventually(t, "connections to "+tr.id, func() bool {
		open := tr.fake.Stats().Open // a handshake that finds out the dialect may have come and gone again
		return open >= want && tr.s.metrics(t)[series("agent_connections", "agent", tr.id)] == float64(open)
	})
}
