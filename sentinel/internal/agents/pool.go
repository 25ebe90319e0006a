package agents

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	steady = time.Second // a link that stood for so long, or brought a verdict, was no mistake
	grace  = time.Second // for which a V1 connection beyond MaxIdle is kept

	hurryAfter = 10 * time.Millisecond // after a failed attempt a caller may have the next one made at once
)

// pool is an agent's links. The agent's lock guards it and its members.
type pool struct {
	members  []*member
	last     uint64        // member's number
	turn     uint64        // of the shared links
	dialling int           // V1 links that callers are making
	attempt  chan struct{} // keep makes a link, or will at once; closed when it is known how that went
	fails    int           // attempts in a row
	tried    time.Time     // when the last of them failed
	flaps    int           // links in a row that ended at once
}

// member is a link in a pool.
type member struct {
	link
	number  uint64 // counts an agent's links
	born    time.Time
	calls   int
	pins    int       // sessions that use it
	idle    time.Time // since when it has neither
	used    bool      // since the last ping
	proven  bool      // it has brought a verdict
	retired bool      // it takes no new sessions
	gone    bool
	after   uint64 // gone: the number of the link made last before that
}

// exclusive reports whether the link takes one question at a time.
func (m *member) exclusive() (*v1Link, bool) {
	l, ok := m.link.(*v1Link)
	return l, ok
}

// alive reports whether the link may be asked.
func (m *member) alive() bool {
	if st, ok := m.link.(interface{ usable() bool }); ok {
		return st.usable()
	}
	select {
	case <-m.dead():
		return false
	default:
		return true
	}
}

// take returns the link of a session: the pinned one, or one with a number above after. It waits for one that
// is being made, and makes a V1 link itself when the others are taken. give must follow, and unpin when a
// session that had none is over.
func (a *Agent) take(ctx context.Context, pinned *member, after uint64) (m *member, dialled bool, f *Failure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		if pinned != nil {
			pinned.calls++
			return pinned, false, nil
		}
		if a.closing {
			return nil, false, unavailable(errClosed)
		}
		if m := a.pickLocked(after); m != nil {
			a.useLocked(m)
			return m, false, nil
		}
		if a.mayDialLocked() {
			return a.dialLocked(ctx, after)
		}
		if !a.hurryLocked() {
			return nil, false, unavailable(fmt.Errorf("no connection: %w", a.lastErr))
		}
		attempt := a.pool.attempt
		a.mu.Unlock()
		select {
		case <-attempt:
		case <-ctx.Done():
			f = expired(ctx, "a connection")
		}
		a.mu.Lock()
		if f != nil {
			return nil, false, f
		}
	}
}

func (a *Agent) useLocked(m *member) {
	m.calls++
	m.pins++
	m.used = true
}

// pickLocked returns a link for a new session, nil if there is none or it should rather make one. V1 links
// are taken from the end, so that those that are not needed stay idle.
func (a *Agent) pickLocked(after uint64) *member {
	fit := make([]*member, 0, maxLinks) // on the stack
	shared := 0
	for _, m := range slices.Backward(a.pool.members) {
		if m.retired || m.number <= after || !m.alive() {
			continue
		}
		l, exclusive := m.exclusive()
		if exclusive && m.calls == 0 && !l.busy() {
			return m
		}
		if !exclusive {
			shared++
		}
		if len(fit) < cap(fit) {
			fit = append(fit, m)
		}
	}
	if shared == 0 {
		if len(fit) > 0 && !a.mayDialLocked() {
			return slices.MinFunc(fit, func(x, y *member) int { return x.calls - y.calls })
		}
		return nil
	}
	a.pool.turn++
	return fit[a.pool.turn%uint64(len(fit))]
}

// anyLocked returns a link for something that can wait for its turn there; nil: there is none.
func (a *Agent) anyLocked() *member {
	if m := a.pickLocked(0); m != nil {
		return m
	}
	for _, m := range a.pool.members {
		if !m.retired && m.alive() {
			return m
		}
	}
	return nil
}

