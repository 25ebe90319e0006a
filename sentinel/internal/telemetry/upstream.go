package telemetry

import (
	"sync"
	"sync/atomic"
)

// States of a circuit breaker, as the metrics show them.
const (
	BreakerClosed   = 0
	BreakerOpen     = 1
	BreakerHalfOpen = 2
)

// UpstreamStats is the state of an upstream at the moment of a scrape.
type UpstreamStats struct {
	PoolSize, PoolIdle int    // connections open, and those of them without a request
	Pending            int    // requests that wait for a connection
	PendingRejected    uint64 // requests that found no place in that line, or waited in vain
	BudgetExhausted    uint64 // repeats that the retry budget did not allow
	Panic              bool   // every usable target is ejected: ejections are ignored
	Targets            []TargetStats
}

// TargetStats is the state of one target. Of several with one address only the first is shown.
type TargetStats struct {
	Address string
	Healthy bool
	Breaker int // BreakerClosed, BreakerOpen or BreakerHalfOpen

	InFlight                      int // requests
	Requests, Failures, Ejections uint64
	Ramp                          float64 // what the target gets of its share, 0.1 to 1
}

// UpstreamMetrics counts what happens with one upstream.
type UpstreamMetrics struct {
	PoolAcquired Counter // connections taken from the pool

	id      string
	reasons map[string]*Counter // its keys are the closed set of reasons
	stats   atomic.Pointer[func() UpstreamStats]

	mu      sync.Mutex // guards the rest
	routes  map[string]*UpstreamRoute
	changes map[change]uint64
}

// change is a kind of transition that was seen. Targets come from the configuration alone.
type change struct {
	what   changed
	target string
	to     string
}

type changed uint8

const (
	changedHealth changed = iota
	changedBreaker
)

// maxChanges bounds the transitions that are counted apart, after many reloads with other targets.
const maxChanges = 10_000

// Health counts that a target turned "healthy", "unhealthy", "ejected" or "readmitted".
func (u *UpstreamMetrics) Health(target, to string) {
	u.changed(change{changedHealth, label(target), to})
}

// Breaker counts that a target's breaker turned "open", "half_open" or "closed".
func (u *UpstreamMetrics) Breaker(target, to string) {
	u.changed(change{changedBreaker, label(target), to})
}

func (u *UpstreamMetrics) changed(c change) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.changes[c]; !known && len(u.changes) >= maxChanges {
		c.target = other
	}
	u.changes[c]++
}

// SetStats names the function that a scrape asks for the present state. It must be quick and safe
// for concurrent use. Nil: the upstream is gone, its gauges are no longer shown.
func (u *UpstreamMetrics) SetStats(stats func() UpstreamStats) {
	if stats == nil {
		u.stats.Store(nil)
		return
	}
	u.stats.Store(&stats)
}

// Route returns the counters of the upstream's use by a route, always the same for one id.
func (u *UpstreamMetrics) Route(id string) *UpstreamRoute {
	id = label(id)
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.routes[id]
	if r == nil {
		r = &UpstreamRoute{id: id, reasons: u.reasons, failures: make(map[string]uint64), turns: make(map[string]uint64)}
		u.routes[id] = r
	}
	return r
}

// UpstreamRoute counts the attempts that one route made at one upstream.
type UpstreamRoute struct {
	Attempts Counter // requests sent or tried, the first attempt included
	Retries  Counter // attempts after the first
	Rejected Counter // requests that the route's own breaker refused

	id      string
	reasons map[string]*Counter
	breaker atomic.Pointer[func() int]

	mu       sync.Mutex // guards the rest; only failing attempts pay for it
	failures map[string]uint64
	turns    map[string]uint64 // of the breaker, by what it turned to
}

// Breaker counts that the route's own breaker turned "open", "half_open" or "closed".
func (r *UpstreamRoute) Breaker(to string) {
	r.mu.Lock()
	r.turns[to]++
	r.mu.Unlock()
}

// Failure counts a failed attempt.
func (r *UpstreamRoute) Failure(reason string) {
	if r.reasons[reason] == nil {
		reason = other
	}
	r.mu.Lock()
	r.failures[reason]++
	r.mu.Unlock()
}

// SetBreaker names the function that a scrape asks for the state of the route's own breaker: one of
// the Breaker constants. Nil: there is none.
func (r *UpstreamRoute) SetBreaker(state func() int) {
	if state == nil {
		r.breaker.Store(nil)
		return
	}
	r.breaker.Store(&state)
}
