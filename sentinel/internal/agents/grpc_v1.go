package agents

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	agentv1 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v1"
)

// grpcTells is how many ends of requests a G1 link may be telling at a time; others are not told.
const grpcTells = 64

// g1 is a link of dialect G1: a connection with one call for each event. It knows no handshake, so the service's
// name is found out by the first event.
type g1 struct {
	conn  *grpcConn
	o     *Options
	calls atomic.Int64 // under way
	name  atomic.Int32 // what the agent has answered to: index of grpcPrefixes + 1; 0: not known yet
	tells chan struct{}
	work  sync.WaitGroup

	mu     sync.Mutex // guards the rest, and keeps work from growing once close waits for it
	closed bool
}

func newG1(c *grpcConn, o *Options) *g1 {
	return &g1{conn: c, o: o, tells: make(chan struct{}, grpcTells)}
}

func (l *g1) greeting() Greeting            { return Greeting{Dialect: G1} }
func (l *g1) dead() <-chan struct{}         { return l.conn.life.Done() }
func (l *g1) ping(context.Context) error    { return nil }
func (l *g1) cancel(*Session, CancelReason) {} // the dialect has none; a call ends with its context

func (l *g1) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.conn.close()
	l.work.Wait()
}

func (l *g1) ask(ctx context.Context, s *Session, e *Event) (*agent.Verdict, bool, error) {
	m := eventG1(s.id, e, l.o.Base64Bodies)
	if proto.Size(m) > grpcSendMax {
		return nil, false, unavailable(errTooLarge)
	}
	alone := l.calls.Add(1) == 1
	defer l.calls.Add(-1)
	r, err := l.call(ctx, m)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, true, expired(ctx, "a verdict")
	case status.Code(err) == codes.DeadlineExceeded: // the agent was first to notice
		return nil, true, &Failure{TimedOutCall, err}
	case l.conn.life.Err() != nil:
		return nil, !alone, unavailable(err)
	default:
		return nil, true, grpcFailure(err)
	}
	v, err := verdictG1(r, e.Kind, l.o)
	return v, true, err
}

// call calls the service by the name that the agent knows, and tries both until it has answered to one.
func (l *g1) call(ctx context.Context, m *agentv1.AgentRequest) (*agentv1.AgentResponse, error) {
	if known := l.name.Load(); known > 0 {
		return l.invoke(ctx, grpcPrefixes[known-1], m)
	}
	for i, prefix := range grpcPrefixes {
		r, err := l.invoke(ctx, prefix, m)
		if status.Code(err) == codes.Unimplemented {
			continue
		}
		if err == nil {
			l.name.Store(int32(i + 1))
		}
		return r, err
	}
	l.conn.end(unavailable(errNoService))
	return nil, errNoService
}

func (l *g1) invoke(ctx context.Context, prefix string, m *agentv1.AgentRequest) (*agentv1.AgentResponse, error) {
	r := &agentv1.AgentResponse{}
	if err := l.conn.client.Invoke(ctx, "/"+prefix+"v1.AgentProcessor/ProcessEvent", m, r); err != nil {
		return nil, fmt.Errorf("call: %w", err)
	}
	return r, nil
}

func (l *g1) tell(s *Session, e *Event) {
	select {
	case l.tells <- struct{}{}:
	default:
		return
	}
	m := eventG1(s.id, e, false)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		<-l.tells
		return
	}
	l.work.Go(func() {
		defer func() { <-l.tells }()
		ctx, cancel := context.WithTimeout(l.conn.life, l.o.Timeout)
		defer cancel()
		_, _ = l.call(ctx, m)
	})
}
