package conformance

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
	"pgregory.net/rapid"
)

// council is a proxy with a route for every number of agents up to maxCouncil and every choice of their failure
// modes.
type council struct {
	s      *site
	o      *origin
	agents []*rogue.Agent
	asked  int // requests made
}

const maxCouncil = 4

func newCouncil(t testing.TB) *council {
	t.Helper()
	c := &council{o: newOrigin(t, "127.0.0.1:0")}
	c.o.auto = func(r *request) {
		r.answer([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: origin\r\nX-B: origin\r\n\r\nfruit"))
	}
	dir := t.TempDir()
	var text strings.Builder
	fmt.Fprintf(&text, "upstream \"o\" { target %q }\nagents {\n", c.o.addr())
	for i, d := range []rogue.Dialect{rogue.V2R, rogue.V1, rogue.V2D, rogue.V1} {
		c.agents = append(c.agents, newFake(t, rogue.Options{Path: filepath.Join(dir, fmt.Sprint(i)), Dialect: d}))
		fmt.Fprintf(&text, " agent \"a%d\" { unix-socket %q; %s; events \"request_headers\" \"response_headers\" }\n", i, c.agents[i].Path(), longTime)
	}
	text.WriteString("}\nfilters {\n")
	for i := range maxCouncil {
		for _, mode := range []string{"open", "closed"} {
			fmt.Fprintf(&text, " filter \"%s%d\" { type \"agent\"; agent \"a%[2]d\"; failure-mode %[1]q }\n", mode, i)
		}
	}
	text.WriteString("}\n")
	for n := 1; n <= maxCouncil; n++ {
		for mask := range 1 << n {
			fmt.Fprintf(&text, "route \"r%d-%d\" { matches { path \"/%[1]d/%[2]d\" }; upstream \"o\"; filters", n, mask)
			for i := range n {
				fmt.Fprintf(&text, " %q", mode(mask, i)+fmt.Sprint(i))
			}
			text.WriteString(" }\n")
		}
	}
	c.s = openSite(t, text.String(), nil)
	return c
}

// mode is the failure mode of the nth agent.
func mode(mask, n int) string {
	if mask>>n&1 == 1 {
		return "open"
	}
	return "closed"
}

// connected waits until every agent can be asked.
func (c *council) connected(t testing.TB) {
	t.Helper()
	eventually(t, "connections to the agents", func() bool {
		m := c.s.metrics(t)
		for i, a := range c.agents {
			open := a.Stats().Open
			if open == 0 || m[series("agent_connections", "agent", fmt.Sprintf("a%d", i))] != float64(open) {
				return false
			}
		}
		return true
	})
}

// opinion is what one agent says about one request.
type opinion struct{ request, response rogue.Answer }

// Decisions of opinions: besides those that refuse, allow and the one that is none.
var refusals = map[string]struct {
	status int
	word   string
}{
	rogue.Block(418, "no"):                {418, "agent_blocked"},
	rogue.Redirect(303, "/elsewhere"):     {303, "agent_redirected"},
	rogue.Challenge("captcha", `{"a":1}`): {403, "agent_challenged"},
}

func drawOpinion(rt *rapid.T, n int) (o opinion) {
	kinds := []string{"", "", "", rogue.Missing, rogue.Block(418, "no"), rogue.Redirect(303, "/elsewhere"), rogue.Challenge("captcha", `{"a":1}`)}
	o.request.Decision = rapid.SampledFrom(kinds).Draw(rt, "about the request")
	o.response.Decision = rapid.SampledFrom(kinds[:5]).Draw(rt, "about the response")
	o.request.RequestOps, o.request.ResponseOps = drawOps(rt, n, "r"), drawOps(rt, n, "e")
	o.response.ResponseOps = drawOps(rt, n, "l")
	return o
}

// drawOps draws changes of two fields. Each value says whose it is.
func drawOps(rt *rapid.T, agent int, when string) (ops []rogue.Op) {
	for k := range rapid.IntRange(0, 3).Draw(rt, "changes") {
		ops = append(ops, rogue.Op{
			Kind: rapid.SampledFrom([]string{"set", "add", "remove"}).Draw(rt, "change"), Name: rapid.SampledFrom([]string{"X-A", "X-B"}).Draw(rt, "field"),
			Value: fmt.Sprintf("%d%s%d", agent, when, k),
		})
	}
	return ops
}

// upshot is what has to come of a request.
type upshot struct {
	status             int
	word               string // the Reason; empty: none
	upstream           bool   // the request comes to the upstream
	bypassed           []int  // agents without whom it went on
	deaf               []int  // those of them that are not to hear of the response
	upstreams, clients map[string][]string
}

// foresee is the documentation's account of several agents, as code.
func foresee(opinions []opinion, mask int) upshot {
	for _, o := range opinions { // the first refusal in filter order holds, also over failures
		if r, refuses := refusals[o.request.Decision]; refuses {
			return upshot{status: r.status, word: r.word}
		}
	}
	out := upshot{status: 200, upstream: true}
	present := []int{}
	for i, o := range opinions {
		switch {
		case o.request.Decision != rogue.Missing:
			present = append(present, i)
		case mode(mask, i) == "closed":
			return upshot{status: 503, word: "agent_bad_reply", bypassed: out.bypassed}
		default:
			out.bypassed = append(out.bypassed, i)
		}
	}
	out.upstreams = map[string][]string{"X-A": {"client"}, "X-B": {"client"}}
	out.clients = map[string][]string{"X-A": {"origin"}, "X-B": {"origin"}}
	out.deaf = slices.Clone(out.bypassed)
	for _, i := range present {
		change(out.upstreams, opinions[i].request.RequestOps)
		change(out.clients, opinions[i].request.ResponseOps)
	}
	for _, i := range slices.Backward(present) {
		switch o := opinions[i].response; {
		case o.Decision == "":
			change(out.clients, o.ResponseOps)
		case o.Decision != rogue.Missing: // too late to refuse
		case mode(mask, i) == "closed":
			out.status, out.word, out.clients = 502, "agent_response_failed", nil
			return out
		default:
			out.bypassed = append(out.bypassed, i)
		}
	}
	return out
}

// change makes the changes of one verdict: removals, then sets, then additions.
func change(fields map[string][]string, ops []rogue.Op) {
	for _, kind := range []string{"remove", "set", "add"} {
		for _, op := range ops {
			switch {
			case op.Kind != kind:
			case kind == "remove":
				fields[op.Name] = nil
			case kind == "set":
				fields[op.Name] = []string{op.Value}
			default:
				fields[op.Name] = append(fields[op.Name], op.Value)
			}
		}
	}
}

// TestAgentsDisagree asks up to four agents, of every dialect, that allow, refuse and fail as they please, in
// either failure mode, and compares what comes of it with the model.
func TestAgentsDisagree(t *testing.T) {
	t.Parallel()
	c := newCouncil(t)
	rapid.Check(t, func(rt *rapid.T) {
		opinions := make([]opinion, rapid.IntRange(1, maxCouncil).Draw(rt, "agents"))
		for i := range opinions {
			opinions[i] = drawOpinion(rt, i)
			c.agents[i].Set(opinions[i].script())
		}
		mask := rapid.IntRange(0, 1<<len(opinions)-1).Draw(rt, "open")
		c.connected(t)
		c.check(t, rt, foresee(opinions, mask), fmt.Sprintf("/%d/%d", len(opinions), mask))
	})
	c.s.stop(t)
}

func (o opinion) script() rogue.Script {
	return func(e *rogue.Event) rogue.Act {
		answers := map[rogue.Kind]rogue.Answer{rogue.RequestHeaders: o.request, rogue.ResponseHeaders: o.response}
		return rogue.Act{Answer: answers[e.Kind]}
	}
}

// check makes a request and compares what comes of it.
func (c *council) check(t *testing.T, rt *rapid.T, want upshot, path string) {
	begun, _ := c.o.count()
	c.asked++
	mark := fmt.Sprintf("council-%d", c.asked)
	cl := dial(t, c.s.addr, whole)
	defer cl.close()
	cl.send(fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: a.example\r\nX-Trace-Id: %s\r\nX-Fault-Id: %[2]s\r\nX-A: client\r\nX-B: client\r\n\r\n", path, mark))
	m, err := cl.response(false)
	if err != nil || m.status() != want.status {
		rt.Fatalf("%q (%v), want %d", m.start, err, want.status)
	}
	if got, _ := c.o.count(); (got > begun) != want.upstream {
		rt.Fatalf("%d requests came to the upstream, and it is %t that one should", got-begun, want.upstream)
	}
	if l := c.s.traced(t, mark); l.Error != want.word || l.Status != want.status {
		rt.Fatalf("access line %+v, want %d %q", l, want.status, want.word)
	}
	for name, values := range want.upstreams {
		c.compare(rt, "the upstream", c.o.request(begun, complete).seen(), name, values)
	}
	for name, values := range want.clients {
		c.compare(rt, "the client", m, name, values)
	}
	c.checkBypassed(rt, mark, want)
}

func (c *council) compare(rt *rapid.T, whose string, m *message, name string, want []string) {
	if got := values(m.fields, name); !slices.Equal(got, want) {
		rt.Fatalf("%s got %s %q, want %q", whose, name, got, want)
	}
}

// checkBypassed compares whom the audit log says a request went on without. They were asked nothing more.
func (c *council) checkBypassed(rt *rapid.T, mark string, want upshot) {
	c.s.audit.await(func() bool { // what comes late, or never, shows below
		n := 0
		for _, r := range c.s.audit.all {
			if r["trace_id"] == mark && r["action"] == "fail_open" {
				n++
			}
		}
		return n >= len(want.bypassed)
	})
	var got []int
	for _, r := range c.s.audit.those(record{"trace_id": mark, "action": "fail_open"}) {
		var n int
		if _, err := fmt.Sscanf(r["agent_id"], "a%d", &n); err != nil {
			rt.Fatalf("the audit log has the agent %q", r["agent_id"])
		}
		got = append(got, n)
	}
	if !slices.Equal(got, want.bypassed) {
		rt.Fatalf("the request went on without %v, want %v", got, want.bypassed)
	}
	for _, n := range want.deaf {
		for _, e := range c.agents[n].Of(mark) {
			if e.Kind == rogue.ResponseHeaders {
				rt.Fatalf("agent %d was asked about the response after it had failed", n)
			}
		}
	}
}
