package balance

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// memory is the time after which half is left of what was known of a node, if it gives no answer. In
	// nine times that all is forgotten.
	memory = 10 * time.Second
	forgot = 0.1
	// failureStep is the part of the failure share that one answer decides (spec 6.2: a decay of 0.8).
	failureStep = 0.2
	// compareAll is the size up to which all members are compared; in larger groups choices drawn ones are.
	compareAll = 8
	choices    = 4
)

// adaptive prefers the node whose answer is likely to come first. It estimates for each node the time of
// an answer and the share of failures, and takes the lowest of
//
//	latency x (requests in flight, this one included) / weight / (1 - failures)^4
//
// It was chosen by simulation against the score of spec 6.2 and against peak EWMA with two choices
// (scenarios_test.go). Against peak EWMA nearly all of the gain comes from comparing more than two nodes:
// in a small group that are all, so that one good node of three gets the traffic. The rest is this:
//   - A failure never makes a node look fast: it counts for the latency only if it took longer than the
//     answers do, as a timeout does. A node that refuses everything at once has nothing in flight either,
//     and would attract everybody.
//   - The power of four outweighs what such a node has to offer, an empty queue: 10 % of failures make it
//     1.5 times dearer, 50 % 16 times.
//   - What nobody knows is taken to be equal: a node without an answer yet competes by its load alone.
//   - What is known fades while a node gives no answer, so that it is tried again, by few requests at a
//     time, since each one in flight makes it dearer. That takes 10 s for a node that was 15 times slower
//     than the others, and 90 s at most.
type adaptive struct {
	*lottery
	records []record  // by the caller's index
	began   time.Time // times are counted from here, by the monotonic clock: a wall clock that is set changes nothing
}

// record is what is known of a node. Who writes holds mu; readers may meet one value of the last answer and
// another of the one before, which differ little.
type record struct {
	mu       sync.Mutex
	at       atomic.Int64  // time of the last answer, nanoseconds since the balancer began
	latency  atomic.Uint64 // seconds, a float64; 0: nothing but failures yet
	failures atomic.Uint64 // share of the answers, a float64
	_        [32]byte      // a cache line of its own
}

func newAdaptive(g *group) Balancer {
	return &adaptive{newLottery(g), make([]record, g.size), time.Now()}
}

// Pick implements Balancer.
func (a *adaptive) Pick(q *Query) int {
	now := int64(q.Now.Sub(a.began))
	if len(a.members) > compareAll {
		if i := a.bestDrawn(q.Set, now); i >= 0 {
			return i
		}
	}
	return a.bestOfAll(q.Set, now)
}

// bestDrawn compares a few random members; -1: the draws met too few eligible ones.
func (a *adaptive) bestDrawn(set Eligibility, now int64) int {
	best := a.draw(set, nil)
	if best == nil {
		return -1
	}
	least := a.price(best, now)
	for range choices - 1 {
		m := a.draw(set, best)
		if m == nil {
			return -1
		}
		if p := a.price(m, now); p.below(least) {
			best, least = m, p
		}
	}
	return best.index
}

// bestOfAll compares all members; -1: none is eligible. Of equal ones each is as likely.
func (a *adaptive) bestOfAll(set Eligibility, now int64) int {
	best, equal := -1, 0
	var least price
	for i := range a.members {
		m := &a.members[i]
		p := a.price(m, now)
		switch {
		case best >= 0 && least.below(p) || !set.Eligible(m.index):
		case best < 0 || p.below(least):
			best, least, equal = m.index, p, 1
		default:
			// A later one takes the place with its part of the equal ones seen so far.
			if equal++; a.below(equal) == 0 {
				best, least = m.index, p
			}
		}
	}
	return best
}

// price is what one more request would cost at a node.
type price struct {
	latency float64 // seconds; 0: unknown
	faded   float64 // the same, less by the time since the last answer
	load    float64 // requests in flight per weight, dearer by failures
}

// below compares two prices. Latencies fade to half of the lower one at most: a node that comes back after
// a while would otherwise get everything until its first answer is there.
func (p price) below(other price) bool {
	if p.latency == 0 || other.latency == 0 {
		return p.load < other.load
	}
	least := min(p.latency, other.latency) / 2
	return max(p.faded, least)*p.load < max(other.faded, least)*other.load
}

func (a *adaptive) price(m *member, now int64) price {
	r := &a.records[m.index]
	fade, latency := r.fade(now), load(&r.latency)
	success := 1 - min(load(&r.failures)*fade, 0.99)
	success *= success
	return price{
		latency: latency,
		faded:   latency * fade * fade * fade * fade,
		load:    float64(m.inFlight()+1) / (float64(m.weight) * success * success),
	}
}

// fade is what is left of the memory at now, 0 to 1. A time before the last answer's, which another goroutine
// read earlier, counts as much as one after it.
func (r *record) fade(now int64) float64 {
	past := now - r.at.Load()
	if left := float64(memory) / float64(int64(memory)+max(past, -past)); left > forgot {
		return left
	}
	return 0
}

// Observe implements Observer. Answers weigh by the time since the last one, so that the latency is an
// average over seconds at any rate.
func (a *adaptive) Observe(i int, now time.Time, took time.Duration, failed bool) {
	r, at := &a.records[i], int64(now.Sub(a.began))
	r.mu.Lock()
	defer r.mu.Unlock()
	fade := r.fade(at)
	r.at.Store(at)
	share := load(&r.failures) * fade * (1 - failureStep)
	if failed {
		share += failureStep
	}
	store(&r.failures, share)
	latency, seconds := load(&r.latency), took.Seconds()
	switch {
	case failed && seconds <= latency, failed && latency == 0:
	case latency == 0:
		store(&r.latency, max(seconds, 1e-9))
	default:
		store(&r.latency, seconds+(latency-seconds)*fade*fade*fade*fade)
	}
}

// Learn implements Observer.
func (a *adaptive) Learn(i int, from Observer, j int) {
	other, ok := from.(*adaptive)
	if !ok {
		return
	}
	known, r := &other.records[j], &a.records[i]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at.Store(known.at.Load())
	r.latency.Store(known.latency.Load())
	r.failures.Store(known.failures.Load())
}

func load(v *atomic.Uint64) float64     { return math.Float64frombits(v.Load()) }
func store(v *atomic.Uint64, f float64) { v.Store(math.Float64bits(f)) }
