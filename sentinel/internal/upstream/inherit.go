package upstream

import (
	"slices"
	"time"
)

// Inherit takes over what another pool of the upstream knows of the targets that both have, by address: health,
// ejection, breaker, recent answers, addresses of names, what the balancer learned, the counts that are shown. With
// connections it takes the idle ones, too. Requests in flight stay with the other pool, which goes on and is to be
// closed. It is called before Start, and before this pool is used.
func (p *Pool) Inherit(old *Pool, connections bool) {
	known := make(map[string]*Target, len(old.targets))
	for _, t := range old.targets {
		if known[t.Address] == nil {
			known[t.Address] = t
		}
	}
	for _, t := range p.targets {
		from := known[t.Address]
		if from == nil {
			continue
		}
		delete(known, t.Address) // a second one of that address is another target
		t.inherit(from)
		if p.observer != nil && old.observer != nil {
			p.observer.Learn(t.index, old.observer, from.index)
		}
		if connections {
			t.takeIdle(from)
		}
	}
	p.rejected.Store(old.rejected.Load())
	p.budget.refused.Store(old.budget.refused.Load())
}

func (t *Target) inherit(from *Target) {
	t.requests.Store(from.requests.Load())
	t.failures.Store(from.failures.Load())
	t.ejections.Store(from.ejections.Load())
	t.lastFailure.Store(from.lastFailure.Load())
	t.lastProbe.Store(from.lastProbe.Load())
	t.names.known.Store(from.names.known.Load())
	t.names.lost.Store(from.names.lost.Load())
	t.window.copy(&from.window)
	if t.pool.Breaker == from.pool.Breaker {
		t.breaker.Resume(from.breaker)
	}
	checked := t.pool.Check != nil
	t.down.Store(checked && from.down.Load()) // nobody but a check would bring it back
	if checked == (from.pool.Check != nil) {
		t.ejection.Resume(from.ejection)
		t.streak.Store(from.streak.Load())
	} else if from.ejected() {
		t.window.clear() // the other check's rules kept it away: these ones begin anew
	}
	if t.down.Load() || t.ejected() {
		t.since.Store(from.since.Load())
	}
	if from.ramp.running() {
		t.ramp.begin(t.pool, from.ramp.began())
	}
}

// began is when the ramp began.
func (r *ramp) began() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.start
}

// copy takes over the outcomes of another window.
func (w *window) copy(from *window) {
	from.mu.Lock()
	failed, next, samples, failures, ejected, lasts := from.failed, from.next, from.samples, from.failures, from.ejected, from.lasts
	from.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed, w.next, w.samples, w.failures, w.ejected, w.lasts = failed, next, samples, failures, ejected, lasts
	w.clean.Store(samples == windowSize && failures == 0)
}

// takeIdle moves the idle connections of another target here, as many as may be idle.
func (t *Target) takeIdle(from *Target) {
	from.mu.Lock()
	n := min(len(from.idle), t.pool.MaxIdle)
	taken := slices.Clone(from.idle[len(from.idle)-n:])
	from.idle = from.idle[:len(from.idle)-n]
	from.open -= n
	from.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range taken {
		c.Target = t
	}
	t.idle, t.open = append(t.idle, taken...), t.open+n
}
