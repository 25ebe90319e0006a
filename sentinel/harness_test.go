package sentinel_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// patience bounds every wait for something that must happen. Nothing is decided by less.
const patience = 10 * time.Second

// TestMain fails the package when goroutines or descriptors are left after its tests.
func TestMain(m *testing.M) {
	warmUp()
	before := held()
	code := m.Run()
	if code == 0 && !settles(before) {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "left behind: %+v, at first %+v\n%s\n", held(), before, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// warmUp opens what the runtime keeps: the network poller's own descriptors, and the goroutine that waits for signals,
// which fuzzing needs.
func warmUp() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	signal.Stop(signals)
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	_ = nl.Close()
}

// resources is what a process holds that a test could leave behind.
type resources struct{ goroutines, descriptors int }

func held() resources {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return resources{runtime.NumGoroutine(), len(open)}
}

func settles(before resources) bool {
	return within(func() bool {
		now := held()
		return now.goroutines <= before.goroutines && now.descriptors <= before.descriptors
	})
}

// within asks until it is so or patience is over.
func within(so func() bool) bool {
	ask := time.NewTicker(5 * time.Millisecond)
	defer ask.Stop()
	limit := time.After(patience)
	for !so() {
		select {
		case <-ask.C:
		case <-limit:
			return false
		}
	}
	return true
}

// eventually waits for what the proxy does on its own, a little later.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	if !within(so) {
		t.Fatalf("not so in %s: %s", patience, what)
	}
}

// receive waits for an event.
func receive[T any](t testing.TB, what string, events <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-events:
	case <-time.After(patience):
		t.Fatalf("not in %s: %s", patience, what)
	}
	return v
}

// plan is a configuration with one route "all" to one upstream "o", and what a test adds to its blocks.
type plan struct{ system, listener, route, routes, upstream, targets, more string }

func (p plan) String() string {
	if p.targets == "" {
		p.targets = `target "ORIGIN"`
	}
	if p.system == "" {
		p.system = "graceful-shutdown-timeout-secs 5"
	}
	return fmt.Sprintf(`
system {
%s
}
listeners { listener "main" {
address "127.0.0.1:0"
%s
} }
routes {
route "all" {
matches { path-prefix "/" }
upstream "o"
%s
}
%s
}
upstreams { upstream "o" {
%s
%s
} }
observability { logging { access-log { file "/dev/null" }; error-log { file "/dev/null"; level "warn" } } }
%s
`, p.system, p.listener, p.route, p.routes, p.targets, p.upstream, p.more)
}

// accessLine is what tests look at in a line of the access log.
type accessLine struct {
	Path     string
	Status   int
	Error    string
	Upstream string `json:"upstream_addr"`
	Attempts int    `json:"upstream_attempts"`
	Reused   bool   `json:"connection_reused"`
	Received int64  `json:"body_bytes"`
	Sent     int64  `json:"body_bytes_sent"`
}

// accessLog is an access log that tests read line by line.
type accessLog chan accessLine

func newAccessLog() accessLog { return make(accessLog, 1000) }

func (l accessLog) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		var a accessLine
		if err := json.Unmarshal(line, &a); err != nil {
			return 0, err
		}
		l <- a
	}
	return len(b), nil
}

// expect takes the next line and compares its status and Reason.
func (l accessLog) expect(t testing.TB, status int, reason string) accessLine {
	t.Helper()
	a := receive(t, "a line in the access log", l)
	if a.Status != status || a.Error != reason {
		t.Errorf("the access log has %d %q, want %d %q", a.Status, a.Error, status, reason)
	}
	return a
}

// running is a proxy that a test stops itself.
type running struct {
	*sentinel.Proxy
	stop context.CancelFunc
	done chan struct{} // closed when Run has returned
}

