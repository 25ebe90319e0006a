package upstream

import (
	"context"
	"crypto/tls"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// TLSError is a failed TLS handshake with a target.
type TLSError struct{ Err error }

func (e *TLSError) Error() string { return "tls handshake: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *TLSError) Unwrap() error { return e.Err }

// Get returns an idle connection, the one used last; nil: Dial one. A claim on the target (Pick) is what
// keeps the number of connections within max-connections: each request in flight uses one at most, and
// takes an idle one first.
func (t *Target) Get() *Conn {
	for {
		c := t.take()
		if c == nil || c.untouched() {
			return c
		}
		c.Close()
	}
}

func (t *Target) take() *Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.idle)
	if n == 0 {
		return nil
	}
	c := t.idle[n-1]
	t.idle[n-1] = nil
	t.idle = t.idle[:n-1]
	c.Reused = true
	return c
}

// Dial opens a connection. With as many open as there may be an idle one has to go for it. Errors are those
// of net.Dialer or a *TLSError.
func (t *Target) Dial(ctx context.Context) (*Conn, error) { return t.DialWithin(ctx, 0) }

// DialWithin is Dial with a time of its own in place of the upstream's; 0: that.
func (t *Target) DialWithin(ctx context.Context, limit time.Duration) (*Conn, error) {
	if limit == 0 {
		limit = t.pool.Connect
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t.makeRoom()
	c, err := t.dial(ctx)
	if err != nil {
		t.drop()
		return nil, err
	}
	return c, nil
}

// makeRoom counts one connection more, and closes the idle one that was used least lately if that is one
// too many.
func (t *Target) makeRoom() {
	var oldest *Conn
	t.mu.Lock()
	t.open++
	if t.open > t.pool.MaxConnections && len(t.idle) > 0 {
		oldest = t.idle[0]
		t.idle = slices.Delete(t.idle, 0, 1)
	}
	t.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
}

func (t *Target) dial(ctx context.Context) (*Conn, error) {
	nc, err := t.dialTCP(ctx, "tcp", t.Address)
	if err != nil {
		return nil, err
	}
	if t.tls == nil {
		return newConn(t, nc), nil
	}
	secured := tls.Client(nc, t.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, &TLSError{err}
	}
	return newConn(t, secured), nil
}

// drop takes one connection off the count.
func (t *Target) drop() {
	t.mu.Lock()
	t.open--
	t.mu.Unlock()
}

// put keeps a connection for the next request, or closes it when there is no room or its time is over.
func (t *Target) put(c *Conn) {
	t.mu.Lock()
	keep := !t.closed && len(t.idle) < t.pool.MaxIdle && !c.old() && (t.host == "" || t.current(c))
	if keep {
		t.idle = append(t.idle, c)
	}
	t.mu.Unlock()
	if !keep {
		c.Close()
	}
}

func (t *Target) close() {
	t.mu.Lock()
	idle := t.idle
	t.idle, t.closed = nil, true
	t.mu.Unlock()
	for _, c := range idle {
		c.Close()
	}
}

func (t *Target) count(f func(*Target) int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f(t)
}

// sweep removes idle connections that are old, closed or talking. The lock is held during the poll, so
// none of them can be taken, closed and its descriptor reused meanwhile.
func (t *Target) sweep(now time.Time) {
	t.mu.Lock()
	t.pollIdle()
	var dead []*Conn
	kept := t.idle[:0]
	for i, c := range t.idle {
		if c.since.IsZero() {
			c.since = now
		}
		if t.poll[i].Revents != 0 || c.old() || now.Sub(c.since) > t.pool.IdleTimeout {
			dead = append(dead, c)
		} else {
			kept = append(kept, c)
		}
	}
	clear(t.idle[len(kept):])
	t.idle = kept
	t.mu.Unlock()
	for _, c := range dead {
		c.Close()
	}
}

func (t *Target) pollIdle() {
	t.poll = t.poll[:0]
	for _, c := range t.idle {
		t.poll = append(t.poll, unix.PollFd{Fd: int32(c.fd), Events: unix.POLLIN | unix.POLLRDHUP})
	}
	if len(t.poll) > 0 {
		_, _ = unix.Poll(t.poll, 0) // an error leaves no events: the next tick looks again
	}
}
