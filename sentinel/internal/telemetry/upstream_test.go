package telemetry

import (
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestMetricsOfAnUpstreamsState(t *testing.T) {
	t.Parallel()
	m := NewMetrics(MetricsOptions{})
	m.Upstream("backend").SetStats(func() UpstreamStats {
		return UpstreamStats{Pending: 3, PendingRejected: 4, BudgetExhausted: 5, Panic: true, Targets: []TargetStats{
			{Address: "10.0.0.1:80", Healthy: true, InFlight: 2, Requests: 30, Failures: 7, Ejections: 1, Ramp: 0.25},
			{Address: "10.0.0.2:80", Ramp: 1},
		}}
	})
	m.Upstream("calm").SetStats(func() UpstreamStats { return UpstreamStats{} })
	wantLines(t, m,
		`sentinel_upstream_pending_requests{upstream="backend"} 3`,
		`sentinel_upstream_pending_rejected_total{upstream="backend"} 4`,
		`sentinel_upstream_retry_budget_exhausted_total{upstream="backend"} 5`,
		`sentinel_upstream_panic{upstream="backend"} 1`,
		`sentinel_upstream_target_active_requests{target="10.0.0.1:80",upstream="backend"} 2`,
		`sentinel_upstream_target_requests_total{target="10.0.0.1:80",upstream="backend"} 30`,
		`sentinel_upstream_target_failures_total{target="10.0.0.1:80",upstream="backend"} 7`,
		`sentinel_upstream_ejections_total{target="10.0.0.1:80",upstream="backend"} 1`,
		`sentinel_upstream_target_ramp{target="10.0.0.1:80",upstream="backend"} 0.25`,
		`sentinel_upstream_target_ramp{target="10.0.0.2:80",upstream="backend"} 1`,
		`sentinel_upstream_ejections_total{target="10.0.0.2:80",upstream="backend"} 0`,
		`sentinel_upstream_panic{upstream="calm"} 0`,
		`sentinel_upstream_pending_rejected_total{upstream="calm"} 0`,
		`sentinel_upstream_healthy_backends{upstream="calm"} 0`,
		`# TYPE sentinel_upstream_pending_requests gauge`,
		`# TYPE sentinel_upstream_pending_rejected_total counter`,
		`# TYPE sentinel_upstream_target_requests_total counter`,
		`# TYPE sentinel_upstream_ejections_total counter`,
	)
}

func TestMetricsOfTransitions(t *testing.T) {
	t.Parallel()
	m := NewMetrics(MetricsOptions{})
	u := m.Upstream("backend")
	u.Health("10.0.0.1:80", "unhealthy")
	u.Health("10.0.0.1:80", "healthy")
	u.Health("10.0.0.1:80", "unhealthy")
	u.Health("10.0.0.2:80", "ejected")
	u.Breaker("10.0.0.1:80", "open")
	r := u.Route("api")
	r.Breaker("open")
	r.Breaker("half_open")
	r.Breaker("open")
	r.Rejected.Add(9)
	r.SetBreaker(func() int { return BreakerOpen })
	wantLines(t, m,
		`sentinel_upstream_health_transitions_total{target="10.0.0.1:80",to="healthy",upstream="backend"} 1`,
		`sentinel_upstream_health_transitions_total{target="10.0.0.1:80",to="unhealthy",upstream="backend"} 2`,
		`sentinel_upstream_health_transitions_total{target="10.0.0.2:80",to="ejected",upstream="backend"} 1`,
		`sentinel_circuit_breaker_transitions_total{component="upstream:backend/10.0.0.1:80",route="",to="open"} 1`,
		`sentinel_circuit_breaker_transitions_total{component="upstream:backend",route="api",to="open"} 2`,
		`sentinel_circuit_breaker_transitions_total{component="upstream:backend",route="api",to="half_open"} 1`,
		`sentinel_circuit_breaker_rejected_total{component="upstream:backend",route="api"} 9`,
	)
}

// A route without a breaker must not look like one whose breaker never refused anything.
func TestMetricsOfARouteWithoutBreaker(t *testing.T) {
	t.Parallel()
	m := NewMetrics(MetricsOptions{})
	m.Upstream("backend").Route("api").Attempts.Inc()
	if text := exposition(t, m); strings.Contains(text, "circuit_breaker") {
		t.Errorf("there is no breaker:\n%s", text)
	}
}

// Two spellings of one label, and one address twice, must not fail the scrape.
func TestMetricsOfTargetsThatLookAlike(t *testing.T) {
	t.Parallel()
	m := NewMetrics(MetricsOptions{})
	u := m.Upstream("backend")
	u.SetStats(func() UpstreamStats {
		return UpstreamStats{Targets: []TargetStats{{Address: "a:1", Requests: 1}, {Address: "a:1", Requests: 2}, {Address: "\xff"}, {Address: "\xfe"}}}
	})
	for _, address := range []string{"a:1", "a:1", "\xff", "\xfe"} {
		u.Health(address, "healthy")
		u.Breaker(address, "closed")
	}
	wantLines(t, m,
		`sentinel_upstream_target_requests_total{target="a:1",upstream="backend"} 1`,
		`sentinel_upstream_health_transitions_total{target="a:1",to="healthy",upstream="backend"} 2`,
		`sentinel_upstream_health_transitions_total{target="`+"\ufffd"+`",to="healthy",upstream="backend"} 2`,
		`sentinel_circuit_breaker_transitions_total{component="upstream:backend/`+"\ufffd"+`",route="",to="closed"} 2`,
	)
}

// However many targets come and go, an upstream has a bounded number of series, and counts on in those
// it has.
func TestTransitionsAreBounded(t *testing.T) {
	t.Parallel()
	m := NewMetrics(MetricsOptions{})
	u := m.Upstream("backend")
	for i := range maxChanges {
		u.Health("10.0.0.1:"+strconv.Itoa(i), "healthy")
	}
	u.Health("10.0.0.2:80", "healthy")
	u.Health("10.0.0.3:80", "healthy")
	u.Breaker("10.0.0.3:80", "open")
	u.Health("10.0.0.1:7", "healthy")
	wantLines(t, m,
		`sentinel_upstream_health_transitions_total{target="other",to="healthy",upstream="backend"} 2`,
		`sentinel_circuit_breaker_transitions_total{component="upstream:backend/other",route="",to="open"} 1`,
		`sentinel_upstream_health_transitions_total{target="10.0.0.1:7",to="healthy",upstream="backend"} 2`,
	)
	if n := strings.Count(exposition(t, m), "\nsentinel_upstream_health_transitions_total{"); n != maxChanges+1 {
		t.Errorf("%d series, want %d", n, maxChanges+1)
	}
}

func TestTransitionsCountEverything(t *testing.T) {
	t.Parallel()
	m := NewMetrics(MetricsOptions{})
	const workers, each = 8, 500
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				m.Upstream("backend").Health("a:1", "ejected")
				m.Upstream("backend").Breaker("a:1", "open")
				m.Upstream("backend").Route("api").Breaker("open")
			}
		})
	}
	if err := m.WriteText(new(strings.Builder)); err != nil {
		t.Error(err)
	}
	wg.Wait()
	wantLines(t, m,
		`sentinel_upstream_health_transitions_total{target="a:1",to="ejected",upstream="backend"} 4000`,
		`sentinel_circuit_breaker_transitions_total{component="upstream:backend/a:1",route="",to="open"} 4000`,
		`sentinel_circuit_breaker_transitions_total{component="upstream:backend",route="api",to="open"} 4000`,
	)
}
