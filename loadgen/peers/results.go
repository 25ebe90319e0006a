package peers

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Results is everything a run has found, as written to peers.json or agents.json.
type Results struct {
	Started  time.Time         `json:"started"`
	Machine  string            `json:"machine"`
	Commit   string            `json:"commit"`
	Versions map[string]string `json:"versions"`
	Origin   string            `json:"origin"`
	Seed     uint64            `json:"seed"`
	Rounds   int               `json:"rounds"`
	Seconds  float64           `json:"seconds_per_load"`
	Closed   []ClosedSample    `json:"closed_loop"`
	Fixed    []FixedSample     `json:"fixed_rate"`
	Memory   []MemorySample    `json:"memory,omitempty"`
	Routes   []RouteSample     `json:"route_lookup,omitempty"`
	Gates    []Gate            `json:"gates"`
	Configs  []Config          `json:"configs"`
}

// Config is the configuration one process ran with.
type Config struct {
	Fleet   string `json:"fleet"`
	Subject string `json:"subject"`
	File    string `json:"file"`
	Text    string `json:"text"`
}

func newResults(ctx context.Context, o Options) *Results {
	return &Results{
		Started: time.Now().UTC(),
		Machine: fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		Commit:  firstLine(ctx, "git", "rev-parse", "HEAD"),
		Versions: map[string]string{
			nginx:    firstLine(ctx, "nginx", "-v"),
			haproxy:  firstLine(ctx, "haproxy", "-v"),
			caddy:    moduleVersion(o.Programs.Caddy),
			sentinel: firstLine(ctx, o.Programs.Sentinel, "--version"),
		},
		Origin:  "nginx, 1 worker: 1 KiB from memory, 64 KiB by sendfile from the page cache",
		Seed:    o.Seed,
		Rounds:  o.Rounds,
		Seconds: o.Duration.Seconds(),
	}
}

// firstLine returns the first line a program prints. It describes the run and decides nothing, so a program that
// cannot tell is "unknown".
func firstLine(ctx context.Context, program string, args ...string) string {
	text, err := exec.CommandContext(ctx, program, args...).CombinedOutput() //nolint:gosec // The programs under test.
	line, _, _ := strings.Cut(string(text), "\n")
	if err != nil || line == "" {
		return "unknown"
	}
	return line
}

// moduleVersion returns the version of the module a Go program was installed from; Caddy's own answer is "unknown" when
// it was built without its release scripts.
func moduleVersion(program string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return "unknown"
	}
	return info.Main.Version
}

// closed returns one figure of the closed-loop runs, ordered by round.
func (r *Results) closed(work, subject string, figure func(ClosedSample) float64) []float64 {
	var values []float64
	for _, s := range r.Closed {
		if s.Work == work && s.Subject == subject {
			values = append(values, figure(s))
		}
	}
	return values
}

// fixed returns one figure of the runs at a fixed rate, ordered by round.
func (r *Results) fixed(rate, subject string, figure func(FixedSample) float64) []float64 {
	var values []float64
	for _, s := range r.Fixed {
		if s.Rate == rate && s.Subject == subject {
			values = append(values, figure(s))
		}
	}
	return values
}

// lookups returns the times in nanoseconds of one case of the route look-up.
func (r *Results) lookups(routes int, kind string) []float64 {
	var values []float64
	for _, s := range r.Routes {
		if s.Routes == routes && s.Kind == kind {
			values = append(values, s.Nanos)
		}
	}
	return values
}

// measured returns the subjects there are figures of, in the order of Subjects.
func (r *Results) measured() []string {
	return slices.DeleteFunc(Subjects(), func(name string) bool {
		return !slices.ContainsFunc(r.Closed, func(s ClosedSample) bool { return s.Subject == name }) &&
			!slices.ContainsFunc(r.Fixed, func(s FixedSample) bool { return s.Subject == name }) &&
			!slices.ContainsFunc(r.Memory, func(s MemorySample) bool { return s.Subject == name })
	})
}

// Write puts peers.json, peers.html and the configurations into dir.
func (r *Results) Write(dir string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	html, err := r.page()
	if err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	files := map[string][]byte{"peers.json": append(data, '\n'), "peers.html": html}
	for _, c := range r.Configs {
		files[filepath.Join("configs", c.Fleet, c.Subject, c.File)] = []byte(c.Text)
	}
	var failed error
	for name, text := range files {
		failed = errors.Join(failed, writeFile(filepath.Join(dir, name), text))
	}
	return failed
}

func writeFile(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // A build directory.
		return fmt.Errorf("writing results: %w", err)
	}
	if err := os.WriteFile(name, text, 0o644); err != nil { //nolint:gosec // Results are for everybody.
		return fmt.Errorf("writing results: %w", err)
	}
	return nil
}
