package conformance

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Both tests are UP-04, at this many connections killed and times the scale.
const reaped = 10_000

// reapers' callers at a time.
const reapCallers = 16

// TestKilledReused kills every connection that is used for a second time, at any moment before it has
// answered: no GET fails, and the target is not to blame for any of it.
func TestKilledReused(t *testing.T) {
	t.Parallel()
	o := newReaper(t, func(r *rand.Rand, nth int) fate {
		switch {
		case nth > 0:
			return unread + fate(r.IntN(3)) // or partly, or unanswered
		case r.IntN(4) == 0:
			return thenClosed
		}
		return answered
	})
	s := openSite(t, fmt.Sprintf("upstream \"o\" { target %q }\nroute \"get\" { matches { path-prefix \"/\" }; upstream \"o\" }", o.addr()), nil)
	began, n := time.Now(), reaped**scale
	var bad atomic.Int64
	crowd(s.addr, reapCallers, n, func(c *caller, i int) {
		if m, err := c.call(demand("GET", fmt.Sprintf("/%d", i), fmt.Sprint("get-", i), "")); err != nil || m.status() != 200 {
			bad.Add(1)
			t.Errorf("GET %d got %q (%v)", i, m.start, err)
		}
	})
	took := time.Since(began)
	metrics := s.metrics(t)
	if left := metrics[series("circuit_breaker_transitions_total", "component", "upstream:o/"+o.addr(), "route", "", "to", "open")]; left != 0 {
		t.Errorf("the breaker opened %v times for connections that had died idle", left)
	}
	s.stop(t)
	o.close()
	twice := 0
	for _, l := range s.access.snapshot() {
		if l.Attempts > 2 {
			t.Errorf("%d attempts: %+v", l.Attempts, l)
		}
		if l.Attempts == 2 {
			twice++
		}
	}
	if o.killed() < n*9/10 || twice < n/2 {
		t.Errorf("only %d connections were killed and %d requests sent again: that proves little", o.killed(), twice)
	}
	t.Logf("%d GETs in %v, %d failed; killed idle %d, at the first byte %d, at a random byte %d, after the request %d; %d sent again",
		n, took.Round(time.Millisecond), bad.Load(), o.kills[thenClosed], o.kills[unread], o.kills[partly], o.kills[unanswered], twice)
}

// TestKilledPost kills connections with a POST on them, new and reused, at any moment, in spite of a policy
// that has everything sent again that may be: none is sent twice.
func TestKilledPost(t *testing.T) {
	t.Parallel()
	o := newReaper(t, func(r *rand.Rand, _ int) fate {
		if f := fate(r.IntN(int(fates) + 2)); f < fates {
			return f
		}
		return answered
	})
	s := openSite(t, fmt.Sprintf(`
upstream "o" { target %q; circuit-breaker { failure-threshold 1000000 } }
route "post" {
    matches { path-prefix "/" }; upstream "o"
    retry-policy { max-attempts 5; backoff-base-ms 0; retry-on "connection_error" "timeout" "5xx" }
}`, o.addr()), nil)
	began := time.Now()
	var mu sync.Mutex // guards the rest
	got, sent := map[int]int{}, 0
	for o.killed() < reaped**scale {
		first := sent
		sent += 1000
		crowd(s.addr, reapCallers, 1000, func(c *caller, i int) {
			i += first
			status := 0
			if m, err := c.call(demand("POST", fmt.Sprintf("/%d", i), fmt.Sprint("post-", i), strings.Repeat("x", i%200))); err == nil {
				status = m.status()
			}
			mu.Lock()
			defer mu.Unlock()
			got[i] = status
		})
	}
	took := time.Since(began)
	s.stop(t)
	o.close()
	checkOnce(t, s, o, got)
	lost := 0
	for _, status := range got {
		if status != 200 {
			lost++
		}
	}
	if lost > o.killed() {
		t.Errorf("%d POSTs failed, over %d kills", lost, o.killed())
	}
	t.Logf("%d POSTs in %v, %d of them on reused connections; %d kills (idle, at the first byte, at a random byte, after the request, in the answer: %v): %d failed",
		sent, took.Round(time.Millisecond), o.replays, o.killed(), o.kills[thenClosed:], lost)
}

// checkOnce compares what clients got, what the origin has seen and what the log tells of every POST.
func checkOnce(t *testing.T, s *site, o *reaper, got map[int]int) {
	t.Helper()
	twice, words := 0, map[string]int{}
	for i, status := range got {
		seen := o.seen[fmt.Sprintf("POST /%d HTTP/1.1", i)]
		if seen > 1 {
			twice++
			t.Errorf("POST %d came %d times", i, seen)
		}
		if status == 200 && seen != 1 || status != 200 && status != 502 && status != 0 {
			t.Errorf("POST %d got %d, and came %d times", i, status, seen)
		}
	}
	for _, l := range s.access.snapshot() {
		words[fmt.Sprint(l.Status, " ", l.Error)]++
		if l.Method == "POST" && l.Attempts != 1 {
			t.Errorf("%d attempts: %+v", l.Attempts, l)
		}
	}
	t.Logf("%d POSTs came twice; in the log: %v", twice, words)
}
