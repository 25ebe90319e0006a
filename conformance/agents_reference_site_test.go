package conformance

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// overEach runs a test over a Unix socket and over gRPC.
func overEach(t *testing.T, f func(t *testing.T, network string)) {
	t.Parallel()
	for _, network := range []string{"unix", "grpc"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			f(t, network)
		})
	}
}

// serveAgent serves an agent until the test ends, as the binary does, and returns its transport in a
// configuration.
func serveAgent(t *testing.T, network string, h agent.Handler) (transport string) {
	t.Helper()
	server := &agent.Server{Handler: h, Name: "reference", Chunks: true, Log: slog.New(slog.DiscardHandler)}
	serve := server.Serve
	var l net.Listener
	var err error
	if network == "grpc" {
		serve = server.ServeGRPC
		l, err = net.Listen("tcp", "127.0.0.1:0")
		sound(t, err)
		transport = fmt.Sprintf("grpc %q", l.Addr())
	} else {
		path := filepath.Join(t.TempDir(), "a")
		l, err = agent.ListenUnix(path)
		sound(t, err)
		transport = fmt.Sprintf("unix-socket %q", path)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serving the agent: %v", err)
		}
		if closer, ok := h.(io.Closer); ok {
			sound(t, closer.Close())
		}
	})
	return transport
}

// guarded is a proxy that asks an agent about every request to an origin.
type guarded struct {
	*site
	o *origin
}

// newGuarded starts them. The settings are the agent's, with its transport.
func newGuarded(t *testing.T, settings string) *guarded {
	t.Helper()
	o := newOrigin(t, "127.0.0.1:0")
	o.auto = func(r *request) {
		r.answer([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: origin\r\n\r\nfruit"[:headOrAll(r)]))
	}
	s := openSite(t, fmt.Sprintf(`
agents { agent "a" { %s } }
upstream "o" { target %q }
route "all" { matches { path-prefix "/" }; upstream "o"; agents "a"; encoded-slash "keep" }
`, settings, o.addr()), nil)
	s.reaches(t, "a")
	return &guarded{s, o}
}

// headOrAll returns how much of the origin's answer a request gets.
func headOrAll(r *request) int {
	all := len("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: origin\r\n\r\nfruit")
	if isHead(r.seen().start) {
		return all - len("fruit")
	}
	return all
}

func isHead(start string) bool { return len(start) > 5 && start[:5] == "HEAD " }

// exchange sends the bytes of a request on a connection of its own.
func (g *guarded) exchange(t *testing.T, raw string) *message {
	t.Helper()
	c := &caller{addr: g.addr}
	defer c.close()
	m, err := c.callFor(raw, isHead(raw))
	if err != nil {
		t.Errorf("%.80q: %v", raw, err)
	}
	return m
}

// callFor is call for a request whose answer may be one to HEAD.
func (c *caller) callFor(raw string, head bool) (*message, error) {
	if !head {
		return c.call(raw)
	}
	if err := c.connect(); err != nil {
		return &message{}, err
	}
	if _, err := io.WriteString(c.nc, raw); err != nil {
		return &message{}, err
	}
	return readResponse(c.br, true)
}

// request is the text of a GET request with an id for the logs, and fields written as lines.
func (g *guarded) request(path, id, lines string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: a.example\r\nX-Trace-Id: " + id + "\r\n" + lines + "\r\n"
}

// got returns what the origin got with an id; nil: nothing.
func (g *guarded) got(id string) *message {
	g.o.mu.Lock()
	defer g.o.mu.Unlock()
	for _, r := range g.o.requests {
		for _, name := range []string{"X-Correlation-Id", "X-Trace-Id"} {
			if v := values(r.fields, name); len(v) > 0 && v[0] == id {
				return r.clone()
			}
		}
	}
	return nil
}

// nth returns the nth access line, counted from 0, of those that are not of a look at the metrics.
func (g *guarded) nth(t *testing.T, n int) (found accessLine) {
	t.Helper()
	g.access.must(t, fmt.Sprintf("access line %d", n), func() bool {
		left := n
		for _, l := range g.access.lines {
			if l.RouteID == "metrics" {
				continue
			}
			if left == 0 {
				found = l
			}
			left--
		}
		return left < 0
	})
	return found
}
