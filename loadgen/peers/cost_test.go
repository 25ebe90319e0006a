package peers

import (
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// features are what only the configuration of costOn has.
var features = []string{
	"max-requests 4000", `load-balancing "least_connections"`, "health-check", `type "http"`, `path "/1k"`, "interval-secs 1",
	"circuit-breaker", "retry-policy",
}

func TestGuardedConfigAddsTheFeatures(t *testing.T) {
	plain, err := render("sentinel.kdl", testSetup)
	if err != nil {
		t.Fatal(err)
	}
	guarded := testSetup
	guarded.Guarded = true
	text, err := render("sentinel.kdl", guarded)
	if err != nil {
		t.Fatal(err)
	}
	for _, feature := range features {
		if strings.Contains(plain, feature) || !strings.Contains(text, feature) {
			t.Errorf("%q is not what the two differ in:\n%s\n%s", feature, plain, text)
		}
	}
	if n := strings.Count(text, "circuit-breaker"); n != 2 {
		t.Errorf("%d circuit breakers, want one of the route and one of the targets:\n%s", n, text)
	}
	if n := strings.Count(text, "target "); n != 1 || !strings.Contains(text, "target \"127.0.0.1:2222\" {") {
		t.Errorf("%d targets, want the one of the plain configuration:\n%s", n, text)
	}
	rest := strings.Split(text, "\n")
	for line := range strings.SplitSeq(plain, "\n") {
		i := slices.IndexFunc(rest, func(s string) bool { return strings.HasPrefix(s, line) })
		if i < 0 {
			t.Fatalf("%q is not in the other configuration, or not in its place:\n%s", line, text)
		}
		rest = rest[i+1:]
	}
}

// off is what P1 measures, so that the two works speak of the same thing.
func TestCostPairs(t *testing.T) {
	all := subjects(Programs{Sentinel: "ours"})
	p1 := all[slices.IndexFunc(all, func(s subject) bool { return s.name == sentinelOne })]
	off, on, base := p1, p1, p1
	off.name, on.name, base.name = costOff, costOn, costBase
	on.guarded, base.program = true, "theirs"
	if got := costPairs(CostOptions{Sentinel: "ours"}); !reflect.DeepEqual(got, [][2]subject{{off, on}}) {
		t.Errorf("pairs are %+v", got)
	}
	if got := costPairs(CostOptions{Sentinel: "ours", Base: "theirs"}); !reflect.DeepEqual(got, [][2]subject{{off, on}, {base, off}}) {
		t.Errorf("pairs with a base are %+v", got)
	}
}

func TestOrderAlternates(t *testing.T) {
	b := &bench{subjects: make([]subject, 2), alternate: true}
	for round, want := range [][]int{{0, 1}, {1, 0}, {0, 1}, {1, 0}} {
		if got := b.order(round); !slices.Equal(got, want) {
			t.Errorf("round %d has the order %v, want %v", round, got, want)
		}
	}
}

// comparisonOf makes a comparison from the processor times of theirs and ours, pair by pair, in alternating order.
func comparisonOf(t *testing.T, theirs, ours string, cpu ...[2]float64) comparison {
	t.Helper()
	r := &Results{}
	for round, c := range cpu {
		pair := []ClosedSample{
			{Work: workSmall, Subject: theirs, Round: round, CPUMicros: c[0]},
			{Work: workSmall, Subject: ours, Round: round, CPUMicros: c[1]},
		}
		if round%2 == 1 {
			slices.Reverse(pair)
		}
		r.Closed = append(r.Closed, pair...)
	}
	x, err := compare([2]subject{{name: theirs}, {name: ours}}, r, 1.05)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestCostFailure(t *testing.T) {
	tests := []struct {
		name  string
		pairs [][2]float64
		want  string // in the error; empty: none
	}{
		{"below", [][2]float64{{100, 104}}, ""},
		{"at the limit", [][2]float64{{100, 105}}, ""},
		{"above", [][2]float64{{100, 106}}, "on / off is 1.060"},
		{"the median counts", [][2]float64{{100, 300}, {100, 101}, {200, 202}}, ""},
		{"ratios are those of the pairs", [][2]float64{{100, 110}, {500, 550}, {300, 300}}, "on / off is 1.100"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &Cost{comparisons: []comparison{comparisonOf(t, costOff, costOn, tt.pairs...)}}
			if err := c.Failure(); (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Failure() = %v, want %q", err, tt.want)
			}
		})
	}
}

// Every comparison is held to the limit.
func TestCostFailureOfTheSecond(t *testing.T) {
	c := &Cost{comparisons: []comparison{
		comparisonOf(t, costOff, costOn, [2]float64{100, 100}), comparisonOf(t, costBase, costOff, [2]float64{100, 120}),
	}}
	if err := c.Failure(); err == nil || err.Error() != "off / base is 1.200 in the median, above 1.05" {
		t.Errorf("Failure() = %v, want that of the second comparison", err)
	}
}

func TestCostText(t *testing.T) {
	pairs := [][2]float64{{40, 41}, {41, 42.1}, {40, 42}, {39, 40}, {40, 40.4}, {80, 88}}
	c := &Cost{
		about:       &Results{Machine: "machine", Rounds: 6, Seconds: 4, Versions: map[string]string{sentinel: "version 2", costBase: "version 1"}},
		comparisons: []comparison{comparisonOf(t, costOff, costOn, pairs...), comparisonOf(t, costBase, costOff, pairs[:2]...)},
	}
	text := c.Text()
	for _, want := range []string{
		"on / off: P1, CPU µs/request\nPair  First    off     on  Ratio\n",
		"   1  off    40.00  41.00  1.025\n",
		"   6  on     80.00  88.00  1.100\n",
		"off / base: P1, CPU µs/request\nPair  First   base    off  Ratio\n",
		"Ratios of 6 pairs of 4 s, machine\n",
		"on / off     1.026  1.010  1.100  1.010 to 1.100   1.05  pass\n",
		"off / base   1.026  1.025  1.027   too few pairs   1.05  pass\n",
		"off, on: version 2\nbase: version 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "NOISY") {
		t.Errorf("quiet pairs are called noisy:\n%s", text)
	}
	for i := range c.comparisons[1].results.Closed {
		c.comparisons[1].results.Closed[i].OtherCores = 0.9
	}
	if text := c.Text(); strings.Count(text, "NOISY: other work kept 0.90 processors busy.") != 1 {
		t.Errorf("noisy pairs do not say so:\n%s", text)
	}
}

func TestCompareNeedsWholePairs(t *testing.T) {
	r := &Results{Closed: []ClosedSample{{Work: workSmall, Subject: costOff, CPUMicros: 40}}}
	if x, err := compare([2]subject{{name: costOff}, {name: costOn}}, r, 1.05); err == nil {
		t.Errorf("half a pair gives %+v", x)
	}
}

func TestMeasureCostRefusesBadOptions(t *testing.T) {
	for name, o := range map[string]CostOptions{
		"no pairs":       {Pairs: 0, Limit: 1},
		"no limit":       {Pairs: 1, Limit: 0},
		"negative limit": {Pairs: 1, Limit: -1},
		"not a limit":    {Pairs: 1, Limit: math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			o.Progress = io.Discard
			if c, err := MeasureCost(t.Context(), o); err == nil || !strings.Contains(err.Error(), "nothing to measure") || c.Text() != "" {
				t.Errorf("MeasureCost = %+v, %v, want it to refuse", c, err)
			}
		})
	}
}
