package limit

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// slots is a counted resource guarded by a Queue, used as the package comment says.
type slots struct {
	queue *Queue
	limit int64
	used  atomic.Int64
	most  atomic.Int64 // ever in use
}

func (s *slots) take() bool {
	for {
		n := s.used.Load()
		if n >= s.limit {
			return false
		}
		if s.used.CompareAndSwap(n, n+1) {
			for most := s.most.Load(); n+1 > most && !s.most.CompareAndSwap(most, n+1); most = s.most.Load() {
			}
			return true
		}
	}
}

func (s *slots) giveBack() {
	s.used.Add(-1)
	s.queue.Wake()
}

// acquire reports whether it got a slot.
func (s *slots) acquire(ctx context.Context) bool {
	if s.queue.Present() == 0 && s.take() {
		return true
	}
	w, ok := s.queue.Join()
	if !ok {
		return false
	}
	defer s.queue.Wake()
	defer w.Leave()
	for look := w.First(); !look || !s.take(); look = true {
		if w.Wait(ctx) != nil {
			return false
		}
		w.Rejoin()
	}
	return true
}

// TestNothingIsLost has many goroutines after few slots, some of whom give up at any moment. Whoever does
// not give up gets a slot: a wake-up lost on the way would leave it, and the test, waiting for ever.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{1, 3} {
		s := &slots{queue: NewQueue(1000), limit: limit}
		var missed, gaveUp atomic.Int64
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(limit), uint64(i)))
				for range 500 {
					patient := r.IntN(2) == 0
					switch got := s.use(patient); {
					case patient && !got:
						missed.Add(1)
					case !got:
						gaveUp.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if s.used.Load() != 0 || s.queue.Len() != 0 || s.most.Load() != limit {
			t.Errorf("%d slots: %d in use and %d in line at the end, %d in use at most", limit, s.used.Load(), s.queue.Len(), s.most.Load())
		}
		if missed.Load() != 0 || gaveUp.Load() == 0 {
			t.Errorf("%d slots: %d patient ones got none, %d gave up; want 0, some", limit, missed.Load(), gaveUp.Load())
		}
	}
}

// use takes a slot and gives it back; an impatient caller gives up at some moment: before it asks, in the
// middle of anything, or later.
func (s *slots) use(patient bool) (got bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if !patient {
		go cancel()
	}
	if !s.acquire(ctx) {
		return false
	}
	runtime.Gosched()
	s.giveBack()
	return true
}

// TestNobodyIsStuck is the same at virtual times, where a goroutine that nobody will wake shows at once:
// random arrivals, uses and deadlines, many of which meet in the same instant.
func TestNobodyIsStuck(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(2, seed))
			s := &slots{queue: NewQueue(1000), limit: 1 + r.Int64N(3)}
			var wg sync.WaitGroup
			for range 100 {
				arrives, uses, patience := ticks(r, 20), ticks(r, 3), ticks(r, 40)
				patient := r.IntN(3) == 0
				wg.Go(func() {
					<-time.After(arrives)
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					if patient {
						cancel()
						ctx, cancel = context.WithCancel(t.Context())
					}
					defer cancel()
					got := s.acquire(ctx)
					if got {
						<-time.After(uses)
						s.giveBack()
					}
					if patient && !got {
						t.Error("refused without a deadline")
					}
				})
			}
			wg.Wait()
			if s.used.Load() != 0 || s.queue.Len() != 0 || s.most.Load() != s.limit {
				t.Errorf("seed %d: %d in use, %d in line at the end, %d in use at most of %d", seed, s.used.Load(), s.queue.Len(), s.most.Load(), s.limit)
			}
		})
	}
}

func ticks(r *rand.Rand, n int64) time.Duration { return time.Duration(r.Int64N(n)) * time.Millisecond }

// someone is a waiter of TestAgainstASlice.
type someone struct {
	w      *Waiter
	number int
	woken  bool // has a wake-up to take
	served bool // has taken it, and may come back
}

// TestAgainstASlice compares the line with a sorted slice of its waiters.
func TestAgainstASlice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 5).Draw(t, "max")
		q := NewQueue(limit)
		var all, line []*someone
		wake := func() {
			if len(line) > 0 {
				line[0].woken = true
				line = line[1:]
			}
		}
		pick := func(t *rapid.T) *someone {
			if len(all) == 0 {
				t.Skip("nobody yet")
			}
			return rapid.SampledFrom(all).Draw(t, "waiter")
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				w, ok := q.Join()
				if ok != (len(line) < limit) {
					t.Fatalf("joined %v with %d in line of %d", ok, len(line), limit)
				}
				if ok {
					s := &someone{w: w, number: len(all)}
					all, line = append(all, s), append(line, s)
				}
			},
			"wake": func(*rapid.T) { q.Wake(); wake() },
			"take": func(t *rapid.T) {
				s := pick(t)
				if !s.woken {
					t.Skip("not woken")
				}
				if err := s.w.Wait(context.Background()); err != nil {
					t.Fatal(err)
				}
				s.woken, s.served = false, true
			},
			"rejoin": func(t *rapid.T) {
				s := pick(t)
				if !s.served {
					t.Skip("nothing to come back from")
				}
				s.w.Rejoin()
				s.served = false
				line = append(line, s)
				slices.SortFunc(line, func(a, b *someone) int { return a.number - b.number })
			},
			"leave": func(t *rapid.T) {
				s := pick(t)
				s.w.Leave()
				line = slices.DeleteFunc(line, func(o *someone) bool { return o == s })
				if s.woken {
					wake()
				}
				s.woken, s.served = false, false
			},
			"": func(t *rapid.T) {
				if q.Len() != len(line) {
					t.Fatalf("%d in line, want %d", q.Len(), len(line))
				}
				for _, s := range all {
					if got := len(s.w.woken) > 0; got != s.woken {
						t.Fatalf("waiter %d is woken: %v, want %v", s.number, got, s.woken)
					}
				}
			},
		})
	})
}
