package telemetry

import (
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMetricsOfAnAgent(t *testing.T) {
	t.Parallel()
	m := NewMetrics(MetricsOptions{})
	a := m.Agent("waf")
	a.Observe(0, 700*time.Microsecond)
	a.Observe(0, 3*time.Millisecond)
	a.Observe(3, 20*time.Second)
	a.Timeout(1)
	a.Decided("allow")
	a.Decided("allow")
	a.Decided("challenge")
	a.Failed("bad_reply")
	a.Failed("busy")
	a.Bypassed.Inc()
	a.Breaker("open")
	a.SetStats(func() AgentStats {
		return AgentStats{Connections: 4, InFlight: 3, Waiting: 2, Breaker: BreakerHalfOpen, Busy: 5, Unknown: 6}
	})
	m.Agent("fresh")
	wantLines(t, m,
		`sentinel_agent_latency_seconds_bucket{agent="waf",event="on_request_headers",le="0.001"} 1`,
		`sentinel_agent_latency_seconds_bucket{agent="waf",event="on_request_headers",le="0.005"} 2`,
		`sentinel_agent_latency_seconds_sum{agent="waf",event="on_request_headers"} 0.0037`,
		`sentinel_agent_latency_seconds_bucket{agent="waf",event="on_response_body",le="10"} 0`,
		`sentinel_agent_latency_seconds_count{agent="waf",event="on_response_body"} 1`,
		`sentinel_agent_timeouts_total{agent="waf",event="on_request_headers"} 0`,
		`sentinel_agent_timeouts_total{agent="waf",event="on_request_body"} 1`,
		`sentinel_agent_timeouts_total{agent="waf",event="on_response_headers"} 0`,
		`sentinel_agent_requests_total{agent="waf",decision="allow"} 2`,
		`sentinel_agent_requests_total{agent="waf",decision="block"} 0`,
		`sentinel_agent_requests_total{agent="waf",decision="redirect"} 0`,
		`sentinel_agent_requests_total{agent="waf",decision="challenge"} 1`,
		`sentinel_agent_errors_total{agent="waf",reason="unavailable"} 0`,
		`sentinel_agent_errors_total{agent="waf",reason="timeout"} 0`,
		`sentinel_agent_errors_total{agent="waf",reason="bad_reply"} 1`,
		`sentinel_agent_errors_total{agent="waf",reason="breaker_open"} 0`,
		`sentinel_agent_errors_total{agent="waf",reason="busy"} 1`,
		`sentinel_agent_bypass_total{agent="waf"} 1`,
		`sentinel_agent_connections{agent="waf"} 4`,
		`sentinel_agent_in_flight{agent="waf"} 3`,
		`sentinel_agent_waiting{agent="waf"} 2`,
		`sentinel_agent_busy_total{agent="waf"} 5`,
		`sentinel_agent_unknown_replies_total{agent="waf"} 6`,
		`sentinel_circuit_breaker_state{component="agent:waf",route=""} 2`,
		`sentinel_circuit_breaker_transitions_total{component="agent:waf",route="",to="open"} 1`,
		`sentinel_agent_requests_total{agent="fresh",decision="block"} 0`,
		`sentinel_agent_bypass_total{agent="fresh"} 0`,
		`# TYPE sentinel_agent_connections gauge`,
		`# TYPE sentinel_agent_busy_total counter`,
	)
	a.SetStats(nil)
	text := exposition(t, m)
	for _, gone := range []string{"sentinel_agent_connections{", `component="agent:waf",route=""} 2`, `event="on_request_body",le`, `agent="fresh",event="on_request_headers",le`} {
		if strings.Contains(text, gone) {
			t.Errorf("%s is shown", gone)
		}
	}
}

// The buckets are those that dashboards of the metric expect.
func TestAgentLatencyBuckets(t *testing.T) {
	t.Parallel()
	m := NewMetrics(MetricsOptions{})
	m.Agent("a").Observe(2, time.Minute)
	var lines []string
	for _, le := range strings.Fields("0.001 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10") {
		lines = append(lines, `sentinel_agent_latency_seconds_bucket{agent="a",event="on_response_headers",le="`+le+`"} 0`)
	}
	wantLines(t, m, append(lines, `sentinel_agent_latency_seconds_bucket{agent="a",event="on_response_headers",le="+Inf"} 1`)...)
	if n := strings.Count(exposition(t, m), "\nsentinel_agent_latency_seconds_bucket{"); n != len(lines)+1 {
		t.Errorf("%d buckets, want %d", n, len(lines)+1)
	}
}

// What is outside the closed sets makes no series: an agent's own words never reach a label.
func TestAgentMetricsAreClosed(t *testing.T) {
	t.Parallel()
	m := NewMetrics(MetricsOptions{})
	a := m.Agent("a\xff")
	before := exposition(t, m)
	for _, event := range []int{-1, 4, 1 << 40} {
		a.Observe(event, time.Second)
		a.Timeout(event)
	}
	for _, word := range []string{"", "ALLOW", "allow\n", "undecided", "canceled", "x\"} 1"} {
		a.Decided(word)
		a.Failed(word)
	}
	agentLines := func(text string) (n int) { return strings.Count(text, `agent="a`+"\ufffd"+`"`) }
	after := exposition(t, m)
	if n := agentLines(after); n != agentLines(before) || n == 0 {
		t.Errorf("%d lines, %d before", n, agentLines(before))
	}
	for _, line := range strings.Split(after, "\n") {
		if strings.Contains(line, `agent="a`) && !strings.HasSuffix(line, " 0") {
			t.Errorf("counted: %s", line)
		}
	}
}

func TestAgentMetricsDoNotAllocate(t *testing.T) {
	a := NewMetrics(MetricsOptions{}).Agent("a")
	decision, reason := "challenge", "breaker_open"
	if n := testing.AllocsPerRun(100, func() {
		a.Observe(1, time.Millisecond)
		a.Timeout(1)
		a.Decided(decision)
		a.Failed(reason)
		a.Bypassed.Inc()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAgentMetricsCountEverything(t *testing.T) {
	t.Parallel()
	m := NewMetrics(MetricsOptions{})
	const workers, each = 8, 500
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				a := m.Agent("a")
				a.Observe(0, time.Millisecond)
				a.Decided("block")
				a.Failed("timeout")
				a.Breaker("closed")
			}
		})
	}
	if err := m.WriteText(new(strings.Builder)); err != nil {
		t.Error(err)
	}
	wg.Wait()
	wantLines(t, m,
		`sentinel_agent_latency_seconds_count{agent="a",event="on_request_headers"} 4000`,
		`sentinel_agent_requests_total{agent="a",decision="block"} 4000`,
		`sentinel_agent_errors_total{agent="a",reason="timeout"} 4000`,
		`sentinel_circuit_breaker_transitions_total{component="agent:a",route="",to="closed"} 4000`,
	)
}

// Requests that agents of a type refuse count under words of their own.
func TestBlockedByAgents(t *testing.T) {
	t.Parallel()
	words := []string{"agent_blocked", "waf", "auth", "rate_limit", "policy"}
	m := NewMetrics(MetricsOptions{Reasons: words})
	var lines []string
	for _, w := range words {
		m.Blocked(w)
		lines = append(lines, `sentinel_blocked_requests_total{reason="`+w+`"} 1`)
	}
	m.Blocked("geo-fence")
	wantLines(t, m, append(lines, `sentinel_blocked_requests_total{reason="other"} 1`)...)
}
