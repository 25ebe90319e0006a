package conformance

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// The scenarios of this file wait for the limits of configs/timeouts.kdl, a second each, so they run in
// parallel. That something ends is proven by the event; that it ends in time, by patience.

// wantLine checks the access log's nth line, counted from 0, once it is there.
func (s *subject) wantLine(t *testing.T, n, status int, reason string) {
	t.Helper()
	lines := s.access.wait(n + 1)
	if len(lines) != n+1 || lines[n].Status != status || lines[n].Error != reason {
		t.Errorf("access log %+v, want %d lines and the last one %d %q\n%s", lines, n+1, status, reason, s.errors)
	}
}

// exchange sends a request, answers it and reads the response.
func (st stage) exchange(t *testing.T, c *client, n int) {
	t.Helper()
	c.send(get("/x"))
	r := st.o.request(n, complete)
	if r == nil {
		t.Fatalf("the upstream never got the request; the client has %q", clip(c.got))
	}
	r.answer(defaultAnswer)
	wantStatus(t, c, 200)
}

// wantStatus reads a complete response with a status.
func wantStatus(t *testing.T, c *client, status int) *message {
	t.Helper()
	m, err := c.response(false)
	if err != nil || m.status() != status {
		t.Fatalf("the client got %q (%v), want %d", m.start, err, status)
	}
	return m
}

// wantEOF checks that the proxy closes without another byte.
func wantEOF(t *testing.T, c *client) {
	t.Helper()
	if err := c.eof(); err != nil {
		t.Error(err)
	}
}

func TestKeepAliveIdle(t *testing.T) {
	t.Parallel()
	st := newStage(t, "timeouts")
	c := dial(t, st.addr, whole)
	st.exchange(t, c, 0)
	wantEOF(t, c) // RFC 9112 9.8: silently, since no request is there to answer
	st.wantLine(t, 0, 200, "")
}

func TestSilentClient(t *testing.T) {
	t.Parallel()
	st := newStage(t, "timeouts")
	wantEOF(t, dial(t, st.addr, whole))
	if lines := st.access.snapshot(); len(lines) != 0 {
		t.Errorf("a connection without a request was logged: %+v", lines)
	}
}

func TestHeadTimeout(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{
		"in the request line": "GET /x HT",
		"in a field":          "GET /x HTTP/1.1\r\nHost: a.exa",
		"before the end":      "GET /x HTTP/1.1\r\nHost: a.example\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t, "timeouts")
			c := dial(t, st.addr, whole)
			c.send([]byte(part))
			if m := wantStatus(t, c, 408); !saysClose(m) {
				t.Error("408 without Connection: close")
			}
			wantEOF(t, c)
			st.wantLine(t, 0, 408, "head_timeout")
		})
	}
}

func TestBodyTimeout(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"length":  "Content-Length: 50\r\n\r\nhello",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t, "timeouts")
			c := dial(t, st.addr, whole)
			c.send([]byte("POST /x HTTP/1.1\r\nHost: a.example\r\n" + head))
			r := st.o.request(0, headDone)
			if r == nil {
				t.Fatal("the upstream never got the head")
			}
			wantStatus(t, c, 408)
			wantEOF(t, c)
			st.wantLine(t, 0, 408, "body_timeout")
			st.o.must(t, "the upstream connection is closed", func() bool { return r.gone })
			if r.complete {
				t.Error("the upstream saw a complete request")
			}
		})
	}
}

func TestUpstreamConnectTimeout(t *testing.T) {
	t.Parallel()
	st := newStage(t, "timeouts")
	c := dial(t, st.addr, whole)
	c.send(get("/deaf"))
	wantStatus(t, c, 504)
	st.wantLine(t, 0, 504, "upstream_connect_timeout")
}

func TestUpstreamReadTimeout(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t, "timeouts")
			c := dial(t, st.addr, whole)
			c.send(get("/x"))
			r := st.o.request(0, complete)
			if r == nil {
				t.Fatal("the upstream never got the request")
			}
			r.answer([]byte(answer))
			m, err := c.response(false)
			if err == nil || m.status() != 200 || string(m.body) != "ok" {
				t.Errorf("the client got %q %q (%v), want a 200 cut after ok", m.start, m.body, err)
			}
			st.wantLine(t, 0, 200, "upstream_read_timeout")
			st.o.must(t, "the upstream connection is closed", func() bool { return r.gone })
		})
	}
}

func TestUpstreamWriteTimeout(t *testing.T) {
	t.Parallel()
	s := start(t, "timeouts", map[string]string{"ORIGIN": mute(t), "DEAF": refused(t)})
	c := dial(t, s.addr, whole)
	const size = 10 << 20
	c.send([]byte(fmt.Sprintf("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n", size)))
	c.send([]byte(strings.Repeat("x", size)))
	s.wantLine(t, 0, 504, "upstream_write_timeout")
	wantStatus(t, c, 504)
}

func TestClientStalled(t *testing.T) {
	t.Parallel()
	st := newStage(t, "timeouts")
	d := net.Dialer{Control: smallBuffers}
	nc, err := d.DialContext(t.Context(), "tcp", st.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	if _, err := nc.Write(get("/x")); err != nil {
		t.Fatal(err)
	}
	r := st.o.request(0, complete)
	if r == nil {
		t.Fatal("the upstream never got the request")
	}
	const size = 64 << 20
	r.answer([]byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)))
	r.answer(make([]byte, size)) // ends when the proxy gives up
	st.wantLine(t, 0, 200, "client_stalled")
	st.o.must(t, "the upstream connection is closed", func() bool { return r.gone })
}

func TestTunnelIdle(t *testing.T) {
	t.Parallel()
	st := newStage(t, "timeouts")
	c, r := openTunnel(t, st, "/tunnel")
	wantEOF(t, c)
	st.o.must(t, "the upstream connection is closed", func() bool { return r.gone })
	st.wantLine(t, 0, 101, "tunnel_idle")
}
