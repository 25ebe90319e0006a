package peers

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/loadgen/report"
	"github.com/sentinel-proxy/sentinel-go/loadgen/stat"
)

// titles are the subjects' names for people.
var titles = map[string]string{
	nginx: "nginx", haproxy: "HAProxy", caddy: "Caddy", sentinelOne: "Sentinel, 1 CPU", sentinel: "Sentinel",
	alone: "no agent", agentV1: "V1", agentV2D: "V2D", agentV2R: "V2R", agentG2: "G2",
}

// Text returns the figures and then the gates, so that what matters most is the last thing on the screen.
func (r *Results) Text() string {
	var text strings.Builder
	for _, t := range append(r.tables(), r.gateTable(oneDecides)) {
		if len(t.Rows) > 0 {
			text.WriteString(t.Text() + "\n")
		}
	}
	return text.String()
}

func (r *Results) page() ([]byte, error) {
	p := report.Page{
		Title: "Sentinel beside nginx, HAProxy and Caddy",
		Intro: []string{
			fmt.Sprintf("%s. %s. Commit %s.", r.Started.Format("2 January 2006, 15:04 UTC"), r.Machine, r.Commit),
			fmt.Sprintf("Medians of %d interleaved rounds of %.0f s. Ratios are taken within a round, then their median.", r.Rounds, r.Seconds),
			"Origin: " + r.Origin + ". Generator, origin and proxy share the machine; compare subjects, not machines.",
			fmt.Sprintf("%s; %s; Caddy %s; %s.", r.Versions[nginx], r.Versions[haproxy], r.Versions[caddy], r.Versions[sentinel]),
		},
		First:  r.gateTable(oneDecides),
		Charts: r.charts(),
		Tables: r.tables(),
	}
	for _, c := range r.Configs {
		p.Files = append(p.Files, report.File{Name: path.Join(c.Fleet, c.Subject, c.File), Text: c.Text})
	}
	return p.HTML()
}

// tables leaves out what was not measured.
func (r *Results) tables() []report.Table {
	all := []report.Table{
		r.closedTable(workSmall, "1 KiB, 64 keep-alive connections, closed loop"),
		r.closedTable(workLogged, "1 KiB with JSON access log and metrics"),
		r.closedTable(workLarge, "64 KiB, 64 keep-alive connections, closed loop"),
		r.fixedTable(),
		r.memoryTable(),
		r.routeTable(),
	}
	var filled []report.Table
	for _, t := range all {
		if len(t.Rows) > 0 {
			filled = append(filled, t)
		}
	}
	return filled
}

// tolerableNoise is how many processors other work may keep busy before a run says that it is not to be trusted.
const tolerableNoise = 0.2

// noise returns how many processors other work kept busy during the closed-loop runs.
func (r *Results) noise() float64 {
	var others []float64
	for _, s := range r.Closed {
		others = append(others, s.OtherCores)
	}
	return stat.Summarize(others).Median
}

// noiseNotes says so when the closed-loop runs are not to be trusted.
func (r *Results) noiseNotes() []string {
	n := r.noise()
	if n <= tolerableNoise {
		return nil
	}
	return []string{fmt.Sprintf("NOISY: other work kept %.2f processors busy. Measure again on an idle machine.", n)}
}

// oneDecides explains the verdicts in brackets.
const oneDecides = "Sentinel with one CPU decides; the other row is for information."

func (r *Results) gateTable(note string) report.Table {
	t := report.Table{
		Title: "Gates",
		Head:  []string{"#", "Work", "Subject", "Measured", "Range", "Must", "Aim", "Verdict"},
		Notes: []string{note},
	}
	t.Notes = append(t.Notes, r.noiseNotes()...)
	for _, g := range r.Gates {
		sign := "<= "
		if g.AtLeast {
			sign = ">= "
		}
		verdict := string(g.Verdict)
		if !g.Decides {
			verdict = "(" + verdict + ")"
		}
		t.Rows = append(t.Rows, []string{
			g.ID, g.Work, titles[g.Subject], report.Number(g.Measured.Median) + " " + g.Unit, spread(g.Measured),
			sign + report.Number(g.Must), sign + report.Number(g.Aim), verdict,
		})
	}
	return t
}

