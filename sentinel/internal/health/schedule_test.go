package health

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// starts runs a schedule in the bubble for a time, and returns when its probes started. Each takes as long
// as took says; longer ones than are listed take none.
func starts(t *testing.T, s Schedule, until time.Duration, took ...time.Duration) (at []time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), until)
	defer cancel()
	begin := time.Now()
	s.Run(ctx, func(ctx context.Context) error {
		at = append(at, time.Since(begin))
		if i := len(at) - 1; i < len(took) {
			pause(ctx, took[i])
		}
		return nil
	}, func(err error, _ time.Duration) { expect(t, err, "") })
	if ended := time.Since(begin); ended != until {
		t.Errorf("Run returned after %s, want %s", ended, until)
	}
	return at
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func always(v float64) func() float64 { return func() float64 { return v } }

func TestScheduleTimes(t *testing.T) {
	t.Parallel()
	const s = time.Second
	almostOne := 1 - 1e-16
	for _, test := range []struct {
		name   string
		first  time.Duration
		random float64
		took   []time.Duration
		want   []time.Duration
	}{
		{"without jitter", 0, 0.5, nil, []time.Duration{0, 10 * s, 20 * s, 30 * s, 40 * s}},
		{"first", 3 * s, 0.5, nil, []time.Duration{3 * s, 13 * s, 23 * s, 33 * s, 43 * s}},
		{"shortest", 0, 0, nil, []time.Duration{0, 9 * s, 18 * s, 27 * s, 36 * s, 45 * s}},
		{"longest", 0, almostOne, nil, []time.Duration{0, 11 * s, 22 * s, 33 * s, 44 * s}},
		{"probes that take time", 0, 0.5, []time.Duration{9 * s, s, 0, 5 * s}, []time.Duration{0, 10 * s, 20 * s, 30 * s, 40 * s}},
		{"one as long as the interval", 0, 0.5, []time.Duration{10 * s}, []time.Duration{0, 10 * s, 20 * s, 30 * s, 40 * s}},
		{"one that takes two ticks and a half", 0, 0.5, []time.Duration{25 * s}, []time.Duration{0, 25 * s, 35 * s, 45 * s}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				schedule := Schedule{Interval: 10 * s, First: test.first, Random: always(test.random)}
				at := starts(t, schedule, 48*s, test.took...)
				for i := range at {
					at[i] = at[i].Round(time.Microsecond) // the longest is a little shorter than 11 s
				}
				if !slices.Equal(at, test.want) {
					t.Errorf("probes at %v, want %v", at, test.want)
				}
			})
		})
	}
}

// TestScheduleJitter shows that without a source of its own the schedule varies, and how far.
func TestScheduleJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at := starts(t, Schedule{Interval: 10 * time.Second}, 3*time.Hour)
		gaps := map[time.Duration]bool{}
		for i := 1; i < len(at); i++ {
			gap := at[i] - at[i-1]
			gaps[gap] = true
			if gap < 9*time.Second || gap > 11*time.Second {
				t.Errorf("%s between probes %d and %d", gap, i-1, i)
			}
		}
		if len(at) < 900 || len(gaps) < len(at)/2 {
			t.Errorf("%d probes with %d different intervals", len(at), len(gaps))
		}
	})
}

func TestScheduleReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		bad := errors.New("bad")
		outcomes := []error{nil, bad, bad, nil}
		begin, n := time.Now(), 0
		schedule := Schedule{Interval: 10 * time.Second, Random: always(0.5)}
		schedule.Run(ctx, func(context.Context) error {
			pause(ctx, time.Duration(n)*time.Second)
			return outcomes[n]
		}, func(err error, took time.Duration) {
			if !errors.Is(err, outcomes[n]) || took != time.Duration(n)*time.Second {
				t.Errorf("report %d: %v after %s", n, err, took)
			}
			if n++; n == len(outcomes) {
				cancel()
			}
		})
		if now := time.Since(begin); n != len(outcomes) || now != 33*time.Second {
			t.Errorf("%d reports, returned after %s", n, now)
		}
	})
}

// TestScheduleCancel shows that Run returns at once, wherever it is, and reports nothing then.
func TestScheduleCancel(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		after           time.Duration
		probes, reports int
	}{
		{"before it begins", 0, 0, 0},
		{"before the first", time.Second, 0, 0},
		{"in the first", 4 * time.Second, 1, 0},
		{"between", 8 * time.Second, 1, 1},
		{"in the second", 14 * time.Second, 2, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.after)
				defer cancel()
				probes, reports := 0, 0
				begin := time.Now()
				schedule := Schedule{Interval: 10 * time.Second, First: 2 * time.Second, Random: always(0.5)}
				schedule.Run(ctx, func(ctx context.Context) error {
					probes++
					pause(ctx, 5*time.Second)
					return ctx.Err()
				}, func(error, time.Duration) { reports++ })
				if took := time.Since(begin); took != test.after {
					t.Errorf("returned after %s, want %s", took, test.after)
				}
				if probes != test.probes || reports != test.reports {
					t.Errorf("%d probes, %d reports, want %d and %d", probes, reports, test.probes, test.reports)
				}
			})
		})
	}
}

func TestScheduleWithoutInterval(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("Run took an interval of 0")
		}
	}()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	new(Schedule).Run(over, nil, nil)
}

// TestScheduleOver shows that a schedule whose context is done probes nobody, even if a probe is due.
func TestScheduleOver(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	s := Schedule{Interval: time.Second}
	for range 100 { // a select takes any of two that are ready
		s.Run(over, func(context.Context) error {
			t.Error("probed")
			return nil
		}, func(error, time.Duration) { t.Error("reported") })
	}
}

// TestSpread looks at every window over the first probes: there are at most as many in it as its share of
// the whole, rounded up.
func TestSpread(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 500).Draw(t, "targets")
		interval := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Hour)).Draw(t, "interval"))
		span := min(interval, time.Second)
		window := time.Duration(rapid.Int64Range(1, int64(span)).Draw(t, "window"))
		allowed := (int64(n)*int64(window) + int64(span) - 1) / int64(span)
		if Spread(0, n, interval) != 0 {
			t.Fatal("the first does not start at 0")
		}
		oldest := 0
		for i := range n {
			at := Spread(i, n, interval)
			if at < 0 || at >= span || i > 0 && at < Spread(i-1, n, interval) {
				t.Fatalf("target %d at %s of %s", i, at, span)
			}
			for Spread(oldest, n, interval) <= at-window {
				oldest++
			}
			if got := int64(i - oldest + 1); got > allowed {
				t.Fatalf("%d probes in %s, want at most %d", got, window, allowed)
			}
		}
	})
}

// TestSpreadSchedules runs many schedules: in the first second there is one probe every 20 ms.
func TestSpreadSchedules(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		var mu sync.Mutex // guards at
		var at []time.Duration
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		var schedules sync.WaitGroup
		for i := range n {
			schedule := Schedule{Interval: 10 * time.Second, First: Spread(i, n, 10*time.Second)}
			schedules.Go(func() {
				schedule.Run(ctx, func(context.Context) error {
					mu.Lock()
					defer mu.Unlock()
					at = append(at, time.Since(begin))
					return nil
				}, func(error, time.Duration) {})
			})
		}
		schedules.Wait()
		if len(at) != n {
			t.Fatalf("%d probes in the first 5 s, want %d", len(at), n)
		}
		for i, when := range at {
			if want := time.Duration(i) * 20 * time.Millisecond; when != want {
				t.Errorf("probe %d at %s, want %s", i, when, want)
			}
		}
	})
}
