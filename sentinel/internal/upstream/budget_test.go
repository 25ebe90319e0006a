package upstream

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBudget shows how many repeats are allowed, and that only the last ten seconds count.
func TestBudget(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		budget   Budget
		requests int
		allowed  int
	}{
		{"a share", Budget{Percent: 20, MinRetries: 3}, 1000, 200},
		{"the least", Budget{Percent: 20, MinRetries: 3}, 5, 3},
		{"none", Budget{}, 1000, 0},
		{"every request once more", Budget{Percent: 100}, 70, 70},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := poolOfMany(t, 1, func(o *Options) { o.RetryBudget = test.budget })
			now := time.Now()
			for round := range 3 {
				serve(t, p, test.requests, nil)
				allowed := 0
				for range 2 * max(test.allowed, 1) {
					if p.MayRepeat() {
						allowed++
					}
				}
				if allowed != test.allowed {
					t.Errorf("round %d: %d repeats, want %d", round, allowed, test.allowed)
				}
				for range budgetSpan + 1 {
					now = now.Add(time.Second)
					p.Sweep(now)
					p.Sweep(now.Add(time.Millisecond)) // within the same second
				}
			}
			if p.RepeatsRefused() == 0 {
				t.Error("no refusal is counted")
			}
		})
	}
}

// TestBudgetRemembers shows that a repeat counts for ten seconds, not less and not longer.
func TestBudgetRemembers(t *testing.T) {
	t.Parallel()
	p := poolOfMany(t, 1, func(o *Options) { o.RetryBudget = Budget{MinRetries: 1} })
	now := time.Now()
	p.Sweep(now)
	if !p.MayRepeat() {
		t.Fatal("the first repeat is refused")
	}
	for second := 1; second <= budgetSpan; second++ {
		if p.MayRepeat() {
			t.Errorf("a second repeat after %d seconds", second-1)
		}
		p.Sweep(now.Add(time.Duration(second) * time.Second))
	}
	if !p.MayRepeat() {
		t.Error("no repeat after ten seconds")
	}
}

// TestBudgetTogether shows that repeats asked for at the same time do not exceed it either.
func TestBudgetTogether(t *testing.T) {
	t.Parallel()
	p := poolOfMany(t, 1, func(o *Options) { o.RetryBudget = Budget{Percent: 20} })
	serve(t, p, 1000, nil)
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if p.MayRepeat() {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if allowed.Load() != 200 {
		t.Errorf("%d repeats of 1000 requests", allowed.Load())
	}
}
