package sentinel

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// counsel is what an exchange has to do with the agents of its route, from its first question to the end of
// the exchange. An exchange whose route has none has no counsel.
type counsel struct {
	x       *exchange
	seats   []seat // one for each agent filter of the route, in their order
	request agents.Request
	ops     [2][]agent.HeaderOp // accepted changes of each message's head
	ruling  *agent.Verdict      // a block, redirect or challenge: what the client gets
	decided *seat               // whose ruling or failure ended the request; nil: nobody's
	cause   string              // how an agent failed, for the logs
	took    time.Duration       // how long the exchange waited for agents
	refused int                 // changes that were not made
	begun   bool                // the response's head has left, or is about to
	body    *screening          // of the request's body; nil: nobody wants to see it
	answer  *screening          // of the response's
}

// seat is one agent's place in a counsel.
type seat struct {
	c       *counsel
	b       *boundAgent
	session agents.Session
	verdict *agent.Verdict // the last; nil: none, or it failed
	failure error
	done    chan struct{} // closed when a question asked beside others is answered
	out     bool          // it failed, and its mode is open: it is not asked any more
	audited [4]bool       // by event: what it had to say about an allow is on record
}

// errNoTransport is the failure of agents whose transport this build does not have.
var errNoTransport = &agents.Failure{Kind: agents.Unavailable, Err: errors.New("its transport is not in this build")}

// summon begins the counsel of an exchange.
func (x *exchange) summon() *counsel {
	c := &counsel{x: x, seats: make([]seat, len(x.route.agents))}
	c.describe()
	for i, b := range x.route.agents {
		s := &c.seats[i]
		s.c, s.b = c, b
		if b.agent != nil {
			s.session.Begin(b.agent, c.request.CorrelationID)
		}
	}
	x.counsel = c
	return c
}

// describe fills in what agents are told of the request.
func (c *counsel) describe() {
	x := c.x
	framing, _ := x.req.Body()
	c.request = agents.Request{
		CorrelationID: x.correlation(), RequestID: x.trace, Client: x.clientAddrPort(), ServerName: x.req.Host,
		Protocol: x.protocol(), Route: x.route.id, Upstream: x.route.upstream, Time: x.started, Method: x.req.Method,
		Path: x.req.Path, Query: x.req.Query, HasQuery: x.req.HasQuery, Host: x.req.Authority, HasBody: framing != wire.NoBody,
		Fields: shownToAgents(x.req.Fields),
	}
	c.request.TLSVersion, c.request.TLSCipher = x.c.secured()
}

// shownToAgents returns the fields of a request that agents are told of: the client's, without those with which it
// could speak for somebody else, and without an expectation, which the proxy meets itself.
func shownToAgents(fields []wire.Field) []wire.Field {
	shown := make([]wire.Field, 0, len(fields))
	for i := range fields {
		switch fields[i].ID {
		case wire.Host, wire.Expect, wire.Forwarded, wire.XForwarded, wire.XIdentity, wire.XOverride, wire.XInternal, wire.Nominated:
		default:
			if !isDisguised(&fields[i]) {
				shown = append(shown, fields[i])
			}
		}
	}
	return shown
}

// decoded returns the request as those are told of it who see its body decoded: without Content-Encoding.
func (c *counsel) decoded() *agents.Request {
	r := c.request
	r.Fields = without(slices.Clone(r.Fields), nameContentEncoding)
	return &r
}

// correlation returns the id by which agents know the request: the trace id, made unique if the client
// chose it, so that it cannot collide with another request's.
func (x *exchange) correlation() []byte {
	if !x.chosen {
		return x.trace
	}
	id := append(append(make([]byte, 0, len(x.trace)+40), x.trace...), '.')
	return x.p.ids.Load().Append(id, x.started)
}

// those returns the seats that an event is for.
func (c *counsel) those(kind agents.EventKind) (list []*seat) {
	for i := range c.seats {
		if s := &c.seats[i]; s.b.asks[kind] && !s.out {
			list = append(list, s)
		}
	}
	return list
}

// askWithin is ask for as long as limit.
func (s *seat) askWithin(ctx context.Context, e *agents.Event, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s.ask(ctx, e)
}

