// Package breaker is the circuit breaker: it stops asking what fails again and again, and after a time lets
// a few requests find out whether it is well. Targets, (route, upstream) pairs, ejections and agents each
// have one.
//
// A breaker is closed (all is well), open (requests are refused) or half-open (a bounded number of probes
// at a time). Every admitted request holds a Ticket and settles it once, with Success, Failure or Abandon.
// A ticket says in which generation of the state it was given; outcomes of earlier generations are dropped.
//
// The breaker has no clock and no goroutine: callers pass the time in, and it is a request asking after an
// open breaker's time that makes it half-open.
package breaker

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// State is what a breaker does with requests. Its numbers are those of the metric circuit_breaker_state.
type State uint8

// The states.
const (
	Closed   State = iota // admits everything, counts failures in a row
	Open                  // refuses everything until its time is over
	HalfOpen              // admits a few probes, counts successes
)

var stateNames = [...]string{Closed: "closed", Open: "open", HalfOpen: "half_open"}

// String returns the state's word in logs and metrics.
func (s State) String() string { return stateNames[s] }

// Settings are the numbers of a breaker. A count below 1 means 1; a FailureThreshold above 2^32-1 means
// 2^32-1. Whatever they are, an open breaker whose time is over admits a request.
type Settings struct {
	FailureThreshold    int           // failures in a row that open it
	SuccessThreshold    int           // successes of probes that close it
	HalfOpenMaxRequests int           // probes at a time
	Timeout             time.Duration // for which it stays open after a failure
}

// Change is one transition. Cause is what Failure, Trip, HalfOpen or Close was given, "timeout" when an
// open breaker's time was over, "recovered" when enough probes succeeded.
type Change struct {
	From, To State
	Cause    string
}

// Ticket is the admission of one request. Its holder settles it exactly once; a probe's ticket that is not
// settled keeps its slot for Settings.Timeout, and longer while nobody needs it. Settled again, a probe's ticket does nothing, while one given by a closed
// breaker counts again: the breaker may then open earlier, nothing else. The zero Ticket is nobody's, and
// every call with it does nothing.
type Ticket struct {
	era    uint32 // the upper half of the word it was given by
	serial uint32 // tells the probes of one era apart
}

// Probe reports whether the request was admitted half-open: it holds one of the few slots.
func (t Ticket) Probe() bool { return State(t.era&stateMask) == HalfOpen }

// Breaker is one circuit breaker. All methods are safe for concurrent use.
//
// Closed, it is one word that requests read and, if something failed lately, change without a lock. Every
// transition, and all that happens while open or half-open, is under the mutex; only closed does the word
// change without it, and never in its upper half.
type Breaker struct {
	word      atomic.Uint64 // a word
	threshold uint32        // the failures in a row that open it
	settings  Settings
	changed   func(Change)

	mu        sync.Mutex           // guards the rest
	since     time.Time            // while open: when it opened
	lasts     time.Duration        // while open: for how long, from since
	successes int                  // while half-open
	probes    map[Ticket]time.Time // while half-open: those not settled, and when each was admitted
	serial    uint32               // of the last probe
}

// New returns a closed breaker. changed, which may be nil, is told of every transition in order, with the
// breaker's lock held: it must be quick and not call the breaker.
func New(s Settings, changed func(Change)) *Breaker {
	s.HalfOpenMaxRequests = max(s.HalfOpenMaxRequests, 1)
	threshold := uint32(min(uint64(max(s.FailureThreshold, 1)), math.MaxUint32))
	b := &Breaker{settings: s, threshold: threshold, changed: changed}
	b.word.Store(uint64(word(0).next(Closed)))
	return b
}

// State returns the present state. An open breaker whose time is over stays open until a request asks.
func (b *Breaker) State() State { return b.load().state() }

// Ready reports whether Admit would admit, and changes nothing.
func (b *Breaker) Ready(now time.Time) bool {
	return b.load().state() == Closed || b.readySlowly(now)
}

