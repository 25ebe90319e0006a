package agents

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	pingEvery  = 10 * time.Second // of a link that nobody uses
	pingAtMost = 5 * time.Second
	sweepEvery = time.Second
)

// standing is what Notify was told last.
type standing uint8

const (
	unheard standing = iota
	up
	down
	refusing // it rejects its config
)

// redial is how long to wait after an attempt that failed: first, then twice as long each time.
type redial struct{ first, most time.Duration }

var redials = map[string]redial{
	"unix": {10 * time.Millisecond, time.Second},
	"grpc": {time.Second, 30 * time.Second},
}

// delay is how long to wait after n failures in a row: up to half of it is left out at random, so that many
// proxies do not come back to an agent at once.
func (r redial) delay(n int, random float64) time.Duration {
	if n == 0 {
		return 0
	}
	d := r.most
	if n < 20 {
		d = min(r.most, r.first<<(n-1))
	}
	return d - time.Duration(random*float64(d)/2)
}

// keep makes links until the agent is closed.
func (a *Agent) keep() {
	defer a.settleAttempt()
	ticks := time.NewTicker(sweepEvery)
	defer ticks.Stop()
	for a.ctx.Err() == nil {
		short, wait := a.short()
		if !short {
			select {
			case <-a.nudge:
			case <-ticks.C:
				a.sweep()
			case <-a.ctx.Done():
			}
			continue
		}
		if wait > 0 && !a.sleep(wait) {
			return
		}
		a.connect()
	}
}

// sleep waits before an attempt, unless a caller cannot. It reports whether the agent is not closed meanwhile.
func (a *Agent) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.hurry:
		return true
	case <-a.ctx.Done():
		return false
	}
}

// short reports whether a link is to be made, and how much later.
func (a *Agent) short() (bool, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	want := a.Links
	if a.dialect == V1 || a.standingLocked() == 0 {
		want = 1 // callers make the others; or its dialect is not sure
	}
	return a.standingLocked() < want, a.backoffLocked()
}

func (a *Agent) backoffLocked() time.Duration {
	return redials[a.Network].delay(a.pool.fails+a.pool.flaps, rand.Float64()) //nolint:gosec // G404: jitter is no secret
}

// connect makes one link. The first after none did stands once the agent has taken its config.
func (a *Agent) connect() {
	a.mu.Lock()
	first := a.standingLocked() == 0
	if a.pool.attempt == nil {
		a.pool.attempt = make(chan struct{})
	}
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(a.ctx, max(dialAtMost, 2*a.Timeout))
	defer cancel()
	l, err := a.dial(ctx)
	if err == nil && first && a.Config != nil {
		err = a.configure(ctx, l)
	}
	a.mu.Lock()
	if err == nil {
		a.connectedLocked(l, first)
	} else if a.ctx.Err() == nil {
		a.failedLocked(err, first)
	}
	a.mu.Unlock()
	a.settleAttempt()
}

// settleAttempt lets those go on who waited for an attempt.
func (a *Agent) settleAttempt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pool.attempt != nil {
		close(a.pool.attempt)
		a.pool.attempt = nil
	}
}

// configurer is a link of a dialect that has a message for the agent's config.
type configurer interface {
	configure(ctx context.Context) error
}

func (a *Agent) configure(ctx context.Context, l link) error {
	c, ok := l.(configurer)
	if !ok {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	err := c.configure(limited)
	if err != nil {
		l.close()
		<-l.dead()
	}
	return err
}

func (a *Agent) connectedLocked(l link, first bool) {
	a.pool.fails = 0
	if errors.Is(a.lastErr, errNotStarted) {
		a.lastErr = errBroken // what keeps callers waiting from here on
	}
	m := a.joinLocked(l)
	if m == nil || !first {
		return
	}
	was := a.standing
	a.standing = up
	if was == up {
		return
	}
	if was != unheard {
		a.breaker.HalfOpen("reconnected")
	}
	a.Notify(Notice{Kind: Connected, Dialect: a.dialect})
	if a.dialect == V2D && a.Config != nil {
		a.Notify(Notice{Kind: Warning, Dialect: V2D, Cause: "the dialect has no message for the agent's config"})
	}
}

func (a *Agent) failedLocked(err error, first bool) {
	a.pool.fails++
	a.pool.tried = time.Now()
	a.noteLocked(err)
	if !first && a.standingLocked() > 0 {
		return
	}
	now, n := down, Notice{Kind: Disconnected, Cause: "no connection", Detail: err.Error()}
	if errors.Is(err, errRejected) {
		now, n.Kind, n.Cause = refusing, ConfigRejected, "config rejected"
	}
	if a.standing != now {
		a.standing = now
		n.Dialect = a.dialect
		a.Notify(n)
	}
}

// watch waits for a link's end. It pings links that nobody uses, of the dialects that can be pinged.
func (a *Agent) watch(m *member) {
	ticks := time.NewTicker(pingEvery)
	defer ticks.Stop()
	for {
		select {
		case <-m.dead():
			a.mu.Lock()
			a.lostLocked(m)
			a.mu.Unlock()
			return
		case <-ticks.C:
			if a.unused(m) {
				a.ping(m)
			}
		}
	}
}

func (a *Agent) unused(m *member) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	used := m.used || m.calls > 0
	m.used = false
	return !used
}

