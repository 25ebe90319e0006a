package sentinel

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

// demo is the upstream of the embedded default: a small server in the same process, on an ephemeral
// loopback port, so that a newcomer's first request crosses listener, route, pool and log for real.
type demo struct {
	server *http.Server
	addr   string
}

// demoVariable is the name by which the embedded default refers to the demo's address.
const demoVariable = "SENTINEL_DEMO_UPSTREAM"

func startDemo() (*demo, error) {
	nl, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the demo upstream: %w", err)
	}
	d := &demo{addr: nl.Addr().String()}
	d.server = &http.Server{Handler: http.HandlerFunc(demoAnswer), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = d.server.Serve(nl) }() // ends with close
	return d, nil
}

func demoAnswer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	//nolint:gosec // G705: it is plain text, and the proxy in front adds nosniff
	_, _ = fmt.Fprintf(w, "Hello from the demo upstream behind Sentinel.\n\nIt received %s %s\nvia: %s\ncorrelation id: %s\nclient: %s\n",
		r.Method, r.URL.EscapedPath(), r.Header.Get("Via"), r.Header.Get("X-Correlation-Id"), r.Header.Get("X-Forwarded-For"))
}

// withDemo makes the demo's address known to the embedded default.
func withDemo(addr string, next func(string) (string, bool)) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if name == demoVariable {
			return addr, true
		}
		return next(name)
	}
}

func (d *demo) close() { _ = d.server.Close() }

// newLogger makes the logger for what concerns no request.
func newLogger(c *config.Logging, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "pretty" {
		return slog.New(slog.NewTextHandler(os.Stderr, o))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, o))
}

// levelOf is the level that the configuration asks for, unless everything is asked for.
func levelOf(c *config.Logging, verbose bool) slog.Level {
	switch {
	case verbose, c.Level == "trace", c.Level == "debug":
		return slog.LevelDebug
	case c.Level == "warn":
		return slog.LevelWarn
	case c.Level == "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}