func (b *Breaker) readySlowly(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.load().state() {
	case Open:
		return b.leftLocked(now) <= 0
	case HalfOpen:
		return b.mayProbeLocked(now)
	default:
		return true
	}
}

// Admit asks for one request. If it is admitted, the ticket must be settled. An open breaker whose time is
// over becomes half-open, and the request that asked is its first probe.
func (b *Breaker) Admit(now time.Time) (Ticket, bool) {
	if w := b.load(); w.state() == Closed {
		return Ticket{era: w.era()}, true
	}
	return b.admitSlowly(now)
}

func (b *Breaker) admitSlowly(now time.Time) (Ticket, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.load()
	if w.state() == Closed {
		return Ticket{era: w.era()}, true
	}
	if w.state() == Open {
		if b.leftLocked(now) > 0 {
			return Ticket{}, false
		}
		b.moveLocked(w, HalfOpen, "timeout")
	}
	if !b.slotLocked(now) {
		return Ticket{}, false
	}
	b.serial++
	t := Ticket{era: b.load().era(), serial: b.serial}
	b.probes[t] = now
	return t, true
}

// slotLocked makes room for one probe, if need be by taking slots back; false: there is none.
func (b *Breaker) slotLocked(now time.Time) bool {
	if len(b.probes) < b.settings.HalfOpenMaxRequests {
		return true
	}
	maps.DeleteFunc(b.probes, func(_ Ticket, at time.Time) bool { return b.overdue(at, now) })
	return len(b.probes) < b.settings.HalfOpenMaxRequests
}

// mayProbeLocked reports whether slotLocked would find a slot.
func (b *Breaker) mayProbeLocked(now time.Time) bool {
	if len(b.probes) < b.settings.HalfOpenMaxRequests {
		return true
	}
	for _, at := range b.probes {
		if b.overdue(at, now) {
			return true
		}
	}
	return false
}

// overdue reports whether a probe has not been settled for longer than the breaker would stay open. Its slot
// may go to another then: a client that trickles its request must not keep everybody else out.
func (b *Breaker) overdue(at, now time.Time) bool { return now.Sub(at) > max(b.settings.Timeout, 0) }

// Success settles a ticket: the request went well.
func (b *Breaker) Success(t Ticket) {
	if t.Probe() {
		b.probeSucceeded(t)
		return
	}
	for {
		w := b.load()
		if w.era() != t.era || w.failures() == 0 || b.swap(w, w.cleared()) {
			return
		}
	}
}

func (b *Breaker) probeSucceeded(t Ticket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.releaseLocked(t) {
		return
	}
	if b.successes++; b.successes >= b.settings.SuccessThreshold {
		b.moveLocked(b.load(), Closed, "recovered")
	}
}

// Failure settles a ticket: the request failed, for a cause in our own words. If that opens the breaker,
// it stays so for Settings.Timeout from now.
func (b *Breaker) Failure(t Ticket, now time.Time, cause string) {
	if t.Probe() {
		b.probeFailed(t, now, cause)
		return
	}
	for {
		w := b.load()
		switch {
		case w.era() != t.era:
			return
		case w.failures()+1 < b.threshold: // no overflow: while closed there are fewer than threshold
			if b.swap(w, w+1) {
				return
			}
		case b.lastFailure(w, now, cause):
			return
		}
	}
}

// lastFailure opens a closed breaker, unless its word is no longer w: a success may just have cleared it.
func (b *Breaker) lastFailure(w word, now time.Time, cause string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.openLocked(w, now, b.settings.Timeout, cause)
}

func (b *Breaker) probeFailed(t Ticket, now time.Time, cause string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.releaseLocked(t) {
		b.openLocked(b.load(), now, b.settings.Timeout, cause)
	}
}

// Abandon settles a ticket without an outcome: the request never got to say anything of what is behind
// the breaker, because its client left for instance. A probe's slot is free again.
func (b *Breaker) Abandon(t Ticket) {
	if !t.Probe() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.releaseLocked(t)
}

