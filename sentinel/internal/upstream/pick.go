package upstream

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/balance"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/limit"
)

// Why a Pick found no target.
var (
	// ErrNoTarget says that no target may be used: unhealthy, drained, or all tried.
	ErrNoTarget = errors.New("no eligible target")
	// ErrOpen says that the targets that are not unhealthy are behind open breakers.
	ErrOpen = errors.New("every breaker is open")
	// ErrBusy says that the usable targets have as many requests in flight as they may: Wait may help.
	ErrBusy = errors.New("all connections to the targets are in use")
)

// Visit is one request's way through a pool: the targets it tried, and its claim on the one it is at. One
// goroutine uses it; Reset makes it ready for the next request.
type Visit struct {
	Client netip.Addr // for the balancers that place a request by its client
	Now    time.Time  // of the present Pick
	Again  bool       // with nothing untried left, a tried target will do

	pool     *Pool
	target   *Target // claimed; nil: none
	tried    []*Target
	overlook objection
	observed bool // the balancer knows how it went
	query    balance.Query
	ticket   breaker.Ticket // of the target's breaker
	trial    breaker.Ticket // of its ejection
}

// objection is what may speak against a target besides its state.
type objection uint8

const (
	wasTried   objection = 1 << iota
	wasEjected           // overlooked when there is nobody else: the panic guard of spec 6.4
	isNew                // a ramping target had its share: never overlooked by itself, only added
)

// Reset forgets everything but the memory.
func (v *Visit) Reset() {
	clear(v.tried)
	*v = Visit{tried: v.tried[:0]}
}

// Target returns the claimed target, nil when there is none.
func (v *Visit) Target() *Target { return v.target }

// Eligible implements balance.Eligibility: it is the one question every balancer asks.
func (v *Visit) Eligible(i int) bool {
	t := v.pool.targets[i]
	switch {
	case v.overlook&wasTried == 0 && v.hasTried(t):
		return false
	case v.overlook&isNew != 0 && t.ramp.running():
		return false
	}
	return t.usable(v.Now, v.overlook&wasEjected != 0) && t.hasRoom()
}

func (v *Visit) hasTried(t *Target) bool {
	for _, x := range v.tried {
		if x == t {
			return true
		}
	}
	return false
}

// Pick claims an eligible target that the visit has not tried; Done must follow. With requests waiting in
// line it returns ErrBusy: first come, first served.
func (p *Pool) Pick(v *Visit) error {
	if p.pending.Present() > 0 {
		return ErrBusy
	}
	return p.choose(v)
}

// Wait is Pick for a request that found ErrBusy: it waits in line, at most for the pool's connect timeout.
// ErrBusy then says that the line was full, the time over, or ctx done. A visit that has tried targets waits
// only if any will do (Again): it would stand before others with places it cannot use.
func (p *Pool) Wait(ctx context.Context, v *Visit) error {
	if len(v.tried) > 0 && !v.Again {
		return ErrBusy
	}
	w, ok := p.pending.Join()
	if !ok {
		p.rejected.Add(1)
		return ErrBusy
	}
	// Who leaves wakes the next: there may be more places than were noticed while nobody was in line.
	defer p.pending.Wake()
	defer w.Leave()
	return p.wait(ctx, v, w)
}

func (p *Pool) wait(ctx context.Context, v *Visit, w *limit.Waiter) error {
	bounded, cancel := context.WithTimeout(ctx, p.Connect)
	defer cancel()
	// Nobody passes those who were here before. The line is joined before any look, so that no place that
	// becomes free goes unnoticed between the two.
	for look := w.First(); ; look = true {
		if look {
			if err := p.choose(v); !errors.Is(err, ErrBusy) {
				return err
			}
		}
		if w.Wait(bounded) != nil {
			if ctx.Err() == nil { // else it was the client who left
				p.rejected.Add(1)
			}
			return ErrBusy
		}
		v.Now = time.Now()
		w.Rejoin()
	}
}

// choose asks the balancer until a claim holds: between its answer and the claim others may have taken
// the last place (spec 6.2: as many picks as twice the targets).
func (p *Pool) choose(v *Visit) error {
	v.pool = p
	v.query.Set, v.query.Now = v, v.Now
	if p.keyed {
		v.query.Key = balance.ClientKey(v.Client)
	}
	for range 2 * max(len(p.targets), 1) {
		i := p.next(v)
		if i < 0 {
			return p.objection(v)
		}
		if v.claim(p.targets[i]) {
			p.earn(v)
			return nil
		}
	}
	return ErrBusy
}