func (r *Results) closedTable(work, title string) report.Table {
	t := report.Table{
		Title: work + ": " + title,
		Head:  []string{"Subject", "CPU µs/request", "Range", "Requests/s", "p50 µs", "p99 µs", "Origin cores", "Generator cores", "Other cores"},
		Notes: []string{
			"A core count near 1 for origin or generator means that it, not the proxy, set the pace. Other cores is foreign load: noise.",
		},
	}
	columns := []func(ClosedSample) float64{
		requestsPerSecond,
		func(s ClosedSample) float64 { return s.P50Micros },
		p99Micros,
		func(s ClosedSample) float64 { return s.OriginCores },
		func(s ClosedSample) float64 { return s.GeneratorCores },
		func(s ClosedSample) float64 { return s.OtherCores },
	}
	for _, subject := range r.measured() {
		cpu := stat.Summarize(r.closed(work, subject, cpuMicros))
		if cpu.Rounds == 0 {
			continue
		}
		row := []string{titles[subject], report.Number(cpu.Median), spread(cpu)}
		for _, figure := range columns {
			row = append(row, report.Number(stat.Summarize(r.closed(work, subject, figure)).Median))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func (r *Results) fixedTable() report.Table {
	t := report.Table{
		Title: "Latency at a fixed rate, 1 KiB",
		Head:  []string{"Subject", "Rate", "Requests/s", "p50 µs", "p90 µs", "p99 µs", "p99.9 µs"},
		Notes: []string{"Latency counts from the moment a request was due, so waiting for a free connection is included."},
	}
	columns := []func(FixedSample) float64{
		func(s FixedSample) float64 { return s.PerSecond },
		func(s FixedSample) float64 { return s.P50Micros },
		func(s FixedSample) float64 { return s.P90Micros },
		fixedP99,
		func(s FixedSample) float64 { return s.P999Micros },
	}
	for _, rate := range rates(r) {
		for _, subject := range r.measured() {
			if len(r.fixed(rate.name, subject, fixedP99)) == 0 {
				continue
			}
			row := []string{titles[subject], rate.name}
			for _, figure := range columns {
				row = append(row, report.Number(stat.Summarize(r.fixed(rate.name, subject, figure)).Median))
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

func (r *Results) memoryTable() report.Table {
	t := report.Table{
		Title: "P9: memory per idle keep-alive connection",
		Head:  []string{"Subject", "Connections", "KiB after one request each", "KiB after all were busy", "Process MiB before"},
	}
	for _, s := range r.Memory {
		t.Rows = append(t.Rows, []string{
			titles[s.Subject], fmt.Sprint(s.Connections), report.Number(s.AfterOne / 1024), report.Number(s.AfterBurst / 1024),
			report.Number(float64(s.BaseBytes) / (1 << 20)),
		})
	}
	return t
}

// routeTable has a row for each kind of request and a column for each size of table.
func (r *Results) routeTable() report.Table {
	t := report.Table{Title: "P7: route look-up, ns", Head: []string{"Request"}}
	var sizes []int
	var kinds []string
	for _, s := range r.Routes {
		if !slices.Contains(sizes, s.Routes) {
			sizes = append(sizes, s.Routes)
		}
		if !slices.Contains(kinds, s.Kind) {
			kinds = append(kinds, s.Kind)
		}
	}
	for _, n := range sizes {
		t.Head = append(t.Head, fmt.Sprintf("%d routes", n))
	}
	for _, kind := range kinds {
		row := []string{kind}
		for _, n := range sizes {
			row = append(row, report.Number(stat.Summarize(r.lookups(n, kind)).Median))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func fixedP50(s FixedSample) float64 { return s.P50Micros }
func fixedP99(s FixedSample) float64 { return s.P99Micros }

func spread(s stat.Summary) string {
	return report.Number(s.Min) + " to " + report.Number(s.Max)
}
