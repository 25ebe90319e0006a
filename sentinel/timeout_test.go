package sentinel_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// shortListener and shortUpstream are the smallest limits there are.
const (
	shortListener = "request-timeout-secs 1; keepalive-timeout-secs 1; body-idle-timeout-secs 1"
	shortUpstream = "timeouts { connect-secs 1; request-secs 1; read-secs 1; write-secs 1 }"
)

// TestSlowHead covers heads that do not become complete in time.
func TestSlowHead(t *testing.T) {
	t.Parallel()
	p, log := proxyTo(t, refusing(t), plan{listener: shortListener})
	t.Run("begun", func(t *testing.T) {
		c := dial(t, p)
		c.send(t, "GET /slow?a HTTP/1.1\r\nHost:")
		if resp := c.expect(t, 408); !resp.Close {
			t.Error("a 408 must end the connection")
		}
		c.closed(t)
		if a := log.expect(t, 408, "head_timeout"); a.Path != "/slow" {
			t.Errorf("the access log has the path %q, want /slow", a.Path)
		}
	})
	t.Run("dripping", func(t *testing.T) {
		c := dial(t, p)
		drip := time.NewTicker(50 * time.Millisecond)
		defer drip.Stop()
		answered := make(chan struct{})
		go func() { _, _ = c.r.Peek(1); close(answered) }()
		c.send(t, "GET / HTTP/1.1\r\nX-Slow: ")
		for open := true; open; {
			select {
			case <-drip.C:
				_, _ = io.WriteString(c, "x")
			case <-answered:
				open = false
			}
		}
		c.expect(t, 408)
		log.expect(t, 408, "head_timeout")
	})
	t.Run("not begun", func(t *testing.T) {
		dial(t, p).closed(t)
	})
}

// TestKeepAliveTimeout shows that a parked connection is closed without a word.
func TestKeepAliveTimeout(t *testing.T) {
	t.Parallel()
	p, log := proxyTo(t, scripted(t, func(c *peer) { c.serve(okAnswer) }), plan{listener: shortListener})
	c := dial(t, p)
	c.get(t, "/")
	c.expect(t, 200)
	log.expect(t, 200, "")
	c.closed(t)
}

// TestSlowBody covers bodies that pause and bodies that only drip.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	swallow := func(c *peer) { _ = c.ends() }
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		p, log := proxyTo(t, scripted(t, swallow), plan{listener: shortListener})
		c := dial(t, p)
		c.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello")
		c.expect(t, 408)
		c.closed(t)
		log.expect(t, 408, "body_timeout")
	})
	t.Run("dripping", func(t *testing.T) {
		t.Parallel()
		p, log := proxyTo(t, scripted(t, swallow), plan{listener: shortListener + "; min-body-rate-bytes 1000"})
		c := dial(t, p)
		c.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n")
		drip := time.NewTicker(50 * time.Millisecond)
		defer drip.Stop()
		answered := make(chan struct{})
		go func() { _, _ = c.r.Peek(1); close(answered) }()
		for open := true; open; {
			select {
			case <-drip.C:
				_, _ = io.WriteString(c, "x")
			case <-answered:
				open = false
			}
		}
		c.expect(t, 408)
		log.expect(t, 408, "body_timeout")
	})
}

