package sentinel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

// listener is one bound address and what its connections need to know.
type listener struct {
	p         *Proxy
	id        string
	nl        net.Listener
	tls       *tls.Config // nil: plain HTTP
	scheme    []byte
	maxPer    int // requests per connection; 0: no bound
	minRate   int64
	trust     trust
	announced bool // connections begin with a PROXY protocol header
	keepAlive tick
	headTimeout,
	bodyIdle tick
	conns  sync.WaitGroup
	warned atomic.Uint64 // tick of the last warning about refused connections
}

// bind opens a listener's socket.
func (p *Proxy) listen(c *config.Listener) (*listener, error) {
	l := &listener{
		p: p, id: c.ID, scheme: []byte("http"), maxPer: c.KeepAliveMaxRequests, minRate: int64(c.MinBodyRate),
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
	open := p.options.Listen
	if open == nil {
		// Idle and transfer deadlines find dead peers, so TCP keep-alive would only cost system calls; tunnels
		// have no such deadline and switch it on.
		open = (&net.ListenConfig{KeepAlive: -1}).Listen
	}
	nl, err := open(context.Background(), "tcp", c.Address.String())
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", c.ID, err)
	}
	l.nl = nl
	return l, nil
}

// accept runs until the socket is closed. A failed accept, of which running out of descriptors is the
// usual one, ends nothing: it is tried again a little later.
func (l *listener) accept() {
	pause := time.Duration(0)
	for {
		nc, err := l.nl.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			l.p.log.Warn("accept failed", "listener", l.id, "error", err.Error(), "retry_in", pause.String())
			select {
			case <-time.After(pause):
			case <-l.p.stopped:
				return
			}
			continue
		}
		pause = 0
		l.start(nc)
	}
}

// start serves a connection in its own goroutine unless there are too many.
func (l *listener) start(nc net.Conn) {
	if l.p.open.Add(1) > l.p.maxConnections {
		l.p.open.Add(-1)
		l.p.metrics.Blocked(connectionLimit.String())
		l.warnRefused("reason", connectionLimit.String(), "limit", l.p.maxConnections)
		_ = nc.Close()
		return
	}
	l.p.metrics.Connections.Inc()
	l.p.metrics.OpenConnections.Add(1)
	l.conns.Add(1)
	go newConn(l.p, l, nc).serve()
}

// warnRefused logs that connections are refused, and why this one was, once a second at most.
func (l *listener) warnRefused(why ...any) {
	now, last := l.p.sweeper.now()|1, tick(l.warned.Load())
	if last != 0 && !after(now, last+ticks(time.Second)) || !l.warned.CompareAndSwap(uint64(last), uint64(now)) {
		return
	}
	l.p.log.Warn("connection refused", append([]any{"listener", l.id}, why...)...)
}

// closed takes an ended connection off the books.
func (l *listener) closed() {
	l.p.open.Add(-1)
	l.p.metrics.OpenConnections.Add(-1)
	l.conns.Done()
}

// lastRequest reports whether a connection has served its share.
func (l *listener) lastRequest(requests int) bool { return l.maxPer > 0 && requests >= l.maxPer }
