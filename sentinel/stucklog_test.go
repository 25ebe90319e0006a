package sentinel

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

// stuckLog is a log that takes no line any more once it is stuck, as standard error does when nobody reads the pipe.
type stuckLog struct {
	slog.Handler
	stuck atomic.Bool
	free  chan struct{} // closed: it takes lines again
}

// stickyLog returns a log that can get stuck, and its free may be called more than once.
func stickyLog(to io.Writer) (l *stuckLog, free func()) {
	l = &stuckLog{Handler: slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}), free: make(chan struct{})}
	var freed atomic.Bool
	return l, func() {
		if freed.CompareAndSwap(false, true) {
			close(l.free)
		}
	}
}

func (l *stuckLog) Handle(ctx context.Context, r slog.Record) error {
	if l.stuck.Load() {
		<-l.free
	}
	return l.Handler.Handle(ctx, r)
}

// TestStuckLogAccept shows that a socket that cannot accept does not wait for the log either.
func TestStuckLogAccept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nl, text := &starved{failures: 3}, &logText{}
		log, free := stickyLog(text)
		log.stuck.Store(true)
		s := deaf(make(chan struct{}), nl)
		s.p.log = slog.New(log)
		go s.p.remarks.run(s.p.logNote)
		s.accept()
		if len(nl.at) != 4 {
			t.Errorf("%d tries, want 4", len(nl.at))
		}
		free()
		s.p.remarks.close()
		if n := strings.Count(text.String(), "accept failed"); n != 3 {
			t.Errorf("%d lines once the log took them, want 3", n)
		}
	})
}

// TestStuckLog has the log stuck while a connection is refused, a handler panics and memory becomes short: what is
// accepted, served and swept does not wait for it.
func TestStuckLog(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	text := &logText{}
	log, free := stickyLog(text)
	p, err := New(Options{Text: []byte(stuckConfig), Name: t.Name(), Log: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.snapshot.Load().views["main"].routes {
		if r.id == "faulty" {
			r.builtin = func(*exchange) Reason { panic("a bug") }
		}
	}
	const limit = 1 << 45
	var used atomic.Int64
	p.limits.memory.read = used.Load
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { p.Run(ctx); close(done) }()
	stop := func() { free(); cancel(); <-done }
	defer stop()
	if got, _ := status(t, p, "/own"); got != http.StatusOK {
		t.Fatalf("status %d before anything happened", got)
	}
	log.stuck.Store(true)

	refuseOne(t, p)
	awaitStatus(t, p, "/faulty", http.StatusInternalServerError)
	awaitStatus(t, p, "/own", http.StatusOK)
	for _, u := range []struct {
		bytes int64
		want  int
	}{{limit, http.StatusServiceUnavailable}, {0, http.StatusBadGateway}, {limit, http.StatusServiceUnavailable}} {
		used.Store(u.bytes)
		awaitStatus(t, p, "/", u.want)
	}
	if told := text.String(); strings.Contains(told, "internal error") {
		t.Errorf("the log was not stuck: %s", told)
	}
	stop()
	for _, line := range []string{"connection refused", "internal error", "memory is short", "memory is enough again"} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("%q was not written once the log took lines again", line)
		}
	}
}

// TestStuckLogReload has the log stuck while a configuration takes effect. It holds a lock then, and half of it would be
// neither the old nor the new one.
func TestStuckLogReload(t *testing.T) {
	t.Parallel()
	log, free := stickyLog(io.Discard)
	p, err := New(Options{Text: []byte(stuckConfig), Name: t.Name(), Log: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { p.Run(ctx); close(done) }()
	defer func() { free(); cancel(); <-done }()
	awaitStatus(t, p, "/own", http.StatusOK)
	cfg, problems := config.Parse("next.kdl", []byte(strings.Replace(stuckConfig, `"main"`, `"next"`, 1)), config.Options{})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	cfg.Listeners[0].Address = netip.MustParseAddrPort("127.0.0.2:0") // another socket: one comes and one leaves
	log.stuck.Store(true)
	swapped := make(chan error, 1)
	go func() { swapped <- p.swap(cfg, p.snapshot.Load(), func() {}) }()
	select {
	case err := <-swapped:
		if err != nil || p.Addr("next") == nil || p.Addr("main") != nil {
			t.Errorf("%v; next at %v, main at %v", err, p.Addr("next"), p.Addr("main"))
		}
	case <-time.After(10 * time.Second):
		t.Error("the reload waits for the log")
	}
}

const stuckConfig = `
system { }
listeners { listener "main" { address "127.0.0.1:0" } }
routes {
    route "own" { matches { path "/own" }; builtin-handler "health" }
    route "faulty" { matches { path "/faulty" }; builtin-handler "health" }
    route "o" { matches { path-prefix "/" }; upstream "o" }
}
upstreams { upstream "o" { target "127.0.0.1:1"; circuit-breaker { failure-threshold 1000000 } } }
limits { max-total-connections 1; max-memory-bytes 35184372088832 }
`

// refuseOne has a connection refused because another one is there.
func refuseOne(t *testing.T, p *Proxy) {
	t.Helper()
	dialled := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr("main").String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
	first := dialled()
	for end := time.Now().Add(10 * time.Second); ; first = dialled() { // the place of the one before may not be free yet
		_, _ = io.WriteString(first, "GET /own HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if _, err := first.Read(make([]byte, 4096)); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no connection was served")
		}
	}
	if _, err := dialled().Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the second connection was not closed: %v", err)
	}
	_ = first.Close()
}

// awaitStatus asks until the answer is the wanted one.
func awaitStatus(t *testing.T, p *Proxy, path string, want int) {
	t.Helper()
	got := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if got = statusOrNone(t, p, path); got == want {
			return
		}
	}
	t.Fatalf("%s: status %d, want %d", path, got, want)
}

// statusOrNone asks for a path; 0: the connection was refused.
func statusOrNone(t *testing.T, p *Proxy, path string) int {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr("main").String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	b, _ := io.ReadAll(c)
	if len(b) == 0 {
		return 0
	}
	return parseHead(t, b).StatusCode
}

// TestNotesFull shows that what does not fit is counted, and that what fits is written at the end.
func TestNotesFull(t *testing.T) {
	t.Parallel()
	lost, written := 0, 0
	q := newNotes(func(n int) { lost += n })
	large := []slog.Attr{slog.String("body", strings.Repeat("x", maxQueuedBytes/2))}
	for range 3 { // the second is over the half with its names
		q.add("large", slog.LevelInfo, large)
	}
	if lost != 2 {
		t.Errorf("%d of three large notes are lost, want 2", lost)
	}
	for range maxQueuedNotes {
		q.add("small", slog.LevelInfo, nil)
	}
	if lost != 3 {
		t.Errorf("%d notes are lost, want one more", lost)
	}
	go q.run(func(*note) { written++ })
	q.close()
	if written != maxQueuedNotes || q.held.Load() != 0 {
		t.Errorf("%d notes were written, and %d bytes are still counted", written, q.held.Load())
	}
	q.add("late", slog.LevelInfo, nil) // must not panic
}
