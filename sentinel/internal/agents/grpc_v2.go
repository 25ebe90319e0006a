package agents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	agentv2 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v2"
)

const (
	grpcUnsent   = 1024        // messages that the stream has not taken yet; tells and cancellations over it are dropped
	grpcEnded    = 1024        // requests whose end was told and not answered yet, remembered at most
	grpcLogEvery = time.Second // an agent's log messages, at most grpcLogBurst in this time
	grpcLogBurst = 10
)

// g2Stream is a stream of the second version.
type g2Stream = grpc.GenericClientStream[agentv2.ProxyToAgent, agentv2.AgentToProxy]

// g2 is a link of dialect G2: one stream on a connection of its own. One goroutine writes, so that a caller can
// leave while the stream does not take its message; one reads, and gives each verdict to who waits for it.
type g2 struct {
	conn   *grpcConn
	o      *Options
	stream *g2Stream
	hello  Greeting
	unsent chan *outgoing
	work   sync.WaitGroup
	paused atomic.Bool // by the agent

	mu      sync.Mutex
	waiting map[string]*question     // by correlation id
	ended   map[string]struct{}      // requests whose end will be answered, which nobody waits for
	pings   map[uint64]chan struct{} // by sequence
	pinged  uint64                   // the last sequence
	logged  int                      // log messages since logFrom
	logFrom time.Time
}

// outgoing is a message on its way to the stream. Who takes msg has it: the writer, or its caller, giving up.
type outgoing struct {
	msg atomic.Pointer[agentv2.ProxyToAgent]
}

// question is an event that is being asked about.
type question struct {
	outgoing

	alone bool                        // nothing else was under way
	reply chan *agentv2.AgentResponse // holds one
}

// greetG2 opens a stream under one of the service's names and shakes hands. Its error is a *Failure; it is
// errNoService if the agent knows neither name.
func greetG2(ctx context.Context, c *grpcConn, o *Options) (*g2, error) {
	for _, prefix := range grpcPrefixes {
		stream, hello, err := openG2(ctx, c, o, prefix+"v2.AgentServiceV2")
		switch {
		case err == nil:
			return startG2(c, o, stream, hello), nil
		case ctx.Err() != nil:
			return nil, expired(ctx, "a handshake")
		case status.Code(err) == codes.Unimplemented:
		default:
			return nil, asFailure(err)
		}
	}
	return nil, unavailable(errNoService)
}

// openG2 opens a stream of a service. Its error is a status, or what is wrong with the agent's answer.
func openG2(ctx context.Context, c *grpcConn, o *Options, service string) (_ *g2Stream, hello Greeting, err error) {
	life, cancel := context.WithCancel(c.life)
	stop := context.AfterFunc(ctx, cancel)
	defer func() {
		if !stop() || err != nil {
			cancel()
		}
	}()
	desc := &agentv2.AgentServiceV2_ServiceDesc.Streams[0]
	raw, err := c.client.NewStream(life, desc, "/"+service+"/"+desc.StreamName)
	if err != nil {
		return nil, hello, fmt.Errorf("open a stream: %w", err)
	}
	stream := &g2Stream{ClientStream: raw}
	if err := stream.Send(handshakeG2(o)); err != nil && !errors.Is(err, io.EOF) { // EOF: Recv says why
		return nil, hello, fmt.Errorf("handshake: %w", err)
	}
	m, err := stream.Recv()
	if err != nil {
		return nil, hello, fmt.Errorf("handshake: %w", err)
	}
	hello, err = greetingG2(m)
	return stream, hello, err
}

func startG2(c *grpcConn, o *Options, stream *g2Stream, hello Greeting) *g2 {
	l := &g2{
		conn: c, o: o, stream: stream, hello: hello, unsent: make(chan *outgoing, grpcUnsent),
		waiting: map[string]*question{}, ended: map[string]struct{}{}, pings: map[uint64]chan struct{}{},
	}
	if o.Config != nil {
		l.ended[""] = struct{}{} // some agents answer a configuration, without an id
		l.post(configureG2(o))
	}
	l.work.Go(l.write)
	l.work.Go(l.read)
	return l
}

