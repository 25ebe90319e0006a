package sentinel

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

const faultyConfig = `
system { graceful-shutdown-timeout-secs 5 }
listeners { listener "main" { address "127.0.0.1:0" } }
routes {
    route "faulty" { matches { path "/faulty" }; builtin-handler "health" }
    route "all" { matches { path-prefix "/" }; upstream "o" }
}
upstreams { upstream "o" { target "ORIGIN" } }
observability { logging { access-log { file "/dev/null" }; error-log { file "/dev/null"; level "warn" } } }
`

// logText is a log that a test reads when the proxy is gone.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// faultyProxy serves a configuration whose route "faulty" runs handler.
func faultyProxy(t *testing.T, origin string, handler builtinHandler) (p *Proxy, failures *logText, stop func()) {
	t.Helper()
	failures = &logText{}
	p, err := New(Options{
		Text: []byte(strings.ReplaceAll(faultyConfig, "ORIGIN", origin)), Name: t.Name(),
		ErrorLog: failures, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.snapshot.Load().views["main"].routes {
		if r.id == "faulty" {
			r.builtin = handler
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return p, failures, stop
}

// ask sends one request on a connection of its own and returns the status; closed says that the proxy
// ended the connection.
func ask(t *testing.T, p *Proxy, request string) (status int, closed bool) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr("main").String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, true
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Close || err != nil
}

// answeringOrigin answers every request head at once, whatever its body, and reads on.
func answeringOrigin(t *testing.T) string {
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
			go func() {
				defer func() { _ = c.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return nl.Addr().String()
}

// faultyDown panics when the first response is to be sent, or right after its head.
type faultyDown struct {
	downstream
	after, failed bool
}

func (d *faultyDown) respond(piece []byte) Reason {
	if d.failed {
		return d.downstream.respond(piece)
	}
	d.failed = true
	if d.after {
		d.downstream.respond(piece[:1])
	}
	panic("a bug in respond")
}

// hopelessDown panics whatever is to be sent.
type hopelessDown struct{ downstream }

func (*hopelessDown) respond([]byte) Reason { panic("a bug in respond") }

// TestPanicTwice has a bug also in what answers for bugs: what the exchange took is given back all the same, once.
func TestPanicTwice(t *testing.T) {
	t.Parallel()
	p, failures, stop := faultyProxy(t, answeringOrigin(t), func(x *exchange) Reason {
		x.down = &hopelessDown{x.down}
		x.route = proxied(x.snap.views["main"])
		if r := x.enter(); r != none {
			return r
		}
		return x.forward()
	})
	for range 3 {
		if status, closed := ask(t, p, "GET /faulty HTTP/1.1\r\nHost: a.test\r\n\r\n"); status != 0 || !closed {
			t.Errorf("status %d, closed: %t; want a cut", status, closed)
		}
	}
	if status, _ := ask(t, p, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); status != 200 {
		t.Errorf("the next request got %d", status)
	}
	stop()
	if n := strings.Count(failures.String(), "internal_error"); n != 3 {
		t.Errorf("%d entries in the error log, want 3", n)
	}
	for what, n := range map[string]int64{
		"requests under way": int64(p.limits.requests.Inside()), "requests on the route": int64(p.limits.use("all").requests.Len()),
		"active requests": p.metrics.ActiveRequests.Value(), "upstream connections": int64(p.snapshot.Load().pools[0].Open()),
	} {
		if n != 0 {
			t.Errorf("%d %s are still counted", n, what)
		}
	}
}

// forwarding is a handler that forwards its request and fails on the way back.
func forwarding(after bool) builtinHandler {
	return func(x *exchange) Reason {
		x.down = &faultyDown{downstream: x.down, after: after}
		x.route = proxied(x.snap.views["main"])
		return x.forward()
	}
}

func proxied(v *view) *boundRoute {
	return v.routes[slices.IndexFunc(v.routes, func(r *boundRoute) bool { return r.pool != nil })]
}

// TestPanic shows that a panic costs one request and nothing else, wherever in an exchange it happens: the
// process lives, the client gets a 500 or a cut, the error log has the stack, and no connection to an
// upstream, buffer or counter is lost.
func TestPanic(t *testing.T) {
	t.Parallel()
	get := "GET /faulty HTTP/1.1\r\nHost: a.test\r\n\r\n"
	for _, test := range []struct {
		name, request string
		handler       builtinHandler
		status        int
	}{
		{"before anything", get, func(*exchange) Reason { panic("a bug") }, 500},
		{"in an answer of our own", get, func(x *exchange) Reason {
			x.localReply(200)
			x.reply.length = 10
			x.reply.fields = x.fields
			x.down.respond([]byte("half"))
			panic("a bug")
		}, 200},
		{"before an upstream's answer", get, forwarding(false), 500},
		{"inside an upstream's answer", get, forwarding(true), 200},
		{
			"during an upload", "POST /faulty HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nbegin",
			forwarding(false), 500,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, failures, stop := faultyProxy(t, answeringOrigin(t), test.handler)
			for range 3 {
				if status, closed := ask(t, p, test.request); status != test.status || !closed {
					t.Errorf("status %d, closed: %t; want %d", status, closed, test.status)
				}
			}
			if status, _ := ask(t, p, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); status != 200 {
				t.Errorf("the next request got %d", status)
			}
			stop()
			if text := failures.String(); strings.Count(text, "internal_error") != 3 || !strings.Contains(text, "panic_test.go") {
				t.Errorf("the error log has %q", text)
			}
			if n := p.metrics.ActiveRequests.Value(); n != 0 {
				t.Errorf("%d requests are still counted", n)
			}
			if n := p.snapshot.Load().pools[0].Open(); n != 0 {
				t.Errorf("%d upstream connections are still counted", n)
			}
		})
	}
}

// peerFunc is an upstream whose wake-up a test sees.
type peerFunc func()

func (f peerFunc) Wake() { f() }

// TestWokenUpstreamIsNotKept shows that a connection that was woken to end an upload is not used again even
// if the upload came to its end in that moment: its deadline is in the past.
func TestWokenUpstreamIsNotKept(t *testing.T) {
	t.Parallel()
	client, server := socketPair(t)
	_ = client
	p := sweepable()
	x := &exchange{p: p, c: newConn(p, &listener{p: p, socket: &socket{}}, server)}
	x.upload.begin()
	x.c.peer = peerFunc(func() {
		x.upload.end.Store(uint32(none) + 1)
		close(x.upload.done)
	})
	if x.stopUpload() {
		t.Error("the upload counts as complete, so the woken connection would be kept")
	}
}

// TestExchangeReset shows that nothing of one request is left for the next.
func TestExchangeReset(t *testing.T) {
	t.Parallel()
	p, _, _ := faultyProxy(t, answeringOrigin(t), builtins["health"])
	x := p.exchanges.take(newConn(p, listenerOf(p, "main"), nil))
	x.w = copy(x.in, "GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: 1\r\n\r\n")
	n, fault := x.req.Parse(x.in[:x.w], &x.snap.heads)
	if fault != wire.None {
		t.Fatal(fault)
	}
	x.r = n
	x.begin()
	p.metrics.ActiveRequests.Add(-1)
	x.status, x.reason, x.cause, x.attempts, x.received, x.delivered = 200, upstreamReset, "x", 3, 1, 1
	x.route, x.reused, x.streamed, x.took, x.sent = p.snapshot.Load().server, true, true, 1, time.Now()
	x.reset()
	for what, left := range map[string]bool{
		"outcome": x.status != 0 || x.reason != none || x.cause != "" || x.attempts != 0,
		"counts":  x.received != 0 || x.delivered != 0, "route": x.route != nil || x.target != nil,
		"upstream": x.reused || x.streamed || x.took != 0 || !x.sent.IsZero(), "trace id": x.trace != nil,
		"request": len(x.req.Fields) > 0 || len(x.req.Path) > 0 || len(x.req.Method) > 0, "buffer": !x.empty(),
	} {
		if left {
			t.Errorf("%s is left of the last request", what)
		}
	}
	p.exchanges.give(x)
}
