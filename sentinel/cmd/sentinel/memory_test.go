package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
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

// TestMemoryCeiling has many clients fill buffers and never end: some are refused, and the program stays near its
// limit, when without one they would hold three times as much.
func TestMemoryCeiling(t *testing.T) {
	t.Parallel()
	const limit, clients, size = 64 << 20, 200, 1 << 20
	p := start(t, "-c", write(t, strings.ReplaceAll(memoryConfig, "LIMIT", strconv.Itoa(limit))))
	body := make([]byte, size-1) // the last byte never comes
	answers := make(chan int, clients)
	for range clients {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		go func() {
			_, _ = fmt.Fprintf(c, "POST /api HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", size, body)
		}()
		go func() {
			if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				answers <- resp.StatusCode
			}
		}()
	}
	for refused := range clients / 2 {
		select {
		case status := <-answers:
			if status != http.StatusServiceUnavailable {
				t.Fatalf("status %d", status)
			}
		case <-time.After(patience):
			t.Fatalf("%d of %d uploads are refused", refused, clients)
		}
	}
	get(t, p.addr)
	peak := peakMemory(t, p.Process.Pid)
	t.Logf("%d uploads of %d bytes under a limit of %d: at most %d bytes resident", clients, size, limit, peak)
	if peak > 2*limit {
		t.Errorf("%d bytes resident, the limit is %d", peak, limit)
	}
}

// peakMemory returns the most that a process has had resident.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	kilobytes, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}
