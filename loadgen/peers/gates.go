package peers

import (
	"errors"
	"fmt"

	"github.com/sentinel-proxy/sentinel-go/loadgen/stat"
)

// Verdict says how a figure compares with its gate.
type Verdict string

// The verdicts.
const (
	Aim  Verdict = "aim reached"
	Pass Verdict = "pass"
	Miss Verdict = "MISS"
)

// Gate is one figure that must be reached, and what was.
type Gate struct {
	ID       string       `json:"id"`
	Work     string       `json:"work"`
	Subject  string       `json:"subject"`
	Decides  bool         `json:"decides"` // false: for information
	Unit     string       `json:"unit"`    // "x nginx" and the like for ratios
	AtLeast  bool         `json:"at_least"`
	Must     float64      `json:"must"`
	Aim      float64      `json:"aim"`
	Measured stat.Summary `json:"measured"`
	Verdict  Verdict      `json:"verdict"`
}

// limit is a gate before it is measured.
type limit struct {
	id, work, unit string
	must, aim      float64
	atLeast        bool
	values         func(r *Results, subject string) []float64 // none: not measured
}

var limits = []limit{
	{
		id: "P1", work: "CPU per request, 1 KiB, 64 connections", unit: "x nginx", must: 1.15, aim: 0.9,
		values: against(nginx, workSmall, cpuMicros),
	},
	{
		id: "P2", work: "requests per second, the same", unit: "x nginx", must: 0.95, aim: 1.1, atLeast: true,
		values: against(nginx, workSmall, requestsPerSecond),
	},
	{
		id: "P2", work: "p99, the same", unit: "x haproxy", must: 1.5, aim: 1.0,
		values: against(haproxy, workSmall, p99Micros),
	},
	{
		id: "P3", work: "CPU per request, with access log and metrics", unit: "x nginx", must: 1.15, aim: 0.95,
		values: against(nginx, workLogged, cpuMicros),
	},
	{
		id: "P4", work: "CPU per request, 64 KiB", unit: "x haproxy", must: 1.1, aim: 0.9,
		values: against(haproxy, workLarge, cpuMicros),
	},
	{id: "P7", work: "route look-up among 10,000 routes", unit: "ns", must: 1000, aim: 300, values: lookupNanos},
	{id: "P7", work: "allocations, the same", unit: "allocs", must: 0, aim: 0, values: lookupAllocs},
	{id: "P7", work: "time compared with 10 routes, the same", unit: "x 10 routes", must: 3, aim: 3, values: lookupGrowth},
	{
		id: "P9", work: "memory per idle connection", unit: "KiB", must: 8, aim: 3,
		values: memoryKiB(func(s MemorySample) float64 { return s.AfterOne }),
	},
	{
		id: "P9", work: "the same, a while after all were busy at once", unit: "KiB", must: 8, aim: 3,
		values: memoryKiB(func(s MemorySample) float64 { return s.AfterBurst }),
	},
}

// judge compares what was measured with the gates. Work or subjects that were not asked for yield no gate.
func judge(r *Results) []Gate {
	var gates []Gate
	for _, l := range limits {
		for _, subject := range []string{sentinelOne, sentinel} {
			if values := l.values(r, subject); len(values) > 0 {
				gates = append(gates, l.gate(values, subject, subject == sentinelOne))
			}
		}
	}
	return gates
}

func (l limit) gate(values []float64, subject string, decides bool) Gate {
	g := Gate{
		ID: l.id, Work: l.work, Subject: subject, Decides: decides,
		Unit: l.unit, AtLeast: l.atLeast, Must: l.must, Aim: l.aim, Measured: stat.Summarize(values),
	}
	g.Verdict = g.verdict()
	return g
}

func (g Gate) verdict() Verdict {
	reaches := func(bound float64) bool {
		if g.AtLeast {
			return g.Measured.Median >= bound
		}
		return g.Measured.Median <= bound
	}
	switch {
	case reaches(g.Aim):
		return Aim
	case reaches(g.Must):
		return Pass
	}
	return Miss
}

// Failure returns an error when a gate that decides was missed, or when none was measured at all.
func (r *Results) Failure() error {
	decided, missed := 0, 0
	for _, g := range r.Gates {
		if !g.Decides {
			continue
		}
		decided++
		if g.Verdict == Miss {
			missed++
		}
	}
	if decided == 0 {
		return errors.New("no gate was measured")
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d gates were missed", missed, decided)
	}
	return nil
}

func cpuMicros(s ClosedSample) float64         { return s.CPUMicros }
func requestsPerSecond(s ClosedSample) float64 { return s.RequestsPerSecond }
func p99Micros(s ClosedSample) float64         { return s.P99Micros }

// against divides a figure by a peer's, round by round.
func against(peer, work string, figure func(ClosedSample) float64) func(*Results, string) []float64 {
	return func(r *Results, subject string) []float64 {
		ratios, err := stat.Ratios(r.closed(work, subject, figure), r.closed(work, peer, figure))
		if err != nil {
			return nil // one of the two was not asked for, or the run broke off in the middle of a round
		}
		return ratios
	}
}

func memoryKiB(figure func(MemorySample) float64) func(*Results, string) []float64 {
	return func(r *Results, subject string) []float64 {
		for _, s := range r.Memory {
			if s.Subject == subject {
				return []float64{figure(s) / 1024}
			}
		}
		return nil
	}
}

// The route look-up belongs to no way of running the proxy; it is shown once, with the one that decides.

func lookupNanos(r *Results, subject string) []float64 {
	if subject != sentinelOne {
		return nil
	}
	return r.lookups(10000, "mix")
}

func lookupAllocs(r *Results, subject string) []float64 {
	if subject != sentinelOne || len(r.Routes) == 0 {
		return nil
	}
	most := 0
	for _, s := range r.Routes {
		most = max(most, s.Allocs)
	}
	return []float64{float64(most)}
}

func lookupGrowth(r *Results, subject string) []float64 {
	if subject != sentinelOne {
		return nil
	}
	ratios, err := stat.Ratios(r.lookups(10000, "mix"), r.lookups(10, "mix"))
	if err != nil {
		return nil // the benchmark was not asked for
	}
	return ratios
}
