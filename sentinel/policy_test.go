package sentinel_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// inTurn is an origin that gives its answers one after the other, whoever asks, and the last one for
// ever. It counts the requests and remembers the last body.
type inTurn struct {
	answers []string
	asked   atomic.Int32
	body    atomic.Pointer[string]
}

func (a *inTurn) serve(c *peer) {
	for {
		req, err := c.request()
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		text := string(body)
		a.body.Store(&text)
		n := int(a.asked.Add(1))
		if _, err := io.WriteString(c, a.answers[min(n, len(a.answers))-1]); err != nil {
			return
		}
	}
}

// final reads responses up to one that is no interim one.
func final(t *testing.T, c *peer) (status int) {
	t.Helper()
	for status < 200 {
		resp, _ := c.response(t)
		status = resp.StatusCode
	}
	return status
}

func respond(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), len(body), body)
}

// TestStatusRetry shows which answers a policy replaces by another attempt's, and that the last one is
// relayed when attempts are over.
func TestStatusRetry(t *testing.T) {
	t.Parallel()
	bad, good := respond(503, "busy"), respond(200, "fine")
	const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
	for _, test := range []struct {
		name, policy, method string
		answers              []string
		status, asked        int
	}{
		{"once", "", "GET", []string{bad, good}, 200, 2},
		{"twice", "", "GET", []string{bad, bad, good}, 200, 3},
		{"attempts are over", "", "GET", []string{bad}, 503, 3},
		{"two attempts", "max-attempts 2", "GET", []string{bad, bad, good}, 503, 2},
		{"another status", "retryable-status-codes 502", "GET", []string{bad, good}, 503, 1},
		{"any 5xx", `retryable-status-codes 502; retry-on "5xx"`, "GET", []string{respond(599, ""), good}, 200, 2},
		{"POST", "", "POST", []string{bad, good}, 503, 1},
		{"DELETE", "", "DELETE", []string{bad, good}, 200, 2},
		{"chunked", "", "GET", []string{"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", good}, 200, 2},
		{"after a hint", "", "GET", []string{hint + bad, good}, 503, 1},
		{"a hint in the second", "", "GET", []string{bad, hint + good}, 200, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := &inTurn{answers: test.answers}
			p, log := proxyTo(t, scripted(t, a.serve), plan{route: "retry-policy { backoff-base-ms 1; " + test.policy + " }"})
			c := dial(t, p)
			c.send(t, test.method+" / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
			if status := final(t, c); status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			if line := receive(t, "a line in the access log", log); line.Attempts != test.asked || line.Error != "" {
				t.Errorf("the log has %+v", line)
			}
			if n := int(a.asked.Load()); n != test.asked {
				t.Errorf("the origin was asked %d times, want %d", n, test.asked)
			}
			c.get(t, "/again") // the connection lives on
			final(t, c)
		})
	}
}

// TestReplayedBody shows that a body that comes in pieces is sent again in full, up to the bound, and that
// the client is asked for it if it waits to be.
func TestReplayedBody(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, expect string
		size         int
		limit        string
		status       int
	}{
		{"in pieces", "", 40_000, "", 200},
		{"expected", "Expect: 100-continue\r\n", 40_000, "", 200},
		{"at the bound", "", 40_000, "limits { max-body-buffer-bytes 40000 }", 200},
		{"over the bound", "", 40_001, "limits { max-body-buffer-bytes 40000 }", 503},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := &inTurn{answers: []string{respond(503, ""), respond(200, "")}}
			p, log := proxyTo(t, scripted(t, a.serve), plan{route: "retry-policy { backoff-base-ms 1 }", more: test.limit})
			c := dial(t, p)
			body := strings.Repeat("0123456789", test.size/10+1)[:test.size]
			c.send(t, fmt.Sprintf("PUT / HTTP/1.1\r\nHost: a.test\r\n%sContent-Length: %d\r\n\r\n", test.expect, test.size))
			if test.expect != "" {
				c.expect(t, 100)
			}
			c.send(t, body[:1])
			c.send(t, body[1:20_000])
			c.send(t, body[20_000:])
			c.expect(t, test.status)
			log.expect(t, test.status, "")
			if got := *a.body.Load(); got != body {
				t.Errorf("the origin got %d bytes of %d", len(got), len(body))
			}
		})
	}
}

// TestWaitsForConnection shows that a request waits for the only connection, and gets it.
func TestWaitsForConnection(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	p, log := proxyTo(t, scripted(t, func(c *peer) {
		_, _ = c.request()
		close(asked)
		<-release
		_, _ = io.WriteString(c, okAnswer)
		c.serve(okAnswer)
	}), plan{upstream: "connection-pool { max-connections 1 }", routes: "route \"u\" {\nmatches { path \"/upstreams\" }\npriority \"high\"\nbuiltin-handler \"upstreams\"\n}"})
	first, second := dial(t, p), dial(t, p)
	first.get(t, "/")
	receive(t, "the first request", asked)
	second.get(t, "/")
	for pending := 0; pending == 0; {
		var got struct {
			Upstreams []struct {
				Pending int `json:"pending_requests"`
			}
		}
		fetch(t, p, "/upstreams", &got)
		pending = got.Upstreams[0].Pending
		if line := receive(t, "the page's line", log); line.Status != 200 {
			t.Fatalf("%+v", line)
		}
	}
	close(release)
	first.expect(t, 200)
	second.expect(t, 200)
	log.expect(t, 200, "")
	if line := log.expect(t, 200, ""); line.Attempts != 1 {
		t.Errorf("%d attempts", line.Attempts)
	}
}

