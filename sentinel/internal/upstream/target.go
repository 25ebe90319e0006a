package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrBusy says that a target has as many connections as it may have.
var ErrBusy = errors.New("all connections to the target are in use")

// TLSError is a failed TLS handshake with a target.
type TLSError struct{ Err error }

func (e *TLSError) Error() string { return "tls handshake: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *TLSError) Unwrap() error { return e.Err }

// Target is one address of a pool with its connections. It is safe for concurrent use.
type Target struct {
	Address string
	pool    *Pool
	tls     *tls.Config

	mu     sync.Mutex // guards the rest
	idle   []*Conn    // the last one was used last
	open   int        // idle or in use
	closed bool
	poll   []unix.PollFd // sweep's, kept between ticks
}

func newTarget(p *Pool, address string) *Target {
	t := &Target{Address: address, pool: p}
	if p.TLS != nil {
		t.tls = p.TLS.Clone()
		if t.tls.ServerName == "" {
			t.tls.ServerName = serverName(address)
		}
	}
	return t
}

// Get returns an idle connection, or nil and a promise for a new one, which Dial keeps. ErrBusy: the
// target is at max-connections.
func (t *Target) Get() (*Conn, error) {
	for {
		c, err := t.take()
		if c == nil || c.untouched() {
			return c, err
		}
		c.Close()
	}
}

// take removes the idle connection that was used last, or counts one that is to be opened.
func (t *Target) take() (*Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.idle); n > 0 {
		c := t.idle[n-1]
		t.idle[n-1] = nil
		t.idle = t.idle[:n-1]
		c.Reused = true
		return c, nil
	}
	if t.open >= t.pool.MaxConnections {
		return nil, ErrBusy
	}
	t.open++
	return nil, nil
}

// Dial opens the connection that Get promised. Errors are those of net.Dialer or a *TLSError.
func (t *Target) Dial(ctx context.Context) (*Conn, error) {
	c, err := t.dial(ctx)
	if err != nil {
		t.drop()
		return nil, err
	}
	return c, nil
}

func (t *Target) dial(ctx context.Context) (*Conn, error) {
	// A failed connect is retried on another target, so one address is tried at a time (no Happy
	// Eyeballs); idle connections are watched by the sweeper, so no TCP keep-alive either.
	d := net.Dialer{KeepAlive: -1, FallbackDelay: -1}
	ctx, cancel := context.WithTimeout(ctx, t.pool.Connect)
	defer cancel()
	nc, err := d.DialContext(ctx, "tcp", t.Address)
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

// put keeps a connection for the next request, or closes it when there is no room.
func (t *Target) put(c *Conn) {
	t.mu.Lock()
	keep := !t.closed && len(t.idle) < t.pool.MaxIdle && !c.old()
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
