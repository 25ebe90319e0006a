package upstream

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/health"
)

// TestWindow compares the window with a list of all outcomes.
func TestWindow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w window
		var all []bool
		failing := rapid.IntRange(0, 10).Draw(t, "failing")
		for range rapid.IntRange(1, 350).Draw(t, "n") {
			failed := rapid.IntRange(0, 9).Draw(t, "outcome") < failing
			all = append(all, failed)
			recent := all[max(0, len(all)-100):]
			failures := 0
			for _, f := range recent {
				if f {
					failures++
				}
			}
			want := len(recent) >= 10 && failures*2 > len(recent)
			if got := w.record(failed); got != want {
				t.Fatalf("after %d outcomes, %d of the last %d failed: %t", len(all), failures, len(recent), got)
			}
			if share, n := w.share(); n != len(recent) || share != float64(failures)/float64(len(recent)) {
				t.Fatalf("share %v of %d, want %d of %d", share, n, failures, len(recent))
			}
		}
	})
}

// TestWindowOfSuccesses shows that successes which change nothing are not lost where they count later.
func TestWindowOfSuccesses(t *testing.T) {
	t.Parallel()
	var w window
	for range 1000 {
		w.record(false)
	}
	for i := range 50 {
		if w.record(true) {
			t.Fatalf("bad after %d failures of 100", i+1)
		}
	}
	if !w.record(true) {
		t.Error("51 failures of 100 are no majority")
	}
	if w.clear(); w.record(true) {
		t.Error("one failure of one")
	}
}

// TestEjection follows a target without an active check: out after more than half of at least ten
// failures, on trial after 30 s, out for longer when that fails, and well again after one success.
func TestEjection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var kinds []EventKind
		p := poolOfMany(t, 2, func(o *Options) { o.Event = func(e Event) { kinds = append(kinds, e.Kind) } })
		bad, good := p.targets[0], p.targets[1]
		fate := map[*Target]Outcome{bad: BadAnswer}
		if got := serve(t, p, 40, fate); got[bad] != 10 {
			t.Errorf("the failing target got %d requests, want 10", got[bad])
		}
		for _, away := range []time.Duration{30 * time.Second, 60 * time.Second, 90 * time.Second} {
			time.Sleep(away - time.Nanosecond)
			if got := serve(t, p, 20, fate); got[bad] != 0 {
				t.Errorf("%d requests before %v are over", got[bad], away)
			}
			time.Sleep(time.Nanosecond)
			if got := serve(t, p, 20, fate); got[bad] != 1 {
				t.Errorf("%d requests on trial after %v", got[bad], away)
			}
		}
		time.Sleep(120 * time.Second)
		delete(fate, bad)
		if got := serve(t, p, 20, fate); got[bad] != 10 || got[good] != 10 {
			t.Errorf("well again, it got %d of 20", got[bad])
		}
		if !slices.Equal(kinds, []EventKind{Ejected, Readmitted}) || bad.State(time.Now()).Ejections != 1 {
			t.Errorf("events %v, state %+v", kinds, bad.State(time.Now()))
		}
	})
}

// TestSentence shows how ejections grow, and when they are forgotten.
func TestSentence(t *testing.T) {
	t.Parallel()
	var w window
	now := time.Now()
	for _, test := range []struct{ after, want time.Duration }{
		{0, 30 * time.Second},
		{40 * time.Second, time.Minute},
		{5 * time.Minute, 90 * time.Second},
		{time.Hour, 30 * time.Second},
	} {
		now = now.Add(test.after)
		if got := w.sentence(now); got != test.want {
			t.Errorf("after %v: %v, want %v", test.after, got, test.want)
		}
	}
	for range 20 {
		now = now.Add(time.Second)
		if got := w.sentence(now); got > 5*time.Minute {
			t.Fatalf("%v", got)
		}
	}
}

// TestProbesReadmit shows that the probes of an active check bring an ejected target back, and nothing
// else.
func TestProbesReadmit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		thresholds := health.Thresholds{Healthy: 2, Unhealthy: 3}
		p := poolOfMany(t, 2, func(o *Options) { o.Check = &Check{Thresholds: thresholds, Interval: time.Second} })
		bad, state := p.targets[0], health.NewState(thresholds)
		bad.probed(&state, nil)
		bad.probed(&state, nil)
		serve(t, p, 40, map[*Target]Outcome{bad: BadAnswer})
		time.Sleep(time.Hour)
		if got := serve(t, p, 20, nil); got[bad] != 0 {
			t.Errorf("time alone brought it back: %d requests", got[bad])
		}
		bad.probed(&state, nil)
		if !bad.ejected() {
			t.Error("one probe of two brought it back")
		}
		bad.probed(&state, nil)
		if got := serve(t, p, 20, nil); got[bad] != 10 {
			t.Errorf("two probes did not bring it back: %d requests", got[bad])
		}
	})
}