// TestHeldBodyOutlastsHead sends bodies that the proxy reads to their end before it asks a target, for longer than a head
// or an idle connection may take: those limits are over when the head is there.
func TestHeldBodyOutlastsHead(t *testing.T) {
	t.Parallel()
	for name, route := range map[string]string{
		"streamed": "", "buffered": "policies { buffer-requests #true }", "kept": "retry-policy { max-attempts 2 }",
	} {
		for _, begun := range []string{"", "PUT / HTTP/1.1\r\n"} { // what of the head comes with the request before
			t.Run(fmt.Sprintf("%s, begun %t", name, begun != ""), func(t *testing.T) {
				t.Parallel()
				p, log := proxyTo(t, scripted(t, func(c *peer) { c.serve(okAnswer) }), plan{
					listener: "request-timeout-secs 1; keepalive-timeout-secs 1; body-idle-timeout-secs 60", route: route,
				})
				c := dial(t, p)
				c.send(t, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"+begun)
				c.expect(t, 200)
				log.expect(t, 200, "")
				c.send(t, strings.TrimPrefix("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello", begun))
				dial(t, p).closed(t) // an idle connection that is younger than the request: its time is over
				c.send(t, "world")
				c.expect(t, 200)
				log.expect(t, 200, "")
			})
		}
	}
}

// TestUpstreamStalls covers an upstream that falls silent at each point of an exchange.
func TestUpstreamStalls(t *testing.T) {
	t.Parallel()
	const longer = "timeouts { connect-secs 1; request-secs 2; read-secs 1; write-secs 1 }"
	for _, test := range []struct {
		name, limits, answer string
		status               int // of the answer, and in the log
		reason               string
	}{
		{"before the head", "timeouts { request-secs 1 }", "", 504, "upstream_timeout"},
		{"before the head, for longer than read-secs", longer, "", 504, "upstream_timeout"},
		{"inside the head", shortUpstream, "HTTP/1.1 200 OK\r\nX-Half:", 504, "upstream_timeout"},
		{"after an interim head", shortUpstream, "HTTP/1.1 103 Early Hints\r\n\r\n", 504, "upstream_timeout"},
		{"inside the body", shortUpstream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", 200, "upstream_read_timeout"},
		{"inside chunks", shortUpstream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", 200, "upstream_read_timeout"},
		{"inside a spliced body", shortUpstream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello", 200, "upstream_read_timeout"},
		{"before the end", shortUpstream, "HTTP/1.1 200 OK\r\n\r\nhello", 200, "upstream_read_timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			p, log := proxyTo(t, scripted(t, func(c *peer) {
				if _, err := c.request(); err != nil {
					t.Error(err)
				}
				if _, err := io.WriteString(c, test.answer); err != nil {
					t.Error(err)
				}
				ended <- c.ends()
			}), plan{upstream: test.limits})
			c := dial(t, p)
			c.get(t, "/")
			resp := c.head(t, "GET")
			if resp.StatusCode == 103 {
				resp = c.head(t, "GET")
			}
			if resp.StatusCode != test.status {
				t.Errorf("status %d, want %d", resp.StatusCode, test.status)
			}
			if _, err := io.ReadAll(resp.Body); test.status == 200 && err == nil {
				t.Error("the client took the broken body for whole")
			}
			_ = receive(t, "the end of the upstream's connection", ended)
			log.expect(t, test.status, test.reason)
		})
	}
}

// TestRouteTimeout shows that a route's own limit for the response head replaces the upstream's.
func TestRouteTimeout(t *testing.T) {
	t.Parallel()
	p, log := proxyTo(t, scripted(t, func(c *peer) { _ = c.ends() }), plan{route: "policies { timeout-secs 1 }"})
	c := dial(t, p)
	c.get(t, "/")
	c.expect(t, 504)
	log.expect(t, 504, "upstream_timeout")
}

// TestConnectTimeout dials a listener whose queue is full, so that nobody answers.
func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	p, log := proxyTo(t, deaf(t), plan{upstream: shortUpstream})
	c := dial(t, p)
	c.get(t, "/")
	c.expect(t, 504)
	if a := log.expect(t, 504, "upstream_connect_timeout"); a.Attempts != 1 {
		t.Errorf("%d attempts at the only target", a.Attempts)
	}
}

// TestClientGoneWhileConnecting is about the same address: the dial ends with its client.
func TestClientGoneWhileConnecting(t *testing.T) {
	t.Parallel()
	p, log := proxyTo(t, deaf(t), plan{upstream: "timeouts { connect-secs 60 }"})
	c := dial(t, p)
	c.get(t, "/")
	_ = c.Close()
	log.expect(t, 499, "client_gone")
}

