package peers

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// RouteSample is one run of one case of the route look-up benchmark.
type RouteSample struct {
	Routes int     `json:"routes"`
	Kind   string  `json:"kind"` // "mix" is the one the gate is for
	Nanos  float64 `json:"ns"`
	Allocs int     `json:"allocs"`
}

// benchmarkLine matches what go test prints for BenchmarkMatch/ROUTES/KIND-PROCESSORS.
var benchmarkLine = regexp.MustCompile(`(?m)^BenchmarkMatch/(\d+)/([a-z]+)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op\s.*?(\d+) allocs/op$`)

// measureRoutes runs the benchmark that lives beside the routing code. It needs the module as working directory.
func (b *bench) measureRoutes(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^BenchmarkMatch$", "-benchmem", //nolint:gosec // Fixed program, a number.
		"-benchtime=100ms", "-count="+strconv.Itoa(b.Rounds), "./sentinel/internal/route")
	text, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running the benchmark: %w\n%s", err, text)
	}
	if b.results.Routes, err = parseRoutes(string(text)); err != nil {
		return err
	}
	b.progress("P7 %d runs of the look-up benchmark", len(b.results.Routes))
	return nil
}

func parseRoutes(text string) ([]RouteSample, error) {
	var samples []RouteSample
	for _, m := range benchmarkLine.FindAllStringSubmatch(text, -1) {
		s := RouteSample{Kind: m[2]}
		var err error
		if s.Routes, err = strconv.Atoi(m[1]); err != nil {
			return nil, fmt.Errorf("number of routes in %q: %w", m[0], err)
		}
		if s.Nanos, err = strconv.ParseFloat(m[3], 64); err != nil {
			return nil, fmt.Errorf("time in %q: %w", m[0], err)
		}
		if s.Allocs, err = strconv.Atoi(m[4]); err != nil {
			return nil, fmt.Errorf("allocations in %q: %w", m[0], err)
		}
		samples = append(samples, s)
	}
	if len(samples) == 0 {
		return nil, fmt.Errorf("no benchmark line in %q", text)
	}
	return samples, nil
}
