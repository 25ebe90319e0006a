package limit

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
)

// Queue is a line of waiters. All methods are safe for concurrent use.
type Queue struct {
	waiting atomic.Int64 // the line's length
	present atomic.Int64 // waiters that have joined and not left, in line or woken

	mu   sync.Mutex // guards the rest, and where every Waiter is
	max  int
	line list.List // of *Waiter, ordered by number
	last uint64    // number given out
}

// Waiter is one place in a Queue. One goroutine uses it.
type Waiter struct {
	queue  *Queue
	number uint64        // by arrival
	place  *list.Element // nil: not in line
	left   bool
	woken  chan struct{} // holds the wake-up that Wait has not taken yet; only waiters out of line have one
}

// NewQueue returns an empty line for up to max waiters, 0 or more.
func NewQueue(max int) *Queue { return &Queue{max: max} }

// Resize changes how many may wait. Who waits already stays.
func (q *Queue) Resize(max int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.max = max
}

// Len returns the number of waiters in line.
func (q *Queue) Len() int { return int(q.waiting.Load()) }

// Present returns the number of waiters that have joined and not left: those in line, and those that were
// woken and have what they wait for as good as promised.
func (q *Queue) Present() int { return int(q.present.Load()) }

// Join enters a new waiter at the end of the line; false: the line is full. What is waited for must be
// looked at again after Join and before Wait by whoever is First. Leave must follow.
func (q *Queue) Join() (*Waiter, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.line.Len() >= q.max {
		return nil, false
	}
	q.last++
	w := &Waiter{queue: q, number: q.last, woken: make(chan struct{}, 1)}
	w.place = q.line.PushBack(w)
	q.present.Add(1)
	q.countLocked()
	return w, true
}

// First reports whether nobody is before the waiter, neither in line nor woken: what there is may be its own.
func (w *Waiter) First() bool {
	q := w.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	return w.place != nil && w.place == q.line.Front() && q.line.Len() == int(q.present.Load())
}

// Wake wakes the first in line. Without waiters it is one atomic load.
func (q *Queue) Wake() {
	if q.waiting.Load() > 0 {
		q.wakeFirst()
	}
}

func (q *Queue) wakeFirst() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wakeLocked()
}

func (q *Queue) wakeLocked() {
	first := q.line.Front()
	if first == nil {
		return
	}
	w := first.Value.(*Waiter)
	q.removeLocked(w)
	w.woken <- struct{}{} // never blocks: who was in line has no wake-up
}

func (q *Queue) removeLocked(w *Waiter) {
	q.line.Remove(w.place)
	w.place = nil
	q.countLocked()
}

func (q *Queue) countLocked() { q.waiting.Store(int64(q.line.Len())) }

// Wait waits for a wake-up; the waiter is then out of line. Its error is ctx's, and the waiter has left.
// It must be in line when Wait is called, or have been woken since.
func (w *Waiter) Wait(ctx context.Context) error {
	select {
	case <-w.woken:
		return nil
	case <-ctx.Done():
		w.Leave()
		return ctx.Err()
	}
}

// Rejoin puts a waiter that was woken back in line, where its arrival puts it: before everybody who came
// later. The line may exceed its bound by those. What is waited for must be looked at again afterwards,
// as after Join. A waiter that is in line, or has a wake-up to take, stays as it is.
func (w *Waiter) Rejoin() {
	q := w.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.place != nil || len(w.woken) > 0 {
		return
	}
	next := q.line.Front()
	for next != nil && next.Value.(*Waiter).number < w.number {
		next = next.Next() // past waiters that were woken and are back: few
	}
	if next == nil {
		w.place = q.line.PushBack(w)
	} else {
		w.place = q.line.InsertBefore(w, next)
	}
	q.countLocked()
}

// Leave takes the waiter out of line; a wake-up that it did not take goes to the next. It may be called
// at any time and more than once.
func (w *Waiter) Leave() {
	q := w.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if !w.left {
		w.left = true
		q.present.Add(-1)
	}
	if w.place != nil {
		q.removeLocked(w)
		return
	}
	select {
	case <-w.woken:
		q.wakeLocked()
	default:
	}
}
