package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures"
	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// listenerID is the id of the listener under test in every configuration of fixtures.
const listenerID = "main"

// subject is a proxy under test.
type subject struct {
	addr   string
	p      *sentinel.Proxy
	access *accessLog
	errors *textLog
	cancel context.CancelFunc
	ended  chan struct{} // closed when Run has returned
}

// start runs a proxy with one of fixtures' configurations until the test ends.
func start(t testing.TB, config string, values map[string]string) *subject {
	t.Helper()
	text, err := fixtures.Config(config, values)
	if err != nil {
		t.Fatal(err)
	}
	return startText(t, config+".kdl", text)
}

func startText(t testing.TB, name, text string) *subject {
	t.Helper()
	s := &subject{access: &accessLog{}, errors: &textLog{}, ended: make(chan struct{})}
	p, err := sentinel.New(sentinel.Options{
		Text: []byte(text), Name: name,
		AccessLog: s.access, ErrorLog: s.errors, AuditLog: io.Discard,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatalf("New with %s: %v", name, err)
	}
	s.p, s.addr = p, p.Addr(listenerID).String()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.ended)
		p.Run(ctx)
	}()
	t.Cleanup(func() { s.stop(t) })
	return s
}

// stop drains the proxy and waits for its end. It may be called again.
func (s *subject) stop(t testing.TB) {
	t.Helper()
	s.cancel()
	timeout := time.NewTimer(*patience)
	defer timeout.Stop()
	select {
	case <-s.ended:
	case <-timeout.C:
		t.Errorf("Run did not return within %v of the end of its context", *patience)
	}
}

// accessLine is what the tests read of an access log line.
type accessLine struct {
	TraceID       string `json:"trace_id"`
	Method        string `json:"method"`
	Path          string `json:"path"`
	Query         string `json:"query"`
	Status        int    `json:"status"`
	Error         string `json:"error"`
	RouteID       string `json:"route_id"`
	Upstream      string `json:"upstream"`
	ClientIP      string `json:"client_ip"`
	Attempts      int    `json:"upstream_attempts"`
	BodyBytes     int64  `json:"body_bytes"`
	BodyBytesSent int64  `json:"body_bytes_sent"`
	Reused        bool   `json:"connection_reused"`
	RateLimitHit  bool   `json:"rate_limit_hit"`

	AgentMillis float64 `json:"agent_duration_ms"`
}

// accessLog collects access lines.
type accessLog struct {
	board
	lines []accessLine
	bad   []string // what was no JSON line
}

// Write takes one line or more.
func (l *accessLog) Write(b []byte) (int, error) {
	l.update(func() {
		for line := range bytes.Lines(b) {
			var a accessLine
			if err := json.Unmarshal(line, &a); err != nil {
				l.bad = append(l.bad, string(line))
				continue
			}
			l.lines = append(l.lines, a)
		}
	})
	return len(b), nil
}

// wait returns the lines once there are n; fewer when they do not come.
func (l *accessLog) wait(n int) []accessLine {
	l.await(func() bool { return len(l.lines) >= n || len(l.bad) > 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[:len(l.lines):len(l.lines)]
}

// snapshot returns the lines so far.
func (l *accessLog) snapshot() []accessLine { return l.wait(0) }

// last returns the newest lines, for failures' texts.
func (l *accessLog) last() []accessLine {
	lines := l.snapshot()
	return lines[max(0, len(lines)-3):]
}

// textLog collects whatever it is given, for failures' texts.
type textLog struct {
	board
	text []byte
}

func (l *textLog) Write(b []byte) (int, error) {
	l.update(func() { l.text = append(l.text, b...) })
	return len(b), nil
}

func (l *textLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return clip(l.text)
}
