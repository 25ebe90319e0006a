package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const memoryConfig = `
system { }
listeners { listener "main" { address "127.0.0.1:0" } }
routes {
    route "health" { matches { path "/health" }; builtin-handler "health" }
    route "metrics" { matches { path "/metrics" }; builtin-handler "metrics" }
    route "api" { matches { path-prefix "/api" }; upstream "o"; policies { buffer-requests #true } }
}
upstreams { upstream "o" { target "127.0.0.1:1" } }
limits { max-memory-bytes LIMIT; max-connections-per-client 10000 }
`

// TestNoMemory gives the program less than it needs: it says so, refuses requests, and answers for itself.
func TestNoMemory(t *testing.T) {
	t.Parallel()
	p := start(t, "-c", write(t, strings.ReplaceAll(memoryConfig, "LIMIT", "1000000")))
	p.await(t, "memory", func(line string) bool { return strings.Contains(line, `"short":true`) })
	get(t, p.addr)
	resp, err := http.Get("http://" + p.addr + "/api")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
	}
	resp, err = http.Get("http://" + p.addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	for _, want := range []string{"sentinel_memory_short 1", `sentinel_blocked_requests_total{reason="memory_limit"} 1`} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("the metrics do not say %s (%v)", want, err)
		}
	}
}
