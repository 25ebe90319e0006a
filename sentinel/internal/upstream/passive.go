package upstream

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
)

// The passive check of spec 6.4: of the last windowSize answers more than half failed, and there were at
// least minSamples.
const (
	windowSize = 100
	minSamples = 10

	ejectionBase = 30 * time.Second
	// ejectionMax bounds how long a target that is ejected again and again stays away; so long without an
	// ejection, the next one counts as the first.
	ejectionMax = 5 * time.Minute
	// untilProbed is the ejection of a target that is actively checked: its probes bring it back.
	untilProbed = 100 * 365 * 24 * time.Hour
)

// window is the outcome of the last windowSize attempts.
type window struct {
	clean atomic.Bool // full, and no failure in it: one more success changes nothing

	mu       sync.Mutex // guards the rest
	failed   [windowSize]bool
	next     int
	samples  int
	failures int
	ejected  time.Time     // when the last ejection began
	lasts    time.Duration // how long it was to last
}

// record adds an outcome and reports whether the share of failures is too high now.
func (w *window) record(failed bool) (bad bool) {
	if !failed && w.clean.Load() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed[w.next] {
		w.failures--
	}
	if w.failed[w.next] = failed; failed {
		w.failures++
	}
	w.next = (w.next + 1) % windowSize
	w.samples = min(w.samples+1, windowSize)
	w.clean.Store(w.samples == windowSize && w.failures == 0)
	return w.samples >= minSamples && 2*w.failures > w.samples
}

func (w *window) share() (share float64, samples int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.samples == 0 {
		return 0, 0
	}
	return float64(w.failures) / float64(w.samples), w.samples
}

func (w *window) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clean.Store(false)
	w.failed = [windowSize]bool{}
	w.next, w.samples, w.failures = 0, 0, 0
}

// eject keeps traffic from the target: until its probes succeed as often as the check's threshold says,
// or, without a check, for a time that grows with every ejection that follows soon.
func (t *Target) eject(now time.Time, cause string) {
	if t.pool.Check != nil {
		t.streak.Store(0)
		t.ejection.Trip(now, untilProbed, cause)
		return
	}
	t.ejection.Trip(now, t.window.sentence(now), cause)
}

// sentence is how long an ejection lasts: longer each time, while they come soon after one another.
func (w *window) sentence(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch since := now.Sub(w.ejected); {
	case since < w.lasts: // several failures at once made it one ejection
		return w.lasts
	case since > w.lasts+ejectionMax:
		w.lasts = 0
	}
	w.ejected, w.lasts = now, min(w.lasts+ejectionBase, ejectionMax)
	return w.lasts
}

// ejectionChanged runs with the ejection's lock held.
func (t *Target) ejectionChanged(c breaker.Change) {
	switch {
	case c.To == breaker.Open && c.From == breaker.Closed:
		t.ejections.Add(1)
		t.mark(true, time.Now())
		t.pool.tell(Event{Target: t.Address, Kind: Ejected, Cause: c.Cause})
	case c.To == breaker.Closed:
		now := time.Now()
		t.window.clear()
		t.ramp.begin(t.pool, now)
		t.mark(t.down.Load(), now)
		t.pool.wakeAll()
		t.pool.tell(Event{Target: t.Address, Kind: Readmitted, Cause: c.Cause})
	}
}

// mark notes since when the target is not well.
func (t *Target) mark(ill bool, now time.Time) {
	if !ill {
		t.since.Store(0)
		return
	}
	t.since.CompareAndSwap(0, now.UnixNano())
}
