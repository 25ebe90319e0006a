package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// The tests of this file are named after the numbers of the protocol's conformance checklist.

// eachDialect plays trials, one beside the other, in every dialect.
func eachDialect(t *testing.T, trials func() []*trial, play func(*testing.T, *trial)) {
	t.Parallel()
	for _, d := range rogue.Dialects() {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			all := trials()
			s := newTrials(t, d, all, "")
			var playing sync.WaitGroup
			for _, tr := range all {
				playing.Go(func() {
					t.Run(tr.id, func(t *testing.T) {
						tr.connected(t)
						play(t, tr)
					})
				})
			}
			playing.Wait()
			s.stop(t)
		})
	}
}

// everywhere returns a trial for every phase and failure mode.
func everywhere() (all []*trial) {
	for _, phase := range rogue.Phases() {
		for _, open := range []bool{false, true} {
			all = append(all, &trial{id: trialID(phase, open), open: open, phase: phase, settings: longTime})
		}
	}
	return all
}

// oneTrial returns a function that makes one trial.
func oneTrial(id, settings string) func() []*trial {
	return func() []*trial {
		return []*trial{{id: id, phase: rogue.RequestHeaders, settings: longTime + settings}}
	}
}

// exchange sends a request with a body, framed as fields say, through the trial's route.
func (tr *trial) exchange(t testing.TB, mark, fields, body string) *message {
	t.Helper()
	g := gates{make(chan struct{}), make(chan struct{})}
	close(g.head)
	close(g.body)
	tr.mu.Lock()
	tr.gates = g
	tr.mu.Unlock()
	c := dial(t, tr.s.addr, whole)
	defer c.close()
	c.send(fmt.Appendf(nil, "POST /%s HTTP/1.1\r\nHost: a.example\r\nX-Trace-Id: %s\r\nX-Fault-Id: %[2]s\r\n%s\r\n%s", tr.id, mark, fields, body))
	m, err := c.response(false)
	if err != nil {
		t.Errorf("%s: %v after %q", mark, err, clip(c.got))
	}
	return m
}

// ask is exchange with the usual body.
func (tr *trial) ask(t testing.TB, mark string) *message {
	t.Helper()
	return tr.exchange(t, mark, fmt.Sprintf("Content-Length: %d\r\n", len(seeds)), seeds)
}

// TestChecklist10Decisions plays every decision that is none, in every phase: in closed mode it is never an
// allow. Whatever is an allow is taken for one.
func TestChecklist10Decisions(t *testing.T) {
	f := failing{class: classDecision, reason: "agent_bad_reply", kind: "bad_reply"}
	eachDialect(t, everywhere, func(t *testing.T, tr *trial) {
		failed := false
		for n, bad := range rogue.BadDecisions() {
			tr.fake.Set(rogue.Only(tr.phase, rogue.Act{Answer: rogue.Answer{Decision: bad.Is}}))
			tr.connected(t)
			begun, _ := tr.o.count()
			mark := fmt.Sprintf("%s-bad-%d", tr.id, n)
			m, err := tr.play(t, mark, tr.phase, func() {})
			if tr.open {
				tr.wantPassed(t, mark, m, err)
			} else {
				f.wantRefused(t, tr, mark, m, err)
			}
			f.checkOrigin(t, tr, begun)
			f.checkAudit(t, tr, mark)
			if t.Failed() && !failed {
				failed = true
				t.Errorf("the first of them was %s", bad.Name)
			}
		}
		for n, good := range rogue.GoodDecisions() {
			tr.fake.Set(rogue.Only(tr.phase, rogue.Act{Answer: rogue.Answer{Decision: good.Is}}))
			tr.connected(t)
			tr.passes(t, fmt.Sprintf("%s-good-%d", tr.id, n), tr.phase, func() {})
			if t.Failed() {
				t.Fatalf("after allow as %s", good.Name)
			}
		}
	})
}

// TestChecklist12Bodies sends bodies up to what an agent may see and beyond. In buffer mode nothing reaches the
// upstream before the verdict.
func TestChecklist12Bodies(t *testing.T) {
	const limit = 64
	both := func() (all []*trial) {
		for _, open := range []bool{false, true} {
			all = append(all, &trial{
				id: trialID(rogue.RequestBody, open), open: open, phase: rogue.RequestBody,
				settings: longTime + fmt.Sprintf("; max-request-body-bytes %d", limit),
			})
		}
		return all
	}
	eachDialect(t, both, func(t *testing.T, tr *trial) {
		bypassed := 0.0
		for _, size := range []int{0, 1, limit, limit + 1} {
			for _, chunked := range []bool{false, true} {
				mark := fmt.Sprintf("%s-%d-%t", tr.id, size, chunked)
				tr.sendBody(t, mark, size, size > limit, chunked)
				if size > limit && tr.open {
					bypassed++
				}
			}
		}
		tr.s.wantMetric(t, bypassed, "agent_bypass_total", "agent", tr.id)
	})
}

