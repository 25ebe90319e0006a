package limit

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// join enters n waiters.
func join(t *testing.T, q *Queue, n int) []*Waiter {
	t.Helper()
	var ws []*Waiter
	for range n {
		w, ok := q.Join()
		if !ok {
			t.Fatal("the line is full")
		}
		ws = append(ws, w)
	}
	return ws
}

// woken reports which of the waiters have a wake-up to take.
func woken(ws []*Waiter) (indexes []int) {
	for i, w := range ws {
		if len(w.woken) > 0 {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// take takes a wake-up that must be there.
func take(t *testing.T, w *Waiter) {
	t.Helper()
	if len(w.woken) == 0 {
		t.Fatal("not woken")
	}
	if err := w.Wait(t.Context()); err != nil {
		t.Fatalf("Wait: %v", err)
	}
}

// order wakes everybody in line, one by one, and returns who came when.
func order(t *testing.T, q *Queue, ws []*Waiter) (indexes []int) {
	t.Helper()
	for q.Len() > 0 {
		q.Wake()
		now := woken(ws)
		if len(now) != 1 {
			t.Fatalf("one wake-up woke %v", now)
		}
		take(t, ws[now[0]])
		indexes = append(indexes, now[0])
	}
	return indexes
}

func TestFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	q := NewQueue(4)
	ws := join(t, q, 4)
	if got := order(t, q, ws); !slices.Equal(got, []int{0, 1, 2, 3}) {
		t.Errorf("woken in the order %v", got)
	}
}

func TestBound(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 1, 3} {
		q := NewQueue(limit)
		ws := join(t, q, limit)
		if _, ok := q.Join(); ok || q.Len() != limit {
			t.Errorf("limit %d: one more joined: %v; %d in line", limit, ok, q.Len())
		}
		if limit == 0 {
			continue
		}
		ws[limit-1].Leave()
		if _, ok := q.Join(); !ok || q.Len() != limit {
			t.Errorf("limit %d: joined after one left: %v; %d in line", limit, ok, q.Len())
		}
		q.Wake()
		if _, ok := q.Join(); !ok || q.Len() != limit {
			t.Errorf("limit %d: joined after one was woken: %v; %d in line", limit, ok, q.Len())
		}
	}
}

func TestWakeWithoutWaiters(t *testing.T) {
	t.Parallel()
	q := NewQueue(1)
	q.Wake()
	q.Wake()
	ws := join(t, q, 1)
	if got := woken(ws); got != nil || q.Len() != 1 {
		t.Errorf("woken by a wake-up from before it came: %v, %d in line", got, q.Len())
	}
}

func TestRejoin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		wake  int   // of three waiters
		again []int // in which order they rejoin
		want  []int // in which order they are woken then
	}{
		{"before those who came later", 1, []int{0}, []int{0, 1, 2}},
		{"two in their order", 2, []int{0, 1}, []int{0, 1, 2}},
		{"two in the other order", 2, []int{1, 0}, []int{0, 1, 2}},
		{"only the later one", 2, []int{1}, []int{1, 2}},
		{"all in their order", 3, []int{0, 1, 2}, []int{0, 1, 2}},
		{"all in another order", 3, []int{2, 0, 1}, []int{0, 1, 2}},
		{"twice", 2, []int{1, 1, 0, 0}, []int{0, 1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			q := NewQueue(3)
			ws := join(t, q, 3)
			for _, w := range ws[:c.wake] {
				q.Wake()
				take(t, w)
			}
			for _, i := range c.again {
				ws[i].Rejoin()
			}
			if got := order(t, q, ws); !slices.Equal(got, c.want) {
				t.Errorf("woken in the order %v, want %v", got, c.want)
			}
		})
	}
}