// TestEarlyAnswerToKeptBody shows that an answer which comes before the target has read a large body is
// relayed, whether the body is kept for another attempt or not.
func TestEarlyAnswerToKeptBody(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	for name, policy := range map[string]string{"kept": "retry-policy { max-attempts 1 }", "streamed": ""} {
		for _, closes := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, closing %t", name, closes), func(t *testing.T) {
				t.Parallel()
				p, _ := proxyTo(t, scripted(t, func(c *peer) {
					_ = c.tcp.SetReadBuffer(4 << 10)
					if _, err := c.request(); err != nil {
						return
					}
					_, _ = io.WriteString(c, "HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
					if !closes {
						<-c.over
					}
					_ = c.tcp.CloseWrite() // what is unread would turn a close into a reset, and lose the answer
					_, _ = io.Copy(io.Discard, c)
				}), plan{route: policy, more: "limits { max-body-buffer-bytes 10485760 }"})
				c := dial(t, p)
				go func() {
					_, _ = io.WriteString(c, fmt.Sprintf("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n", size)+strings.Repeat("x", size))
				}()
				if resp := c.head(t, "PUT"); resp.StatusCode != 413 {
					t.Errorf("status %d", resp.StatusCode)
				}
			})
		}
	}
}

// TestSlowUploadOnTrial shows that a client which trickles the request that is to try a target does not keep
// the others out for ever.
func TestSlowUploadOnTrial(t *testing.T) {
	t.Parallel()
	const breaker = "circuit-breaker { failure-threshold 1; timeout-seconds 1 }"
	for name, p := range map[string]plan{"target": {upstream: breaker}, "route": {route: breaker}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var well atomic.Bool
			proxy, log := proxyTo(t, scripted(t, func(c *peer) {
				for {
					req, err := c.request()
					if err != nil || !well.Load() {
						return
					}
					if _, err := io.Copy(io.Discard, req.Body); err != nil {
						return
					}
					_, _ = io.WriteString(c, okAnswer)
				}
			}), p)
			c := dial(t, proxy)
			c.get(t, "/")
			c.expect(t, 502)
			log.expect(t, 502, "upstream_closed")
			well.Store(true)
			slow := dial(t, proxy)
			slow.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\nx")
			for status := 0; status != 200; { // the deadline of the connection ends this
				c.get(t, "/")
				status = final(t, c)
				if reason := receive(t, "its line", log).Error; status != 200 && reason != "breaker_open" {
					t.Fatalf("status %d for %q", status, reason)
				}
			}
		})
	}
}

// TestStatusIsCounted shows that an answer of 500 and above counts as a failed attempt, though it is relayed.
func TestStatusIsCounted(t *testing.T) {
	t.Parallel()
	page := "route \"m\" {\nmatches { path \"/metrics\" }\npriority \"high\"\nbuiltin-handler \"metrics\"\n}"
	p, log := proxyTo(t, scripted(t, func(c *peer) { c.serve(respond(503, "")) }), plan{routes: page})
	c := dial(t, p)
	c.get(t, "/")
	c.expect(t, 503)
	log.expect(t, 503, "")
	c.get(t, "/metrics")
	const want = `sentinel_upstream_failures_total{reason="upstream_status",route="all",upstream="o"} 1`
	if _, body := c.response(t); !strings.Contains(body, want) {
		t.Errorf("the metrics have no %s", want)
	}
}

// TestCauseIsTheAttempts shows that the error log gives the cause of the attempt it is about.
func TestCauseIsTheAttempts(t *testing.T) {
	t.Parallel()
	lines := make(lineChan, 10)
	hang := scripted(t, func(c *peer) {
		_, _ = c.request()
		<-c.over
	})
	text := plan{targets: fmt.Sprintf("target %q\ntarget %q", refusing(t), hang), upstream: "timeouts { request-secs 1 }"}
	p := launch(t, text.String(), io.Discard, lines)
	for range 2 { // one of them begins at the target that refuses
		c := dial(t, p.Proxy)
		c.get(t, "/")
		c.expect(t, 504)
		if line := receive(t, "a line in the error log", lines); !strings.Contains(line, "upstream_timeout") || strings.Contains(line, "refused") {
			t.Errorf("the error log has %s", line)
		}
	}
}

// lineChan receives the lines of a log.
type lineChan chan string

func (l lineChan) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}
