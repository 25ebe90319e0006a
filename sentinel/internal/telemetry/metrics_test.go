package telemetry

import (
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func exposition(t *testing.T, m *Metrics) string {
	t.Helper()
	var b strings.Builder
	if err := m.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// wantLines reports every line that the exposition lacks.
func wantLines(t *testing.T, m *Metrics, lines ...string) {
	t.Helper()
	text := exposition(t, m)
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestMetricsOfAFreshProxy(t *testing.T) {
	m := NewMetrics(MetricsOptions{Version: "1.2.3", Reasons: []string{"bad_host"}})
	wantLines(t, m,
		`sentinel_up 1`,
		`sentinel_build_info{version="1.2.3"} 1`,
		`sentinel_active_requests 0`,
		`sentinel_open_connections 0`,
		`sentinel_connections_total 0`,
		`sentinel_rate_limit_hits_total 0`,
		`sentinel_blocked_requests_total{reason="bad_host"} 0`,
		`sentinel_blocked_requests_total{reason="other"} 0`,
		`sentinel_log_dropped_total{log="access"} 0`,
		`sentinel_config_reloads_total{result="failure"} 0`,
		`# TYPE sentinel_memory_usage_bytes gauge`,
		`# TYPE sentinel_cpu_usage_percent gauge`,
	)
}

func TestMetricsOfTheProxy(t *testing.T) {
	m := NewMetrics(MetricsOptions{Reasons: []string{"bad_host"}})
	m.ActiveRequests.Add(3)
	m.ActiveRequests.Add(-1)
	m.OpenConnections.Add(7)
	m.Connections.Inc()
	m.RateLimited.Inc()
	m.Blocked("bad_host")
	m.Blocked("made up")
	m.Reload(true)
	m.Reload(false)
	m.Reload(false)
	m.LogDropped("audit")(5)
	m.TLSHandshake(tls.VersionTLS13, 3*time.Millisecond)
	wantLines(t, m,
		`sentinel_active_requests 2`,
		`sentinel_open_connections 7`,
		`sentinel_connections_total 1`,
		`sentinel_rate_limit_hits_total 1`,
		`sentinel_blocked_requests_total{reason="bad_host"} 1`,
		`sentinel_blocked_requests_total{reason="other"} 1`,
		`sentinel_config_reloads_total{result="success"} 1`,
		`sentinel_config_reloads_total{result="failure"} 2`,
		`sentinel_log_dropped_total{log="audit"} 5`,
		`sentinel_tls_handshake_duration_seconds_bucket{version="TLS1.3",le="0.001"} 0`,
		`sentinel_tls_handshake_duration_seconds_bucket{version="TLS1.3",le="0.005"} 1`,
		`sentinel_tls_handshake_duration_seconds_sum{version="TLS1.3"} 0.003`,
	)
}

func TestMetricsOfARoute(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	r := m.Route("api")
	r.Observe(MethodOf([]byte("GET")), 200, 2500*time.Microsecond, 0, 1000)
	r.Observe(MethodOf([]byte("GET")), 200, 20*time.Second, 101, 1e9)
	r.Observe(MethodOf([]byte("BREW")), 599, 0, 0, 0)
	m.Route(NoRoute).Observe(MethodOf([]byte("POST")), -1, -time.Second, -1, -1)
	wantLines(t, m,
		`sentinel_requests_total{method="GET",route="api",status="200"} 2`,
		`sentinel_requests_total{method="OTHER",route="api",status="5xx"} 1`,
		`sentinel_requests_total{method="POST",route="none",status="other"} 1`,
		`sentinel_request_duration_seconds_bucket{method="GET",route="api",le="0.001"} 0`,
		`sentinel_request_duration_seconds_bucket{method="GET",route="api",le="0.005"} 1`,
		`sentinel_request_duration_seconds_bucket{method="GET",route="api",le="10"} 1`,
		`sentinel_request_duration_seconds_bucket{method="GET",route="api",le="+Inf"} 2`,
		`sentinel_request_duration_seconds_sum{method="GET",route="api"} 20.0025`,
		`sentinel_request_duration_seconds_count{method="GET",route="api"} 2`,
		`sentinel_request_body_size_bytes_bucket{route="api",le="100"} 0`,
		`sentinel_request_body_size_bytes_bucket{route="api",le="1000"} 1`,
		`sentinel_request_body_size_bytes_count{route="api"} 1`,
		`sentinel_response_body_size_bytes_bucket{route="api",le="1000"} 1`,
		`sentinel_response_body_size_bytes_bucket{route="api",le="1e+08"} 1`,
		`sentinel_response_body_size_bytes_count{route="api"} 2`,
	)
}

func TestMetricsOfAnUpstream(t *testing.T) {
	m := NewMetrics(MetricsOptions{Reasons: []string{"upstream_reset"}})
	u := m.Upstream("backend")
	u.PoolAcquired.Inc()
	r := u.Route("api")
	r.Attempts.Add(2)
	r.Retries.Inc()
	r.Failure("upstream_reset")
	r.Failure("made up")
	r.SetBreaker(func() int { return BreakerHalfOpen })
	u.SetStats(func() UpstreamStats {
		return UpstreamStats{PoolSize: 5, PoolIdle: 4, Targets: []TargetStats{
			{Address: "10.0.0.1:80", Healthy: true},
			{Address: "10.0.0.2:80", Breaker: BreakerOpen},
			{Address: "10.0.0.2:80"},
		}}
	})
	wantLines(t, m,
		`sentinel_connection_pool_acquired_total{upstream="backend"} 1`,
		`sentinel_connection_pool_size{upstream="backend"} 5`,
		`sentinel_connection_pool_idle{upstream="backend"} 4`,
		`sentinel_upstream_attempts_total{route="api",upstream="backend"} 2`,
		`sentinel_upstream_retries_total{route="api",upstream="backend"} 1`,
		`sentinel_upstream_failures_total{reason="upstream_reset",route="api",upstream="backend"} 1`,
		`sentinel_upstream_failures_total{reason="other",route="api",upstream="backend"} 1`,
		`sentinel_upstream_healthy_backends{upstream="backend"} 1`,
		`sentinel_upstream_target_healthy{target="10.0.0.1:80",upstream="backend"} 1`,
		`sentinel_upstream_target_healthy{target="10.0.0.2:80",upstream="backend"} 0`,
		`sentinel_circuit_breaker_state{component="upstream:backend/10.0.0.2:80",route=""} 1`,
		`sentinel_circuit_breaker_state{component="upstream:backend",route="api"} 2`,
	)
}

func TestMetricsOfARemovedUpstream(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	u := m.Upstream("backend")
	u.SetStats(func() UpstreamStats { return UpstreamStats{PoolSize: 5} })
	u.Route("api").SetBreaker(func() int { return BreakerOpen })
	u.SetStats(nil)
	u.Route("api").SetBreaker(nil)
	if text := exposition(t, m); strings.Contains(text, "connection_pool_size") || strings.Contains(text, "breaker") {
		t.Errorf("the gauges are still there:\n%s", text)
	}
	wantLines(t, m, `sentinel_upstream_attempts_total{route="api",upstream="backend"} 0`)
}

func TestHandlesAreKept(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	route, upstream := m.Route("a"), m.Upstream("a")
	if m.Route("a") != route || m.Route("b") == route {
		t.Error("Route: one id must have one handle")
	}
	if m.Upstream("a") != upstream || m.Upstream("b") == upstream {
		t.Error("Upstream: one id must have one handle")
	}
	if use := upstream.Route("a"); upstream.Route("a") != use || m.Upstream("b").Route("a") == use {
		t.Error("UpstreamMetrics.Route: one pair of ids must have one handle")
	}
}

// An id that is no UTF-8 must not break the scrape, and neither must two that look alike.
func TestMetricsLabelsAreText(t *testing.T) {
	m := NewMetrics(MetricsOptions{Version: "\xff", Reasons: []string{"\xff"}})
	for _, id := range []string{"\xff", "\xfe", "a\"b\n"} {
		m.Route(id).Observe(MethodOf([]byte("GET")), 200, 0, 1, 1)
		m.Upstream(id).Route(id).Attempts.Inc()
	}
	wantLines(t, m, `sentinel_requests_total{method="GET",route="a\"b\n",status="200"} 1`)
}

// Whatever methods and statuses come, a route has a bounded number of series.
func TestMetricsCardinality(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	r := m.Route("api")
	for status := range 1000 {
		for _, method := range []string{"GET", "get", "PROPFIND", "", "X\x00"} {
			r.Observe(MethodOf([]byte(method)), status, 0, 0, 0)
		}
		m.Blocked(strings.Repeat("x", status))
	}
	text := exposition(t, m)
	if got := strings.Count(text, "\nsentinel_requests_total{"); got != 2*statusSlots {
		t.Errorf("%d request series, want %d", got, 2*statusSlots)
	}
	if got := strings.Count(text, "\nsentinel_blocked_requests_total{"); got != 1 {
		t.Errorf("%d reasons, want 1", got)
	}
}

func TestMethodOf(t *testing.T) {
	for _, method := range methodNames[1:] {
		if got := MethodOf([]byte(method)).String(); got != method {
			t.Errorf("%s became %s", method, got)
		}
	}
	for _, method := range []string{"", "get", "GETS", "OTHER", "PROPFIND"} {
		if got := MethodOf([]byte(method)).String(); got != "OTHER" {
			t.Errorf("%s became %s", method, got)
		}
	}
}

func TestWriteTextKeepsGoingPastABrokenCollector(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	broken := prometheus.NewInvalidDesc(errors.New("broken"))
	m.Registry().MustRegister(failing{broken})
	var b strings.Builder
	if err := m.WriteText(&b); err == nil || !strings.Contains(b.String(), "sentinel_up 1") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

// failing is a collector without a description, whose only metric is an error.
type failing struct{ desc *prometheus.Desc }

func (failing) Describe(chan<- *prometheus.Desc) {}

func (f failing) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(f.desc, errors.New("broken"))
}

func TestWriteTextReportsABrokenSink(t *testing.T) {
	if err := NewMetrics(MetricsOptions{}).WriteText(newFlaky(10)); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}

func TestMetricsCountEverything(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	const workers, each = 8, 500
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				m.Route("api").Observe(MethodOf([]byte("GET")), 200, time.Millisecond, 1, 1)
				m.Upstream("backend").Route("api").Failure("x")
			}
		})
	}
	if err := m.WriteText(new(strings.Builder)); err != nil {
		t.Error(err)
	}
	wg.Wait()
	wantLines(t, m,
		`sentinel_requests_total{method="GET",route="api",status="200"} 4000`,
		`sentinel_request_duration_seconds_bucket{method="GET",route="api",le="0.001"} 4000`,
		`sentinel_upstream_failures_total{reason="other",route="api",upstream="backend"} 4000`,
	)
}

func TestObserveDoesNotAllocate(t *testing.T) {
	m := NewMetrics(MetricsOptions{Reasons: []string{"bad_host"}})
	r := m.Route("api")
	allocs := testing.AllocsPerRun(100, func() {
		r.Observe(MethodOf([]byte("GET")), 200, time.Millisecond, 1, 1)
		m.Blocked("bad_host")
		m.ActiveRequests.Add(1)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
