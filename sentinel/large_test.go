package sentinel_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

const (
	largeBody  = 50 << 20
	heapGrowth = 8 << 20 // far below a body, far above the buffers of a few connections
)

// stream is a body of n bytes that exists only while it is read.
type stream struct{ at, n int64 }

func (s *stream) Read(b []byte) (int, error) {
	b = b[:min(int64(len(b)), s.n-s.at)]
	for i := range b {
		at := s.at + int64(i)
		b[i] = byte(at ^ at>>8 ^ at>>16)
	}
	s.at += int64(len(b))
	if len(b) == 0 {
		return 0, io.EOF
	}
	return len(b), nil
}

// WriteTo writes pieces as large as a sender's usual ones.
func (s *stream) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(w, struct{ io.Reader }{s}, make([]byte, 64<<10))
}

// heapPeak watches the heap until stop is called, which returns how much it grew at most.
func heapPeak() (stop func() int64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	first := int64(m.HeapAlloc)
	var peak atomic.Int64
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		sample := time.NewTicker(10 * time.Millisecond)
		defer sample.Stop()
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			peak.Store(max(peak.Load(), int64(now.HeapAlloc)-first))
			select {
			case <-quit:
				return
			case <-sample.C:
			}
		}
	}()
	return func() int64 {
		close(quit)
		<-done
		return peak.Load()
	}
}

// TestLargeBodies moves 50 MiB each way through every path: spliced, copied, chunked, and with TLS on
// either side. The bytes are the same and memory does not grow with the body. It is not parallel: the
// heap belongs to the whole process.
func TestLargeBodies(t *testing.T) {
	ca := newAuthority(t)
	want := digestOf(&stream{n: largeBody})
	for _, test := range []struct {
		name             string
		secure, upSecure bool
	}{
		{"plain", false, false},
		{"TLS client", true, false},
		{"TLS upstream", false, true},
	} {
		p := startProxy(t, largePlan(ca, test.secure, test.upSecure), streaming(t, ca, test.upSecure), nil)
		for _, framing := range []string{"length", "chunks"} {
			t.Run(test.name+", download, "+framing, func(t *testing.T) {
				c := dialWith(t, p, ca, test.secure)
				stop := heapPeak()
				c.send(t, "GET /"+framing+" HTTP/1.1\r\nHost: a.test\r\n\r\n")
				got := digestOf(c.head(t, "GET").Body)
				if got.sum != want.sum || got.err != nil {
					t.Errorf("got %d other bytes, %v", got.length, got.err)
				}
				checkGrowth(t, stop())
			})
			t.Run(test.name+", upload, "+framing, func(t *testing.T) {
				c := dialWith(t, p, ca, test.secure)
				stop := heapPeak()
				go sendLarge(c, framing)
				if _, got := c.response(t); got != fmt.Sprintf("%x", want.sum) {
					t.Errorf("the origin got other bytes: %s", got)
				}
				checkGrowth(t, stop())
			})
		}
	}
}

func checkGrowth(t *testing.T, grown int64) {
	t.Helper()
	if grown > heapGrowth {
		t.Errorf("the heap grew by %d KiB for one body", grown>>10)
	}
}

func sendLarge(c io.Writer, framing string) {
	const head = "POST / HTTP/1.1\r\nHost: a.test\r\n"
	if framing == "length" {
		_, _ = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n", head, largeBody)
		_, _ = (&stream{n: largeBody}).WriteTo(c)
		return
	}
	_, _ = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n")
	_, _ = (&stream{n: largeBody}).WriteTo(chunker{c})
	_, _ = io.WriteString(c, "0\r\n\r\n")
}

// chunker writes each piece as a chunk.
type chunker struct{ w io.Writer }

func (c chunker) Write(b []byte) (int, error) {
	_, _ = fmt.Fprintf(c.w, "%x\r\n", len(b))
	_, _ = c.w.Write(b)
	_, err := io.WriteString(c.w, "\r\n")
	return len(b), err
}

// streaming is an origin that sends a large body for a GET, and the hash of what it got otherwise.
func streaming(t *testing.T, ca *authority, secure bool) (address string) {
	t.Helper()
	return scripted(t, func(c *peer) {
		if secure {
			c.secure(tls.Server(c.Conn, ca.server))
		}
		for {
			req, err := c.request()
			if err != nil {
				return
			}
			got := digestOf(req.Body)
			switch req.URL.Path {
			case "/length":
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", largeBody)
				_, _ = (&stream{n: largeBody}).WriteTo(c)
			case "/chunks":
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				_, _ = (&stream{n: largeBody}).WriteTo(chunker{c})
				_, _ = io.WriteString(c, "0\r\n\r\n")
			default:
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n%x", got.sum)
			}
		}
	})
}

func largePlan(ca *authority, secure, upSecure bool) string {
	p := plan{more: "limits { max-body-size-bytes 100000000 }"}
	if secure {
		p.listener = ca.listener()
	}
	if upSecure {
		p.upstream = fmt.Sprintf("tls { ca-cert %q }", ca.caFile)
	}
	return p.String()
}

// dialWith is dial, with TLS when secure.
func dialWith(t *testing.T, p *sentinel.Proxy, ca *authority, secure bool) *peer {
	t.Helper()
	c := dial(t, p)
	if secure {
		c.secure(tls.Client(c.Conn, ca.client))
	}
	return c
}

// TestManyTransfers runs transfers side by side, so that pipes and buffers change hands.
func TestManyTransfers(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	want := digestOf(&stream{n: size})
	p, _ := proxyTo(t, scripted(t, func(c *peer) {
		for {
			req, err := c.request()
			if err != nil {
				return
			}
			got := digestOf(req.Body)
			if strings.HasPrefix(req.URL.Path, "/get") {
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
				_, _ = (&stream{n: size}).WriteTo(c)
				continue
			}
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n%x", got.sum)
		}
	}), plan{})
	for client := range 8 {
		t.Run(fmt.Sprint(client), func(t *testing.T) {
			t.Parallel()
			c := dial(t, p)
			for range 10 {
				c.get(t, "/get")
				if got := digestOf(c.head(t, "GET").Body); got.sum != want.sum {
					t.Fatalf("got %d other bytes, %v", got.length, got.err)
				}
				go func() {
					_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n", size)
					_, _ = (&stream{n: size}).WriteTo(c)
				}()
				if _, got := c.response(t); got != fmt.Sprintf("%x", want.sum) {
					t.Fatalf("the origin got other bytes: %s", got)
				}
			}
		})
	}
}
