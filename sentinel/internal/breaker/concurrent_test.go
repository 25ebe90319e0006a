package breaker

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is many requests at once through one breaker, at a clock that each of them moves on.
type crowd struct {
	b       *Breaker
	clock   atomic.Int64 // nanoseconds since epoch
	probing sync.Map     // era -> *atomic.Int64: the probes of that half-open period which are under way
	most    atomic.Int64 // of them at any time
	probes  atomic.Int64 // admitted
	settle  func(*crowd, Ticket, *rand.Rand)
}

func (c *crowd) now() time.Time { return epoch.Add(time.Duration(c.clock.Add(1))) }

func (c *crowd) run(requests int) {
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range requests {
				c.request(r)
			}
		})
	}
	wg.Wait()
}

// request counts a probe after it was admitted and until just before it settles: never more than there are.
func (c *crowd) request(r *rand.Rand) {
	t, ok := c.b.Admit(c.now())
	if !ok {
		runtime.Gosched()
		return
	}
	if !t.Probe() {
		c.settle(c, t, r)
		return
	}
	n, _ := c.probing.LoadOrStore(t.era, new(atomic.Int64))
	count := n.(*atomic.Int64)
	c.probes.Add(1)
	for now, most := count.Add(1), c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	runtime.Gosched()
	count.Add(-1)
	c.settle(c, t, r)
}

const (
	workers  = 16
	requests = 2000
	maxSlots = 3
)

// freeSlots admits as many as will be, and returns how many that were; one too many is enough.
func freeSlots(b *Breaker, now time.Time) (n int) {
	for ; n <= maxSlots; n++ {
		if _, ok := b.Admit(now); !ok {
			break
		}
	}
	return n
}

// TestProbesStayWithinTheirSlots never leaves half-open: all the contention is about the slots.
func TestProbesStayWithinTheirSlots(t *testing.T) {
	t.Parallel()
	c := &crowd{b: New(settings(1, workers*requests+1, maxSlots), nil)}
	c.settle = func(c *crowd, t Ticket, r *rand.Rand) {
		if r.IntN(2) == 0 {
			c.b.Success(t)
		} else {
			c.b.Abandon(t)
			c.b.Abandon(t) // a second time: no second slot
		}
	}
	c.b.Trip(epoch, time.Hour, "trip")
	c.b.HalfOpen("evidence")
	c.run(requests)
	if n := c.most.Load(); n > maxSlots || c.probes.Load() == 0 {
		t.Errorf("%d probes at a time of %d, want some and at most %d", n, c.probes.Load(), maxSlots)
	}
	if n := freeSlots(c.b, epoch); n != maxSlots {
		t.Errorf("%d slots free after all have settled, want %d", n, maxSlots)
	}
}

// TestCrowd goes through all states again and again.
func TestCrowd(t *testing.T) {
	t.Parallel()
	last, seen := Closed, [3]int{}
	s := Settings{FailureThreshold: 2, SuccessThreshold: 4, HalfOpenMaxRequests: maxSlots, Timeout: 20}
	c := &crowd{b: New(s, func(c Change) { // the breaker's lock guards last and seen
		if c.From != last || c.To == c.From {
			t.Errorf("%s to %s, after a change to %s", c.From, c.To, last)
		}
		last = c.To
		seen[c.To]++
	})}
	c.settle = func(c *crowd, t Ticket, r *rand.Rand) {
		switch n := r.IntN(100); {
		case n < 60:
			c.b.Success(t)
		case n < 80:
			c.b.Failure(t, c.now(), "failure")
		case n < 97:
			c.b.Abandon(t)
		case n < 98:
			c.b.Failure(t, c.now(), "failure")
			c.b.Trip(c.now(), 20, "trip")
		case n < 99:
			c.b.Success(t)
			c.b.HalfOpen("evidence")
		default:
			c.b.Abandon(t)
			c.b.Close("evidence")
		}
	}
	c.run(requests)
	if c.probes.Load() == 0 { // how many at a time is not the question: with this Timeout they are overdue soon
		t.Error("no probes")
	}
	for to, n := range seen {
		if n == 0 {
			t.Errorf("never %s again", State(to))
		}
	}
	// Wherever it ended, a new half-open period has all its slots.
	c.b.HalfOpen("evidence")
	if c.b.State() == Closed {
		c.b.Trip(c.now(), 1, "trip")
		c.b.HalfOpen("evidence")
	}
	if n := freeSlots(c.b, c.now()); n != maxSlots {
		t.Errorf("%d slots free after all have settled, want %d", n, maxSlots)
	}
}

// TestEveryFailureCounts makes as many failures as the threshold, less one: none is lost, none counts
// twice. It runs alone, to have all processors for what happens between two instructions.
func TestEveryFailureCounts(t *testing.T) {
	const many = 20 * requests
	var opened atomic.Int64
	c := &crowd{b: New(settings(workers*many+1, 1, 1), func(Change) { opened.Add(1) })}
	c.settle = func(c *crowd, t Ticket, _ *rand.Rand) { c.b.Failure(t, epoch, "failure") }
	c.run(many)
	if n := c.b.load().failures(); n != workers*many || opened.Load() != 0 {
		t.Fatalf("%d failures, opened %d times; want %d, 0", n, opened.Load(), workers*many)
	}
	c.run(1)
	if opened.Load() != 1 || c.b.State() != Open {
		t.Errorf("%s after %d changes, want open after 1", c.b.State(), opened.Load())
	}
}

// TestLastFailureMeetsASuccess has the count cleared between the look at the word and the lock.
func TestLastFailureMeetsASuccess(t *testing.T) {
	t.Parallel()
	b := New(settings(2, 1, 1), func(c Change) { t.Errorf("%s to %s", c.From, c.To) })
	a, _ := b.Admit(epoch)
	b.Failure(a, epoch, "failure")
	w := b.load()
	succeed(b)
	if b.lastFailure(w, epoch, "failure") || b.State() != Closed || b.load().failures() != 0 {
		t.Errorf("%s with %d failures, want closed with none", b.State(), b.load().failures())
	}
}

// TestSuccessesMeetTransitions has successes arrive all the time while the breaker opens and closes: none
// may undo a transition that came between its look at the word and its change.
func TestSuccessesMeetTransitions(t *testing.T) {
	b := New(settings(2, 1, 1), nil)
	var stop atomic.Bool
	var wg sync.WaitGroup
	begun := make(chan struct{})
	wg.Go(func() {
		close(begun)
		for !stop.Load() {
			b.Success(Ticket{era: b.load().era()}) // without Admit, which would wait for the lock
		}
	})
	defer wg.Wait()
	defer stop.Store(true)
	<-begun
	for i := range uint32(100_000) {
		a, _ := b.Admit(epoch)
		b.Failure(a, epoch, "failure")
		b.Failure(a, epoch, "failure")
		b.Trip(epoch, time.Hour, "trip") // unless the failures have opened it
		b.Close("evidence")
		if generation := b.load().era() >> 2; generation != 2*i+3 {
			t.Fatalf("generation %d in round %d, want %d", generation, i, 2*i+3)
		}
	}
}
