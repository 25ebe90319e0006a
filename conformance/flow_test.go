package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestUploadStreams holds that the upstream gets the start of a body before the client has sent its end.
func TestUploadStreams(t *testing.T) {
	t.Parallel()
	st := newStage(t, "basic")
	c := dial(t, st.addr, whole)
	c.send([]byte("POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"))
	r := st.o.request(0, func(r *request) bool { return string(r.body) == "first" })
	if r == nil {
		t.Fatalf("the first chunk never reached the upstream: %s", st.o)
	}
	c.send([]byte("6\r\nsecond\r\n0\r\n\r\n"))
	if r = st.o.request(0, complete); r == nil || string(r.body) != "firstsecond" {
		t.Fatalf("the upstream has %s", st.o)
	}
	r.answer(defaultAnswer)
	wantStatus(t, c, 200)
}

// TestDownloadStreams holds that the client gets the start of an answer before the upstream has sent its
// end, for every framing.
func TestDownloadStreams(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string][3]string{
		"length":  {"Content-Length: 11\r\n\r\nfirst", "second", ""},
		"chunked": {"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", "6\r\nsecond\r\n", "0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := newStage(t, "basic")
			c := dial(t, st.addr, whole)
			c.send(get("/x"))
			r := st.o.request(0, complete)
			if r == nil {
				t.Fatal("the upstream never got the request")
			}
			r.answer([]byte("HTTP/1.1 200 OK\r\n" + answer[0]))
			for !bytes.Contains(c.got, []byte("first")) {
				if _, err := c.br.Peek(c.br.Buffered() + 1); err != nil {
					t.Fatalf("the first part never reached the client, which has %q: %v", c.got, err)
				}
			}
			r.answer([]byte(answer[1] + answer[2]))
			if m := wantStatus(t, c, 200); string(m.body) != "firstsecond" {
				t.Errorf("body %q", m.body)
			}
		})
	}
}

// inFlightBound is what may be on its way through the proxy and four socket buffers.
const inFlightBound = 64 << 20

// pump writes until a write has not moved for a second, and returns how much went out.
func pump(nc net.Conn, total int) (int64, error) {
	var sent atomic.Int64
	piece := make([]byte, 64<<10)
	for range total / len(piece) {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := nc.Write(piece)
		sent.Add(int64(n))
		if err != nil {
			return sent.Load(), err
		}
	}
	return sent.Load(), nil
}

// TestUploadBackPressure holds that an upstream that does not read makes the client wait, not the proxy
// grow.
func TestUploadBackPressure(t *testing.T) {
	t.Parallel()
	s := start(t, "caps", map[string]string{"ORIGIN": mute(t)})
	c := dial(t, s.addr, whole)
	const size = 512 << 20
	if _, err := fmt.Fprintf(c.nc, "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n", size); err != nil {
		t.Fatal(err)
	}
	sent, err := pump(c.nc, size)
	if !errors.Is(err, os.ErrDeadlineExceeded) || sent > inFlightBound {
		t.Errorf("%d bytes went out (%v), want fewer than %d and then none", sent, err, inFlightBound)
	}
}

// TestDownloadBackPressure is the same the other way.
func TestDownloadBackPressure(t *testing.T) {
	t.Parallel()
	st := newStage(t, "caps")
	c := dial(t, st.addr, whole)
	c.send(get("/x"))
	r := st.o.request(0, complete)
	if r == nil {
		t.Fatal("the upstream never got the request")
	}
	const size = 512 << 20
	r.answer([]byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)))
	sent, err := pump(r.nc, size)
	if !errors.Is(err, os.ErrDeadlineExceeded) || sent > inFlightBound {
		t.Errorf("%d bytes went out (%v), want fewer than %d and then none", sent, err, inFlightBound)
	}
}

// TestPipelineUnread sends many requests and reads no answer until the last one is sent.
func TestPipelineUnread(t *testing.T) {
	t.Parallel()
	const n = 100
	o := newOrigin(t, "127.0.0.1:0")
	o.auto = func(r *request) {
		path := strings.Fields(r.start)[1]
		r.answer([]byte("HTTP/1.1 200 OK\r\nX-Path: " + path + "\r\nContent-Length: 65536\r\n\r\n" + strings.Repeat("x", 1<<16)))
	}
	s := start(t, "basic", map[string]string{"ORIGIN": o.addr()})
	c := dial(t, s.addr, whole)
	for i := range n {
		c.send(get("/" + strconv.Itoa(i)))
	}
	for i := range n {
		m := wantStatus(t, c, 200)
		if got := values(m.fields, "X-Path"); len(got) != 1 || got[0] != "/"+strconv.Itoa(i) || len(m.body) != 1<<16 {
			t.Fatalf("answer %d is for %q and has %d bytes", i, got, len(m.body))
		}
	}
}

// TestDataAndFinTogether sends a request and the end of the stream in one segment. There is no later
// event on the connection, so only looking again finds that the client has left.
func TestDataAndFinTogether(t *testing.T) {
	t.Parallel()
	st := newStage(t, "builtin")
	c := dial(t, st.addr, whole)
	raw, err := c.nc.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1) }); err != nil {
		t.Fatal(err)
	}
	if _, err := c.nc.Write(get("/health")); err != nil {
		t.Fatal(err)
	}
	if err := c.nc.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, c, 200)
	wantEOF(t, c)
	st.wantLine(t, 0, 200, "")
}

// TestStaleConnection closes a kept-alive upstream connection just as the next request goes out on it.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	t.Run("GET is sent again", func(t *testing.T) {
		t.Parallel()
		st := newStage(t, "basic")
		c := dial(t, st.addr, whole)
		st.exchange(t, c, 0)
		c.send(get("/again"))
		st.request(t, 1).close()
		st.request(t, 2).answer(defaultAnswer)
		wantStatus(t, c, 200)
		st.wantLine(t, 1, 200, "")
		if lines := st.access.snapshot(); lines[1].Attempts != 2 {
			t.Errorf("%d attempts were logged, want 2", lines[1].Attempts)
		}
	})
	t.Run("POST is not", func(t *testing.T) {
		t.Parallel()
		st := newStage(t, "basic")
		c := dial(t, st.addr, whole)
		st.exchange(t, c, 0)
		c.send([]byte("POST /once HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nok"))
		st.request(t, 1).close()
		wantStatus(t, c, 502)
		st.wantLine(t, 1, 502, "upstream_stale")
		if begun, _ := st.o.count(); begun != 2 {
			t.Errorf("the upstream got %d requests, want 2: %s", begun, st.o)
		}
	})
}

// request waits for the nth complete request.
func (st stage) request(t *testing.T, n int) *request {
	t.Helper()
	r := st.o.request(n, complete)
	if r == nil {
		t.Fatalf("request %d never reached the upstream: %s", n+1, st.o)
	}
	return r
}
