package upstream

import (
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/health"
)

var errProbe = errors.New("connection refused")

// checked is a pool of one target with an active check that nobody runs.
func checked(t *testing.T, change func(*Options)) (*Target, *health.State) {
	t.Helper()
	thresholds := health.Thresholds{Healthy: 2, Unhealthy: 3}
	p := poolOfMany(t, 1, func(o *Options) {
		o.Check = &Check{Thresholds: thresholds, Interval: time.Second}
		if change != nil {
			change(o)
		}
	})
	state := health.NewState(thresholds)
	return p.targets[0], &state
}

// TestProbed shows what results of probes do to a target.
func TestProbed(t *testing.T) {
	t.Parallel()
	var events []Event
	target, state := checked(t, func(o *Options) {
		o.Ramp, o.Event = time.Minute, func(e Event) { events = append(events, e) }
	})
	if s := target.State(time.Now()); !s.Healthy || s.Probe != nil || !s.Since.IsZero() {
		t.Errorf("before the first probe %+v", s)
	}
	for i := range 3 {
		if !target.State(time.Now()).Eligible {
			t.Errorf("not eligible after %d failures", i)
		}
		target.probed(state, errProbe)
	}
	if s := target.State(time.Now()); s.Healthy || s.Eligible || s.Probe.Cause != "connection refused" || s.Since.IsZero() {
		t.Errorf("after three failures %+v", s)
	}
	expectPick(t, target.pool, ErrNoTarget)
	target.probed(state, nil)
	expectPick(t, target.pool, ErrNoTarget)
	target.probed(state, nil)
	if s := target.State(time.Now()); !s.Healthy || !s.Eligible || s.Probe.Cause != "" || !s.Since.IsZero() || s.Ramp != 0.1 {
		t.Errorf("after two successes %+v", s)
	}
	want := []Event{
		{Target: target.Address, Kind: Unhealthy, Cause: "connection refused"}, {Target: target.Address, Kind: Healthy, Cause: "probes"},
	}
	if !slices.Equal(events, want) {
		t.Errorf("events %v", events)
	}
}

// TestProbeOpensTrial shows that a successful probe lets a request try an open breaker before its time.
func TestProbeOpensTrial(t *testing.T) {
	t.Parallel()
	target, state := checked(t, nil)
	target.breaker.Trip(time.Now(), time.Hour, "test")
	target.probed(state, errProbe)
	expectPick(t, target.pool, ErrOpen)
	target.probed(state, nil)
	for range 2 {
		v := pick(t, target.pool)
		if !v.OnTrial() {
			t.Error("no trial")
		}
		done(v, Success)
	}
	if s := target.breaker.State(); s != breaker.Closed {
		t.Errorf("the breaker is %v", s)
	}
}

// TestChecksRun probes a real server that comes and goes.
func TestChecksRun(t *testing.T) {
	t.Parallel()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	turns := make(chan EventKind, 10)
	p, target := poolOf(t, nl.Addr().String(), func(o *Options) {
		o.Check = &Check{
			Probe: health.Probe{Type: "tcp", Timeout: patience}, Interval: 10 * time.Millisecond,
			Thresholds: health.Thresholds{Healthy: 2, Unhealthy: 2},
		}
		o.Event = func(e Event) { turns <- e.Kind }
	})
	p.Start()
	_ = nl.Close()
	expectTurn(t, turns, Unhealthy)
	if nl, err = net.Listen("tcp", target.Address); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nl.Close() }()
	expectTurn(t, turns, Healthy)
	p.Close()
}

func expectTurn(t *testing.T, turns <-chan EventKind, want EventKind) {
	t.Helper()
	select {
	case got := <-turns:
		if got != want {
			t.Errorf("event %d, want %d", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("event %d did not come", want)
	}
}