// launch is startProxy for tests that stop the proxy or look at its errors.
func launch(t testing.TB, text string, access, failures io.Writer) *running {
	t.Helper()
	p, err := sentinel.New(sentinel.Options{
		Text: []byte(text), Name: t.Name(), AccessLog: access, ErrorLog: failures, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{p, cancel, make(chan struct{})}
	go func() { p.Run(ctx); close(r.done) }()
	t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// peer is one side of a connection that speaks HTTP byte by byte.
type peer struct {
	net.Conn // TCP, with TLS over it after secure
	tcp      *net.TCPConn
	r        *bufio.Reader

	n    int             // an origin's count of connections before this one
	over <-chan struct{} // closed when an origin's test ends
}

// dial connects a client to the proxy until the test ends.
func dial(t testing.TB, p *sentinel.Proxy) *peer {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr("main").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return &peer{Conn: c, tcp: c.(*net.TCPConn), r: bufio.NewReader(c)}
}

func (p *peer) send(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(p, text); err != nil {
		t.Fatalf("sending %.60q: %v", text, err)
	}
}

// get sends a GET that keeps the connection.
func (p *peer) get(t testing.TB, path string) {
	t.Helper()
	p.send(t, "GET "+path+" HTTP/1.1\r\nHost: a.test\r\n\r\n")
}

// head reads a response head; the body is not read yet.
func (p *peer) head(t testing.TB, method string) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(p.r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	return resp
}

// response reads a response to a GET with its body.
func (p *peer) response(t testing.TB) (*http.Response, string) {
	t.Helper()
	resp := p.head(t, http.MethodGet)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("status %d, body cut after %d bytes: %v", resp.StatusCode, len(body), err)
	}
	return resp, string(body)
}

// expect reads a response and compares its status.
func (p *peer) expect(t testing.TB, status int) *http.Response {
	t.Helper()
	resp, body := p.response(t)
	if resp.StatusCode != status {
		t.Fatalf("status %d, want %d: %q", resp.StatusCode, status, body)
	}
	return resp
}

// closed fails unless the other side has closed, with nothing before.
func (p *peer) closed(t testing.TB) {
	t.Helper()
	if b, err := p.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("read %q, %v, want the connection closed", b, err)
	}
}

// request reads a request at the origin; an error is the end of the connection. What it says later
// about the body is the body's own.
func (p *peer) request() (*http.Request, error) { return http.ReadRequest(p.r) }

// serve answers every request with the same bytes until the connection ends.
func (p *peer) serve(answer string) {
	for {
		req, err := p.request()
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		if _, err := io.WriteString(p, answer); err != nil {
			return
		}
	}
}

// ends reads until the other side has ended the connection.
func (p *peer) ends() error {
	_, err := io.Copy(io.Discard, p.r)
	return err
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// scripted starts an origin that runs a script on each connection and closes it then. When the test ends
// every connection is closed, so that no script waits for ever.
func scripted(t testing.TB, script func(c *peer)) (address string) {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var mu sync.Mutex // guards open
	var open []net.Conn
	var scripts sync.WaitGroup
	scripts.Go(func() {
		for n := 0; ; n++ {
			c, err := nl.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			scripts.Go(func() {
				defer func() { _ = c.Close() }()
				script(&peer{Conn: c, tcp: c.(*net.TCPConn), r: bufio.NewReader(c), n: n, over: over})
			})
		}
	})
	t.Cleanup(func() {
		close(over)
		_ = nl.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		scripts.Wait()
	})
	return nl.Addr().String()
}

// refusing returns an address where nothing listens.
func refusing(t testing.TB) string {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nl.Close() }()
	return nl.Addr().String()
}

// proxyTo serves a plan in front of an origin and keeps its access log.
func proxyTo(t testing.TB, origin string, p plan) (*sentinel.Proxy, accessLog) {
	t.Helper()
	log := newAccessLog()
	return startProxy(t, p.String(), origin, log), log
}

// repeated returns n bytes that are not the same everywhere.
func repeated(n int) string {
	return strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz\n", n/37+1)[:n]
}

// listenBacklog listens on a socket that nobody accepts from, with room for so many connections.
func listenBacklog(t testing.TB, backlog int) (address string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*unix.SockaddrInet4).Port))
}