// sendBody sends one body and checks what the agent, the upstream and the client see of it.
func (tr *trial) sendBody(t *testing.T, mark string, size int, tooLarge, chunked bool) {
	t.Helper()
	body := strings.Repeat("b", size)
	fields, sent := fmt.Sprintf("Content-Length: %d\r\n", size), body
	if chunked {
		fields, sent = "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"
		if size > 0 {
			sent = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", size, body)
		}
	}
	begun, _ := tr.o.count()
	early := make(chan int, 1)
	tr.fake.Set(func(e *rogue.Event) rogue.Act {
		if e.Kind == rogue.RequestBody && e.Last {
			n, _ := tr.o.count() // the verdict is not given yet
			early <- n
		}
		return rogue.Act{}
	})
	m := tr.exchange(t, mark, fields, sent)
	seen := ""
	for _, e := range tr.fake.Of(mark) {
		if e.Kind == rogue.RequestBody {
			seen += string(e.Body)
		}
	}
	wantSeen := body
	if tooLarge {
		wantSeen = ""
	}
	if seen != wantSeen {
		t.Errorf("%s: the agent saw %q, want %q", mark, seen, wantSeen)
	}
	if seen != "" {
		if n := <-early; n != begun {
			t.Errorf("%s: the request was at the upstream before the verdict", mark)
		}
	}
	if tooLarge && !tr.open {
		if n, _ := tr.o.count(); m.status() != 413 || n != begun {
			t.Errorf("%s: %q and %d requests at the upstream, want 413 and none", mark, m.start, n-begun)
		}
		return
	}
	r := tr.o.request(begun, complete)
	if m.status() != 200 || r == nil || string(r.seen().body) != body {
		t.Fatalf("%s: %q, or the upstream did not get %d bytes", mark, m.start, size)
	}
	if lengths := values(r.seen().fields, "Content-Length"); size > 0 && !tooLarge && !slices.Equal(lengths, []string{strconv.Itoa(size)}) {
		t.Errorf("%s: the upstream got Content-Length %q, want %d", mark, lengths, size)
	}
}

// TestChecklist13Mutations replaces bodies: what an agent gives is decoded, empty data drops the body, no data
// leaves it. The length is that of what goes on, and the head is the sender's.
func TestChecklist13Mutations(t *testing.T) {
	text := func(s string) *string { return &s }
	each := func() (all []*trial) {
		for _, phase := range []rogue.Kind{rogue.RequestBody, rogue.ResponseBody} {
			for name, size := range map[string]int{"short": 5, "long": 20_000} {
				all = append(all, &trial{
					id: name + "-" + strings.ReplaceAll(string(phase), "_", "-"), phase: phase, settings: longTime,
					body: strings.Repeat("o", size),
				})
			}
		}
		return all
	}
	eachDialect(t, each, func(t *testing.T, tr *trial) {
		for _, c := range []struct {
			name string
			data *string
			want string
		}{
			{"null", nil, tr.body},
			{"empty", text(""), ""},
			{"shorter", text("x"), "x"},
			{"longer", text(strings.Repeat("long", 10_000)), strings.Repeat("long", 10_000)},
			{"no text", text("\x00\xff\r\n"), "\x00\xff\r\n"},
		} {
			begun, _ := tr.o.count()
			act := rogue.Act{Answer: rogue.Answer{RequestChunk: c.data}}
			if tr.phase == rogue.ResponseBody {
				act = rogue.Act{Answer: rogue.Answer{ResponseChunk: c.data}}
			}
			tr.fake.Set(rogue.Only(tr.phase, act))
			m, err := tr.play(t, tr.id+"-"+strings.ReplaceAll(c.name, " ", "-"), tr.phase, func() {})
			if err != nil || m.start != "HTTP/1.1 200 OK" || !slices.Equal(values(m.fields, "X-Origin"), []string{tr.id}) {
				t.Fatalf("%s: the head %q %q (%v), want the origin's", c.name, m.start, m.fields, err)
			}
			if tr.phase == rogue.RequestBody {
				m = tr.o.request(begun, complete).seen()
			}
			if string(m.body) != c.want || !slices.Equal(values(m.fields, "Content-Length"), []string{strconv.Itoa(len(c.want))}) {
				t.Errorf("%s: %d bytes came, with Content-Length %q, want %d", c.name, len(m.body), values(m.fields, "Content-Length"), len(c.want))
			}
		}
	})
}

