package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// rampFloor is the share a recovering target begins with (spec 6.4).
	rampFloor = 0.1
	// rampBurst is how many requests it may get at once when none came for a while. Less would round its
	// share down: what is left over after a request must count for the next.
	rampBurst = 2
)

// ramp is the gradual return of a recovered target. Every request that could have gone to it earns it the
// part of a request that its share allows; a request it gets costs a whole one. That bounds its traffic
// whatever the balancer: one that looks at the load would otherwise send an idle target everything, and a
// coin tossed for each of its choices would not change that.
type ramp struct {
	on atomic.Bool

	mu     sync.Mutex // guards the rest
	pool   *Pool
	start  time.Time
	credit float64 // requests it may get, at most rampBurst
}

func (r *ramp) running() bool { return r.on.Load() }

// begin starts the ramp, or starts it anew.
func (r *ramp) begin(p *Pool, now time.Time) {
	if p.Ramp <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pool, r.start, r.credit = p, now, 0
	if !r.on.Swap(true) {
		p.ramping.Add(1)
	}
}

// restart begins a running ramp anew: a failure says that the target is not well yet (spec 6.4).
func (r *ramp) restart(now time.Time) {
	if !r.running() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.start = now
}

// earn adds what one request of the pool allows and ends the ramp when its time is over. part is the
// target's part of the pool's traffic when it is well, 0 to 1.
func (r *ramp) earn(now time.Time, part float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.on.Load() {
		return
	}
	if now.Sub(r.start) >= r.pool.Ramp {
		r.on.Store(false)
		r.pool.ramping.Add(-1)
		return
	}
	r.credit = min(r.credit+r.sharing(now)*part, rampBurst)
}

// spend takes one request off the credit; false: there is not enough.
func (r *ramp) spend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on.Load() && r.credit < 1 {
		return false
	}
	r.credit--
	return true
}

// share is what the target gets of its part at the moment, 0.1 to 1.
func (r *ramp) share(now time.Time) float64 {
	if !r.running() {
		return 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sharing(now)
}

func (r *ramp) sharing(now time.Time) float64 {
	return min(max(rampFloor, now.Sub(r.start).Seconds()/r.pool.Ramp.Seconds()), 1)
}

// gradually lets the request go to the chosen target unless that is coming back and has had its share:
// then to another that is not, if there is one.
func (p *Pool) gradually(v *Visit, chosen int) int {
	t := p.targets[chosen]
	if !t.ramp.running() || t.ramp.spend() {
		return chosen
	}
	v.overlook |= isNew
	defer func() { v.overlook &^= isNew }()
	if i := p.balancer.Pick(&v.query); i >= 0 {
		return i
	}
	return chosen
}

// earn gives every returning target its part of the request that has just been claimed: once for each,
// however often the balancer was asked.
func (p *Pool) earn(v *Visit) {
	if p.ramping.Load() == 0 {
		return
	}
	total := 0
	for _, t := range p.targets {
		if t.usable(v.Now, false) {
			total += t.node.Weight
		}
	}
	for _, t := range p.targets {
		if t.ramp.running() {
			t.ramp.earn(v.Now, float64(t.node.Weight)/float64(max(total, 1)))
		}
	}
}
