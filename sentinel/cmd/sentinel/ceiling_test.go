//go:build !race

// The race detector has memory of its own, so what the program takes is measured without it.

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

// TestWorstCase has every connection there may be hold a request with a head as large as it may be, each before an
// answer that does not come, and compares what that takes with what docs/limits.md says it can.
func TestWorstCase(t *testing.T) {
	t.Parallel()
	const connections, headers = 500, 8192
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan net.Conn, connections)
	go func() {
		for {
			c, err := origin.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = http.ReadRequest(bufio.NewReader(c)); asked <- c }()
		}
	}()
	defer func() { _ = origin.Close() }()
	p := start(t, "-c", write(t, fmt.Sprintf(`
system { }
listeners { listener "main" { address "127.0.0.1:0" } }
routes { route "all" { matches { path-prefix "/" }; upstream "o" } }
upstreams { upstream "o" { target %q; connection-pool { max-connections 1000 } } }
limits { max-total-connections %d; max-connections-per-client %d; max-header-size-bytes %d }
`, origin.Addr(), connections, connections, headers)))
	head := "GET / HTTP/1.1\r\nHost: a.test\r\n"
	for i := 0; len(head) < headers-200; i++ {
		head += fmt.Sprintf("X-%d: %s\r\n", i, strings.Repeat("v", 150))
	}
	for range connections {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, head+"\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	for n := range connections {
		select {
		case c := <-asked:
			defer func() { _ = c.Close() }()
		case <-time.After(patience):
			t.Fatalf("%d of %d requests arrive", n, connections)
		}
	}
	peak, most := peakMemory(t, p.Process.Pid), connections*(4<<10+64<<10+8*headers)+64<<20
	t.Logf("%d connections with heads of %d bytes: at most %d bytes resident, the page allows %d", connections, len(head), peak, most)
	if peak > most {
		t.Errorf("%d bytes resident, more than the %d that docs/limits.md allows", peak, most)
	}
}