func (l *g2) greeting() Greeting    { return l.hello }
func (l *g2) dead() <-chan struct{} { return l.conn.life.Done() }

// fail ends the link for a reason.
func (l *g2) fail(f *Failure) { l.conn.end(f) }

func (l *g2) close() {
	l.conn.close()
	l.work.Wait()
}

func (l *g2) ask(ctx context.Context, s *Session, e *Event) (*agent.Verdict, bool, error) {
	if l.paused.Load() {
		return nil, false, &Failure{Busy, errPaused}
	}
	msg := eventG2(s.id, e)
	if proto.Size(msg) > grpcSendMax {
		return nil, false, unavailable(errTooLarge)
	}
	q := &question{reply: make(chan *agentv2.AgentResponse, 1)}
	q.msg.Store(msg)
	id := string(s.id)
	if !l.enter(id, q) {
		return nil, true, unavailable(errDuplicate)
	}
	defer l.leave(id)
	select {
	case l.unsent <- &q.outgoing:
	case <-ctx.Done():
		return nil, false, expired(ctx, "the stream to take an event")
	case <-l.conn.life.Done():
		return nil, false, context.Cause(l.conn.life)
	}
	return l.await(ctx, q)
}

// await waits for the verdict on a question that is in the writer's line.
func (l *g2) await(ctx context.Context, q *question) (*agent.Verdict, bool, error) {
	select {
	case r := <-q.reply:
		return l.verdict(r)
	case <-ctx.Done():
		return nil, q.msg.Swap(nil) == nil, expired(ctx, "a verdict")
	case <-l.conn.life.Done():
	}
	select {
	case r := <-q.reply: // just before the end
		return l.verdict(r)
	default:
	}
	f := context.Cause(l.conn.life)
	sent := q.msg.Swap(nil) == nil && (!q.alone || asFailure(f).Kind == BadReply)
	return nil, sent, f
}

func (l *g2) verdict(r *agentv2.AgentResponse) (*agent.Verdict, bool, error) {
	if size := proto.Size(r); l.o.MaxReply > 0 && int64(size) > l.o.MaxReply {
		return nil, true, badReply("a verdict of %d bytes, over the limit of %d", size, l.o.MaxReply)
	}
	v, err := verdictG2(r)
	return v, true, err
}

// enter makes a question one that is waited for, unless its request has one already.
func (l *g2) enter(id string, q *question) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting[id] != nil {
		return false
	}
	q.alone = len(l.waiting) == 0
	l.waiting[id] = q
	return true
}

func (l *g2) leave(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, id)
}

func (l *g2) tell(s *Session, e *Event) {
	l.mu.Lock()
	if len(l.ended) >= grpcEnded {
		clear(l.ended) // an agent that answers none; answers of others are counted as strays once
	}
	l.ended[string(s.id)] = struct{}{}
	l.mu.Unlock()
	l.post(eventG2(s.id, e))
}

func (l *g2) cancel(s *Session, why CancelReason) { l.post(cancelG2(s.id, why)) }

// post puts a message that nobody waits for into the writer's line, if there is room.
func (l *g2) post(m *agentv2.ProxyToAgent) {
	out := &outgoing{}
	out.msg.Store(m)
	select {
	case l.unsent <- out:
	default:
	}
}

func (l *g2) ping(ctx context.Context) error {
	pong := make(chan struct{})
	l.mu.Lock()
	l.pinged++
	sequence := l.pinged
	l.pings[sequence] = pong
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.pings, sequence)
	}()
	l.post(pingG2(sequence))
	select {
	case <-pong:
		return nil
	case <-ctx.Done():
		return expired(ctx, "a pong")
	case <-l.conn.life.Done():
		return context.Cause(l.conn.life)
	}
}

