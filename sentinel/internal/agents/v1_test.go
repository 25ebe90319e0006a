package agents

import (
	"bufio"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// asked is a question on a link, under way.
type asked struct {
	body string
	err  error
}

// inquire asks on a link as a request that is pinned to it.
func inquire(t *testing.T, l *v1Link, id string) <-chan asked {
	t.Helper()
	done := make(chan asked, 1)
	go func() {
		v, _, err := l.ask(t.Context(), &Session{id: []byte(id)}, event(RequestHeaders, id))
		if err != nil {
			done <- asked{err: err}
			return
		}
		done <- asked{body: v.Body}
	}()
	synctest.Wait()
	return done
}

// v1Pipe is a link, and the agent's end of it.
func v1Pipe(t *testing.T) (*v1Link, *peer) {
	t.Helper()
	near, far := net.Pipe()
	o := options("pipe")
	l := newV1(near, &o, new(atomic.Uint64))
	t.Cleanup(func() {
		_ = far.Close()
		<-l.dead()
	})
	return l, &peer{Conn: far, r: bufio.NewReader(far), dialect: V1}
}

// must reads a question that has to come.
func (p *peer) must(t *testing.T, event string) *inquiry {
	t.Helper()
	q, err := p.next()
	if err != nil || q.event != event {
		t.Fatalf("%q, %v; want %s", q.event, err, event)
	}
	return &q
}

// TestV1ToldTwice has an agent answer the end of a request twice: the second answer is not that to the end of another,
// whose own would then be taken for a verdict.
func TestV1ToldTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := v1Pipe(t)
		for _, id := range []string{"one", "two"} {
			go l.tell(&Session{id: []byte(id)}, event(RequestComplete, id))
			synctest.Wait()
		}
		done := inquire(t, l, "three")
		first := p.encode(0, p.echo(p.must(t, "request_complete")))
		_, _ = p.Write(append(first, first...))
		go func() {
			for q, err := p.next(); err == nil; q, err = p.next() {
				p.send(0, p.echo(&q))
			}
		}()
		if a := <-done; a.err == nil {
			t.Errorf("%q for the third request", a.body)
		}
	})
}

// TestV1LateOnOneConnection gives up a question, and asks for more on the same connection.
func TestV1LateOnOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := v1Pipe(t)
		go func() {
			for q, err := p.next(); err == nil; q, err = p.next() {
				time.Sleep(time.Second)
				p.send(0, p.echo(&q))
			}
		}()
		s := Session{id: []byte("slow")}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, _, err := l.ask(ctx, &s, event(RequestHeaders, "slow"))
		expect(t, err, TimedOutCall)
		l.cancel(&s, TimedOut)
		if a := <-inquire(t, l, "next"); a.err == nil && a.body != "next request_headers" {
			t.Errorf("%q for the next request", a.body)
		}
		time.Sleep(time.Minute) // the agent's own late answers
	})
}

// TestV1BadReplyIsOnes fails the request whose verdict is none. The one that waits for its connection does not get it.
func TestV1BadReplyIsOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := v1Pipe(t)
		one := inquire(t, l, "one")
		two := inquire(t, l, "two")
		p.must(t, "request_headers")
		p.send(0, `{"decision":"maybe"}`)
		expect(t, (<-one).err, BadReply)
		expect(t, (<-two).err, Unavailable)
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.line) != 1 {
			t.Error("it was given the connection")
		}
	})
}

// TestV1ToldInVain gives up a connection whose agent does not answer the end of a request.
func TestV1ToldInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := v1Pipe(t)
		go l.tell(&Session{id: []byte("one")}, event(RequestComplete, "one"))
		p.must(t, "request_complete")
		began := time.Now()
		<-l.dead()
		if took := time.Since(began); took != l.options.Timeout {
			t.Errorf("after %v, want %v", took, l.options.Timeout)
		}
	})
}