func TestRejoinMayExceedTheBound(t *testing.T) {
	t.Parallel()
	q := NewQueue(1)
	first := join(t, q, 1)[0]
	q.Wake()
	take(t, first)
	second := join(t, q, 1)[0]
	first.Rejoin()
	if _, ok := q.Join(); ok || q.Len() != 2 {
		t.Errorf("joined: %v, %d in line, want 2 and nobody else", ok, q.Len())
	}
	if got := order(t, q, []*Waiter{first, second}); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("woken in the order %v", got)
	}
}

func TestRejoinWithAWakeUpToTake(t *testing.T) {
	t.Parallel()
	q := NewQueue(1)
	w := join(t, q, 1)[0]
	q.Wake()
	if w.Rejoin(); q.Len() != 0 {
		t.Errorf("%d in line, want none: it has a wake-up", q.Len())
	}
	take(t, w)
}

func TestLeave(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		leave func(t *testing.T, q *Queue, ws []*Waiter) // of three waiters
		woken []int
		order []int // the rest
	}{
		{"the first", func(_ *testing.T, _ *Queue, ws []*Waiter) { ws[0].Leave() }, nil, []int{1, 2}},
		{"one in the middle", func(_ *testing.T, _ *Queue, ws []*Waiter) { ws[1].Leave() }, nil, []int{0, 2}},
		{"the last", func(_ *testing.T, _ *Queue, ws []*Waiter) { ws[2].Leave() }, nil, []int{0, 1}},
		{"twice", func(_ *testing.T, _ *Queue, ws []*Waiter) { ws[0].Leave(); ws[0].Leave() }, nil, []int{1, 2}},
		{"with a wake-up", func(_ *testing.T, q *Queue, ws []*Waiter) { q.Wake(); ws[0].Leave() }, []int{1}, []int{2}},
		{"with a wake-up, twice", func(_ *testing.T, q *Queue, ws []*Waiter) { q.Wake(); ws[0].Leave(); ws[0].Leave() }, []int{1}, []int{2}},
		{"handed on twice", func(_ *testing.T, q *Queue, ws []*Waiter) { q.Wake(); ws[0].Leave(); ws[1].Leave() }, []int{2}, nil},
		{"handed on to nobody", func(_ *testing.T, q *Queue, ws []*Waiter) {
			q.Wake()
			for _, w := range ws {
				w.Leave()
			}
		}, nil, nil},
		{"after the wake-up was taken", func(t *testing.T, q *Queue, ws []*Waiter) {
			q.Wake()
			take(t, ws[0])
			ws[0].Leave()
		}, nil, []int{1, 2}},
		{"after coming back", func(t *testing.T, q *Queue, ws []*Waiter) {
			q.Wake()
			take(t, ws[0])
			ws[0].Rejoin()
			ws[0].Leave()
		}, nil, []int{1, 2}},
		{"woken again after coming back", func(t *testing.T, q *Queue, ws []*Waiter) {
			q.Wake()
			take(t, ws[0])
			ws[0].Rejoin()
			q.Wake()
			ws[0].Leave()
		}, []int{1}, []int{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			q := NewQueue(3)
			ws := join(t, q, 3)
			c.leave(t, q, ws)
			got := woken(ws)
			if !slices.Equal(got, c.woken) {
				t.Fatalf("woken: %v, want %v", got, c.woken)
			}
			for _, i := range got {
				take(t, ws[i])
			}
			if got := order(t, q, ws); !slices.Equal(got, c.order) {
				t.Errorf("the rest in the order %v, want %v", got, c.order)
			}
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	q := NewQueue(2)
	ws := join(t, q, 2)
	if err := ws[0].Wait(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v, want that it was cancelled", err)
	}
	if q.Len() != 1 {
		t.Errorf("%d in line, want 1", q.Len())
	}
	if got := order(t, q, ws); !slices.Equal(got, []int{1}) {
		t.Errorf("woken: %v, want the other one", got)
	}
}

// TestWakeUpMeetsTheEnd has a wake-up and the end of the context there before Wait: it may return either,
// and in both cases the wake-up is with exactly one of the two waiters.
func TestWakeUpMeetsTheEnd(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	seen := map[bool]int{}
	for range 200 {
		q := NewQueue(2)
		ws := join(t, q, 2)
		q.Wake()
		err := ws[0].Wait(ended)
		seen[err == nil]++
		if next := len(ws[1].woken) == 1; next != (err != nil) || len(ws[0].woken) != 0 {
			t.Fatalf("Wait: %v; the next one is woken: %v", err, next)
		}
		ws[0].Leave()
		if next := len(ws[1].woken) == 1; next != (err != nil) {
			t.Fatalf("Wait: %v, then Leave; the next one is woken: %v", err, next)
		}
	}
	if len(seen) != 2 { // each has a chance of 1 in 2^200
		t.Errorf("woken and not: %v, want both", seen)
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		wake time.Duration // after the first joined
		errs [2]error      // of two waiters with 1 s and 2 s
		took [2]time.Duration
	}{
		{"never woken", time.Hour, [2]error{context.DeadlineExceeded, context.DeadlineExceeded}, [2]time.Duration{time.Second, 2 * time.Second}},
		{"in time", time.Second / 2, [2]error{nil, context.DeadlineExceeded}, [2]time.Duration{time.Second / 2, 2 * time.Second}},
		{"after the first has gone", 3 * time.Second / 2, [2]error{context.DeadlineExceeded, nil}, [2]time.Duration{time.Second, 3 * time.Second / 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q, begin := NewQueue(2), time.Now()
				for i, w := range join(t, q, 2) {
					go func() {
						ctx, cancel := context.WithDeadline(t.Context(), begin.Add(time.Duration(i+1)*time.Second))
						defer cancel()
						err := w.Wait(ctx)
						if took := time.Since(begin); !errors.Is(err, c.errs[i]) || took != c.took[i] {
							t.Errorf("waiter %d: %v after %v, want %v after %v", i, err, took, c.errs[i], c.took[i])
						}
						w.Leave()
					}()
				}
				time.AfterFunc(c.wake, q.Wake)
				synctest.Wait()
				if q.Len() != 2 {
					t.Errorf("%d in line, want both", q.Len())
				}
				<-time.After(2 * time.Hour)
				if q.Len() != 0 {
					t.Errorf("%d in line at the end", q.Len())
				}
			})
		})
	}
}

