package agents

import (
	"bufio"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

const (
	maxV1    = 10 << 20 // bytes of a frame
	maxTells = 1 << 10  // that wait for a connection to be free
)

// answer is what came of a question.
type answer struct {
	verdict *agent.Verdict
	failure *Failure
}

// v1Link is a connection in dialect V1. Its replies carry no id, so that there is one question at a time, and
// one that is given up ends the connection.
type v1Link struct {
	*stream
	options *Options
	unknown *atomic.Uint64
	answers chan answer // holds the answer to the question

	mu    sync.Mutex
	state v1State
	kind  EventKind       // of the question
	line  []chan struct{} // callers that wait for the connection
	tells [][]byte        // payloads of RequestComplete that wait for it
	timer *time.Timer     // telling: ends a connection whose agent does not answer
}

// v1State says who has the connection, and so what the next frame is.
type v1State uint8

const (
	v1Free      v1State = iota // nobody
	v1Taken                    // a caller that has not asked yet, or has its answer
	v1Asking                   // a caller that waits for an answer
	v1Telling                  // nobody waits, but an answer is owed
	v1Configure                // like v1Asking; the answer is one to configure
)

func newV1(conn net.Conn, o *Options, unknown *atomic.Uint64) *v1Link {
	l := &v1Link{
		stream: newStream(conn, bufio.NewReader(conn), maxV1), options: o, unknown: unknown,
		answers: make(chan answer, 1),
	}
	l.timer = time.AfterFunc(time.Hour, l.poison)
	l.timer.Stop()
	go l.run()
	return l
}

func (l *v1Link) greeting() Greeting { return Greeting{Dialect: V1} }

func (l *v1Link) ping(context.Context) error { return nil }

func (l *v1Link) ask(ctx context.Context, s *Session, e *Event) (*agent.Verdict, bool, error) {
	if f := l.occupy(ctx); f != nil {
		return nil, false, f
	}
	l.expect(v1Asking, e.Kind)
	out, f := l.open(ctx, sizeOf(e))
	if f == nil {
		f = l.commit(appendV1(out, s.id, e))
	}
	if f != nil {
		l.unask()
		return nil, false, f
	}
	return l.await(ctx)
}

// unask takes a question back that was not sent. There cannot be an answer to it.
func (l *v1Link) unask() {
	l.expect(v1Taken, 0)
	select {
	case <-l.answers:
		l.fail(&Failure{BadReply, errUnasked})
	default:
		l.release()
	}
}

func (l *v1Link) expect(state v1State, kind EventKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state, l.kind = state, kind
}

// await waits for the answer to what was asked.
func (l *v1Link) await(ctx context.Context) (*agent.Verdict, bool, error) {
	var a answer
	select {
	case a = <-l.answers:
	case <-l.dead():
		select {
		case a = <-l.answers: // it came before the end
		default:
			f := l.end()
			return nil, f.Kind != Unavailable, f
		}
	case <-ctx.Done():
		l.poison()
		return nil, true, expired(ctx, "a verdict")
	}
	if a.failure != nil { // whoever waits for the connection shall not get it any more
		l.fail(a.failure)
		return nil, true, a.failure
	}
	l.release()
	return a.verdict, true, nil
}

// configure gives the agent its config, which it must take before it is asked anything.
func (l *v1Link) configure(ctx context.Context) error {
	if f := l.occupy(ctx); f != nil {
		return f
	}
	l.expect(v1Configure, 0)
	out, f := l.open(ctx, len(l.options.Config))
	if f == nil {
		f = l.commit(appendV1Configure(out, l.options))
	}
	if f != nil {
		return f
	}
	_, _, err := l.await(ctx)
	return err
}

// occupy takes the connection, waiting for who has it.
func (l *v1Link) occupy(ctx context.Context) *Failure {
	l.mu.Lock()
	if l.state == v1Free {
		l.state = v1Taken
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	l.line = append(l.line, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-l.dead():
		return unavailable(l.end())
	case <-ctx.Done():
		l.giveUp(turn)
		return expired(ctx, "the connection of its request")
	}
}

// giveUp leaves the line, or passes on a turn that came meanwhile.
func (l *v1Link) giveUp(turn chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.line, turn); i >= 0 {
		l.line = slices.Delete(l.line, i, i+1)
		return
	}
	l.nextLocked()
}

func (l *v1Link) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nextLocked()
}

// nextLocked gives the connection to the next: first to what the agent is to be told.
func (l *v1Link) nextLocked() {
	switch {
	case len(l.tells) > 0:
		payload := l.tells[0]
		l.tells = l.tells[1:]
		l.tellLocked(payload)
	case len(l.line) > 0:
		l.state = v1Taken
		close(l.line[0])
		l.line = l.line[1:]
	default:
		l.state = v1Free
	}
}

// tellLocked sends a payload whose answer nobody waits for. The answer must come all the same before anything
// else is asked.
func (l *v1Link) tellLocked(payload []byte) {
	l.state = v1Telling
	out, f := l.openNow(len(payload))
	if f == nil {
		f = l.commit(append(out, payload...))
	}
	if f != nil {
		l.poison()
		return
	}
	l.timer.Reset(l.options.Timeout)
}

func (l *v1Link) tell(s *Session, e *Event) {
	payload := appendV1(nil, s.id, e)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.state == v1Free:
		l.tellLocked(payload)
	case len(l.tells) < maxTells:
		l.tells = append(l.tells, payload)
	}
}

// cancel ends a request as if it had been answered: V1 knows nothing else that makes the agent forget it.
func (l *v1Link) cancel(s *Session, why CancelReason) {
	l.tell(s, &Event{Kind: RequestComplete, Complete: Complete{Status: statusOfCancel, Error: why.String()}})
}

// run takes the agent's answers until the connection ends.
func (l *v1Link) run() {
	for {
		payload, f := l.next()
		if f == nil {
			f = l.received(payload)
		}
		if f != nil {
			l.timer.Stop()
			l.finish(f)
			return
		}
	}
}

var errUnasked = errors.New("an answer that nobody asked for")

func (l *v1Link) received(payload []byte) *Failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.state
	switch was {
	case v1Asking:
		l.proven.Store(true)
		l.answers <- verdictOf(payload, l.kind, l.options)
	case v1Configure:
		l.answers <- answer{failure: configured(payload)}
	case v1Telling:
		l.timer.Stop()
	default:
		l.unknown.Add(1)
		return &Failure{BadReply, errUnasked}
	}
	l.state = v1Taken
	if some, _ := l.surplus(); some { // the next one to ask or tell would take it for its answer
		l.unknown.Add(1)
		return &Failure{BadReply, errUnasked}
	}
	if was == v1Telling {
		l.nextLocked()
	}
	return nil
}

// busy reports whether somebody has the connection.
func (l *v1Link) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state != v1Free
}