// TestChecklist14ResponseOps makes changes of the response's head in every phase: all reach the client. Those of
// the request's head reach the upstream as long as the request has not left.
func TestChecklist14ResponseOps(t *testing.T) {
	eachDialect(t, oneTrial("ops", ""), func(t *testing.T, tr *trial) {
		tr.fake.Set(func(e *rogue.Event) rogue.Act {
			name := "X-" + strings.ReplaceAll(string(e.Kind), "_", "-")
			ops := []rogue.Op{{Kind: "add", Name: name, Value: "2"}, {Kind: "set", Name: name, Value: "1"}, {Kind: "remove", Name: "X-Origin"}}
			return rogue.Act{Answer: rogue.Answer{RequestOps: ops, ResponseOps: ops}}
		})
		m := tr.ask(t, "ops-1")
		got := tr.o.request(0, complete).seen()
		for n, phase := range rogue.Phases() {
			name := "X-" + strings.ReplaceAll(string(phase), "_", "-")
			if v := values(m.fields, name); !slices.Equal(v, []string{"1", "2"}) {
				t.Errorf("the client got %s %q, want what is set, then what is added", name, v)
			}
			want := []string{"1", "2"}
			if n > 1 {
				want = nil
			}
			if v := values(got.fields, name); !slices.Equal(v, want) {
				t.Errorf("the upstream got %s %q, want %q", name, v, want)
			}
		}
		if v := values(m.fields, "X-Origin"); len(v) > 0 {
			t.Errorf("the client got X-Origin %q, which was removed", v)
		}
	})
}

// ruling is a decision that ends a request, and what the client gets for it.
type ruling struct {
	name, decision string
	status         int
	headers        map[string]string
	body           string // a part of it
	word           string // the Reason
}

func rulings() []ruling {
	return []ruling{
		{"block", rogue.Block(429, "slow down", "Retry-After", "60"), 429, map[string]string{"Retry-After": "60"}, "slow down", "agent_blocked"},
		{"block without words", `{"block":{"status":403}}`, 403, nil, "Blocked by agent", "agent_blocked"},
		{"block below", rogue.Block(199, "x"), 403, nil, "x", "agent_blocked"},
		{"block above", rogue.Block(600, "x"), 403, nil, "x", "agent_blocked"},
		{"redirect", rogue.Redirect(307, "https://b.example/in"), 307, map[string]string{"Location": "https://b.example/in"}, "", "agent_redirected"},
		{"redirect of no such status", rogue.Redirect(200, "/in"), 302, map[string]string{"Location": "/in"}, "", "agent_redirected"},
		{"challenge", rogue.Challenge("captcha", `{"level":3}`), 403, map[string]string{"X-Challenge-Type": "captcha"}, `{"level":"3"}`, "agent_challenged"},
	}
}

// TestChecklist15Rulings blocks, redirects and challenges in every phase. None passes before the upstream has
// acted, and then none counts.
func TestChecklist15Rulings(t *testing.T) {
	all := func() (all []*trial) {
		return slices.DeleteFunc(everywhere(), func(tr *trial) bool { return tr.open != (tr.phase == rogue.RequestBody) })
	}
	eachDialect(t, all, func(t *testing.T, tr *trial) {
		for n, c := range rulings() {
			tr.fake.Set(rogue.Only(tr.phase, rogue.Act{Answer: rogue.Answer{Decision: c.decision, Audit: `"rule_ids":["R1"]`}}))
			mark := fmt.Sprintf("%s-%d", tr.id, n)
			begun, _ := tr.o.count()
			m, err := tr.play(t, mark, tr.phase, func() {})
			if tr.phase == rogue.ResponseHeaders || tr.phase == rogue.ResponseBody {
				tr.wantPassed(t, mark, m, err)
				tr.s.failures.find(t, record{"trace_id": mark, "error_type": "agent_refusal_ignored"})
				continue
			}
			if got, _ := tr.o.count(); got != begun {
				t.Errorf("%s: the request came to the upstream", c.name)
			}
			c.check(t, tr, mark, m)
		}
		if tr.phase == rogue.RequestHeaders || tr.phase == rogue.RequestBody {
			tr.s.wantMetric(t, 4, "agent_requests_total", "agent", tr.id, "decision", "block")
			tr.s.wantMetric(t, 2, "agent_requests_total", "agent", tr.id, "decision", "redirect")
			tr.s.wantMetric(t, 1, "agent_requests_total", "agent", tr.id, "decision", "challenge")
		}
	})
}