// write sends what is in line. The stream takes a message once the agent has read most of those before.
func (l *g2) write() {
	for {
		select {
		case out := <-l.unsent:
			m := out.msg.Swap(nil)
			if m == nil {
				continue // its caller has left
			}
			if err := l.stream.Send(m); err != nil && !errors.Is(err, io.EOF) { // EOF: read learns why
				l.conn.end(grpcFailure(err))
			}
		case <-l.conn.life.Done():
			return
		}
	}
}

// read takes what the agent sends until the stream ends, and the link with it.
func (l *g2) read() {
	for {
		m, err := l.stream.Recv()
		switch {
		case err == nil:
			if err := l.take(m); err != nil {
				l.conn.end(err)
				return
			}
			continue
		case errors.Is(err, io.EOF):
			l.conn.end(unavailable(errors.New("it ended the stream")))
		default:
			l.conn.end(grpcFailure(err))
		}
		return
	}
}

// take handles one message. Its error ends the link.
func (l *g2) take(m *agentv2.AgentToProxy) error {
	switch m := m.GetMessage().(type) {
	case *agentv2.AgentToProxy_Response:
		l.deliver(m.Response)
	case *agentv2.AgentToProxy_Pong:
		l.pong(m.Pong.GetSequence())
	case *agentv2.AgentToProxy_FlowControl:
		l.flow(m.FlowControl)
	case *agentv2.AgentToProxy_Log:
		l.log(Message, "log message of level "+levelWord(m.Log.GetLevel()), m.Log.GetMessage())
	case *agentv2.AgentToProxy_Health:
		if state := agentv2.HealthState(m.Health.GetState()); state != agentv2.HealthState_HEALTH_STATE_HEALTHY {
			l.log(Warning, "it reports health state "+healthWord(state), m.Health.GetMessage())
		}
	case *agentv2.AgentToProxy_ConfigUpdate:
		l.log(Warning, "it wants another configuration; that is the operator's to change", "")
	case *agentv2.AgentToProxy_Metrics:
	default: // a second handshake, or nothing that the protocol has
		return badReply("a message that has no place on a stream")
	}
	return nil
}

// deliver gives a verdict to who waits for it. One for an event that has not left yet is not a verdict on it.
func (l *g2) deliver(r *agentv2.AgentResponse) {
	id := r.GetCorrelationId()
	l.mu.Lock()
	q := l.waiting[id]
	_, expected := l.ended[id]
	if q != nil && q.msg.Load() == nil {
		delete(l.waiting, id)
		q.reply <- r // has room: there is one reply for each question
		l.mu.Unlock()
		return
	}
	delete(l.ended, id)
	l.mu.Unlock()
	if !expected && l.o.stray != nil {
		l.o.stray()
	}
}

func (l *g2) pong(sequence uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pong := l.pings[sequence]; pong != nil {
		close(pong)
		delete(l.pings, sequence)
	}
}

// flow obeys an agent that asks for a pause. What it says of one request only, or of its capacity, changes
// nothing: calls have deadlines, and a request asks one thing at a time.
func (l *g2) flow(f *agentv2.FlowControlSignal) {
	if f.GetCorrelationId() != "" {
		return
	}
	switch agentv2.FlowAction(f.GetAction()) {
	case agentv2.FlowAction_FLOW_ACTION_PAUSE:
		l.paused.Store(true)
	case agentv2.FlowAction_FLOW_ACTION_RESUME:
		l.paused.Store(false)
	default:
	}
}

// log passes on the agent's words, but not as many as it likes.
func (l *g2) log(kind NoticeKind, cause, words string) {
	l.mu.Lock()
	if now := time.Now(); now.Sub(l.logFrom) >= grpcLogEvery {
		l.logFrom, l.logged = now, 0
	}
	l.logged++
	over := l.logged > grpcLogBurst
	l.mu.Unlock()
	if !over && l.o.Notify != nil {
		l.o.Notify(Notice{Kind: kind, Dialect: G2, Cause: cause, Detail: clip(words)})
	}
}
