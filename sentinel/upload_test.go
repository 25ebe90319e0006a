package sentinel_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// digest is what is left of a body that was received: its length, its hash and its trailers.
type digest struct {
	length   int64
	sum      [sha256.Size]byte
	trailers http.Header
	err      error
}

func digestOf(body io.Reader) (d digest) {
	h := sha256.New()
	d.length, d.err = io.Copy(h, body)
	h.Sum(d.sum[:0])
	return d
}

// digesting answers each request once its body is complete and tells what it was.
func digesting(t *testing.T) (address string, got <-chan digest) {
	t.Helper()
	digests := make(chan digest, 10)
	return scripted(t, func(c *peer) {
		for {
			req, err := c.request()
			if err != nil {
				return
			}
			d := digestOf(req.Body)
			d.trailers = req.Trailer
			digests <- d
			if d.err != nil {
				return
			}
			_, _ = io.WriteString(c, okAnswer)
		}
	}), digests
}

// writeChunks writes body as chunks of uneven sizes, without the last one.
func writeChunks(w io.Writer, body string) {
	for size := 1; len(body) > 0; size = size*7%60013 + 1 {
		n := min(size, len(body))
		_, _ = fmt.Fprintf(w, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
}

// TestUpload sends bodies from nothing to many buffers' worth in both framings: the origin gets the same
// bytes and the connection goes on.
func TestUpload(t *testing.T) {
	t.Parallel()
	origin, got := digesting(t)
	p, log := proxyTo(t, origin, plan{})
	c := dial(t, p)
	for _, size := range []int{0, 1, 1000, 16<<10 - 200, 16 << 10, 16<<10 + 1, 100_000, 3_000_000} {
		body := repeated(size)
		want := digestOf(strings.NewReader(body))
		for _, framing := range []string{"length", "chunks"} {
			w := bufio.NewWriter(c)
			if framing == "length" {
				_, _ = fmt.Fprintf(w, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", size, body)
			} else {
				_, _ = io.WriteString(w, "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
				writeChunks(w, body)
				_, _ = io.WriteString(w, "0\r\n\r\n")
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			c.expect(t, 200)
			d := receive(t, "the request's body", got)
			if d.sum != want.sum || d.err != nil {
				t.Errorf("%d bytes by %s: the origin got %d others, %v", size, framing, d.length, d.err)
			}
			if a := log.expect(t, 200, ""); a.Received != int64(size) || a.Sent != 2 {
				t.Errorf("%d bytes by %s: the log has %d received and %d sent", size, framing, a.Received, a.Sent)
			}
		}
	}
}

// TestUploadTrailers shows that trailers travel as trailers, without those that may not.
func TestUploadTrailers(t *testing.T) {
	t.Parallel()
	origin, got := digesting(t)
	p, _ := proxyTo(t, origin, plan{})
	c := dial(t, p)
	c.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"+
		"X-Sum: 1\r\nHost: b.test\r\nContent-Length: 44\r\nAuthorization: x\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
	c.expect(t, 200)
	if d := receive(t, "the request's body", got); len(d.trailers) != 1 || d.trailers.Get("X-Sum") != "1" {
		t.Errorf("the origin got the trailers %v", d.trailers)
	}
}

// TestUploadTooLarge covers a declared and an undeclared body over the limit: 413, and the origin never
// has a complete request.
func TestUploadTooLarge(t *testing.T) {
	t.Parallel()
	t.Run("declared", func(t *testing.T) {
		t.Parallel()
		p, log := proxyTo(t, refusing(t), plan{more: "limits { max-body-size-bytes 1000; max-body-buffer-bytes 1000 }"})
		c := dial(t, p)
		c.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
		if resp := c.expect(t, 413); !resp.Close {
			t.Error("the connection must end: its body is still to come")
		}
		c.closed(t)
		if a := log.expect(t, 413, "body_too_large"); a.Attempts != 0 {
			t.Error("a target was asked")
		}
	})
	t.Run("chunked", func(t *testing.T) {
		t.Parallel()
		origin, got := digesting(t)
		p, log := proxyTo(t, origin, plan{more: "limits { max-body-size-bytes 1000; max-body-buffer-bytes 1000 }"})
		c := dial(t, p)
		c.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
		writeChunks(c, repeated(1001))
		c.expect(t, 413)
		log.expect(t, 413, "body_too_large")
		if d := receive(t, "the end of the request's body", got); d.err == nil {
			t.Error("the origin has a complete request")
		}
	})
}

// TestEarlyAnswer covers an origin that answers before it has read the request: the answer is relayed,
// whatever it does with its connection, the rest of the body is not taken for a request, and the next
// request on another connection is unharmed.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		after func(*peer)
	}{
		{"and closes", func(*peer) {}},
		{"and stops reading", func(c *peer) { <-c.over }},
		{"and reads on", func(c *peer) { _ = c.ends() }},
	} {
		for _, framing := range []string{"length", "chunks"} {
			t.Run(test.name+", "+framing, func(t *testing.T) {
				t.Parallel()
				p, log := proxyTo(t, scripted(t, func(c *peer) {
					if c.n > 0 {
						c.serve(okAnswer)
						return
					}
					_, _ = c.request()
					_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
					test.after(c)
				}), plan{more: "limits { max-body-size-bytes 100000000 }"})
				c := dial(t, p)
				head := "Content-Length: 20000000\r\n\r\n"
				if framing == "chunks" {
					head = "Transfer-Encoding: chunked\r\n\r\n1312d00\r\n"
				}
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.test\r\n"+head)
					body := strings.Repeat("GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n", 20_000_000/41)
					_, _ = io.WriteString(c, body) // ends when the proxy closes
				}()
				if resp := c.expect(t, 403); !resp.Close {
					t.Error("the connection must end: the body was not read")
				}
				_ = c.tcp.CloseRead()
				receive(t, "the end of the upload", sent)
				log.expect(t, 403, "")
				next := dial(t, p)
				next.send(t, "POST /next HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi") // not sent again: the first must arrive
				next.expect(t, 200)
				if a := log.expect(t, 200, ""); a.Path != "/next" {
					t.Errorf("the proxy served %q", a.Path)
				}
			})
		}
	}
}

// TestExpectContinue covers the flows of RFC 9110 10.1.1.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	origin, got := digesting(t)
	p, _ := proxyTo(t, origin, plan{})
	const expecting = "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	t.Run("body after the 100", func(t *testing.T) {
		c := dial(t, p)
		c.send(t, expecting)
		if resp := c.head(t, "POST"); resp.StatusCode != 100 {
			t.Fatalf("status %d before the body", resp.StatusCode)
		}
		c.send(t, "hello")
		c.expect(t, 200)
		if d := receive(t, "the body", got); d.length != 5 {
			t.Errorf("the origin got %d bytes", d.length)
		}
		c.get(t, "/")
		c.expect(t, 200)
		receive(t, "the next request", got)
	})
	t.Run("body at once, then another request", func(t *testing.T) {
		c := dial(t, p)
		c.send(t, expecting+"hello"+"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		for _, want := range []int64{5, 0} {
			resp := c.head(t, "POST")
			if resp.StatusCode == 100 {
				resp = c.head(t, "POST")
			}
			if body, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "ok" {
				t.Fatalf("status %d, %q, %v", resp.StatusCode, body, err)
			}
			if d := receive(t, "the body", got); d.length != want {
				t.Errorf("the origin got %d bytes, want %d", d.length, want)
			}
		}
	})
	t.Run("HTTP/1.0", func(t *testing.T) {
		c := dial(t, p)
		c.send(t, strings.Replace(expecting, "1.1", "1.0", 1))
		c.send(t, "hello")
		c.expect(t, 200)
		receive(t, "the body", got)
	})
	t.Run("another expectation", func(t *testing.T) {
		c := dial(t, p)
		c.send(t, strings.Replace(expecting, "100-continue", "miracle", 1))
		c.expect(t, 417)
		c.closed(t)
	})
}

// TestExpectRefused shows that a refused request gets its final answer and no 100.
func TestExpectRefused(t *testing.T) {
	t.Parallel()
	p, log := proxyTo(t, refusing(t), plan{})
	c := dial(t, p)
	c.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	if resp := c.expect(t, 502); !resp.Close {
		t.Error("the connection must end: the body may follow")
	}
	c.closed(t)
	log.expect(t, 502, "upstream_refused")
}