func (c *ruling) check(t *testing.T, tr *trial, mark string, m *message) {
	t.Helper()
	if m.status() != c.status || !strings.Contains(string(m.body), c.body) {
		t.Errorf("%s: the client got %q %q, want %d with %q", c.name, m.start, clip(m.body), c.status, c.body)
	}
	for name, want := range c.headers {
		if got := values(m.fields, name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: the client got %s %q, want %q", c.name, name, got, want)
		}
	}
	if l := tr.s.traced(t, mark); l.Status != c.status || l.Error != c.word {
		t.Errorf("%s: access line %+v, want %d and %s", c.name, l, c.status, c.word)
	}
	tr.s.audit.find(t, record{
		"trace_id": mark, "event_type": "agent_decision", "action": strings.Fields(c.name)[0], "reason": c.word, "agent_id": tr.id,
		"status_code": strconv.Itoa(c.status), "rule_ids": "[R1]", "tags": "[agent:" + tr.id + "]",
	})
	if c.word == "agent_challenged" {
		var page struct {
			Kind string `json:"challenge_type"`
		}
		if err := json.Unmarshal(m.body, &page); err != nil || page.Kind != "captcha" {
			t.Errorf("%s: the page %q (%v), want one of a captcha", c.name, m.body, err)
		}
	}
}

// TestBlockedByAgentType counts what agents refuse by the type of the agent.
func TestBlockedByAgentType(t *testing.T) {
	eachDialect(t, oneTrial("typed", ""), func(t *testing.T, tr *trial) {
		tr.fake.Set(rogue.Always(rogue.Act{Answer: rogue.Answer{Decision: rogue.Block(403, "")}}))
		tr.ask(t, "typed-1")
		tr.s.wantMetric(t, 1, "blocked_requests_total", "reason", "waf")
	})
}

// TestChecklist20HeaderOps makes changes of heads that no agent may make, beside one that it may: they are left
// out and noted, the other is made.
func TestChecklist20HeaderOps(t *testing.T) {
	eachDialect(t, oneTrial("bad-ops", ""), func(t *testing.T, tr *trial) {
		fine := rogue.Op{Kind: "set", Name: "X-Fine", Value: "1"}
		for n, bad := range rogue.BadOps() {
			ops := []rogue.Op{bad.Is, fine}
			answer := rogue.Answer{RequestOps: ops, ResponseOps: ops}
			tr.fake.Set(rogue.Only(rogue.RequestHeaders, rogue.Act{Answer: answer}))
			mark := fmt.Sprintf("bad-ops-%d", n)
			begun, _ := tr.o.count()
			tr.connected(t)
			m := tr.ask(t, mark)
			if len(bad.Is.Name)+len(bad.Is.Value) > 64<<10 { // more than a verdict may have: it is none
				if got, _ := tr.o.count(); m.status() != 503 || got != begun {
					t.Errorf("%s: %q, want 503 and nothing at the upstream", bad.Name, m.start)
				}
				continue
			}
			r := tr.o.request(begun, complete)
			if m.status() != 200 || r == nil {
				t.Errorf("%s: %q, want 200 from the upstream", bad.Name, m.start)
				continue
			}
			tr.checkOps(t, bad, m, "the client")
			tr.checkOps(t, bad, r.seen(), "the upstream")
			if got := tr.s.failures.those(record{"trace_id": mark, "error_type": "agent_header_refused"}); len(got) != 2 {
				t.Errorf("%s: the error log has %v, want the two changes that were refused", bad.Name, got)
			}
		}
	})
}

// checkOps makes sure that a message has the change that is fine, and nothing of the one that is not.
func (tr *trial) checkOps(t *testing.T, bad rogue.Named[rogue.Op], m *message, whose string) {
	t.Helper()
	if got := values(m.fields, "X-Fine"); !slices.Equal(got, []string{"1"}) {
		t.Errorf("%s: %s got X-Fine %q, want 1", bad.Name, whose, got)
	}
	for _, name := range []string{"x-smuggled", "x-split", "x-nul", "x-long", "x y", "x", ""} {
		if got := values(m.fields, name); len(got) > 0 {
			t.Errorf("%s: %s got %q with %q", bad.Name, whose, name, clip([]byte(got[0])))
		}
	}
	if got := values(m.fields, bad.Is.Name); bad.Is.Name != "content-length" && slices.Contains(got, "5") {
		t.Errorf("%s: %s got %q", bad.Name, whose, got)
	}
	if body := string(m.body); body != seeds && body != fruit {
		t.Errorf("%s: %s got the body %q", bad.Name, whose, clip(m.body))
	}
}
