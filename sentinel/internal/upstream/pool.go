package upstream

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// Options define a pool. All durations and counts are positive unless noted.
type Options struct {
	ID             string
	Targets        []TargetOptions
	MaxConnections int           // open connections per target
	MaxIdle        int           // idle connections kept per target
	IdleTimeout    time.Duration // of one idle connection
	MaxLifetime    time.Duration // of one connection; 0: no bound
	Connect        time.Duration // longest time to connect, TLS handshake included
	TLS            *tls.Config   // nil: plain text; ServerName is filled in per target when empty
}

// TargetOptions define one target.
type TargetOptions struct {
	Address string // host:port
	Weight  int    // share of the traffic; 0: none
}

// ErrNoTarget says that no target of a pool may be used.
var ErrNoTarget = errors.New("no eligible target")

// Pool is one upstream. It is safe for concurrent use.
type Pool struct {
	Options
	targets []*Target
	order   []int // one round of the weighted rotation, as indexes into targets
	turn    atomic.Uint32
}

// NewPool makes the pool; nothing is dialled before the first request.
func NewPool(o Options) *Pool {
	p := &Pool{Options: o, order: rotation(o.Targets)}
	for _, t := range o.Targets {
		p.targets = append(p.targets, newTarget(p, t.Address))
	}
	return p
}

// Pick returns the next target of the rotation that tried does not have yet; with every target tried it
// returns ErrNoTarget.
func (p *Pool) Pick(tried []*Target) (*Target, error) {
	first, n := p.turn.Add(1)-1, uint32(len(p.order))
	for i := range n {
		if t := p.targets[p.order[(first%n+i)%n]]; !contains(tried, t) {
			return t, nil
		}
	}
	return nil, ErrNoTarget
}

func contains(list []*Target, t *Target) bool {
	for _, x := range list {
		if x == t {
			return true
		}
	}
	return false
}

// Targets returns the pool's targets in file order.
func (p *Pool) Targets() []*Target { return p.targets }

// Sweep closes idle connections that are past their time, or that their target closed or wrote to
// unasked: bytes nobody asked for must never become somebody's response.
func (p *Pool) Sweep(now time.Time) {
	for _, t := range p.targets {
		t.sweep(now)
	}
}

// Close closes every idle connection; connections in use are closed when they are given back.
func (p *Pool) Close() {
	for _, t := range p.targets {
		t.close()
	}
}

// Idle and Open count connections over all targets.
func (p *Pool) Idle() (n int) {
	for _, t := range p.targets {
		n += t.count(func(t *Target) int { return len(t.idle) })
	}
	return n
}

// Open counts the connections of all targets, in use or idle.
func (p *Pool) Open() (n int) {
	for _, t := range p.targets {
		n += t.count(func(t *Target) int { return t.open })
	}
	return n
}

// serverName returns the host part of an address, for SNI and certificate checks.
func serverName(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
