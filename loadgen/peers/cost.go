package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-proxy/sentinel-go/loadgen/report"
	"github.com/sentinel-proxy/sentinel-go/loadgen/stat"
)

// The subjects of a cost run.
const (
	costBase = "base" // another build, plain
	costOff  = "off"  // the subject of P1: nothing written that looks after the upstream
	costOn   = "on"   // the same binary with all of it written
)

// CostOptions says what MeasureCost compares and for how long.
type CostOptions struct {
	Pairs    int           // at least 1; 6 for an interval, 15 for a claim
	Duration time.Duration // of one measured load; whole seconds
	Limit    float64       // the highest median ratio that is not a miss; above 0
	Sentinel string        // the binary
	Base     string        // another build of it; empty: none
	Progress io.Writer     // one line per measurement
}

// Cost is what looking after the upstream costs: P1's processor time per request, pair by pair.
type Cost struct {
	about       *Results // machine and versions
	comparisons []comparison
}

// comparison is the ratio of two subjects in every pair, and the limit its median is held to.
type comparison struct {
	ours, theirs string
	results      *Results
	ratios       []float64
	limit        float64
}

// MeasureCost runs P1's load against one binary in two configurations, which differ only in what looks after the
// upstream, and then, if there is a base, against both builds in the plain one. When a comparison breaks off, the
// error comes with those before it.
func MeasureCost(ctx context.Context, o CostOptions) (*Cost, error) {
	if o.Pairs < 1 || !(o.Limit > 0) { // as it stands, NaN is refused too
		return &Cost{}, fmt.Errorf("nothing to measure: %d pairs, limit %v", o.Pairs, o.Limit)
	}
	options := Options{Rounds: o.Pairs, Duration: o.Duration, Programs: Programs{Sentinel: o.Sentinel}, Progress: o.Progress}
	c := &Cost{about: newResults(ctx, options)}
	if o.Base != "" {
		c.about.Versions[costBase] = firstLine(ctx, o.Base, "--version")
	}
	for _, pair := range costPairs(o) {
		b := &bench{Options: options, subjects: pair[:], alternate: true, results: &Results{}}
		if err := b.inDirectory(ctx, b.measurePairs); err != nil {
			return c, err
		}
		x, err := compare(pair, b.results, o.Limit)
		if err != nil {
			return c, err
		}
		c.comparisons = append(c.comparisons, x)
	}
	return c, nil
}

// costPairs returns who is compared, the one that is divided by first. Each comparison has its own runs of two: of
// three subjects one would always go between the others, and its place be taken for a difference.
func costPairs(o CostOptions) [][2]subject {
	off := subject{name: costOff, template: "sentinel.kdl", program: o.Sentinel, args: []string{"--config"}, env: []string{"GOMAXPROCS=1"}}
	on := off
	on.name, on.guarded = costOn, true
	pairs := [][2]subject{{off, on}}
	if o.Base != "" {
		base := off
		base.name, base.program = costBase, o.Base
		pairs = append(pairs, [2]subject{base, off})
	}
	return pairs
}

// measurePairs starts every process anew for each pair: what a process happens to be dealt for its life, such as the
// layout of its memory, would otherwise be taken for a difference between the configurations.
func (b *bench) measurePairs(ctx context.Context) error {
	for round := range b.Rounds {
		if err := b.measurePair(ctx, round); err != nil {
			return fmt.Errorf("pair %d: %w", round+1, err)
		}
	}
	return nil
}

func (b *bench) measurePair(ctx context.Context, round int) error {
	f, err := b.startFleet(ctx, "pair-"+strconv.Itoa(round+1), false)
	if err != nil {
		return err
	}
	defer f.stop()
	return b.closedRound(ctx, f, []load{{work: workSmall, path: smallPath}}, round)
}

// compare takes the ratios of a complete run.
func compare(pair [2]subject, r *Results, limit float64) (comparison, error) {
	x := comparison{ours: pair[1].name, theirs: pair[0].name, results: r, limit: limit}
	var err error
	if x.ratios, err = stat.Ratios(x.cpu(x.ours), x.cpu(x.theirs)); err != nil {
		return x, fmt.Errorf("comparing %s: %w", x.name(), err)
	}
	return x, nil
}

func (x comparison) cpu(subject string) []float64 {
	return x.results.closed(workSmall, subject, cpuMicros)
}

func (x comparison) name() string { return x.ours + " / " + x.theirs }

func (x comparison) verdict() Verdict {
	if stat.Summarize(x.ratios).Median > x.limit {
		return Miss
	}
	return Pass
}

// Failure returns an error when a median ratio is above the limit.
func (c *Cost) Failure() error {
	var failed error
	for _, x := range c.comparisons {
		if x.verdict() == Miss {
			failed = errors.Join(failed, fmt.Errorf("%s is %.3f in the median, above %v", x.name(), stat.Summarize(x.ratios).Median, x.limit))
		}
	}
	return failed
}

// Text returns every pair and then what they come to; nothing when no comparison was completed.
func (c *Cost) Text() string {
	if len(c.comparisons) == 0 {
		return ""
	}
	var text strings.Builder
	for _, x := range c.comparisons {
		text.WriteString(x.table().Text() + "\n")
	}
	return text.String() + c.table().Text()
}

// table has a row for each pair.
func (x comparison) table() report.Table {
	t := report.Table{
		Title: x.name() + ": P1, CPU µs/request",
		Head:  []string{"Pair", "First", x.theirs, x.ours, "Ratio"},
		Notes: x.results.noiseNotes(),
	}
	ours, theirs := x.cpu(x.ours), x.cpu(x.theirs)
	for i, ratio := range x.ratios {
		t.Rows = append(t.Rows, []string{
			strconv.Itoa(i + 1), x.results.Closed[2*i].Subject,
			fmt.Sprintf("%.2f", theirs[i]), fmt.Sprintf("%.2f", ours[i]), fmt.Sprintf("%.3f", ratio),
		})
	}
	return t
}

// table has a row for each comparison.
func (c *Cost) table() report.Table {
	t := report.Table{
		Title: fmt.Sprintf("Ratios of %d pairs of %.0f s, %s", c.about.Rounds, c.about.Seconds, c.about.Machine),
		Head:  []string{"Ratio", "Median", "Min", "Max", fmt.Sprintf("%.0f %% interval", 100*stat.Confidence), "Limit", "Verdict"},
		Notes: []string{"off, on: " + c.about.Versions[sentinel]},
	}
	if base := c.about.Versions[costBase]; base != "" {
		t.Notes = append(t.Notes, "base: "+base)
	}
	for _, x := range c.comparisons {
		s := stat.Summarize(x.ratios)
		t.Rows = append(t.Rows, []string{
			x.name(), fmt.Sprintf("%.3f", s.Median), fmt.Sprintf("%.3f", s.Min), fmt.Sprintf("%.3f", s.Max),
			intervalText(stat.MedianInterval(x.ratios)), fmt.Sprint(x.limit), string(x.verdict()),
		})
	}
	return t
}

func intervalText(i stat.Interval) string {
	if i == (stat.Interval{}) {
		return "too few pairs"
	}
	return fmt.Sprintf("%.3f to %.3f", i.Low, i.High)
}