// ask puts one question and keeps the answer. The time until ctx ends includes waiting for the agent's attention.
func (s *seat) ask(ctx context.Context, e *agents.Event) {
	s.verdict, s.failure = nil, nil // what a panic leaves
	if s.b.agent == nil {
		s.failure = errNoTransport
	} else {
		began := time.Now()
		s.verdict, s.failure = s.session.Ask(ctx, e)
		s.b.metrics.Observe(int(e.Kind), time.Since(began))
	}
	s.count(e.Kind)
}

// count adds how a question went to the metrics.
func (s *seat) count(kind agents.EventKind) {
	if s.failure == nil {
		s.b.metrics.Decided(s.verdict.Decision.String())
		return
	}
	f := s.failed()
	s.b.metrics.Failed(f.Kind.String()) // which does not count cancellations
	if f.Kind == agents.TimedOutCall {
		s.b.metrics.Timeout(int(kind))
	}
}

// failed returns how the last question failed.
func (s *seat) failed() *agents.Failure {
	var f *agents.Failure
	if !errors.As(s.failure, &f) { // its goroutine ended in a panic
		f = &agents.Failure{Kind: agents.BadReply, Err: s.failure}
	}
	return f
}

// refuses reports whether the last verdict keeps the request from passing.
func (s *seat) refuses() bool { return s.verdict != nil && s.verdict.Decision != agent.Allowed }

// failureReasons are the Reasons of failures where a failing agent's mode is closed.
var failureReasons = map[agents.FailureKind]Reason{
	agents.Unavailable: agentUnavailable, agents.TimedOutCall: agentTimeout, agents.BadReply: agentBadReply,
	agents.BreakerOpen: agentBreakerOpen, agents.Busy: agentBusy,
}

// settle applies the failure mode to a question that failed.
func (s *seat) settle(kind agents.EventKind) Reason {
	f := s.failed()
	if f.Kind == agents.Canceled { // by whoever ended the wait: that has a Reason of its own
		return s.c.x.brokenOff()
	}
	return s.fail(failureReasons[f.Kind], kind, f.Error())
}

// fail applies the failure mode: r ends the request, or the agent is out and the request goes on without it.
func (s *seat) fail(r Reason, kind agents.EventKind, cause string) Reason {
	c := s.c
	s.out = true
	if s.b.open {
		s.b.metrics.Bypassed.Inc()
		c.x.bypassed(s, r, cause)
		return none
	}
	c.decided, c.cause = s, cause
	if kind == agents.ResponseHeaders || kind == agents.ResponseBody {
		c.cause = r.String() + ": " + cause
		return agentResponseFailed
	}
	return r
}

// rule makes a seat's verdict the request's end. Agents that still think about it shall stop.
func (c *counsel) rule(s *seat) Reason {
	c.decided, c.ruling = s, s.verdict
	for i := range c.seats {
		if other := &c.seats[i]; other != s && other.verdict == nil && other.b.asks[agents.RequestHeaders] {
			other.session.Cancel(agents.BlockedByAgent)
		}
	}
	if s.verdict.Decision == agent.Redirected {
		return agentRedirected
	}
	if s.verdict.Decision == agent.Challenged {
		return agentChallenged
	}
	return agentBlocked // also what is no decision: never an allow
}

// dismiss ends the counsel: every agent that saw the request is told how it ended.
func (c *counsel) dismiss(took time.Duration) {
	x := c.x
	e := agents.Event{Kind: agents.RequestComplete, Request: &c.request, Complete: agents.Complete{
		Status: x.status, Duration: took, RequestBytes: x.received, ResponseBytes: x.delivered, Attempts: x.attempts, Error: x.reason.String(),
	}}
	for i := range c.seats {
		switch s := &c.seats[i]; {
		case s.b.agent == nil:
		case s.b.completes && !s.b.asks[agents.RequestHeaders]:
			s.session.Tell(&e)
		case x.reason == clientGone:
			s.session.Cancel(agents.ClientDisconnect)
		default:
			s.session.End(&e)
		}
	}
}
