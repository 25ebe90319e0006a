package upstream

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/balance"
)

// TestFairLine has many clients that come back at once compete for a few places: all get about the same,
// and nobody waits in vain.
func TestFairLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := poolOfMany(t, 1, func(o *Options) { o.MaxConnections, o.MaxPending, o.Connect = 2, 100, 500*time.Millisecond })
		var served [20]int
		var all sync.WaitGroup
		end := time.Now().Add(time.Second)
		for i := range served {
			all.Go(func() {
				for time.Now().Before(end) {
					v := &Visit{Now: time.Now()}
					err := p.Pick(v)
					if errors.Is(err, ErrBusy) {
						err = p.Wait(context.Background(), v)
					}
					if err != nil {
						t.Errorf("client %d waited in vain", i)
						return
					}
					time.Sleep(time.Millisecond)
					served[i]++
					done(v, Success)
				}
			})
		}
		all.Wait()
		for i, n := range served {
			if n < 80 || n > 120 {
				t.Errorf("client %d was served %d times of 2000 by 20", i, n)
			}
		}
	})
}

// TestLeavingIsNoRejection shows that a client who gives up waiting is not counted as turned away.
func TestLeavingIsNoRejection(t *testing.T) {
	t.Parallel()
	p := poolOfMany(t, 1, func(o *Options) { o.MaxConnections = 1 })
	pick(t, p)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if err := p.Wait(ctx, &Visit{Now: time.Now()}); !errors.Is(err, ErrBusy) || p.PendingRejected() != 0 {
		t.Errorf("%v, %d rejected", err, p.PendingRejected())
	}
}

// TestTriedDoesNotWait shows that a visit which may not go back to where it was does not wait for it.
func TestTriedDoesNotWait(t *testing.T) {
	t.Parallel()
	p := poolOfMany(t, 2, nil)
	p.targets[1].node.InFlight.Store(int32(p.targets[1].limit))
	v := pick(t, p)
	done(v, Failed)
	if err := p.Wait(t.Context(), v); !errors.Is(err, ErrBusy) || v.Target() != nil {
		t.Errorf("%v, at %v", err, v.Target())
	}
	v.Again = true
	if err := p.Wait(t.Context(), v); err != nil || v.Target() != p.targets[0] {
		t.Errorf("%v, at %v", err, v.Target())
	}
}

// TestRetryIsNoPanic shows that a visit which has tried the last target that is well does not go to an
// ejected one.
func TestRetryIsNoPanic(t *testing.T) {
	t.Parallel()
	p := poolOfMany(t, 2, nil)
	p.targets[1].ejection.Trip(time.Now(), time.Minute, "test")
	v := pick(t, p)
	done(v, Failed)
	if err := p.Pick(v); !errors.Is(err, ErrNoTarget) || p.Panicked() {
		t.Errorf("%v, at %v, panic %t", err, v.Target(), p.Panicked())
	}
}

// TestBudgetOfWhatWasSent shows that requests which found no target earn no repeats.
func TestBudgetOfWhatWasSent(t *testing.T) {
	t.Parallel()
	p := poolOfMany(t, 1, func(o *Options) { o.MaxConnections, o.RetryBudget = 1, Budget{Percent: 100} })
	pick(t, p)
	for range 100 {
		expectPick(t, p, ErrBusy)
	}
	if !p.MayRepeat() || p.MayRepeat() {
		t.Error("one request was sent: one repeat")
	}
}

// TestFailuresAtOnce shows that failures which come together are one ejection.
func TestFailuresAtOnce(t *testing.T) {
	t.Parallel()
	var w window
	now := time.Now()
	for i := range 60 {
		if got := w.sentence(now.Add(time.Duration(i))); got != ejectionBase {
			t.Fatalf("failure %d: %v", i, got)
		}
	}
}

// TestFreshConnectionKeepsIdle shows that a new connection, where one is asked for, costs an idle one only
// at the bound.
func TestFreshConnectionKeepsIdle(t *testing.T) {
	t.Parallel()
	p, target := poolOf(t, server(t, silent), func(o *Options) { o.MaxConnections = 3 })
	a, b := open(t, target), open(t, target)
	a.Put()
	b.Put()
	for opened := 3; opened <= 4; opened++ {
		if _, err := target.Dial(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectCounts(t, p, 3, 5-opened)
	}
	if got := target.Get(); got != b {
		t.Error("the connection that was used last had to go")
	}
}

// learning is a balancer that remembers what it was told.
type learning struct{ seen []time.Duration }

func (l *learning) Learn(int, balance.Observer, int) {}

func (l *learning) Observe(_ int, _ time.Time, took time.Duration, failed bool) {
	if failed {
		took = -took
	}
	l.seen = append(l.seen, took)
}

// TestObserved shows what a balancer that learns is told: once for each attempt, when the answer begins; the
// time of a failure; nothing of a client's upload or of who left.
func TestObserved(t *testing.T) {
	t.Parallel()
	const quick, slow = 5 * time.Millisecond, time.Hour
	for _, test := range []struct {
		name string
		end  func(v *Visit, now time.Time)
		want time.Duration // math.MinInt64: nothing
	}{
		{"answered", func(v *Visit, now time.Time) {
			v.Answered(Success, "", quick, now)
			v.Done(Success, "", slow, now.Add(slow))
		}, quick},
		{"bad answer", func(v *Visit, now time.Time) {
			v.Answered(BadAnswer, "", quick, now)
			v.Done(BadAnswer, "", slow, now.Add(slow))
		}, -quick},
		{"failed", func(v *Visit, now time.Time) { v.Done(Failed, "", quick, now) }, -quick},
		{"uploaded", func(v *Visit, now time.Time) {
			v.Answered(Success, "", 0, now)
			v.Done(Success, "", 0, now)
		}, math.MinInt64},
		{"left", func(v *Visit, now time.Time) { v.Done(Abandoned, "", quick, now) }, math.MinInt64},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, l := poolOfMany(t, 1, nil), &learning{}
			p.observer = l
			test.end(pick(t, p), time.Now())
			switch {
			case test.want == math.MinInt64 && len(l.seen) == 0:
			case len(l.seen) == 1 && l.seen[0] == test.want:
			default:
				t.Errorf("told %v, want %v", l.seen, test.want)
			}
		})
	}
}