// TestUpstreamDoesNotRead shows that a request body nobody takes ends at the write limit.
func TestUpstreamDoesNotRead(t *testing.T) {
	t.Parallel()
	p, log := proxyTo(t, scripted(t, func(c *peer) { <-c.over }),
		plan{upstream: shortUpstream, more: "limits { max-body-size-bytes 100000000 }"})
	c := dial(t, p)
	go func() {
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000000\r\n\r\n")
		_, _ = io.WriteString(c, strings.Repeat("x", 50_000_000)) // cut when the proxy has had enough
	}()
	c.expect(t, 504)
	log.expect(t, 504, "upstream_write_timeout")
}

// TestClientDoesNotRead shows that an answer nobody takes ends at the listener's idle limit, spliced or
// copied.
func TestClientDoesNotRead(t *testing.T) {
	t.Parallel()
	for name, framing := range map[string]string{
		"splice": "Content-Length: 50000000\r\n\r\n",
		"copy":   "Transfer-Encoding: chunked\r\n\r\n2faf080\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, log := proxyTo(t, scripted(t, func(c *peer) {
				_, _ = c.request()
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+framing)
				_, _ = io.WriteString(c, strings.Repeat("x", 50_000_000))
			}), plan{listener: shortListener})
			c := dial(t, p)
			_ = c.tcp.SetReadBuffer(4096)
			c.get(t, "/")
			log.expect(t, 200, "client_stalled")
		})
	}
}

// TestSlowTransferLives shows that no limit cuts a transfer that goes on, however long it takes.
func TestSlowTransferLives(t *testing.T) {
	t.Parallel()
	for name, framing := range map[string]string{
		"splice": "Content-Length: 40000\r\n\r\n", "until close": "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, log := proxyTo(t, scripted(t, func(c *peer) {
				_, _ = c.request()
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+framing)
				drip := time.NewTicker(400 * time.Millisecond) // five limits' worth in all
				defer drip.Stop()
				for range 10 {
					<-drip.C
					_, _ = io.WriteString(c, strings.Repeat("x", 4000))
				}
			}), plan{listener: shortListener, upstream: shortUpstream})
			c := dial(t, p)
			c.get(t, "/")
			if _, body := c.response(t); len(body) != 40000 {
				t.Errorf("%d bytes of 40000", len(body))
			}
			log.expect(t, http.StatusOK, "")
		})
	}
}

// TestSlowReaderLives shows that a client that reads slowly, but reads, is not taken for one that stalls:
// the kernel lets a writer go on only when much of its queue is free.
func TestSlowReaderLives(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	for name, framing := range map[string]string{
		"splice": "Content-Length: 8388608\r\n\r\n", "until close": "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, log := proxyTo(t, scripted(t, func(c *peer) {
				_, _ = c.request()
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+framing)
				_, _ = (&stream{n: size}).WriteTo(c)
			}), plan{listener: shortListener})
			c := dial(t, p)
			c.get(t, "/")
			body := c.head(t, "GET").Body
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			read := int64(0)
			for range 200 { // four idle limits' worth
				<-pace.C
				n, err := io.CopyN(io.Discard, body, 8<<10)
				read += n
				if err != nil {
					t.Fatalf("cut after %d bytes: %v", read, err)
				}
			}
			rest, err := io.Copy(io.Discard, body)
			if read += rest; read != size || err != nil {
				t.Errorf("%d bytes of %d, %v", read, size, err)
			}
			log.expect(t, 200, "")
		})
	}
}

// deaf returns the address of a listener that has room for no more connections.
func deaf(t *testing.T) string {
	t.Helper()
	nl := listenBacklog(t, 0)
	d := net.Dialer{Timeout: 200 * time.Millisecond}
	for { // fill the queue until a dial gets no answer
		c, err := d.DialContext(context.Background(), "tcp", nl)
		if err != nil {
			return nl
		}
		t.Cleanup(func() { _ = c.Close() })
	}
}
