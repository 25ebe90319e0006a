package agent

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen.
const patience = 10 * time.Second

// TestMain fails the package when goroutines are left after its tests.
func TestMain(m *testing.M) {
	signals := make(chan os.Signal, 1) // the goroutine that waits for signals stays once fuzzing has begun
	signal.Notify(signals, syscall.SIGUSR2)
	signal.Stop(signals)
	before := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 && !settles(before) {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

// settles asks again and again: nothing announces that a goroutine which was waited for is gone.
func settles(before int) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if runtime.NumGoroutine() <= before {
			return true
		}
	}
	return false
}

// script is a Handler made of functions; nil ones allow. It writes down how requests end.
type script struct {
	Base
	configure       func(json.RawMessage) error
	requestHeaders  func(context.Context, *Request) *Verdict
	requestBody     func(*Request, *Chunk) *Verdict
	responseHeaders func(*Request, *Response) *Verdict
	responseBody    func(*Request, *Response, *Chunk) *Verdict

	mu    sync.Mutex
	ended []string // "id status error"
	end   chan struct{}
}

func (s *script) Configure(_ context.Context, c json.RawMessage) error {
	if s.configure == nil {
		return nil
	}
	return s.configure(c)
}

func (s *script) RequestHeaders(ctx context.Context, r *Request) *Verdict {
	if s.requestHeaders == nil {
		return Allow()
	}
	return s.requestHeaders(ctx, r)
}

func (s *script) RequestBody(_ context.Context, r *Request, c *Chunk) *Verdict {
	if s.requestBody == nil {
		return Allow()
	}
	return s.requestBody(r, c)
}

func (s *script) ResponseHeaders(_ context.Context, r *Request, resp *Response) *Verdict {
	if s.responseHeaders == nil {
		return Allow()
	}
	return s.responseHeaders(r, resp)
}

func (s *script) ResponseBody(_ context.Context, r *Request, resp *Response, c *Chunk) *Verdict {
	if s.responseBody == nil {
		return Allow()
	}
	return s.responseBody(r, resp, c)
}

func (s *script) Complete(_ context.Context, r *Request, c *Complete) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, strings.TrimSpace(fmt.Sprintf("%s %d %s", r.CorrelationID, c.Status, c.Error)))
	if s.end != nil {
		s.end <- struct{}{}
	}
}

func (s *script) endings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.ended...)
}

// site is a server that serves, and how to end it.
type site struct {
	t    testing.TB
	path string
	stop context.CancelFunc
	done chan error
}

// serve serves on a socket of its own until the test ends, or stop is called.
func serve(t testing.TB, s *Server) *site {
	t.Helper()
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := os.MkdirTemp("", "agent") //nolint:usetesting // t.TempDir has the test's name in it: too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "a.sock")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	site := &site{t: t, path: path, stop: stop, done: make(chan error, 1)}
	go func() { site.done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := site.wait(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return site
}

// wait waits for Serve's return.
func (s *site) wait() error {
	s.t.Helper()
	select {
	case err := <-s.done:
		s.done <- err
		return err
	case <-time.After(patience):
		s.t.Fatal("Serve does not return")
		return nil
	}
}

// peer is a proxy's end of a connection.
type peer struct {
	t testing.TB
	net.Conn
}

func (s *site) dial() *peer {
	s.t.Helper()
	c, err := net.Dial("unix", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	return &peer{s.t, c}
}

// frame is a frame with its length.
func frame(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func (p *peer) send(body string) {
	p.t.Helper()
	if _, err := p.Write(frame(body)); err != nil {
		p.t.Fatal(err)
	}
}

// receive returns the next frame.
func (p *peer) receive() string {
	p.t.Helper()
	body, err := p.read()
	if err != nil {
		p.t.Fatalf("no reply: %v", err)
	}
	return body
}

func (p *peer) read() (string, error) {
	var length [4]byte
	if _, err := io.ReadFull(p, length[:]); err != nil {
		return "", err
	}
	body := make([]byte, binary.BigEndian.Uint32(length[:]))
	_, err := io.ReadFull(p, body)
	return string(body), err
}

// ask sends a frame and returns the reply.
func (p *peer) ask(body string) string {
	p.t.Helper()
	p.send(body)
	return p.receive()
}

// closed fails the test unless the agent closes the connection without a word.
func (p *peer) closed() {
	p.t.Helper()
	body, err := p.read()
	if err == nil {
		p.t.Fatalf("the connection is open: %q", body)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal("the connection stays open")
	}
}

const (
	union    = "\x01" + `{"protocol_version":2,"client_name":"sentinel","supported_features":[],"supported_versions":[2],"proxy_id":"sentinel","proxy_version":"0.1.0","config":null,"supported_encodings":["json"]}`
	docsOnly = "\x01" + `{"protocol_version":2,"client_name":"sentinel"}`
)

// greeted returns a connection in a dialect, after its handshake.
func (s *site) greeted(d Dialect) *peer {
	s.t.Helper()
	p := s.dial()
	switch d {
	case V2D:
		p.ask(docsOnly)
	case V2R:
		p.ask(union)
	default: // V1 has none
	}
	return p
}

// same compares two frames: equal bytes before the JSON, equal JSON values.
func same(t testing.TB, got, want string) {
	t.Helper()
	gotType, got := split(got)
	wantType, want := split(want)
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Errorf("%q is no JSON: %v", got, err)
		return
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("the test's %q is no JSON: %v", want, err)
	}
	if gotType != wantType || !reflect.DeepEqual(g, w) {
		t.Errorf("got  %x %s\nwant %x %s", gotType, got, wantType, want)
	}
}

func split(frame string) (kind, text string) {
	if frame != "" && frame[0] != '{' {
		return frame[:1], frame[1:]
	}
	return "", frame
}
