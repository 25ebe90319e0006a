package health

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	jitter     = 0.1         // of the interval, to both sides
	spreadOver = time.Second // at most: so soon every target was probed once
)

// Schedule says when one target is probed. Run only reads it.
type Schedule struct {
	Interval time.Duration  // from one probe's start to the next one's; more than 0
	First    time.Duration  // from Run's start to the first probe's
	Random   func() float64 // in [0, 1), the source of jitter; nil: math/rand/v2's
}

// Run calls probe at the times of the schedule and report with its outcome, both on the caller's goroutine.
// Each interval is up to a tenth shorter or longer than Interval, so that probes of many targets and of
// many proxies do not stay in step. Ticks that pass during a probe are one, due at its end. Run returns when ctx is
// done; a probe that runs then is cancelled by its context, and not reported.
func (s *Schedule) Run(ctx context.Context, probe func(context.Context) error, report func(err error, took time.Duration)) {
	if s.Interval <= 0 {
		panic("health: the interval of a schedule is not positive")
	}
	due := time.Now().Add(s.First)
	timer := time.NewTimer(s.First)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return
		}
		start := time.Now()
		err := probe(ctx)
		now := time.Now()
		if ctx.Err() != nil {
			return
		}
		report(err, now.Sub(start))
		due = s.next(due, now)
		timer.Reset(time.Until(due))
	}
}

// next returns the tick after due. Ticks that passed during a probe are one, which is due now: waiting for the
// next would make a target that hangs healthy for an interval longer.
func (s *Schedule) next(due, now time.Time) time.Time {
	random := s.Random
	if random == nil {
		random = rand.Float64
	}
	due = due.Add(time.Duration(float64(s.Interval) * (1 - jitter + 2*jitter*random())))
	if due.Before(now) {
		return now
	}
	return due
}

// Spread returns the Schedule.First of the i-th of n targets with the same interval, counted from 0: they
// are probed one after the other, evenly spread over the interval or a second, whichever is shorter.
func Spread(i, n int, interval time.Duration) time.Duration {
	return min(interval, spreadOver) * time.Duration(i) / time.Duration(max(n, 1))
}
