package conformance

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// buffering is a site whose route "o" reads whole bodies before it passes them on.
func buffering(t *testing.T, policies string) (*site, *origin) {
	t.Helper()
	o := newOrigin(t, "127.0.0.1:0")
	return openSite(t, fmt.Sprintf(`
upstream "o" { target %q }
route "o" { matches { path-prefix "/o" }; upstream "o"; policies { %s } }
`, o.addr(), policies), nil), o
}

// TestBufferedUpload has a client send a body in pieces: the target hears of it when all of it is there, and then
// gets it whole, however large within the buffer.
func TestBufferedUpload(t *testing.T) {
	t.Parallel()
	s, o := buffering(t, "buffer-requests #true")
	body := bytes.Repeat([]byte("0123456789abcdef"), 60_000) // 960,000 bytes
	for name, wire := range map[string][]byte{
		"length":  append(fmt.Appendf(nil, "POST /o HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n", len(body)), body...),
		"chunked": append(fmt.Appendf(nil, "POST /o HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", len(body)), append(body, "\r\n0\r\n\r\n"...)...),
	} {
		begun, _ := o.count()
		c := dial(t, s.addr, whole)
		first := len(wire) - 3
		c.send(wire[:first])
		s.wantHeld(t, float64(1))
		if now, _ := o.count(); now != begun {
			t.Errorf("%s: the target hears of a request whose body is not there", name)
		}
		c.send(wire[first:])
		r := o.request(begun, complete)
		if r == nil || !bytes.Equal(r.seen().body, body) || len(values(r.seen().fields, "Content-Length")) != 1 {
			t.Fatalf("%s: the target does not get the body: %s", name, o)
		}
		r.answer(defaultAnswer)
		wantStatus(t, c, 200)
	}
}

// wantHeld waits until so many requests are under way.
func (s *site) wantHeld(t *testing.T, n float64) {
	t.Helper()
	eventually(t, "the request is under way", func() bool { return s.metrics(t)[series("in_flight_requests")] == n })
}

// TestBufferedUploadLeft has a client leave in the middle of a body that is being read: nobody hears of it.
func TestBufferedUploadLeft(t *testing.T) {
	t.Parallel()
	s, o := buffering(t, "buffer-requests #true")
	c := dial(t, s.addr, whole)
	c.send([]byte("POST /o HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\nhello"))
	s.wantHeld(t, 1)
	c.reset()
	if l := s.line(t, "o", 0); l.Status != 499 || l.Error != "client_gone" || l.Attempts != 0 {
		t.Errorf("the log has %+v, want the client that left", l)
	}
	if begun, _ := o.count(); begun != 0 {
		t.Errorf("the target got %d requests", begun)
	}
	s.wantHeld(t, 0)
}

// TestBufferedAnswer has the target answer in pieces: the client gets nothing until all is there, and the target's
// connection is free by then, also when the client does not read.
func TestBufferedAnswer(t *testing.T) {
	t.Parallel()
	s, o := buffering(t, "buffer-responses #true")
	c := dial(t, s.addr, whole)
	c.send(get("/o"))
	r := o.request(0, complete)
	if r == nil {
		t.Fatal("the request does not arrive")
	}
	body := strings.Repeat("0123456789abcdef", 60_000)
	r.answer([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n", len(body)) + body))
	_ = c.nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // for what must not come
	if b, err := c.br.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client got %q (%v) of an answer that is not complete", b, err)
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(*patience))
	r.answer([]byte("\r\n0\r\n\r\n"))
	m := wantStatus(t, c, 200)
	if string(m.body) != body || len(values(m.fields, "Content-Length")) != 1 {
		t.Errorf("the client got %d bytes, want %d with their length", len(m.body), len(body))
	}
}

// TestBufferedAnswerLarge sends an answer that is larger than the buffer: it goes on piece by piece, whole.
func TestBufferedAnswerLarge(t *testing.T) {
	t.Parallel()
	s, o := buffering(t, "buffer-responses #true")
	body := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB, the buffer has 1 MiB
	for name, head := range map[string]string{
		"length": fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)),
		"close":  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
	} {
		begun, _ := o.count()
		c := dial(t, s.addr, whole)
		c.send(get("/o"))
		r := o.request(begun, complete)
		if r == nil {
			t.Fatal("the request does not arrive")
		}
		go func() {
			r.answer(append([]byte(head), body...))
			if name == "close" {
				r.close()
			}
		}()
		m, err := c.responseHead()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.responseBody(m, false); err != nil || !bytes.Equal(m.body, body) {
			t.Errorf("%s: the client got %d bytes (%v), want %d", name, len(m.body), err, len(body))
		}
	}
}

// TestBufferedForAnother shows that a buffered body can be sent again to another target.
func TestBufferedForAnother(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	s := openSite(t, fmt.Sprintf(`
upstream "o" { target %q }
route "o" { matches { path-prefix "/o" }; upstream "o"; policies { buffer-requests #true }; retry-policy { max-attempts 2; backoff-base-ms 0 } }
`, o.addr()), nil)
	c := dial(t, s.addr, whole)
	body := strings.Repeat("x", 50_000)
	c.send([]byte("PUT /o HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\nc350\r\n" + body + "\r\n0\r\n\r\n"))
	for i, answer := range []string{"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", string(defaultAnswer)} {
		r := o.request(i, complete)
		if r == nil || string(r.seen().body) != body {
			t.Fatalf("attempt %d does not arrive whole: %s", i+1, o)
		}
		_, _ = io.WriteString(r.nc, answer)
	}
	wantStatus(t, c, 200)
}

// TestBufferedCompressed has an answer held to its end, or to the buffer's, and compressed on its way.
func TestBufferedCompressed(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	s := openSite(t, fmt.Sprintf(`
upstream "o" { target %q }
filter "smaller" { type "compress"; algorithms "gzip" }
route "o" { matches { path-prefix "/o" }; upstream "o"; filters "smaller"; policies { buffer-responses #true } }
`, o.addr()), nil)
	for i, size := range []int{10_000, 3 << 20} {
		body := strings.Repeat("0123456789abcdef", size/16)
		c := dial(t, s.addr, whole)
		c.send([]byte("GET /o HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip\r\n\r\n"))
		r := o.request(i, complete)
		if r == nil {
			t.Fatal("the request does not arrive")
		}
		go r.answer([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" +
			fmt.Sprintf("%x\r\n", len(body)) + body + "\r\n0\r\n\r\n"))
		m := wantStatus(t, c, 200)
		z, err := gzip.NewReader(bytes.NewReader(m.body))
		if err != nil {
			t.Fatalf("%d bytes came, %v: %v", len(m.body), m.fields, err)
		}
		if got, err := io.ReadAll(z); err != nil || string(got) != body {
			t.Errorf("the client got %d bytes (%v), want %d", len(got), err, len(body))
		}
	}
}
