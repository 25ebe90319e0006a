package agents

import (
	"context"
	"errors"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// Session is one HTTP request's use of one agent. All its events travel on one link. One goroutine at a time
// uses it; the zero value is ready for Begin.
type Session struct {
	agent  *Agent
	id     []byte  // correlation id
	number uint64  // the request id of dialect V2D, unique over links and proxies
	member *member // the link it is pinned to; nil: none yet
	told   bool    // the agent may know of the request, and was not told that it is over
	failed bool
}

// errOver is the cause of a Failure of a session that has failed before.
var errOver = errors.New("the session has failed already")

// Begin starts the use of an agent for a request. id must be unique to the request; it is borrowed until End
// or Cancel.
func (s *Session) Begin(a *Agent, correlationID []byte) {
	*s = Session{agent: a, id: correlationID, number: a.lastNumber.Add(1)}
}

// Ask sends an event and returns the agent's verdict, or a *Failure. It waits for a slot, for a connection and
// for the reply, at most until ctx ends. After a Failure the session is over: Ask must not be called again.
func (s *Session) Ask(ctx context.Context, e *Event) (*agent.Verdict, error) {
	if s.failed {
		return nil, unavailable(errOver)
	}
	v, f := s.guarded(ctx, e)
	if f != nil {
		s.fail(f)
		return nil, f
	}
	return v, nil
}

// guarded asks if the breaker admits it, and tells the breaker how it went.
func (s *Session) guarded(ctx context.Context, e *Event) (*agent.Verdict, *Failure) {
	a := s.agent
	ticket, ok := a.breaker.Admit(time.Now())
	if !ok {
		return nil, &Failure{Kind: BreakerOpen}
	}
	v, f := s.slotted(ctx, e)
	switch {
	case f == nil:
		a.breaker.Success(ticket)
	case f.Kind == Canceled, f.Kind == Busy, errors.Is(f, errTooLarge), errors.Is(f, errClosed):
		a.breaker.Abandon(ticket)
	default:
		a.breaker.Failure(ticket, time.Now(), f.Kind.String())
	}
	return v, f
}

// slotted asks once it has one of the agent's slots.
func (s *Session) slotted(ctx context.Context, e *Event) (*agent.Verdict, *Failure) {
	if f := s.agent.gate.enter(ctx); f != nil {
		return nil, f
	}
	defer s.agent.gate.leave()
	return s.exchange(ctx, e)
}

// exchange asks on a link. What was lost on a link that had stood idle is asked once more on a newer one, if
// it is the request's first event: no other is sure to mean the same to another agent process.
func (s *Session) exchange(ctx context.Context, e *Event) (*agent.Verdict, *Failure) {
	var after uint64
	for again := false; ; again = true {
		m, dialled, f := s.agent.take(ctx, s.member, after)
		if f != nil {
			return nil, f
		}
		s.pin(m)
		v, sent, err := m.ask(ctx, s, e)
		s.told = s.told || sent || err == nil
		after = s.agent.give(m, err == nil)
		if err == nil {
			return v, nil
		}
		f = asFailure(err)
		lost := f.Kind == Unavailable && !sent && !errors.Is(f, errTooLarge)
		if again || dialled || !lost || e.Kind != RequestHeaders {
			return nil, f
		}
		s.unpin()
		s.told = false // who was told is no more
	}
}

func (s *Session) pin(m *member) {
	if s.member == nil {
		s.member = m
	}
}

func (s *Session) unpin() {
	if s.member != nil {
		s.agent.unpin(s.member)
		s.member = nil
	}
}

// fail ends the session's asking. The agent shall forget a request whose verdict came too late: a late verdict
// on one event would be taken for that on the next.
func (s *Session) fail(f *Failure) {
	s.failed = true
	if f.Kind == TimedOutCall && s.told {
		s.member.cancel(s, TimedOut)
		s.told = false
	}
	if f.Kind != Canceled {
		s.agent.note(f)
	}
}

// End tells the agent that the request is over, if it saw any of it and its dialect can. It never waits. The
// session is the zero value again. e may be nil when the session failed or never asked; the agent is then told
// to forget the request.
func (s *Session) End(e *Event) {
	if s.told && e != nil {
		s.member.tell(s, e)
	} else if s.told {
		s.member.cancel(s, ClientDisconnect)
	}
	s.over()
}

// Tell tells an agent that was asked nothing how a request ended, if it is connected. It never waits.
func (s *Session) Tell(e *Event) {
	s.agent.mu.Lock()
	m := s.agent.anyLocked()
	if m != nil {
		m.pins++
	}
	s.agent.mu.Unlock()
	if m != nil {
		s.member = m
		m.tell(s, e)
	}
	s.over()
}

// Cancel is End for a request that has no end: the agent shall forget it.
func (s *Session) Cancel(why CancelReason) {
	if s.told {
		s.member.cancel(s, why)
	}
	s.over()
}

func (s *Session) over() {
	s.unpin()
	*s = Session{}
}

// asFailure returns the *Failure that a link's error is.
func asFailure(err error) *Failure {
	var f *Failure
	if !errors.As(err, &f) {
		f = unavailable(err)
	}
	return f
}
