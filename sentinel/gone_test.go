package sentinel_test

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// TestClientGone shows that a client that leaves while its upstream is busy is noticed however it leaves:
// the access log has 499 and the upstream's connection is closed long before any of its limits.
func TestClientGone(t *testing.T) {
	t.Parallel()
	leave := map[string]func(*testing.T, *peer){
		"close":      func(_ *testing.T, c *peer) { _ = c.Close() },
		"reset":      func(_ *testing.T, c *peer) { _ = c.tcp.SetLinger(0); _ = c.Close() },
		"half-close": func(_ *testing.T, c *peer) { _ = c.tcp.CloseWrite() },
		"pipelined bytes, then close": func(t *testing.T, c *peer) {
			c.get(t, "/next")
			_ = c.tcp.CloseWrite()
		},
	}
	begun := map[string]string{
		"thinking":  "",
		"answering": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1",
		"splicing":  "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n1",
		"chunking":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n",
	}
	for how, leave := range leave {
		for when, answer := range begun {
			t.Run(when+", "+how, func(t *testing.T) {
				t.Parallel()
				testGone(t, answer, leave)
			})
		}
	}
}

func testGone(t *testing.T, answer string, leave func(*testing.T, *peer)) {
	t.Helper()
	asked, ended := make(chan struct{}), make(chan error, 1)
	p, log := proxyTo(t, scripted(t, func(c *peer) {
		if _, err := c.request(); err != nil {
			t.Error(err)
			return
		}
		if _, err := io.WriteString(c, answer); err != nil {
			t.Error(err)
		}
		close(asked)
		ended <- c.ends()
	}), plan{})
	c := dial(t, p)
	c.get(t, "/")
	receive(t, "the request at the origin", asked)
	want := 499
	if answer != "" {
		if c.head(t, "GET").StatusCode != 200 {
			t.Fatal("no answer")
		}
		want = 200 // it has begun
	}
	leave(t, c)
	_ = receive(t, "the end of the upstream's connection", ended)
	log.expect(t, want, "client_gone")
}

// TestClientGoneDuringUpload is the same while the client owes the rest of its body.
func TestClientGoneDuringUpload(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		leave  func(*peer)
		status int
		reason string
	}{
		{"close", func(c *peer) { _ = c.Close() }, 400, "truncated"},
		{"half-close", func(c *peer) { _ = c.tcp.CloseWrite() }, 400, "truncated"},
		{"reset", func(c *peer) { _ = c.tcp.SetLinger(0); _ = c.Close() }, 499, "client_gone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			asked, ended := make(chan struct{}), make(chan error, 1)
			p, log := proxyTo(t, scripted(t, func(c *peer) {
				req, err := c.request()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(req.Body, make([]byte, 5)); err != nil {
					t.Error(err)
				}
				close(asked)
				ended <- c.ends()
			}), plan{})
			c := dial(t, p)
			c.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello")
			receive(t, "half of the body at the origin", asked)
			test.leave(c)
			_ = receive(t, "the end of the upstream's connection", ended)
			log.expect(t, test.status, test.reason)
		})
	}
}

// TestClientGoneWhileParked shows that a connection whose end came in one segment with its last request is
// released: no later event tells of it.
func TestClientGoneWhileParked(t *testing.T) {
	t.Parallel()
	log := newAccessLog()
	p := startProxy(t, plan{routes: readyRoute}.String(), refusing(t), log)
	for range 5 {
		c := dial(t, p)
		c.cork(t)
		c.get(t, "/ready")
		_ = c.tcp.CloseWrite() // sends what is corked, with the FIN on it
		c.expect(t, 200)
		log.expect(t, 200, "")
		c.closed(t)
	}
}

// cork holds back what is written until the connection is closed for writing.
func (p *peer) cork(t *testing.T) {
	t.Helper()
	raw, err := p.tcp.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1) })
	}
	if err != nil {
		t.Fatal(err)
	}
}
