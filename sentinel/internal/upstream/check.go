package upstream

import (
	"context"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/health"
)

// check probes the target until ctx is done. It is the only goroutine that moves the active state.
func (t *Target) check(ctx context.Context, first time.Duration) {
	c := t.pool.Check
	probe := c.Probe
	probe.Address, probe.TLS, probe.Dial = t.Address, t.tls, t.dialTCP
	state := health.NewState(c.Thresholds)
	if t.down.Load() { // inherited
		state = health.NewUnhealthy(c.Thresholds)
	}
	schedule := health.Schedule{Interval: c.Interval, First: first}
	schedule.Run(ctx, probe.Do, func(err error, _ time.Duration) { t.probed(&state, err) })
}

// probed takes the result of one probe.
func (t *Target) probed(state *health.State, err error) {
	now := time.Now()
	seen := &Evidence{At: now}
	if err != nil {
		seen.Cause = err.Error()
	}
	t.lastProbe.Store(seen)
	if health.Ours(err) {
		return // what we lack says nothing of the target
	}
	if state.Record(err == nil) {
		t.turned(state.Healthy(), seen.Cause, now)
	}
	if err != nil {
		t.streak.Store(0)
		return
	}
	t.breaker.HalfOpen("probe")
	if int(t.streak.Add(1)) >= t.pool.Check.Thresholds.Healthy {
		t.ejection.Close("probes")
	}
}

// turned makes a change of the active state known.
func (t *Target) turned(healthy bool, cause string, now time.Time) {
	t.down.Store(!healthy)
	kind := Unhealthy
	if healthy {
		kind, cause = Healthy, "probes"
		t.ramp.begin(t.pool, now)
	}
	t.mark(!healthy || t.ejected(), now)
	t.pool.tell(Event{Target: t.Address, Kind: kind, Cause: cause})
	t.pool.wakeAll()
}