// next is one answer of the balancer, overlooking as little as possible.
func (p *Pool) next(v *Visit) int {
	v.overlook = 0
	i := p.balancer.Pick(&v.query)
	if i < 0 && v.Again && len(v.tried) > 0 {
		v.overlook = wasTried
		i = p.balancer.Pick(&v.query)
	}
	if i < 0 && !p.anyUsable(v, wasTried) {
		v.overlook |= wasEjected
		if i = p.balancer.Pick(&v.query); i >= 0 {
			p.panics(true)
		}
		return i
	}
	if i >= 0 && p.panicked.Load() {
		p.panics(false)
	}
	if i >= 0 && p.ramping.Load() > 0 {
		return p.gradually(v, i)
	}
	return i
}

// panics notes that ejections are ignored, or no longer are.
func (p *Pool) panics(on bool) {
	if !p.panicked.CompareAndSwap(!on, on) {
		return
	}
	if on {
		p.tell(Event{Kind: PanicBegan, Cause: "every usable target is ejected"})
	} else {
		p.tell(Event{Kind: PanicEnded, Cause: "a target is well"})
	}
}

// anyUsable reports whether there is a target that has nothing against it but its load, and what is
// overlooked.
func (p *Pool) anyUsable(v *Visit, overlook objection) bool {
	for _, t := range p.targets {
		if v.may(t, overlook) && t.usable(v.Now, overlook&wasEjected != 0) {
			return true
		}
	}
	return false
}

// may reports whether the visit may go to t at all.
func (v *Visit) may(t *Target, overlook objection) bool {
	return t.node.Weight > 0 && (overlook&wasTried != 0 || !v.hasTried(t))
}

// objection says why there is no target.
func (p *Pool) objection(v *Visit) error {
	if p.anyUsable(v, v.overlook) {
		return ErrBusy
	}
	for _, t := range p.targets {
		if v.may(t, v.overlook) && !t.down.Load() && !t.breaker.Ready(v.Now) {
			return ErrOpen
		}
	}
	return ErrNoTarget
}

// claim enters the request at t; false: t was taken meanwhile.
func (v *Visit) claim(t *Target) bool {
	if !t.enter() {
		return false
	}
	var ok bool
	if v.ticket, ok = t.breaker.Admit(v.Now); !ok {
		t.leave()
		return false
	}
	if t.ejected() && v.overlook&wasEjected == 0 {
		if v.trial, ok = t.ejection.Admit(v.Now); !ok {
			t.breaker.Abandon(v.ticket)
			t.leave()
			return false
		}
	}
	if len(v.tried) == 0 {
		t.pool.budget.requests.Add(1)
	}
	v.target, v.observed = t, false
	v.tried = append(v.tried, t)
	t.requests.Add(1)
	return true
}

// Outcome is how an attempt ended.
type Outcome uint8

// The outcomes.
const (
	Abandoned Outcome = iota // says nothing of the target: the client left, or the connection had died idle
	Success                  // an answer with a status below 500
	BadAnswer                // an answer with a status of 500 and above, or one that is no HTTP
	Failed                   // no answer, or half of one: connect error, reset, timeout
)

// Answered tells that the head of the answer is there, took after the request was sent; 0: nobody knows,
// the client was still sending it. A breaker's trial ends here: the body may take hours, and would keep
// everybody else waiting for what is known.
func (v *Visit) Answered(o Outcome, cause string, took time.Duration, now time.Time) {
	v.observe(o, took, now)
	if v.target != nil && v.OnTrial() {
		v.target.settle(v, o, cause, now)
	}
}

// observe tells the balancer, if it learns, how the attempt went, once.
func (v *Visit) observe(o Outcome, took time.Duration, now time.Time) {
	if v.observed || v.target == nil || v.target.pool.observer == nil || o == Abandoned {
		return
	}
	v.observed = true
	if took > 0 || o != Success {
		v.target.pool.observer.Observe(v.target.index, now, took, o != Success)
	}
}

// OnTrial reports whether the request is one that a half-open breaker or an ended ejection let through to
// see how it goes.
func (v *Visit) OnTrial() bool { return v.ticket.Probe() || v.trial.Probe() }

// Done ends the claim. took is as in Answered, or the time to the failure; cause is the Reason's word, for
// the breaker's log. Without a claim it does nothing.
func (v *Visit) Done(o Outcome, cause string, took time.Duration, now time.Time) {
	t := v.target
	if t == nil {
		return
	}
	t.settle(v, o, cause, now)
	t.record(o, cause, now)
	v.observe(o, took, now)
	v.target = nil
	t.leave()
}
