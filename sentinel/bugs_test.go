package sentinel_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

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

// TestTLSTruncation shows that a broken response that ends with the connection ends without the
// close_notify that would make it whole (RFC 8446 6.1).
func TestTLSTruncation(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	p, log := proxyTo(t, scripted(t, func(c *peer) {
		_, _ = c.request()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	}), plan{listener: ca.listener()})
	c := dialWith(t, p, ca, true)
	c.send(t, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("the client took the response for whole")
	}
	log.expect(t, 200, "upstream_truncated")
}

// TestTunnelResets shows that a side that breaks off ends the other one too.
func TestTunnelResets(t *testing.T) {
	t.Parallel()
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		ended := make(chan error, 1)
		c, log := tunnelTo(t, plan{}, func(c *peer) {
			_, _ = io.WriteString(c, upgradeAnswer)
			ended <- c.ends()
			<-c.over
		})
		c.send(t, upgradeRequest)
		c.switched(t)
		_ = c.tcp.SetLinger(0)
		_ = c.Close()
		receive(t, "the end at the origin", ended)
		log.expect(t, 101, "")
	})
	t.Run("upstream", func(t *testing.T) {
		t.Parallel()
		c, log := tunnelTo(t, plan{}, func(c *peer) {
			_, _ = io.WriteString(c, upgradeAnswer)
			_, _ = c.r.ReadByte()
			_ = c.tcp.SetLinger(0)
		})
		c.send(t, upgradeRequest)
		c.switched(t)
		c.send(t, "x")
		if err := c.ends(); isTimeout(err) {
			t.Errorf("the client's connection is still open: %v", err)
		}
		log.expect(t, 101, "") // the client's own side is still open
	})
}

// TestTruncationWithSurplus is the same for an old client that had sent more than its request: the
// connection must not end in good order before it is reset.
func TestTruncationWithSurplus(t *testing.T) {
	t.Parallel()
	p, log := proxyTo(t, scripted(t, func(c *peer) {
		_, _ = c.request()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	}), plan{})
	c := dial(t, p)
	c.send(t, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\nGET /next HTTP/1.0\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("the client took the response for whole")
	}
	log.expect(t, 200, "upstream_truncated")
}
