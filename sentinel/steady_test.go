package sentinel_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// origin answers every request head with the same bytes, without allocating.
func origin(t testing.TB, answer string) string {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nl.Close() })
	go func() {
		for {
			c, err := nl.Accept()
			if err != nil {
				return
			}
			go answerAll(c, []byte(answer))
		}
	}()
	return nl.Addr().String()
}

func answerAll(c net.Conn, answer []byte) {
	defer func() { _ = c.Close() }()
	buf := make([]byte, 16<<10)
	for n := 0; ; {
		k, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		if n += k; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			n = 0
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}
}

// startProxy serves a configuration in which ORIGIN stands for the origin's address, until the test ends.
func startProxy(t testing.TB, text, origin string, access io.Writer) *sentinel.Proxy {
	t.Helper()
	p, err := sentinel.New(sentinel.Options{
		Text: []byte(strings.ReplaceAll(text, "ORIGIN", origin)), Name: t.Name(), AccessLog: access,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

const steadyConfig = `
system { }
listeners { listener "main" { address "127.0.0.1:0" } }
routes { route "all" { matches { path-prefix "/" }; upstream "o" } }
upstreams { upstream "o" { target "ORIGIN" } }
observability {
    logging { access-log { file "/dev/null" } }
    metrics { address "127.0.0.1:0" }
}
`

// guardedConfig has everything on that looks after an upstream. Its probes, which allocate, are an hour
// apart.
const guardedConfig = `
system { }
listeners { listener "main" { address "127.0.0.1:0" } }
routes { route "all" { matches { path-prefix "/" }; upstream "o"; retry-policy { }; circuit-breaker { } } }
upstreams { upstream "o" {
    target "ORIGIN" { max-requests 50 }
    load-balancing "least_connections"
    health-check { type "tcp"; interval-secs 3600 }
    circuit-breaker { }
} }
observability {
    logging { access-log { file "/dev/null" } }
    metrics { address "127.0.0.1:0" }
}
`

// limitedConfig has every limit on that a request is asked about. The numbers that its answers show have as many
// digits every time.
const limitedConfig = `
system { }
listeners { listener "main" { address "127.0.0.1:0" } }
routes { route "all" { matches { path-prefix "/" }; upstream "o"; filters "each"; policies { rate-limit { requests-per-second 1000000000; key "header:user-agent" } } } }
filters { filter "each" { type "rate-limit"; max-rps 1000000000; key "client-ip-and-path" } }
rate-limits { global { max-rps 1000000000 } }
limits { max-requests-per-second-global 100000000; max-requests-per-second-per-client 100000000; max-memory-bytes 35184372088832 }
upstreams { upstream "o" { target "ORIGIN" } }
observability {
    logging { access-log { file "/dev/null" } }
    metrics { address "127.0.0.1:0" }
}
`

const (
	steadyRequest = "GET /some/path?x=1 HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n"
	steadyAnswer  = "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 20:32:10 GMT\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
)

// caller sends requests one after the other on one connection, without allocating.
type caller struct {
	c    net.Conn
	buf  []byte
	want int // bytes of one answer
}

func newCaller(t testing.TB, p *sentinel.Proxy) *caller {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr("main").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	k := &caller{c: c, buf: make([]byte, 16<<10)}
	if _, err := c.Write([]byte(steadyRequest)); err != nil {
		t.Fatal(err)
	}
	for !bytes.HasSuffix(k.buf[:k.want], []byte("hello")) {
		n, err := c.Read(k.buf[k.want:])
		if err != nil {
			t.Fatalf("%v after %q", err, k.buf[:k.want])
		}
		k.want += n
	}
	return k
}

func (k *caller) call(request []byte) error {
	if _, err := k.c.Write(request); err != nil {
		return err
	}
	_, err := io.ReadFull(k.c, k.buf[:k.want])
	return err
}

func BenchmarkExchange(b *testing.B) {
	for _, bench := range []struct{ name, config string }{
		{"log and metrics", steadyConfig},
		{"guarded", guardedConfig},
		{"limited", limitedConfig},
		{"no log", strings.Replace(steadyConfig, `logging { access-log { file "/dev/null" } }`, "", 1)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			k := newCaller(b, startProxy(b, bench.config, origin(b, steadyAnswer), nil))
			request := []byte(steadyRequest)
			b.ReportAllocs()
			for b.Loop() {
				if err := k.call(request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
