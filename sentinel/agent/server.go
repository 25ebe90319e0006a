package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxConns            = 1024 // at a time; more are closed at once
	defaultDrainTimeout = 10 * time.Second
	acceptPause         = 100 * time.Millisecond // when descriptors are short
)

// Dialect is a variant of the protocol on Unix sockets.
type Dialect string

// The dialects. Without one, the proxy's first frame tells: V1 begins with a brace, and of the other two V2R
// is spoken to who offers it.
const (
	V1  Dialect = "v1"  // one question at a time on a connection, no correlation
	V2D Dialect = "v2d" // the documented v2: request ids, no configuration
	V2R Dialect = "v2r" // the v2 with correlation ids
)

// Server answers proxies for one Handler. Its fields are not changed once it serves.
type Server struct {
	Handler Handler
	Name    string // what the proxy's logs call the agent
	Version string

	// Chunks gives body events the parts of a body as they come. Without it they get the whole body, of
	// at most MaxBody bytes, in one call; a longer one is a failure.
	Chunks       bool
	MaxBody      int64         // 0: 1 MiB
	DrainTimeout time.Duration // for calls under way when the context ends; 0: 10 s
	Log          *slog.Logger  // nil: slog.Default
	Dialect      Dialect       // the only one that is spoken on Unix sockets; empty: all of them

	once   sync.Once
	shared *dispatcher
	conns  atomic.Uint64 // given out as numbers
}

// dispatcher returns what the server's transports share: one request's events may come over several.
func (s *Server) dispatcher() *dispatcher {
	s.once.Do(func() { s.shared = newDispatcher(s) })
	return s.shared
}

// drainTimeout returns DrainTimeout or its default.
func (s *Server) drainTimeout() time.Duration {
	if s.DrainTimeout > 0 {
		return s.DrainTimeout
	}
	return defaultDrainTimeout
}

// Serve answers on a listener, in general of ListenUnix, until ctx ends. Then it takes no more connections,
// which also removes the socket, answers what has arrived, and returns nil once calls under way have ended.
// Calls that take longer than DrainTimeout are cut off: their context ends, and Serve returns an error.
// It also returns one when the listener fails. Handlers that ignore their context may then still run.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	calls, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	serving := &serving{server: s, open: map[*conn]struct{}{}}
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close() // ends accept; nothing can be done about its error
	})
	err := serving.accept(calls, l)
	if stop() {
		_ = l.Close()
	}
	timer := time.AfterFunc(s.drainTimeout(), func() {
		cut()
		serving.each((*conn).close)
	})
	serving.each((*conn).drain)
	if !serving.wait(calls) {
		return fmt.Errorf("agent: calls were cut off after %v: %w", s.drainTimeout(), context.DeadlineExceeded)
	}
	timer.Stop()
	if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// serving is one run of Serve: the connections that are open.
type serving struct {
	server *Server
	all    sync.WaitGroup

	mu   sync.Mutex
	open map[*conn]struct{}
}

// accept takes connections until the listener is closed.
func (s *serving) accept(calls context.Context, l net.Listener) error {
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			s.admit(calls, nc)
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ECONNABORTED):
			s.server.dispatcher().log.Warn("accept failed", "error", err)
			time.Sleep(acceptPause)
		default:
			return fmt.Errorf("agent: accept: %w", err)
		}
	}
}

// admit serves a connection, if there is room for one more.
func (s *serving) admit(calls context.Context, nc net.Conn) {
	c := newConn(s.server, nc)
	s.mu.Lock()
	full := len(s.open) >= maxConns
	if full {
		if silent := s.silentLocked(); silent != nil {
			silent.close()
			full = false
		}
	}
	if !full {
		s.open[c] = struct{}{}
		s.all.Add(1)
	}
	s.mu.Unlock()
	if full {
		c.close()
		return
	}
	go func() {
		defer s.all.Done()
		c.serve(calls)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, c)
	}()
}

// silentLocked returns a connection that gives its place to a new one: one that has not said anything for
// the time that a handshake may take. A connection is otherwise free to be silent: V1 has no handshake.
func (s *serving) silentLocked() *conn {
	for c := range s.open {
		if c.silent() {
			delete(s.open, c)
			return c
		}
	}
	return nil
}

// each calls do for every open connection.
func (s *serving) each(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		do(c)
	}
}

// wait waits for the connections to end; false: ctx ended first.
func (s *serving) wait(ctx context.Context) bool {
	done := make(chan struct{})
	go func() {
		s.all.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