// ping ends a link whose agent does not answer.
func (a *Agent) ping(m *member) {
	ctx, cancel := context.WithTimeout(a.ctx, pingAtMost)
	defer cancel()
	err := m.ping(ctx)
	if err == nil || a.ctx.Err() != nil {
		return
	}
	if st, ok := m.link.(interface{ fail(*Failure) }); ok {
		st.fail(asFailure(err))
		return
	}
	m.close()
}

// remembered is a link that knows how it ended.
type remembered interface {
	obituary() obituary
}

// lostLocked takes a dead link out of the pool, and has another made. When an agent that has a config may
// have been started again, it gets its config before anything is asked on its other links.
func (a *Agent) lostLocked(m *member) {
	if m.gone {
		return
	}
	a.removeLocked(m)
	a.drainedLocked()
	if m.retired {
		return
	}
	o := obituary{restarted: true, proven: m.proven}
	if r, ok := m.link.(remembered); ok {
		o = r.obituary()
	}
	_, v1 := m.exclusive()
	if !o.ours {
		a.blameLocked(m, v1, o.proven)
	}
	if v1 && o.restarted && a.Config != nil {
		a.retireLocked()
	}
	left := a.standingLocked()
	if left == 0 && !o.ours && !o.nonsense && a.standing == up {
		a.standing = down
		a.noteLocked(errBroken)
		a.Notify(Notice{Kind: Disconnected, Dialect: a.dialect, Cause: "the last connection ended"})
	}
	if !a.closing && (!v1 || left == 0) {
		a.promiseLocked()
	}
	a.wake()
}

// hurryLocked reports whether an attempt is being made that a caller may wait for, and has one made instead of
// waiting for the time that keep would: the agent may be back. It is not made more often than hurryAfter says, and
// while the breaker is open nobody asks for one.
func (a *Agent) hurryLocked() bool {
	if a.pool.attempt != nil {
		return true
	}
	if !a.started || time.Since(a.pool.tried) < hurryAfter {
		return false
	}
	a.pool.attempt = make(chan struct{})
	select {
	case a.hurry <- struct{}{}:
	default:
	}
	a.wake()
	return true
}

// promiseLocked lets callers wait for the next attempt, if that is made at once.
func (a *Agent) promiseLocked() {
	if a.pool.attempt == nil && a.backoffLocked() == 0 {
		a.pool.attempt = make(chan struct{})
	}
}

// blameLocked draws what follows from an agent's having ended a link: another is not made at once when that
// happens again and again, and a V1 agent that never answered may speak another dialect.
func (a *Agent) blameLocked(m *member, v1, proven bool) {
	a.pool.flaps++
	if proven || time.Since(m.born) >= steady {
		a.pool.flaps = 0
	}
	if v1 && !proven {
		a.dialect = NoDialect
	}
}

func (a *Agent) wake() {
	select {
	case a.nudge <- struct{}{}:
	default:
	}
}

// sweep ends V1 connections that have been idle for long, or are too many, but never the last.
func (a *Agent) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	var idle []*member
	for _, m := range a.pool.members {
		if l, v1 := m.exclusive(); v1 && !m.retired && m.pins == 0 && m.calls == 0 && !l.busy() {
			idle = append(idle, m)
		}
	}
	left := a.standingLocked()
	for i, m := range idle {
		age := time.Since(m.idle)
		surplus := len(idle)-i > a.MaxIdle
		if left > 1 && (age >= a.IdleTimeout || surplus && age >= grace) {
			left--
			a.dropLocked(m)
		}
	}
}
