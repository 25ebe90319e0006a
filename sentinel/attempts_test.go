package sentinel_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestRefusedTargets shows that a request is offered to other targets while nobody has accepted it, to
// three in all, and that the log counts them.
func TestRefusedTargets(t *testing.T) {
	t.Parallel()
	good := scripted(t, func(c *peer) { c.serve(okAnswer) })
	for _, test := range []struct {
		name     string
		bad      int // targets that refuse, before the good one
		good     bool
		status   int
		attempts int
	}{
		{"one of two", 1, true, 200, 2},
		{"two of three", 2, true, 200, 3},
		{"three before the good one", 3, true, 502, 3},
		{"the only one", 1, false, 502, 1},
		{"both", 2, false, 502, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var targets strings.Builder
			for range test.bad {
				fmt.Fprintf(&targets, "target %q\n", refusing(t))
			}
			if test.good {
				targets.WriteString(`target "ORIGIN"`)
			}
			p, log := proxyTo(t, good, plan{targets: targets.String()})
			c := dial(t, p)
			c.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi") // nothing was sent: any method
			resp := c.expect(t, test.status)
			if resp.Close {
				t.Error("the client's connection need not end")
			}
			a := receive(t, "a line in the access log", log)
			if a.Status != test.status || a.Attempts != test.attempts {
				t.Errorf("the log has status %d after %d attempts, want %d after %d", a.Status, a.Attempts, test.status, test.attempts)
			}
			if test.status == 502 && a.Error != "upstream_refused" {
				t.Errorf("the log gives %q", a.Error)
			}
		})
	}
}

// staleOrigin serves one request on its first connection and ends it without an answer to the second.
// It counts the requests it got to the end.
func staleOrigin(t *testing.T, end func(*peer)) (address string, whole *atomic.Int32) {
	t.Helper()
	whole = &atomic.Int32{}
	return scripted(t, func(c *peer) {
		for n := 0; ; n++ {
			req, err := c.request()
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			whole.Add(1)
			if c.n == 0 && n == 1 {
				end(c)
				return
			}
			_, _ = io.WriteString(c, okAnswer)
		}
	}), whole
}

// TestStaleConnection covers the race of a reused connection with its end: the request is written when
// the upstream has just given up on the connection.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*peer){
		"closed": func(*peer) {},
		"reset":  func(c *peer) { _ = c.tcp.SetLinger(0) },
	}
	for _, test := range []struct {
		request string
		status  int
		whole   int32 // requests the origin got, the first included
	}{
		{"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 3},
		{"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi", 200, 3},
		{"DELETE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 200, 3},
		{"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi", 502, 2},
		{"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", 502, 2},
		{"POST / HTTP/1.1\r\nHost: a.test\r\nIdempotency-Key: 1\r\nContent-Length: 2\r\n\r\nhi", 502, 2},
		{"PATCH / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi", 502, 2},
		{"PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 502, 2},
	} {
		for name, end := range ends {
			method, rest, _ := strings.Cut(test.request, " ")
			t.Run(fmt.Sprintf("%s, %s, %d bytes", method, name, len(rest)), func(t *testing.T) {
				t.Parallel()
				address, whole := staleOrigin(t, end)
				p, log := proxyTo(t, address, plan{})
				c := dial(t, p)
				c.get(t, "/first")
				c.expect(t, 200)
				log.expect(t, 200, "")
				c.send(t, test.request)
				c.expect(t, test.status)
				a := receive(t, "a line in the access log", log)
				if want := int(test.whole) - 1; a.Status != test.status || a.Attempts != want {
					t.Errorf("the log has status %d after %d attempts, want %d after %d", a.Status, a.Attempts, test.status, want)
				}
				if n := whole.Load(); n != test.whole {
					t.Errorf("the origin got %d requests, want %d", n, test.whole)
				}
			})
		}
	}
}

// TestFreshConnectionIsNotRetried shows that a death without an answer is final on a new connection.
func TestFreshConnectionIsNotRetried(t *testing.T) {
	t.Parallel()
	var got atomic.Int32
	p, log := proxyTo(t, scripted(t, func(c *peer) {
		if _, err := c.request(); err == nil {
			got.Add(1)
		}
	}), plan{})
	c := dial(t, p)
	c.get(t, "/")
	c.expect(t, 502)
	log.expect(t, 502, "upstream_closed")
	if n := got.Load(); n != 1 {
		t.Errorf("the origin got %d requests", n)
	}
}

// TestUpstreamBusy shows that a target has no more connections than it may have, and that without a line
// the next request is refused at once.
func TestUpstreamBusy(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	p, log := proxyTo(t, scripted(t, func(c *peer) {
		_, _ = c.request()
		close(asked)
		<-release
		_, _ = io.WriteString(c, okAnswer)
		c.serve(okAnswer)
	}), plan{upstream: "connection-pool { max-connections 1; max-pending 0 }"})
	first, second := dial(t, p), dial(t, p)
	first.get(t, "/")
	receive(t, "the first request", asked)
	second.get(t, "/")
	if resp := second.expect(t, http.StatusServiceUnavailable); resp.Header.Get("Retry-After") == "" {
		t.Error("a 503 must say when to come back")
	}
	log.expect(t, 503, "upstream_busy")
	close(release)
	first.expect(t, 200)
	log.expect(t, 200, "")
	second.get(t, "/")
	second.expect(t, 200)
	if a := log.expect(t, 200, ""); !a.Reused {
		t.Error("the one connection was not reused")
	}
}

// TestAttemptsAreLogged shows that failed attempts are found in the error log or the access log's count,
// while the access log of a request that got its answer has no error.
func TestAttemptsAreLogged(t *testing.T) {
	t.Parallel()
	p, log := proxyTo(t, scripted(t, func(c *peer) { c.serve(okAnswer) }),
		plan{targets: fmt.Sprintf("target %q\ntarget \"ORIGIN\"", refusing(t))})
	c := dial(t, p)
	c.get(t, "/")
	c.expect(t, 200)
	if a := log.expect(t, 200, ""); a.Attempts != 2 {
		t.Errorf("%d attempts, want 2", a.Attempts)
	}
}

// TestConnectionClosedWhileIdle shows that a connection whose target closed it or wrote to it unasked is
// not used again, not even by a request that could not be repeated.
func TestConnectionClosedWhileIdle(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]string{"closed": "", "talking": "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			move, moved := make(chan struct{}), make(chan struct{})
			p, log := proxyTo(t, scripted(t, func(c *peer) {
				if c.n > 0 {
					c.serve(okAnswer)
					return
				}
				_, _ = c.request()
				_, _ = io.WriteString(c, okAnswer)
				<-move
				_, _ = io.WriteString(c, after)
				if after == "" {
					_ = c.Close()
				}
				close(moved)
				c.serve(okAnswer)
			}), plan{})
			c := dial(t, p)
			c.get(t, "/")
			c.expect(t, 200)
			log.expect(t, 200, "")
			close(move)
			receive(t, "the origin's move", moved)
			for range 20 {
				c.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
				if _, body := c.response(t); body != "ok" {
					t.Fatalf("the client got %q", body)
				}
				log.expect(t, 200, "")
			}
		})
	}
}
