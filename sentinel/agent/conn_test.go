package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// held is a handler that holds requests to /slow until they are let go, or their context ends.
type held struct {
	script
	begun  chan string
	let    chan struct{}
	ignore bool // the context
	ends   chan error
}

func newHeld() *held {
	h := &held{begun: make(chan string, 200), let: make(chan struct{}), ends: make(chan error, 200)}
	h.end = make(chan struct{}, 200)
	h.requestHeaders = func(ctx context.Context, r *Request) *Verdict {
		if r.URI != "/slow" {
			return Allow()
		}
		h.begun <- r.CorrelationID
		if h.ignore {
			<-h.let
			return Allow()
		}
		select {
		case <-h.let:
			return Block(403, "late")
		case <-ctx.Done():
			h.ends <- ctx.Err()
			return Allow()
		}
	}
	return h
}

// await receives what must come.
func await[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

func TestSlowDoesNotBlock(t *testing.T) {
	t.Parallel()
	h := newHeld()
	p := serve(t, &Server{Handler: h}).greeted(V2D)
	p.send(headersEvent(V2D, 1, "GET", "/slow"))
	p.send(headersEvent(V2D, 2, "GET", "/slow"))
	await(t, "the first call", h.begun)
	await(t, "the second call", h.begun)
	for n := 3; n < 10; n++ {
		same(t, p.ask(headersEvent(V2D, n, "GET", "/")), fmt.Sprintf("\x20"+`{"request_id":%d,"decision":"allow"}`, n))
	}
	// One request's events are handled one after the other: this one came too early.
	same(t, p.ask(bodyEvent(V2D, "request_body_chunk", 1, 0, "", true)), "\x20"+`{"request_id":1,"decision":null}`)
	close(h.let)
	got := []string{p.receive(), p.receive()}
	slices.Sort(got)
	same(t, got[0], "\x20"+`{"request_id":1,"decision":{"block":{"status":403,"body":"late"}}}`)
	same(t, got[1], "\x20"+`{"request_id":2,"decision":{"block":{"status":403,"body":"late"}}}`)
}

// TestOrderInV1 sends a second question before the first is answered, which V1 does not want but cannot rule out.
func TestOrderInV1(t *testing.T) {
	t.Parallel()
	h := newHeld()
	p := serve(t, &Server{Handler: h}).greeted(V1)
	p.send(headersEvent(V1, 1, "GET", "/slow"))
	await(t, "the call", h.begun)
	p.send(headersEvent(V1, 2, "GET", "/"))
	p.send(headersEvent(V1, 3, "GET", "/"))
	close(h.let)
	same(t, p.receive(), agentResponse(t, V1, "c1", `{"block":{"status":403,"body":"late"}}`, nil))
	same(t, p.receive(), agentResponse(t, V1, "c2", `"allow"`, nil))
	same(t, p.receive(), agentResponse(t, V1, "c3", `"allow"`, nil))
}

// TestContextEnds is how a handler hears that nobody waits for it.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	leave := func(p *peer) { _ = p.Close() }
	for _, c := range []struct {
		name string
		d    Dialect
		end  func(*peer)
		want string
	}{
		{"v1 leaves", V1, leave, "c1 0 disconnected"},
		{"v2d leaves", V2D, leave, "c1 0 disconnected"},
		{"v2r leaves", V2R, leave, "c1 0 disconnected"},
		{"v2d cancels", V2D, func(p *peer) { p.send("\x30" + `{"request_id":1,"reason":"timeout"}`) }, "c1 0 canceled"},
		{"v2d cancels all", V2D, func(p *peer) { p.send("\x31{}") }, "c1 0 canceled"},
		{"v2r cancels", V2R, func(p *peer) { p.send("\x40" + `{"correlation_id":"c1","reason":2,"timestamp_ms":1}`) }, "c1 0 canceled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHeld()
			p := serve(t, &Server{Handler: h}).greeted(c.d)
			p.send(headersEvent(c.d, 1, "GET", "/slow"))
			await(t, "the call", h.begun)
			c.end(p)
			if err := await(t, "the end of the context", h.ends); !errors.Is(err, context.Canceled) {
				t.Errorf("the context ended with %v", err)
			}
			await(t, "the end of the request", h.end)
			if got := h.endings(); !slices.Equal(got, []string{c.want}) {
				t.Errorf("ended %q, want %q", got, c.want)
			}
		})
	}
}

// TestManyAtOnce holds more requests of one connection than may be under way, and lets them go.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	h := newHeld()
	p := serve(t, &Server{Handler: h}).greeted(V2R)
	for n := range maxCalls + 20 {
		p.send(headersEvent(V2R, n+1, "GET", "/slow"))
	}
	for range maxCalls {
		await(t, "a call", h.begun)
	}
	if len(h.begun) > 0 {
		t.Errorf("more than %d calls", maxCalls)
	}
	close(h.let)
	seen := map[string]bool{}
	for range maxCalls + 20 {
		_, id, _ := strings.Cut(p.receive(), `"custom":{"correlation_id":`)
		seen[id] = true
	}
	if len(seen) != maxCalls+20 {
		t.Errorf("%d different replies", len(seen))
	}
}

