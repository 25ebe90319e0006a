package sentinel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

// listener is what one configuration says about the connections of one socket. It is immutable.
type listener struct {
	p         *Proxy
	id        string
	address   string // as configured
	key       string // what finds the socket again at a reload
	socket    *socket
	tls       *tls.Config // nil: plain HTTP
	scheme    []byte
	maxPer    int // requests per connection; 0: no bound
	minRate   int64
	trust     trust
	announced bool // connections begin with a PROXY protocol header
	keepAlive tick
	headTimeout,
	bodyIdle tick
}

// socket is one bound address. It outlives configurations that have a listener there.
type socket struct {
	p       *Proxy
	address string
	nl      net.Listener
	current atomic.Pointer[listener] // of the connections that are accepted next
	last    atomic.Pointer[snapshot] // the last one with a listener here; nil: the present one has
	warned  atomic.Uint64            // tick of the last warning about refused connections
}

// buildListener reads a listener's certificates and makes it, without a socket.
func (p *Proxy) buildListener(c *config.Listener) (*listener, error) {
	l := &listener{
		p: p, id: c.ID, address: c.Address.String(), key: socketKey(c), scheme: []byte("http"), maxPer: c.KeepAliveMaxRequests, minRate: int64(c.MinBodyRate),
		trust: compileTrust(c.TrustedProxies), announced: c.ProxyProtocol == "require",
		keepAlive: ticks(c.KeepAliveTimeout), headTimeout: ticks(c.RequestTimeout), bodyIdle: ticks(c.BodyIdleTimeout),
	}
	if c.TLS != nil {
		t, err := serverTLS(c.TLS)
		if err != nil {
			return nil, fmt.Errorf("listener %q: %w", c.ID, err)
		}
		l.tls, l.scheme = t, []byte("https")
	}
	return l, nil
}

// socketKey tells the sockets of a configuration apart: by address, and where the system picks the port by the
// listener's id as well.
func socketKey(c *config.Listener) string {
	if c.Address.Port() == 0 {
		return c.Address.String() + " " + c.ID
	}
	return c.Address.String()
}

// bind opens a socket at a listener's address.
func (p *Proxy) bind(l *listener) (*socket, error) {
	open := p.options.Listen
	if open == nil {
		// Idle and transfer deadlines find dead peers, so TCP keep-alive would only cost system calls; tunnels
		// have no such deadline and switch it on.
		open = (&net.ListenConfig{KeepAlive: -1}).Listen
	}
	nl, err := open(context.Background(), "tcp", l.address)
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", l.id, err)
	}
	return &socket{p: p, address: l.address, nl: nl}, nil
}

// accept runs until the socket is closed. A failed accept, of which running out of descriptors is the
// usual one, ends nothing: it is tried again a little later.
func (s *socket) accept() {
	pause := time.Duration(0)
	for {
		nc, err := s.nl.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.p.remark(slog.LevelWarn, "accept failed", slog.String("listener", s.current.Load().id), slog.String("error", err.Error()), slog.String("retry_in", pause.String()))
			select {
			case <-time.After(pause):
			case <-s.p.stopped:
				return
			}
			continue
		}
		pause = 0
		s.current.Load().start(nc)
	}
}

// start serves a connection in its own goroutine unless there are too many.
func (l *listener) start(nc net.Conn) {
	if most := l.p.limits.connections.Load(); l.p.open.Add(1) > most {
		l.p.open.Add(-1)
		l.full(connectionLimit, most, nc.RemoteAddr().String())
		_ = nc.Close()
		return
	}
	l.p.metrics.Connections.Inc()
	l.p.metrics.OpenConnections.Add(1)
	l.p.clients.Add(1)
	go newConn(l.p, l, nc).serve()
}

// full records a connection that is closed because it is over a limit.
func (l *listener) full(r Reason, most int64, client string) {
	l.p.metrics.Blocked(r.String())
	l.warnRefused(slog.String("client", client), slog.String("reason", r.String()), slog.Int64("limit", most))
}

// warnRefused logs that connections are refused, and why this one was, once a second at most.
func (l *listener) warnRefused(why ...slog.Attr) {
	warned := &l.socket.warned
	now, last := l.p.sweeper.now()|1, tick(warned.Load())
	if last != 0 && !after(now, last+ticks(time.Second)) || !warned.CompareAndSwap(uint64(last), uint64(now)) {
		return
	}
	l.p.remark(slog.LevelWarn, "connection refused", append([]slog.Attr{slog.String("listener", l.id)}, why...)...)
}

// closed takes an ended connection off the books.
func (p *Proxy) closed() {
	p.open.Add(-1)
	p.metrics.OpenConnections.Add(-1)
	p.clients.Done()
}

// lastRequest reports whether a connection has served its share.
func (l *listener) lastRequest(requests int) bool { return l.maxPer > 0 && requests >= l.maxPer }

// leaving reports whether the socket's listener has left the configuration.
func (s *socket) leaving() bool { return s.last.Load() != nil }
