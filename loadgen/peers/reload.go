package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sentinel-proxy/sentinel-go/loadgen/attack"
)

// reloadRatio is how many times the quiet p99 that during reloads may be (P10).
const reloadRatio = 3

// ReloadOptions says how often MeasureReload reloads, and what runs meanwhile.
type ReloadOptions struct {
	Routes   int           // at least 1
	Reloads  int           // at least 1; every other one is of a broken file
	Rate     float64       // requests per second
	Duration time.Duration // of the reloads; the quiet time before takes a sixth
	Sentinel string        // the binary
	Progress io.Writer
}

// ReloadReport is what became of requests at a fixed rate without and with reloads. A failed request ends the run
// with an error, so that there are none here.
type ReloadReport struct {
	Options       ReloadOptions
	Quiet, During attack.Percentiles
	Took, Slowest time.Duration // of a reload that succeeded, as its caller sees it: the mean, and the most
	Refused       int           // reloads of broken files, all refused
}

// MeasureReload sends requests at a fixed rate, first quietly and then while the configuration is reloaded again and
// again.
func MeasureReload(ctx context.Context, o ReloadOptions) (*ReloadReport, error) {
	if o.Routes < 1 || o.Reloads < 1 || o.Duration <= 0 {
		return nil, fmt.Errorf("nothing to measure: %d routes, %d reloads in %s", o.Routes, o.Reloads, o.Duration)
	}
	report := &ReloadReport{Options: o}
	b := &bench{Options: Options{Progress: o.Progress}, results: &Results{}}
	return report, b.inDirectory(ctx, func(ctx context.Context) error { return b.measureReload(ctx, report) })
}

func (b *bench) measureReload(ctx context.Context, r *ReloadReport) error {
	origin, err := startOrigin(ctx, filepath.Join(b.dir, origin))
	if err != nil {
		return err
	}
	defer origin.stop()
	x, err := b.startReloaded(ctx, r.Options, origin)
	if err != nil {
		return err
	}
	defer x.proxy.stop()
	if r.Quiet, err = x.attack(ctx, r.Options.Duration/6); err != nil {
		return fmt.Errorf("quiet: %w", err)
	}
	b.progress("quiet: p50 %s, p99 %s", r.Quiet.P50, r.Quiet.P99)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() {
		err := x.reloadAll(ctx, r)
		if err != nil {
			cancel(err)
		}
		done <- err
	}()
	r.During, err = x.attack(ctx, r.Options.Duration)
	if err != nil {
		err = errors.Join(fmt.Errorf("during reloads: %w", err), context.Cause(ctx))
		cancel(err)
	}
	return errors.Join(err, <-done)
}

// reloaded is a proxy whose configuration changes.
type reloaded struct {
	o     ReloadOptions
	proxy *process
	file  string
	base  string // of every version
	admin *http.Client
}