func BenchmarkWakeNobody(b *testing.B) {
	q := NewQueue(1)
	b.ReportAllocs()
	for b.Loop() {
		q.Wake()
	}
}

func BenchmarkJoinWakeWait(b *testing.B) {
	q := NewQueue(1)
	b.ReportAllocs()
	for b.Loop() {
		w, _ := q.Join()
		q.Wake()
		if err := w.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		w.Leave()
	}
}

func TestWakeNobodyAllocatesNothing(t *testing.T) {
	q := NewQueue(1)
	if n := testing.AllocsPerRun(1000, func() { q.Wake(); _ = q.Len() }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// TestFirst shows who may look: nobody while another was woken and has not left, however many are in line.
func TestFirst(t *testing.T) {
	t.Parallel()
	q := NewQueue(3)
	a, _ := q.Join()
	b, _ := q.Join()
	expectFirst(t, q, 2, a, b)
	q.Wake()
	if q.Present() != 2 || q.Len() != 1 || a.First() || b.First() {
		t.Errorf("a is woken: %d present, %d in line, first: %t, %t", q.Present(), q.Len(), a.First(), b.First())
	}
	if err := a.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Rejoin()
	expectFirst(t, q, 2, a, b)
	a.Leave()
	a.Leave()
	expectFirst(t, q, 1, b, a)
}

func expectFirst(t *testing.T, q *Queue, present int, first, other *Waiter) {
	t.Helper()
	if q.Present() != present || !first.First() || other.First() {
		t.Errorf("%d present, want %d; first: %t, the other: %t", q.Present(), present, first.First(), other.First())
	}
}
