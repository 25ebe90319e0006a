package agents

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/limit"
)

// gate lets as many calls at a time through as there are slots; a bounded line of others waits for one.
type gate struct {
	slots atomic.Int64 // changes when the agent says how much it takes
	taken atomic.Int64
	line  *limit.Queue
	busy  atomic.Uint64 // calls that found the line full, or no slot in time
}

var errLineFull = errors.New("all its calls are taken, and the line for them is full")

// enter takes a slot, which leave gives back.
func (g *gate) enter(ctx context.Context) *Failure {
	if g.line.Present() == 0 && g.take() {
		return nil
	}
	w, ok := g.line.Join()
	if !ok {
		g.busy.Add(1)
		return &Failure{Busy, errLineFull}
	}
	defer g.line.Wake()
	defer w.Leave()
	for look := w.First(); !look || !g.take(); look = true {
		if err := w.Wait(ctx); err != nil {
			g.busy.Add(1)
			return expired(ctx, "a slot")
		}
		w.Rejoin()
	}
	return nil
}

func (g *gate) take() bool {
	for {
		n := g.taken.Load()
		if n >= g.slots.Load() {
			return false
		}
		if g.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *gate) leave() {
	g.taken.Add(-1)
	g.line.Wake()
}

// resize sets the number of slots, 1 or more.
func (g *gate) resize(slots int) {
	g.slots.Store(int64(slots))
	g.line.Wake() // who gets a slot wakes the next
}