func (b *bench) startReloaded(ctx context.Context, o ReloadOptions, origin *process) (*reloaded, error) {
	listen, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	s := subject{name: sentinel, template: "sentinel.kdl", program: o.Sentinel, args: []string{"--config"}}
	st := setup{Listen: listen, Backend: origin.Listen, Dir: filepath.Join(b.dir, sentinel), Connections: proxyConnections}
	file, err := s.prepare(st)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	socket := filepath.Join(st.Dir, "admin.sock")
	x := &reloaded{o: o, file: file, admin: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
	x.base = strings.Replace(string(text), "system {", fmt.Sprintf("system {\n\tadmin-socket %q", socket), 1) + moreRoutes(o.Routes-1)
	if err := x.write(x.base); err != nil {
		return nil, err
	}
	x.proxy, err = launch(ctx, s, st, file, func(ctx context.Context) error { return ask(ctx, st.url(smallPath)) })
	return x, err
}

// moreRoutes are routes that the requests do not take.
func moreRoutes(n int) string {
	var text strings.Builder
	text.WriteString("\nroutes {\n")
	for i := range n {
		fmt.Fprintf(&text, "\troute \"r%[1]d\" { matches { host \"h%[2]d.example\"; path-prefix \"/api/%[1]d\" }; upstream \"backend\" }\n", i, i%100)
	}
	text.WriteString("}\n")
	return text.String()
}

func (x *reloaded) write(text string) error {
	next := x.file + ".new"
	err := os.WriteFile(next, []byte(text), 0o600) //nolint:gosec // G703: in a directory of our own.
	if err == nil {
		err = os.Rename(next, x.file)
	}
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}

func (x *reloaded) attack(ctx context.Context, d time.Duration) (attack.Percentiles, error) {
	a := attack.Attack{
		Target: x.proxy.Listen, Request: []byte("GET /1k HTTP/1.1\r\nHost: " + x.proxy.Listen.String() + "\r\n\r\n"),
		Connections: connections, Rate: x.o.Rate, Duration: d,
	}
	return a.Run(ctx)
}

// reloadAll spreads the reloads over the duration. Every other file is broken; the others change a route.
func (x *reloaded) reloadAll(ctx context.Context, r *ReloadReport) error {
	ticks := time.NewTicker(x.o.Duration / time.Duration(x.o.Reloads))
	defer ticks.Stop()
	good := 0
	for n := range x.o.Reloads {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		broken := n%2 == 1
		took, err := x.reload(ctx, n, broken)
		switch {
		case broken && err == nil:
			return fmt.Errorf("reload %d took a broken file", n)
		case broken:
			r.Refused++
		case err != nil:
			return fmt.Errorf("reload %d: %w", n, err)
		default:
			good++
			r.Took += took
			r.Slowest = max(r.Slowest, took)
		}
	}
	r.Took /= time.Duration(good)
	return nil
}

func (x *reloaded) reload(ctx context.Context, n int, broken bool) (time.Duration, error) {
	text := x.base + fmt.Sprintf("\nroutes { route \"changing\" { matches { path-prefix \"/changing\" }; priority %d; upstream \"backend\" } }\n", n)
	if broken {
		text += "routes {"
	}
	if err := x.write(text); err != nil {
		return 0, err
	}
	began := time.Now()
	err := x.request(ctx)
	return time.Since(began), err
}

// request asks for the reload over the admin socket, from this process: starting another would take time from the
// proxy.
func (x *reloaded) request(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sentinel/reload?wait=true", nil)
	if err != nil {
		return fmt.Errorf("asking for a reload: %w", err)
	}
	answer, err := x.admin.Do(r)
	if err != nil {
		return fmt.Errorf("asking for a reload: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, said)
	}
	return err
}

// Failure returns an error when the p99 during reloads was more than three times the quiet one.
func (r *ReloadReport) Failure() error {
	if r.During.P99 > reloadRatio*r.Quiet.P99 {
		return fmt.Errorf("p99 during reloads is %s, more than %d times %s", r.During.P99, reloadRatio, r.Quiet.P99)
	}
	return nil
}

// Text returns what was measured.
func (r *ReloadReport) Text() string {
	o := r.Options
	return fmt.Sprintf(`P10: %d reloads in %s, %d of them refused, of %d routes, at %.0f requests/s
requests: %d, failed: 0
quiet:   p50 %s, p99 %s, p99.9 %s, max %s
reloads: p50 %s, p99 %s, p99.9 %s, max %s
p99 is %.2f times the quiet one (at most %d); a good reload took %s, the slowest %s
`, o.Reloads, o.Duration, r.Refused, o.Routes, o.Rate, r.Quiet.Requests+r.During.Requests,
		r.Quiet.P50, r.Quiet.P99, r.Quiet.P999, r.Quiet.Max, r.During.P50, r.During.P99, r.During.P999, r.During.Max,
		float64(r.During.P99)/float64(r.Quiet.P99), reloadRatio, r.Took, r.Slowest)
}
