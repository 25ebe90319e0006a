package agents

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

const (
	maxV2        = 16 << 20 // bytes of a frame: its type and its payload
	maxReady     = 64       // answers that wait for frames that came with them
	maxAbandoned = 1 << 10  // calls of one link that were given up and may be answered still
)

// The types of frames that both dialects of v2 have.
const (
	typeHandshake      = 0x01
	typeHandshakeReply = 0x02
	typeRequestHeaders = 0x10 // the other events follow in their order
	typeVerdict        = 0x20
)

// v2Types are the types of frames in which the dialects differ; 0: the dialect has none.
type v2Types struct{ complete, configure, cancel, ping, pong, pause byte }

var (
	typesV2D = v2Types{cancel: 0x30, ping: 0xf0, pong: 0xf1}
	typesV2R = v2Types{complete: 0x14, configure: 0x17, cancel: 0x40, ping: 0x41, pong: 0x42, pause: 0x33}
)

// ignoredV2R are reports that an agent of dialect V2R sends without being asked: health, metrics, and its
// wish for another configuration.
var ignoredV2R = [...]byte{0x30, 0x31, 0x32}

// v2Link is a connection in dialect V2D or V2R. It has any number of questions at a time; replies carry the
// request's id, which is a number in V2D and the correlation id in V2R.
type v2Link struct {
	*stream
	greet   Greeting
	types   v2Types
	options *Options
	unknown *atomic.Uint64
	paused  atomic.Bool
	pongs   chan struct{}
	ready   []delivery // the reader's: answers that nobody was given yet

	mu        sync.Mutex
	calls     map[callKey]*call
	last      uint64 // serial of the last call
	abandoned int    // of calls
	completes int    // RequestComplete sent, whose answers may come or not
}

// callKey names a call by what its reply will carry. A request has one call at a time.
type callKey struct {
	number uint64
	id     string
}

// call is one question that has not been answered.
type call struct {
	serial    uint64
	kind      EventKind
	abandoned bool
	answers   chan answer
}

// delivery is an answer on its way to who asked.
type delivery struct {
	answers chan answer
	answer  answer
}

func newV2(conn net.Conn, reader *bufio.Reader, greet Greeting, o *Options, unknown *atomic.Uint64) *v2Link {
	l := &v2Link{
		stream: newStream(conn, reader, maxV2), greet: greet, types: typesV2D, options: o, unknown: unknown,
		pongs: make(chan struct{}, 1), calls: map[callKey]*call{},
	}
	if greet.Dialect == V2R {
		l.types = typesV2R
	}
	go l.run()
	return l
}

func (l *v2Link) greeting() Greeting { return l.greet }

var (
	errPaused    = errors.New("the agent has asked for a pause")
	errDuplicate = errors.New("the request has a question under way")
)

func (l *v2Link) ask(ctx context.Context, s *Session, e *Event) (*agent.Verdict, bool, error) {
	if l.paused.Load() {
		return nil, false, &Failure{Busy, errPaused}
	}
	key := l.keyOf(s)
	c, alone, f := l.enter(key, e.Kind)
	if f != nil {
		return nil, true, f
	}
	out, f := l.open(ctx, sizeOf(e))
	if f == nil {
		f = l.commit(appendV2(append(out, typeRequestHeaders+byte(e.Kind)), s, e))
	}
	if f != nil {
		l.leave(key)
		return nil, false, f
	}
	a, came := l.await(ctx, key, c)
	if a.failure != nil {
		return nil, came || !alone, a.failure
	}
	return a.verdict, true, nil
}

func (l *v2Link) keyOf(s *Session) callKey {
	if l.greet.Dialect == V2R {
		return callKey{id: string(s.id)}
	}
	return callKey{number: s.number}
}

// enter registers a call. alone: no other is unanswered.
func (l *v2Link) enter(key callKey, kind EventKind) (c *call, alone bool, f *Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls[key] != nil {
		return nil, false, unavailable(errDuplicate)
	}
	l.last++
	c = &call{serial: l.last, kind: kind, answers: make(chan answer, 1)}
	l.calls[key] = c
	return c, len(l.calls) == 1, nil
}

func (l *v2Link) leave(key callKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, key)
}

// await waits for a call's answer. came: the agent has begun one, right or wrong, or may have.
func (l *v2Link) await(ctx context.Context, key callKey, c *call) (a answer, came bool) {
	select {
	case a = <-c.answers:
		return a, true
	case <-l.dead():
	case <-ctx.Done():
		if l.abandon(key) {
			return answer{failure: expired(ctx, "a verdict")}, true
		}
		select {
		case a = <-c.answers: // it came this moment
			return a, true
		case <-l.dead():
		}
	}
	select {
	case a = <-c.answers:
		return a, true
	default:
		f := l.end()
		return answer{failure: f}, f.Kind != Unavailable
	}
}

// abandon keeps a call that is given up, since the agent may answer it still; false: it has.
func (l *v2Link) abandon(key callKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[key]
	if c == nil {
		return false
	}
	c.abandoned = true
	if l.abandoned++; l.abandoned > maxAbandoned {
		l.fail(unavailable(errors.New("too many calls without an answer")))
	}
	return true
}

