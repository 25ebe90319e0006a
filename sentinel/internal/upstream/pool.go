package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/balance"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/health"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/limit"
)

// Options define a pool. All durations and counts are positive unless noted.
type Options struct {
	ID            string
	Targets       []TargetOptions
	LoadBalancing string // one of balance.Algorithms; empty: round_robin

	MaxConnections int           // open connections per target, and so requests in flight
	MaxPending     int           // requests of the pool that may wait for one; 0: none
	MaxIdle        int           // idle connections kept per target
	IdleTimeout    time.Duration // of one idle connection
	MaxLifetime    time.Duration // of one connection; 0: no bound
	Connect        time.Duration // longest time to connect, TLS handshake included, and to wait for a connection
	TLS            *tls.Config   // nil: plain text; ServerName is filled in per target when empty
	DNSRefresh     time.Duration // how often names are resolved again; 0: only once

	Breaker       breaker.Settings // of each target
	CountsAnswers bool             // a BadAnswer is a failure to the breaker, too
	Check         *Check           // nil: targets are not probed
	Ramp          time.Duration    // how long a recovered target takes to its full share; 0: none
	RetryBudget   Budget

	Resolver Resolver      // nil: net.DefaultResolver
	Random   func() uint64 // nil: math/rand/v2
	Event    func(Event)   // nil: nobody listens; must be quick and not call the pool; any goroutine
}

// TargetOptions define one target.
type TargetOptions struct {
	Address     string // host:port
	Weight      int    // share of the traffic; 0: none
	MaxRequests int    // in flight; 0: MaxConnections alone bounds them
}

// Check is the active health check of every target.
type Check struct {
	Probe      health.Probe // without Address, Dial and TLS, which come from the target
	Thresholds health.Thresholds
	Interval   time.Duration
}

// Pool is one upstream. It is safe for concurrent use.
type Pool struct {
	Options
	targets  []*Target
	balancer balance.Balancer
	observer balance.Observer // the balancer, if it learns; else nil
	keyed    bool             // the balancer looks at the client's address
	pending  *limit.Queue
	rejected atomic.Uint64 // requests that found no place in pending, or waited in vain
	ramping  atomic.Int32  // targets that come back gradually
	panicked atomic.Bool   // every target is ejected: ejections are ignored
	budget   budget

	stop    context.CancelFunc // ends what Start began; nil: nothing
	workers sync.WaitGroup
}

// New makes the pool. Nothing is dialled or resolved before Start or the first request. An error is an
// unknown balancing algorithm.
func New(o Options) (*Pool, error) {
	p := &Pool{Options: o, pending: limit.NewQueue(o.MaxPending), budget: budget{Budget: o.RetryBudget}}
	nodes := make([]*balance.Node, 0, len(o.Targets))
	for _, to := range o.Targets {
		t := newTarget(p, to)
		p.targets = append(p.targets, t)
		nodes = append(nodes, &t.node)
	}
	if p.LoadBalancing == "" {
		p.LoadBalancing = "round_robin"
	}
	var err error
	if p.balancer, err = balance.New(p.LoadBalancing, nodes, o.Random); err != nil {
		return nil, fmt.Errorf("upstream %q: %w", o.ID, err)
	}
	p.observer, _ = p.balancer.(balance.Observer)
	p.keyed = balance.Keyed(p.LoadBalancing)
	return p, nil
}

// Start begins probing targets and following their names. Close ends both.
func (p *Pool) Start() {
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	if p.Check != nil {
		for i, t := range p.targets {
			first := health.Spread(i, len(p.targets), p.Check.Interval)
			p.workers.Go(func() { t.check(ctx, first) })
		}
	}
	if p.DNSRefresh > 0 && p.named() {
		p.workers.Go(func() { p.follow(ctx) })
	}
}

// named reports whether any target's address is a name.
func (p *Pool) named() bool {
	for _, t := range p.targets {
		if t.host != "" {
			return true
		}
	}
	return false
}

// Targets returns the pool's targets in file order.
func (p *Pool) Targets() []*Target { return p.targets }

// Sweep closes idle connections that are past their time, or that their target closed or wrote to
// unasked: bytes nobody asked for must never become somebody's response. It also keeps the retry
// budget's time. One goroutine calls it, several times a second.
func (p *Pool) Sweep(now time.Time) {
	for _, t := range p.targets {
		t.sweep(now)
	}
	p.budget.tick(now)
}

// Close ends what Start began and closes every idle connection; connections in use are closed when they
// are given back.
func (p *Pool) Close() {
	if p.stop != nil {
		p.stop()
	}
	for _, t := range p.targets {
		t.close()
	}
	p.workers.Wait()
}

// Idle counts connections without a request over all targets.
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

// Pending counts the requests that wait for a connection.
func (p *Pool) Pending() int { return p.pending.Present() }

// PendingRejected counts the requests that found no place in line, or waited in vain.
func (p *Pool) PendingRejected() uint64 { return p.rejected.Load() }

// Panicked reports whether every usable target is ejected, so that ejections are ignored (spec 6.4).
func (p *Pool) Panicked() bool { return p.panicked.Load() }

// wakeAll lets everybody in line look again: there may be a place now, or none left to wait for.
func (p *Pool) wakeAll() {
	for range p.pending.Len() {
		p.pending.Wake()
	}
}

func (p *Pool) tell(e Event) {
	if p.Event != nil {
		p.Event(e)
	}
}

// Event is a change of a target's or the pool's state that an operator wants to know of.
type Event struct {
	Target   string // address; empty: the pool itself
	Kind     EventKind
	From, To breaker.State // of BreakerChanged
	Cause    string        // in our own words
}

// EventKind says what an Event is about.
type EventKind uint8

// The kinds of events.
const (
	Healthy        EventKind = iota // the active check found the target well again
	Unhealthy                       // the active check failed as often as its threshold says
	Ejected                         // too many of the target's recent answers were failures
	Readmitted                      // an ejected target may be used again
	BreakerChanged                  // the target's breaker went from From to To
	PanicBegan                      // every usable target is ejected: ejections are ignored
	PanicEnded
	Resolved   // a name has new addresses
	Unresolved // a name could not be resolved again: the last addresses are kept
)

// Resolver looks up the addresses of a name, as net.Resolver does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

func (p *Pool) resolver() Resolver {
	if p.Resolver != nil {
		return p.Resolver
	}
	return net.DefaultResolver
}
