package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// Budget bounds the requests that are sent to a pool more than once, so that repeats cannot melt an
// upstream that is already failing.
type Budget struct {
	Percent    int // of the requests of the last ten seconds
	MinRetries int // so many are always allowed in ten seconds
}

// budgetSpan is the number of seconds that count as recent.
const budgetSpan = 10

// budget counts requests and repeats of the last budgetSpan seconds.
type budget struct {
	Budget
	requests atomic.Uint64
	refused  atomic.Uint64 // repeats there was no room for

	mu    sync.Mutex // guards the rest
	spent uint64
	marks [budgetSpan]struct{ requests, spent uint64 } // what the counters were at the last seconds
	next  int
	last  time.Time
}

// tick moves the window on by a second when one is over.
func (b *budget) tick(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.last) < time.Second {
		return
	}
	b.last = now
	b.marks[b.next].requests, b.marks[b.next].spent = b.requests.Load(), b.spent
	b.next = (b.next + 1) % budgetSpan
}

// MayRepeat takes one repeat of a request that was sent before off the budget; false: it is exhausted.
func (p *Pool) MayRepeat() bool {
	b := &p.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	oldest := b.marks[b.next]
	allowed := max(uint64(b.MinRetries), (b.requests.Load()-oldest.requests)*uint64(b.Percent)/100)
	if b.spent-oldest.spent >= allowed {
		b.refused.Add(1)
		return false
	}
	b.spent++
	return true
}

// RepeatsRefused counts the repeats that the budget did not allow.
func (p *Pool) RepeatsRefused() uint64 { return p.budget.refused.Load() }
