package sentinel

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// consult asks the route's agents about the request's head, all at once.
func (x *exchange) consult() Reason {
	if len(x.route.agents) == 0 {
		return none
	}
	c := x.summon()
	asked := c.those(agents.RequestHeaders)
	if len(asked) == 0 {
		return none
	}
	began := time.Now()
	var r Reason
	if len(asked) == 1 {
		r = x.awaitWithin(asked[0].b.timeout, asked[0].askHead)
	} else {
		r = x.await(func(ctx context.Context) { c.askTogether(ctx, asked) })
	}
	c.took += time.Since(began)
	if r != none {
		return r
	}
	return c.judge(asked)
}

// wait runs f, which ends with its context: when the client leaves, or the exchange is cut.
func (c *counsel) wait(f func(context.Context)) Reason {
	began := time.Now()
	defer func() { c.took += time.Since(began) }()
	return c.x.await(f)
}

// askTogether asks every seat about the head. Once one has refused, what those behind it would say does not
// matter any more.
func (c *counsel) askTogether(ctx context.Context, asked []*seat) {
	var beside sync.WaitGroup
	defer beside.Wait() // they look at the request
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, s := range asked[1:] {
		s.done = make(chan struct{})
		beside.Go(func() { s.askBeside(ctx) })
	}
	asked[0].askHeadWithin(ctx)
	for _, s := range asked {
		if s.done != nil {
			<-s.done
		}
		if s.refuses() {
			cancel()
		}
	}
}

// askHead asks about the head until ctx ends.
func (s *seat) askHead(ctx context.Context) {
	request := &s.c.request
	if s.b.asks[agents.RequestBody] && s.b.request.decode {
		request = s.c.decoded()
	}
	s.ask(ctx, &agents.Event{Kind: agents.RequestHeaders, Request: request})
}

// askHeadWithin is askHead for as long as the agent may take.
func (s *seat) askHeadWithin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.b.timeout)
	defer cancel()
	s.askHead(ctx)
}

// askBeside is askHeadWithin on a goroutine of its own, which ends with the question.
func (s *seat) askBeside(ctx context.Context) {
	defer close(s.done)
	defer s.c.x.p.survive("agent")
	s.askHeadWithin(ctx)
}

// judge takes the verdicts in filter order: the first refusal holds, also over a failure before it; then a
// failure whose mode is closed; else every change is made.
func (c *counsel) judge(asked []*seat) Reason {
	for _, s := range asked {
		if s.refuses() {
			return c.rule(s)
		}
	}
	for _, s := range asked {
		if s.verdict == nil {
			if r := s.settle(agents.RequestHeaders); r != none {
				return r
			}
		}
	}
	for _, s := range asked {
		if s.verdict != nil {
			c.accept(s, agents.RequestHeaders)
		}
	}
	return none
}

// isRuling reports whether a Reason is an agent's decision and no failure.
func isRuling(r Reason) bool {
	return r == agentBlocked || r == agentRedirected || r == agentChallenged
}

// redirects are the statuses of redirects.
var redirects = map[int]bool{
	http.StatusMovedPermanently: true, http.StatusFound: true, http.StatusSeeOther: true,
	http.StatusTemporaryRedirect: true, http.StatusPermanentRedirect: true,
}

// rulingPage returns what the client gets for an agent's decision.
func (c *counsel) rulingPage() (status int, p page) {
	v := c.ruling
	if v.Decision == agent.Challenged {
		return http.StatusForbidden, challengePage(v)
	}
	if v.Decision == agent.Redirected {
		status = http.StatusFound
		if redirects[v.Status] {
			status = v.Status
		}
		if wire.ValidValue([]byte(v.URL)) {
			return status, page{headers: [][2]string{{"Location", v.URL}}}
		}
	}
	status = http.StatusForbidden
	if v.Decision == agent.Blocked && v.Status >= 200 && v.Status <= 599 {
		status = v.Status
	}
	p = page{contentType: "text/plain; charset=utf-8", body: v.Body}
	if p.body == "" {
		p.body = "Blocked by agent"
	}
	for _, name := range slices.Sorted(maps.Keys(v.Headers)) {
		op := agent.HeaderOp{Kind: agent.SetHeader, Name: name, Value: v.Headers[name]}
		if mayEdit(ofResponse, &op) {
			p.headers = append(p.headers, [2]string{op.Name, op.Value})
		}
	}
	return status, p
}

func challengePage(v *agent.Verdict) page {
	body, err := json.Marshal(struct {
		Type   string            `json:"challenge_type"`
		Params map[string]string `json:"params"`
	}{v.Kind, v.Params})
	if err != nil {
		panic(err) // strings only
	}
	p := page{contentType: "application/json; charset=utf-8", body: string(body) + "\n"}
	if wire.ValidValue([]byte(v.Kind)) {
		p.headers = [][2]string{{"X-Challenge-Type", v.Kind}}
	}
	return p
}
