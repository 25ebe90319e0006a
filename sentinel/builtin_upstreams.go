package sentinel

import (
	"net/http"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
)

// poolView is what the upstreams handler shows of an upstream.
type poolView struct {
	ID              string       `json:"id"`
	LoadBalancing   string       `json:"load_balancing"`
	Connections     int          `json:"connections"`
	Idle            int          `json:"idle_connections"`
	Pending         int          `json:"pending_requests"`
	PendingRejected uint64       `json:"pending_rejected"`
	RepeatsRefused  uint64       `json:"retries_over_budget"`
	Panic           bool         `json:"panic"`
	Targets         []targetView `json:"targets"`
}

// targetView is what it shows of a target. Causes are the proxy's own words, never the target's.
type targetView struct {
	Address     string   `json:"address"`
	Weight      int      `json:"weight"`
	Status      string   `json:"status"` // "healthy", "unhealthy" or "unknown": neither probed nor used yet
	Healthy     bool     `json:"healthy"`
	Eligible    bool     `json:"eligible"`
	Ejected     bool     `json:"ejected"`
	Breaker     string   `json:"breaker"`
	Active      int      `json:"active_connections"`
	Requests    uint64   `json:"total_requests"`
	Failures    uint64   `json:"failed_requests"`
	Ejections   uint64   `json:"ejections"`
	FailureRate *float64 `json:"failure_rate"` // of the last 100 requests
	Ramp        float64  `json:"ramp"`
	LastError   *string  `json:"last_error"`
	LastErrorAt *string  `json:"last_error_at"`
	LastProbe   *string  `json:"last_probe_at"`
	ProbeError  *string  `json:"last_probe_error"`
	Since       *string  `json:"unhealthy_since"`
}

func answerUpstreams(x *exchange) Reason {
	pools := []poolView{}
	summary := map[string]int{"total_upstreams": len(x.snap.pools), "total_targets": 0, "healthy": 0, "unhealthy": 0, "unknown": 0}
	for i, p := range x.snap.pools {
		view := viewPool(p, x.started)
		view.LoadBalancing = x.snap.cfg.Upstreams[i].LoadBalancing
		for _, t := range view.Targets {
			summary["total_targets"]++
			summary[t.Status]++
		}
		pools = append(pools, view)
	}
	return x.answerJSON(http.StatusOK, map[string]any{
		"timestamp": timestamp(x.started), "request_id": string(x.trace), "upstreams": pools, "summary": summary,
	})
}

func viewPool(p *upstream.Pool, now time.Time) poolView {
	view := poolView{
		ID: p.ID, Connections: p.Open(), Idle: p.Idle(), Pending: p.Pending(), PendingRejected: p.PendingRejected(),
		RepeatsRefused: p.RepeatsRefused(), Panic: p.Panicked(),
	}
	for _, t := range p.Targets() {
		s := t.State(now)
		view.Targets = append(view.Targets, viewTarget(&s))
	}
	return view
}

func viewTarget(s *upstream.TargetState) targetView {
	v := targetView{
		Address: s.Address, Weight: s.Weight, Status: "unknown", Healthy: s.Healthy, Eligible: s.Eligible, Ejected: s.Ejected,
		Breaker: s.Breaker.String(), Active: s.InFlight, Requests: s.Requests, Failures: s.Failures, Ejections: s.Ejections, Ramp: s.Ramp,
	}
	switch {
	case !s.Healthy:
		v.Status = "unhealthy"
	case s.Probe != nil || s.Samples > 0:
		v.Status = "healthy"
	}
	if s.Samples > 0 {
		v.FailureRate = &s.Share
	}
	if s.Failure != nil {
		v.LastError, v.LastErrorAt = &s.Failure.Cause, moment(s.Failure.At)
	}
	if s.Probe != nil {
		v.LastProbe = moment(s.Probe.At)
		if s.Probe.Cause != "" {
			v.ProbeError = &s.Probe.Cause
		}
	}
	if !s.Since.IsZero() {
		v.Since = moment(s.Since)
	}
	return v
}

func moment(t time.Time) *string {
	s := timestamp(t)
	return &s
}