// configure gives an agent of dialect V2R its config as an event of its own, beside the handshake's.
func (l *v2Link) configure(ctx context.Context) error {
	if l.types.configure == 0 {
		return nil
	}
	key := callKey{id: configureID}
	c, _, f := l.enter(key, RequestHeaders)
	if f != nil {
		return f
	}
	out, f := l.open(ctx, len(l.options.Config))
	if f == nil {
		f = l.commit(appendV2RConfigure(append(out, l.types.configure), l.options))
	}
	if f != nil {
		return f
	}
	a, _ := l.await(ctx, key, c)
	switch {
	case a.failure != nil:
		return a.failure
	case a.verdict.Decision != agent.Allowed:
		return rejected(a.verdict.Body)
	}
	return nil
}

// tell sends what ends a request: RequestComplete where there is that, else the cancellation that makes an
// agent of dialect V2D forget it.
func (l *v2Link) tell(s *Session, e *Event) {
	if l.types.complete == 0 {
		l.sendCancel(l.keyOf(s), requestComplete)
		return
	}
	out, f := l.openNow(sizeOf(e))
	if f != nil {
		return
	}
	if l.commitLater(appendV2(append(out, l.types.complete), s, e)) == nil {
		l.mu.Lock()
		l.completes = min(l.completes+1, maxAbandoned)
		l.mu.Unlock()
	}
}

func (l *v2Link) cancel(s *Session, why CancelReason) { l.sendCancel(l.keyOf(s), why) }

func (l *v2Link) sendCancel(key callKey, why CancelReason) {
	if !l.greet.Cancels {
		return
	}
	out, f := l.openNow(len(key.id))
	if f != nil {
		return
	}
	out = append(out, l.types.cancel)
	if l.greet.Dialect == V2R {
		out = appendV2RCancel(out, key.id, why)
	} else {
		out = appendV2DCancel(out, key.number, why)
	}
	if why == requestComplete {
		_ = l.commitLater(out)
		return
	}
	_ = l.commit(out)
}

func (l *v2Link) ping(ctx context.Context) error {
	select {
	case <-l.pongs: // of an earlier one
	default:
	}
	out, f := l.open(ctx, 0)
	if f != nil {
		return f
	}
	if f := l.commit(appendPing(append(out, l.types.ping), l.greet.Dialect)); f != nil {
		return f
	}
	select {
	case <-l.pongs:
		return nil
	case <-l.dead():
		return l.end()
	case <-ctx.Done():
		return expired(ctx, "an answer to a ping")
	}
}

// close cancels what is under way and ends the link.
func (l *v2Link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, c := range l.calls {
		if !c.abandoned {
			l.sendCancel(key, ProxyShutdown)
		}
	}
	l.stream.close()
}

// run takes the agent's frames until the connection ends. Those that have come together are all read before
// the first of them is given to who asked: a second answer to the same question would otherwise be taken for
// that to the request's next one.
func (l *v2Link) run() {
	for {
		frame, f := l.next()
		if f == nil {
			f = l.received(frame[0], frame[1:])
		}
		if _, whole := l.surplus(); f != nil || !whole || len(l.ready) >= maxReady {
			l.deliver()
		}
		if f != nil {
			l.finish(f)
			return
		}
	}
}

func (l *v2Link) deliver() {
	for _, d := range l.ready {
		d.answers <- d.answer
	}
	clear(l.ready)
	l.ready = l.ready[:0]
}

func (l *v2Link) received(kind byte, payload []byte) *Failure {
	switch kind {
	case typeVerdict:
		return l.answered(payload)
	case l.types.pong:
		select {
		case l.pongs <- struct{}{}:
		default:
		}
		return nil
	}
	if l.greet.Dialect == V2R {
		for _, ignored := range ignoredV2R {
			if kind == ignored {
				return nil
			}
		}
		if kind == l.types.pause {
			l.flow(payload)
			return nil
		}
	}
	return badReply("a frame of type %#02x", kind)
}

// flow obeys an agent that wants a pause or its end.
func (l *v2Link) flow(payload []byte) {
	if pause, known := flowOf(payload); known {
		l.paused.Store(pause)
	}
}

// answered gives an answer to its call. One without an id says that the agent could not read a question: the
// oldest, since agents read a connection's questions in order.
func (l *v2Link) answered(payload []byte) *Failure {
	r, key, f := replyOf(payload, l.greet.Dialect)
	if f != nil && key == (callKey{}) {
		return f // nobody knows whose it was
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[key]
	switch {
	case key == (callKey{}):
		key, c = l.oldestLocked()
		f = badReply("the agent could not read the event")
	case c == nil && l.completes > 0:
		l.completes--
		return nil
	}
	if c == nil {
		l.unknown.Add(1)
		return nil
	}
	delete(l.calls, key)
	if c.abandoned {
		l.abandoned--
		return nil
	}
	if f != nil {
		l.ready = append(l.ready, delivery{c.answers, answer{failure: f}})
		return nil
	}
	l.proven.Store(true)
	l.ready = append(l.ready, delivery{c.answers, r.answer(c.kind, len(payload), l.options)})
	return nil
}

func (l *v2Link) oldestLocked() (oldest callKey, c *call) {
	for key, other := range l.calls {
		if c == nil || other.serial < c.serial {
			oldest, c = key, other
		}
	}
	return oldest, c
}
