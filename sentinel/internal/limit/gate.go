package limit

import (
	"context"
	"errors"
	"sync/atomic"
)

// ErrFull says that nobody else may wait.
var ErrFull = errors.New("the line is full")

// Gate lets a bounded number in at a time, and others wait in a bounded line, first come, first served. All
// methods are safe for concurrent use.
type Gate struct {
	places atomic.Int64
	inside atomic.Int64
	line   *Queue
}

// NewGate returns a gate with room for places, and for waiting in line. Both are 0 or more.
func NewGate(places, waiting int) *Gate {
	g := &Gate{line: NewQueue(waiting)}
	g.places.Store(int64(places))
	return g
}

// Resize changes how many may be inside and in line. Who is there already stays.
func (g *Gate) Resize(places, waiting int) {
	g.places.Store(int64(places))
	g.line.Resize(waiting)
	g.line.Wake() // who gets in wakes the next
}

// Inside returns how many are inside.
func (g *Gate) Inside() int { return int(g.inside.Load()) }

// Waiting returns how many wait.
func (g *Gate) Waiting() int { return g.line.Len() }

// Enter goes in if there is room and nobody waits for it. Leave must follow if it did.
func (g *Gate) Enter() bool { return g.line.Present() == 0 && g.take() }

// Wait goes in as soon as there is room, behind everybody who waits. Leave must follow unless there is an
// error: ErrFull or that of ctx.
func (g *Gate) Wait(ctx context.Context) error {
	w, ok := g.line.Join()
	if !ok {
		return ErrFull
	}
	defer g.line.Wake()
	defer w.Leave()
	for look := w.First(); !look || !g.take(); look = true {
		if err := w.Wait(ctx); err != nil {
			return err
		}
		w.Rejoin()
	}
	return nil
}

// Leave gives a place back.
func (g *Gate) Leave() {
	g.inside.Add(-1)
	g.line.Wake()
}

func (g *Gate) take() bool { return enter(&g.inside, g.places.Load()) }

// enter adds one to n unless that is over most. It is never over it, not even for a moment: another would
// see that and wait for a place that is free.
func enter(n *atomic.Int64, most int64) bool {
	for {
		now := n.Load()
		if now >= most {
			return false
		}
		if n.CompareAndSwap(now, now+1) {
			return true
		}
	}
}

// Count counts what is under way, for bounds that may differ from call to call. The zero value counts from 0;
// its methods are safe for concurrent use.
type Count struct{ n atomic.Int64 }

// Enter adds one unless there are most already; then Leave must follow.
func (c *Count) Enter(most int) bool { return enter(&c.n, int64(most)) }

// Leave takes one away.
func (c *Count) Leave() { c.n.Add(-1) }

// Len returns how many there are.
func (c *Count) Len() int { return int(c.n.Load()) }
