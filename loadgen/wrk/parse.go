package wrk

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Report is what wrk says about one run.
type Report struct {
	Requests int           // completed
	Elapsed  time.Duration // as wrk measured it
	P50, P99 time.Duration // from the moment of sending: in a closed loop waiting for a free connection does not count
	Failed   int           // socket errors and answers other than 2xx and 3xx
	CPU      time.Duration // of wrk itself; set by Run
}

var (
	totalLine  = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([\d.]+[a-z]+),`)
	p50Line    = regexp.MustCompile(`(?m)^\s+50%\s+([\d.]+[a-z]+)\s*$`)
	p99Line    = regexp.MustCompile(`(?m)^\s+99%\s+([\d.]+[a-z]+)\s*$`)
	socketLine = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	statusLine = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
)

// Parse reads the text wrk --latency prints. It fails when a figure is missing or no request was completed.
func Parse(text string) (Report, error) {
	total := totalLine.FindStringSubmatch(text)
	if total == nil {
		return Report{}, fmt.Errorf("no total in wrk's report %q", text)
	}
	var r Report
	var err error
	if r.Requests, err = strconv.Atoi(total[1]); err != nil || r.Requests == 0 {
		return Report{}, fmt.Errorf("wrk completed %q requests", total[1])
	}
	if r.Elapsed, err = duration(total[2]); err != nil {
		return Report{}, err
	}
	if r.P50, err = percentile(p50Line, text); err != nil {
		return Report{}, err
	}
	if r.P99, err = percentile(p99Line, text); err != nil {
		return Report{}, err
	}
	r.Failed = failures(text)
	return r, nil
}

func percentile(line *regexp.Regexp, text string) (time.Duration, error) {
	m := line.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no line %s in wrk's report %q", line, text)
	}
	return duration(m[1])
}

// duration reads wrk's units, which are Go's: us, ms, s, m and h.
func duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("reading wrk's report: %w", err)
	}
	return d, nil
}

// failures adds up wrk's complaints; wrk prints those lines only when there are any.
func failures(text string) int {
	total := 0
	for _, line := range []*regexp.Regexp{socketLine, statusLine} {
		m := line.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		for _, digits := range m[1:] {
			n, err := strconv.Atoi(digits)
			if err != nil {
				n = 1 // too many to count is still a failure
			}
			total += n
		}
	}
	return total
}
