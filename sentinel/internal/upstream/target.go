package upstream

import (
	"crypto/tls"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/balance"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
)

// Target is one address of a pool: its state and its connections. It is safe for concurrent use.
type Target struct {
	Address string
	pool    *Pool
	index   int    // in the pool
	host    string // of the address, when it is a name
	port    string
	tls     *tls.Config
	limit   int // requests in flight

	node     balance.Node
	breaker  *breaker.Breaker
	ejection *breaker.Breaker // open while the target is ejected for its recent answers
	down     atomic.Bool      // the active check says so
	streak   atomic.Int32     // probes that succeeded since the last failure or ejection
	window   window
	ramp     ramp
	names    names

	requests, failures, ejections atomic.Uint64
	lastFailure                   atomic.Pointer[Evidence]
	lastProbe                     atomic.Pointer[Evidence]
	since                         atomic.Int64 // when it became unhealthy or was ejected, Unix nanoseconds; 0: it is well

	mu     sync.Mutex // guards the rest, which conns.go uses
	idle   []*Conn    // the last one was used last
	open   int        // idle or in use
	closed bool
	poll   []unix.PollFd // sweep's, kept between ticks
}

// Evidence is what was last seen of a target.
type Evidence struct {
	At    time.Time
	Cause string // in our own words; empty: it was well
}

func newTarget(p *Pool, o TargetOptions) *Target {
	t := &Target{Address: o.Address, pool: p, index: len(p.targets), limit: p.MaxConnections}
	t.node.Name, t.node.Weight = o.Address, o.Weight
	if o.MaxRequests > 0 {
		t.limit = min(t.limit, o.MaxRequests)
	}
	host, port, err := net.SplitHostPort(o.Address)
	if _, notIP := netip.ParseAddr(host); err == nil && notIP != nil {
		t.host, t.port = host, port
	}
	if p.TLS != nil {
		t.tls = p.TLS.Clone()
		if t.tls.ServerName == "" {
			t.tls.ServerName = host
		}
	}
	t.breaker = breaker.New(p.Breaker, t.breakerChanged)
	t.ejection = breaker.New(ejectionSettings, t.ejectionChanged)
	return t
}

// ejectionSettings make of the breaker what spec 6.4 says of ejections: the window opens it, not a count
// of its own; one request at a time tries a target whose time is over, and one success is enough.
var ejectionSettings = breaker.Settings{
	FailureThreshold: math.MaxInt32, SuccessThreshold: 1, HalfOpenMaxRequests: 1, Timeout: ejectionBase,
}

// usable is the eligibility of a target but for its load: what the active check, the breaker and, unless
// it is to be overlooked, its ejection say.
func (t *Target) usable(now time.Time, overlookEjection bool) bool {
	return !t.down.Load() && t.breaker.Ready(now) && (overlookEjection || t.ejection.Ready(now))
}

func (t *Target) hasRoom() bool { return int(t.node.InFlight.Load()) < t.limit }

// enter takes one of the target's places; false: there is none. It never has more than that taken, not even
// for a moment: a place that is only tried would be missing for who waits.
func (t *Target) enter() bool {
	for {
		n := t.node.InFlight.Load()
		if int(n) >= t.limit {
			return false
		}
		if t.node.InFlight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave gives the place back to who waits first.
func (t *Target) leave() {
	t.node.InFlight.Add(-1)
	t.pool.pending.Wake()
}

// breakerChanged runs with the breaker's lock held.
func (t *Target) breakerChanged(c breaker.Change) {
	if c.To == breaker.Closed {
		t.ramp.begin(t.pool, time.Now())
		t.pool.wakeAll()
	}
	t.pool.tell(Event{Target: t.Address, Kind: BreakerChanged, From: c.From, To: c.To, Cause: c.Cause})
}

// settle tells the breakers how the attempt went, once.
func (t *Target) settle(v *Visit, o Outcome, cause string, now time.Time) {
	failed := o == Failed || o == BadAnswer && t.pool.CountsAnswers
	switch {
	case o == Abandoned:
		t.breaker.Abandon(v.ticket)
	case failed:
		t.breaker.Failure(v.ticket, now, cause)
		t.ramp.restart(now)
	default:
		t.breaker.Success(v.ticket)
	}
	switch {
	case o == Abandoned:
		t.ejection.Abandon(v.trial)
	case o == Success:
		t.ejection.Success(v.trial)
	case v.trial.Probe() && t.ejection.State() == breaker.HalfOpen: // else its probes have decided meanwhile
		t.eject(now, cause)
	}
	v.ticket, v.trial = breaker.Ticket{}, breaker.Ticket{}
}

// record adds the attempt to the target's books and ejects the target when too many of them failed.
func (t *Target) record(o Outcome, cause string, now time.Time) {
	if o == Abandoned {
		return
	}
	failed := o != Success
	if failed {
		t.failures.Add(1)
		t.lastFailure.Store(&Evidence{now, cause})
	}
	if t.window.record(failed) && !t.ejected() {
		t.eject(now, cause)
	}
}

// ejected reports whether the target is ejected, its time over or not.
func (t *Target) ejected() bool { return t.ejection.State() != breaker.Closed }

// TargetState is what is known of a target at one moment.
type TargetState struct {
	Address   string
	Weight    int
	Healthy   bool // neither unhealthy nor ejected
	Ejected   bool
	Eligible  bool
	Breaker   breaker.State
	InFlight  int
	Requests  uint64 // claimed by attempts
	Failures  uint64
	Ejections uint64
	Ramp      float64 // share of what it would get, 1 when it is not coming back
	Share     float64 // of failures in the window, 0 to 1
	Samples   int     // in the window
	Failure   *Evidence
	Probe     *Evidence
	Since     time.Time // unhealthy or ejected since; zero: it is well
}

// State returns the target's present state.
func (t *Target) State(now time.Time) TargetState {
	s := TargetState{
		Address: t.Address, Weight: t.node.Weight, Breaker: t.breaker.State(), InFlight: int(t.node.InFlight.Load()),
		Ejected: t.ejected(), Eligible: t.node.Weight > 0 && t.usable(now, false) && t.hasRoom(),
		Requests: t.requests.Load(), Failures: t.failures.Load(), Ejections: t.ejections.Load(),
		Ramp: t.ramp.share(now), Failure: t.lastFailure.Load(), Probe: t.lastProbe.Load(),
	}
	s.Healthy = !t.down.Load() && !s.Ejected
	s.Share, s.Samples = t.window.share()
	if at := t.since.Load(); at != 0 {
		s.Since = time.Unix(0, at)
	}
	return s
}