// TestConcurrentConnections asks over many connections, in all dialects at once: every verdict is its request's.
func TestConcurrentConnections(t *testing.T) {
	t.Parallel()
	site := serve(t, &Server{Handler: &script{requestHeaders: func(_ context.Context, r *Request) *Verdict {
		return Block(403, r.CorrelationID+" "+r.Method)
	}}})
	var all sync.WaitGroup
	for i := range 12 {
		d := []Dialect{V1, V2D, V2R}[i%3]
		p := site.greeted(d)
		all.Go(func() {
			for n := i * 1000; n < i*1000+100; n++ {
				want := fmt.Sprintf(`"body":"c%d GET"`, n+1)
				if got := p.ask(headersEvent(d, n+1, "GET", "/")); !strings.Contains(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
	all.Wait()
}

func TestDrain(t *testing.T) {
	t.Parallel()
	for _, d := range []Dialect{V1, V2D, V2R} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			h := newHeld()
			site := serve(t, &Server{Handler: h})
			busy, idle, silent := site.greeted(d), site.greeted(d), site.dial()
			idle.ask(headersEvent(d, 1, "GET", "/"))
			busy.send(headersEvent(d, 2, "GET", "/slow"))
			await(t, "the call", h.begun)
			site.stop()
			idle.closed()
			silent.closed()
			if _, err := os.Lstat(site.path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is still there: %v", err)
			}
			if c, err := net.Dial("unix", site.path); err == nil {
				_ = c.Close()
				t.Error("it still listens")
			}
			close(h.let)
			if got := busy.receive(); !strings.Contains(got, "late") {
				t.Errorf("got %q", got)
			}
			busy.closed()
			if err := site.wait(); err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

// TestLastCall sends requests in the moment of the stop: what the agent has accepted is answered.
func TestLastCall(t *testing.T) {
	t.Parallel()
	site := serve(t, &Server{Handler: Base{}})
	p := site.greeted(V2D)
	for n := range 50 {
		p.send(headersEvent(V2D, n+1, "GET", "/"))
	}
	site.stop()
	want, got := map[string]bool{}, map[string]bool{}
	for n := range 50 { // in any order: a machine that is busy makes some calls slow ones
		want[fmt.Sprintf("\x20"+`{"request_id":%d,"decision":"allow"}`, n+1)] = true
		got[p.receive()] = true
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d answers, want %d", len(got), len(want))
	}
	p.closed()
}

func TestDrainIsCutOff(t *testing.T) {
	t.Parallel()
	for _, ignore := range []bool{false, true} {
		t.Run(fmt.Sprintf("ignores its context %v", ignore), func(t *testing.T) {
			t.Parallel()
			h := newHeld()
			h.ignore = ignore
			dir := t.TempDir()
			l, err := ListenUnix(filepath.Join(dir, "s"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- (&Server{Handler: h, DrainTimeout: 50 * time.Millisecond}).Serve(ctx, l)
			}()
			site := &site{t: t, path: l.Addr().String()}
			p := site.greeted(V2D)
			p.send(headersEvent(V2D, 1, "GET", "/slow"))
			await(t, "the call", h.begun)
			stop()
			if err := await(t, "the end", done); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Serve: %v", err)
			}
			p.closed()
			close(h.let)
			await(t, "the end of the request", h.end)
		})
	}
}

func TestServeFails(t *testing.T) {
	t.Parallel()
	l, err := ListenUnix(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := (&Server{Handler: Base{}}).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve on a closed listener: %v", err)
	}
}

// TestTooManyConnections opens as many as there may be. One more is closed, until a silent one's time is over.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	s := &serving{server: &Server{Handler: Base{}}, open: map[*conn]struct{}{}}
	for range maxConns {
		ours, _ := net.Pipe()
		s.open[newConn(s.server, ours)] = struct{}{}
	}
	ours, theirs := net.Pipe()
	s.admit(t.Context(), ours)
	if _, err := theirs.Read(make([]byte, 1)); err == nil || len(s.open) != maxConns {
		t.Errorf("one more was admitted: %v", err)
	}
	for c := range s.open {
		c.since = c.since.Add(-2 * frameTime)
		break
	}
	ours, theirs = net.Pipe()
	s.admit(t.Context(), ours)
	_, _ = theirs.Write(frame(docsOnly))
	if got, err := (&peer{t, theirs}).read(); err != nil || !strings.Contains(got, `"accepted":true`) {
		t.Errorf("not admitted in a silent one's place: %q, %v", got, err)
	}
	_ = theirs.Close()
	s.all.Wait()
}

func TestListenUnix(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(t *testing.T, path string)
		want string // in the error; empty: it listens
	}{
		{"nothing there", func(*testing.T, string) {}, ""},
		{"stale", func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			_ = l.Close()
		}, ""},
		{"served", func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
		}, "served by somebody else"},
		{"a file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "no socket"},
		{"a directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "no socket"},
		{"a link to nothing", func(t *testing.T, path string) {
			if err := os.Symlink(path+"x", path); err != nil {
				t.Fatal(err)
			}
		}, "no socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			c.make(t, path)
			l, err := ListenUnix(path)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				if _, err := os.Lstat(path); err != nil {
					t.Errorf("what was there is gone: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			info, err := os.Lstat(path)
			if err != nil || info.Mode().Perm() != socketMode {
				t.Errorf("mode %v, error %v", info.Mode(), err)
			}
		})
	}
	if _, err := ListenUnix(filepath.Join(t.TempDir(), strings.Repeat("x", 120))); err == nil {
		t.Error("listens on a path that is too long")
	}
}

// TestModeBeforeChmod asks for the mode that the socket has before anything can widen or narrow it. It
// changes the process's umask: nothing runs beside it.
func TestModeBeforeChmod(t *testing.T) {
	dir := t.TempDir()
	defer syscall.Umask(syscall.Umask(0))
	l, err := bind(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	info, err := os.Lstat(filepath.Join(dir, "s"))
	if err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("mode %v without a umask, error %v", info.Mode(), err)
	}
}
