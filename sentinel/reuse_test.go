package sentinel_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// TestConnectionsNotReused covers answers after which the upstream's connection serves nobody any more.
func TestConnectionsNotReused(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"surplus":  "HTTP/1.1 200 OK\r\nX-Connection: %d\r\nContent-Length: 2\r\n\r\nhipoison",
		"closing":  "HTTP/1.1 200 OK\r\nX-Connection: %d\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
		"HTTP/1.0": "HTTP/1.0 200 OK\r\nX-Connection: %d\r\nContent-Length: 2\r\n\r\nhi",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := proxyTo(t, scripted(t, func(c *peer) {
				for {
					if _, err := c.request(); err != nil {
						return
					}
					_, _ = io.WriteString(c, fmt.Sprintf(answer, c.n))
				}
			}), plan{})
			c := dial(t, p)
			for _, want := range []string{"0", "1"} {
				c.get(t, "/")
				if resp, _ := c.response(t); resp.Header.Get("X-Connection") != want {
					t.Errorf("answered on connection %s, want %s", resp.Header.Get("X-Connection"), want)
				}
			}
		})
	}
}

// TestHostileTraceID shows that an id that could forge a log line is replaced.
func TestHostileTraceID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{`a"b`, "a b", strings.Repeat("a", 200)} {
		p, _ := proxyTo(t, scripted(t, func(c *peer) { c.serve(okAnswer) }), plan{})
		c := dial(t, p)
		c.send(t, "GET / HTTP/1.1\r\nHost: a.test\r\nX-Trace-Id: "+id+"\r\n\r\n")
		if resp, _ := c.response(t); resp.Header.Get("X-Correlation-Id") == id {
			t.Errorf("%q is used as an id", id)
		}
	}
}
