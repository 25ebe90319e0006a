package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures"
	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// provenElsewhere names the test that proves a Reason no vector can: it takes time, several connections,
// or a fault that cannot be caused from outside.
var provenElsewhere = map[string]string{
	"head_timeout":             "TestHeadTimeout",
	"body_timeout":             "TestBodyTimeout",
	"client_stalled":           "TestClientStalled",
	"upstream_connect_timeout": "TestUpstreamConnectTimeout",
	"upstream_read_timeout":    "TestUpstreamReadTimeout",
	"upstream_write_timeout":   "TestUpstreamWriteTimeout",
	"upstream_busy":            "TestUpstreamBusy",
	"upstream_stale":           "TestStaleConnection",
	"upstream_status":          "TestUpstreamStatus",
	"breaker_open":             "TestBreakerOpen",
	"upstream_tls":             "TestUpstreamTLS",
	"tunnel_idle":              "TestTunnelIdle",
	"connection_limit":         "TestConnectionLimit",
	"client_connection_limit":  "TestClientConnectionLimit",
	"rate_limited":             "TestRateKeys",
	"route_limit":              "TestRouteLimit",
	"in_flight_limit":          "TestInFlightLine",
	"websocket_limit":          "TestWebSocketLimit",
	"memory_limit":             "TestMemoryShort", // of package sentinel: the memory of this process is everybody's
	"proxy_protocol":           "TestProxyProtocolRefused",
	"shutting_down":            "TestDrainCuts",
	"reload_drained":           "TestReloadInFlight",
	"agent_blocked":            "TestChecklist15Rulings",
	"agent_redirected":         "TestChecklist15Rulings",
	"agent_challenged":         "TestChecklist15Rulings",
	"agent_timeout":            "TestAgentFailures",
	"agent_bad_reply":          "TestAgentFailures",
	"agent_breaker_open":       "TestAgentFailures",
	"agent_busy":               "TestAgentFailures",
	"agent_body_too_large":     "TestAgentFailures",
	"agent_encoding":           "TestAgentFailures",
	"agent_response_failed":    "TestAgentFailures",
	"local_resources":          "TestConnectReason", // of package sentinel: descriptors run out for everybody here
	"internal_error":           "TestPanic",         // of package sentinel: no bytes cause a bug on purpose
}

// minVectors and the share of one rule keep the suite broad.
const (
	minVectors     = 150
	maxPerRuleRate = 5 // at most one in five vectors may be about the same rule
)

// TestCoverage fails when a Reason is not proven, or when the suite is narrow.
func TestCoverage(t *testing.T) {
	all := vectors(t)
	byReason, byRule, forwards := map[string]int{}, map[string]int{}, map[string]int{}
	for _, v := range all {
		byReason[v.Expect.Reason]++
		byRule[v.Rule]++
		forwards[v.Area()] += 0
		if v.Expect.Verdict == fixtures.Forward {
			forwards[v.Area()]++
		}
	}
	if len(all) < minVectors {
		t.Errorf("%d vectors, want at least %d", len(all), minVectors)
	}
	for rule, n := range byRule {
		if n*maxPerRuleRate > len(all) {
			t.Errorf("%d of %d vectors are about %s", n, len(all), rule)
		}
	}
	for area, n := range forwards {
		if n == 0 {
			t.Errorf("area %s has no legal neighbour: a proxy that refuses everything would pass it", area)
		}
	}
	checkReasons(t, byReason)
}

// checkReasons ties the Reasons of the proxy to the vectors and the tests, in both directions.
func checkReasons(t *testing.T, byReason map[string]int) {
	t.Helper()
	tests := testNames(t)
	known := map[string]sentinel.ReasonInfo{}
	for _, info := range sentinel.Reasons() {
		known[info.Word] = info
		name, elsewhere := provenElsewhere[info.Word]
		switch {
		case byReason[info.Word] > 0 && elsewhere:
			t.Errorf("%s has a vector: take it from provenElsewhere", info.Word)
		case byReason[info.Word] == 0 && !elsewhere:
			t.Errorf("%s has no vector and no test", info.Word)
		case elsewhere && !tests[name]:
			t.Errorf("%s is said to be proven by %s, which does not exist", info.Word, name)
		}
	}
	for word := range byReason {
		if _, ok := known[word]; word != "" && !ok {
			t.Errorf("vectors expect %s, which is no Reason", word)
		}
	}
	for _, v := range vectors(t) {
		if e := v.Expect; e.Verdict == fixtures.Reject && known[e.Reason].Status != e.Status {
			t.Errorf("%s: %s has status %d, not %d", v.Name, e.Reason, known[e.Reason].Status, e.Status)
		}
	}
}

// testNames lists the test functions of this package and, for what no black box can cause, of package
// sentinel.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, pattern := range []string{"*_test.go", "../sentinel/*_test.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
					names[f.Name.Name] = true
				}
			}
		}
	}
	return names
}