// Trip opens the breaker for d from now, on evidence other than its own count; with a d of 0 or less the
// next request may try. An open breaker stays as it is.
func (b *Breaker) Trip(now time.Time, d time.Duration, cause string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if w := b.load(); w.state() == Open || b.openLocked(w, now, d, cause) {
			return
		}
	}
}

// HalfOpen lets an open breaker admit probes at once, on evidence that it is worth a try. Otherwise it
// does nothing.
func (b *Breaker) HalfOpen(cause string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.load(); w.state() == Open {
		b.moveLocked(w, HalfOpen, cause)
	}
}

// Resume takes over the state of another breaker, which goes on by itself: its failures in a row, and until when it
// is open. Half-open, its probes are not this one's. Nobody is told. Both may be in use.
func (b *Breaker) Resume(from *Breaker) {
	from.mu.Lock()
	w, since, lasts, successes := from.load(), from.since, from.lasts, from.successes
	from.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.since, b.lasts, b.successes, b.probes = since, lasts, successes, nil
	next := b.load().next(w.state())
	if w.state() == HalfOpen {
		b.probes = make(map[Ticket]time.Time)
	}
	if w.state() == Closed {
		next += word(min(w.failures(), b.threshold-1))
	}
	b.word.Store(uint64(next))
}

// Close closes an open or half-open breaker at once, on evidence that needs no probes. A closed one stays
// as it is, with its count of failures.
func (b *Breaker) Close(cause string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.load(); w.state() != Closed {
		b.moveLocked(w, Closed, cause)
	}
}

// Left returns how long an open breaker still refuses; 0: its time is over, or it is not open.
func (b *Breaker) Left(now time.Time) time.Duration {
	if b.State() != Open {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.State() != Open {
		return 0
	}
	return max(b.leftLocked(now), 0)
}

// leftLocked counts from since, also for a now a little before it: others read the clock earlier and came
// later. So nothing is admitted early, and no sum of times can overflow.
func (b *Breaker) leftLocked(now time.Time) time.Duration {
	return b.lasts - max(now.Sub(b.since), 0)
}

// releaseLocked gives a probe's slot back; false: the ticket is of another era or was settled before.
func (b *Breaker) releaseLocked(t Ticket) bool {
	_, held := b.probes[t]
	delete(b.probes, t)
	return held
}

// openLocked is moveLocked to Open. The time is only read while open, so that setting it does no harm
// when the move fails.
func (b *Breaker) openLocked(w word, now time.Time, d time.Duration, cause string) bool {
	b.since, b.lasts = now, d
	return b.moveLocked(w, Open, cause)
}

// moveLocked makes a transition from w and forgets every count and probe. It fails only if w is a closed
// breaker's and no longer the present word.
func (b *Breaker) moveLocked(w word, to State, cause string) bool {
	if !b.swap(w, w.next(to)) {
		return false
	}
	b.successes, b.probes = 0, nil
	if to == HalfOpen {
		b.probes = make(map[Ticket]time.Time)
	}
	if b.changed != nil {
		b.changed(Change{From: w.state(), To: to, Cause: cause})
	}
	return true
}

func (b *Breaker) load() word { return word(b.word.Load()) }

func (b *Breaker) swap(from, to word) bool {
	return b.word.CompareAndSwap(uint64(from), uint64(to))
}

// word is the generation (30 bits), the state (2) and the failures in a row (32). Generation and state
// together are the era. Era 0 does not occur: it is the zero Ticket's.
type word uint64

const (
	stateMask = 1<<2 - 1
	eraShift  = 32
)

func (w word) era() uint32      { return uint32(w >> eraShift) }
func (w word) state() State     { return State(w.era() & stateMask) }
func (w word) failures() uint32 { return uint32(w) }
func (w word) cleared() word    { return w >> eraShift << eraShift }

// next returns the word of the next generation, in state to.
func (w word) next(to State) word {
	generation := w.era()&^stateMask + stateMask + 1
	if generation == 0 { // after 2^30 transitions; no ticket lives that long
		generation = stateMask + 1
	}
	return word(generation|uint32(to)) << eraShift
}
