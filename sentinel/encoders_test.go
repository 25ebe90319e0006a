package sentinel

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/coding"
)

const encodersConfig = `
listeners { listener "main" { address "127.0.0.1:0" } }
routes { route "all" { matches { path-prefix "/" }; upstream "o"; filters "small" } }
upstreams { upstream "o" { target "ORIGIN" } }
filters { filter "small" { type "compress"; min-size 1; content-types "text/plain" } }
observability { logging { access-log { file "/dev/null" }; error-log { file "/dev/null" } } }
`

// TestEncodersAreBounded opens more streams than there is memory for encoders: what is over it goes out as it is,
// and encoders come back whether an answer was completed, cut by its upstream or left by its client.
func TestEncodersAreBounded(t *testing.T) {
	o := newStreams(t)
	p, err := New(Options{Text: []byte(strings.ReplaceAll(encodersConfig, "ORIGIN", o.Addr().String())), Name: t.Name(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	p.encoders = coding.NewPool(2 * coding.Cost(coding.Gzip, 6))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	for range 3 {
		var open [3]*stream
		for i, want := range []string{"gzip", "gzip", ""} {
			open[i] = openStream(t, p, o)
			if got := open[i].resp.Header.Get("Content-Encoding"); got != want {
				t.Fatalf("stream %d is in %q, want %q", i, got, want)
			}
		}
		_, _ = io.WriteString(open[0].origin, "0\r\n\r\n")
		_, _ = io.Copy(io.Discard, open[0].resp.Body)
		_ = open[1].client.Close() // the proxy notices while it waits for more
		for _, s := range open {
			_ = s.origin.Close()
		}
		_, _ = io.Copy(io.Discard, open[2].resp.Body)
		_ = open[2].client.Close()
		waitFor(t, "every exchange has ended", func() bool { return p.metrics.ActiveRequests.Value() == 0 })
		p.encoders.Trim()
		p.encoders.Trim()
		if taken := p.encoders.Taken(); taken != 0 {
			t.Fatalf("%d bytes of encoders are not back", taken)
		}
	}
}

func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	ask := time.NewTicker(5 * time.Millisecond)
	defer ask.Stop()
	limit := time.After(20 * time.Second)
	for !so() {
		select {
		case <-ask.C:
		case <-limit:
			t.Fatalf("never so: %s", what)
		}
	}
}

// streams is an origin that hands out the connections of its requests.
type streams struct {
	net.Listener
	begun chan net.Conn
}

func newStreams(t *testing.T) *streams {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nl.Close() })
	o := &streams{nl, make(chan net.Conn)}
	go func() {
		for {
			c, err := nl.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				_ = c.Close()
				continue
			}
			o.begun <- c
		}
	}()
	return o
}

// stream is an answer that goes on.
type stream struct {
	client, origin net.Conn
	resp           *http.Response
}

func openStream(t *testing.T, p *Proxy, o *streams) *stream {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr("main").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n")
	s := &stream{client: c, origin: <-o.begun}
	t.Cleanup(func() { _ = s.origin.Close() })
	_, _ = io.WriteString(s.origin, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	if s.resp, err = http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		t.Fatal(err)
	}
	return s
}
