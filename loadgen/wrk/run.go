package wrk

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"time"
)

// Load is one closed-loop run: every connection sends its next request when the last answer is complete.
type Load struct {
	URL         string
	Connections int
	Duration    time.Duration // whole seconds, at least one
}

// Run runs wrk with one thread and returns its report with the processor time it used itself.
// A run in which any request failed is an error: its figures would not compare.
func Run(ctx context.Context, l Load) (Report, error) {
	seconds := int(l.Duration / time.Second)
	if seconds < 1 || l.Duration%time.Second != 0 {
		return Report{}, fmt.Errorf("running wrk for %v: it counts whole seconds", l.Duration)
	}
	cmd := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(l.Connections), //nolint:gosec // Fixed program; the arguments are numbers and our own URL.
		"-d"+strconv.Itoa(seconds)+"s", "--latency", l.URL)
	text, err := cmd.Output()
	if ctx.Err() != nil {
		return Report{}, fmt.Errorf("running wrk: %w", ctx.Err())
	}
	if err != nil {
		return Report{}, fmt.Errorf("running wrk: %w%s", err, stderr(err))
	}
	r, err := Parse(string(text))
	if err != nil {
		return Report{}, err
	}
	if r.Failed > 0 {
		return Report{}, fmt.Errorf("%d of %d requests to %s failed", r.Failed, r.Requests, l.URL)
	}
	r.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return r, nil
}

func stderr(err error) string {
	var exit *exec.ExitError
	if !errors.As(err, &exit) || len(exit.Stderr) == 0 {
		return ""
	}
	return ": " + string(exit.Stderr)
}