// mayDialLocked reports whether a caller may make a V1 link. The first is made by keep, which configures the
// agent.
func (a *Agent) mayDialLocked() bool {
	return a.dialect == V1 && a.standingLocked() > 0 && len(a.pool.members)+a.pool.dialling < a.MaxCalls
}

// standingLocked counts the links that take new sessions.
func (a *Agent) standingLocked() (n int) {
	for _, m := range a.pool.members {
		if !m.retired {
			n++
		}
	}
	return n
}

// dialLocked makes a V1 link for a caller, without the lock meanwhile.
func (a *Agent) dialLocked(ctx context.Context, after uint64) (m *member, dialled bool, f *Failure) {
	a.pool.dialling++
	a.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, dialAtMost)
	l, err := a.dialV1(limited)
	cancel()
	a.mu.Lock()
	a.pool.dialling--
	if err == nil {
		if m = a.joinLocked(l); m == nil {
			return nil, false, unavailable(errClosed)
		}
		a.useLocked(m)
		return m, true, nil
	}
	for _, m := range a.pool.members { // better one that others use than none
		if !m.retired && m.number > after && m.alive() {
			a.useLocked(m)
			return m, false, nil
		}
	}
	if ctx.Err() != nil {
		return nil, false, expired(ctx, "a connection")
	}
	return nil, false, unavailable(err)
}

// give ends a call on a link. It returns the number above which links were made after this one's end.
func (a *Agent) give(m *member, answered bool) uint64 {
	alive := m.alive()
	a.mu.Lock()
	defer a.mu.Unlock()
	m.calls--
	m.proven = m.proven || answered
	if !alive {
		a.lostLocked(m)
	}
	return m.after
}

// unpin ends a session's use of a link.
func (a *Agent) unpin(m *member) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m.pins--
	if m.pins == 0 {
		m.idle = time.Now()
		if m.retired {
			a.dropLocked(m)
		}
	}
	a.drainedLocked()
}

// drainedLocked tells Close when no session is left.
func (a *Agent) drainedLocked() {
	if !a.closing || a.drained == nil {
		return
	}
	for _, m := range a.pool.members {
		if m.pins > 0 {
			return
		}
	}
	select {
	case <-a.drained:
	default:
		close(a.drained)
	}
}

// joinLocked enters a link; nil: the agent is closed, and so is the link.
func (a *Agent) joinLocked(l link) *member {
	g := l.greeting()
	if a.ctx.Err() != nil {
		l.close()
		<-l.dead()
		return nil
	}
	if a.dialect != g.Dialect {
		a.retireLocked()
	}
	a.dialect, a.greeting = g.Dialect, g
	slots := a.MaxCalls
	if g.MaxConcurrent > 0 {
		slots = min(slots, g.MaxConcurrent)
	}
	a.gate.resize(slots)
	a.pool.last++
	now := time.Now()
	m := &member{link: l, number: a.pool.last, born: now, idle: now}
	a.pool.members = append(a.pool.members, m)
	a.work.Go(func() { a.watch(m) })
	return m
}

// retireLocked keeps new sessions off the links that there are; idle ones end.
func (a *Agent) retireLocked() {
	for _, m := range slices.Clone(a.pool.members) {
		m.retired = true
		if m.pins == 0 {
			a.dropLocked(m)
		}
	}
}

// dropLocked ends a link that is not needed any more.
func (a *Agent) dropLocked(m *member) {
	m.retired = true // its end is nobody's fault
	a.removeLocked(m)
	m.close()
}

func (a *Agent) removeLocked(m *member) {
	m.gone, m.after = true, a.pool.last
	a.pool.members = slices.DeleteFunc(a.pool.members, func(other *member) bool { return other == m })
}

// closeLinks ends every link, and waits until they are dead.
func (a *Agent) closeLinks() {
	a.mu.Lock()
	members := slices.Clone(a.pool.members)
	for _, m := range members {
		a.dropLocked(m)
	}
	a.mu.Unlock()
	for _, m := range members {
		<-m.dead()
	}
}
