package peers

import (
	"fmt"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/loadgen/report"
	"github.com/sentinel-proxy/sentinel-go/loadgen/stat"
)

// Text returns the figures and then the gates; nothing when no round was begun.
func (a *Agents) Text() string {
	var text strings.Builder
	for _, t := range []report.Table{a.fixedTable(), a.closedTable(), a.gateTable()} {
		if len(t.Rows) > 0 {
			text.WriteString(t.Text() + "\n")
		}
	}
	return text.String()
}

func (a *Agents) fixedTable() report.Table {
	r := a.results
	t := report.Table{
		Title: fmt.Sprintf("At %d requests/s, µs", lowRate),
		Head:  []string{"Agent", "p50", "p99", "Added p50", "Range", "Added p99", "Range"},
		Notes: []string{"Latency counts from the moment a request was due. Added: to that of the same round without an agent."},
	}
	for _, s := range a.subjects() {
		p50, p99 := r.fixed(low().name, s, fixedP50), r.fixed(low().name, s, fixedP99)
		if len(p50) == 0 {
			continue
		}
		row := []string{titles[s], report.Number(median(p50)), report.Number(median(p99))}
		for _, figure := range []func(FixedSample) float64{fixedP50, fixedP99} {
			row = append(row, addedCells(s, added(figure)(r, s))...)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// addedCells returns the median and the range of what a subject adds; the one without an agent adds nothing.
func addedCells(subject string, values []float64) []string {
	more := stat.Summarize(values)
	if subject == alone || more.Rounds == 0 {
		return []string{"-", "-"}
	}
	return []string{report.Number(more.Median), spread(more)}
}

func (a *Agents) closedTable() report.Table {
	r := a.results
	t := report.Table{
		Title: fmt.Sprintf("%d keep-alive connections, closed loop", connections),
		Head: []string{
			"Agent", "Requests/s", "Range", "Proxy CPU µs/request", "Agent CPU µs/request", "p99 µs", "Origin cores", "Generator cores", "Other cores",
		},
	}
	columns := []func(ClosedSample) float64{
		cpuMicros,
		func(s ClosedSample) float64 { return s.AgentMicros },
		p99Micros,
		func(s ClosedSample) float64 { return s.OriginCores },
		func(s ClosedSample) float64 { return s.GeneratorCores },
		func(s ClosedSample) float64 { return s.OtherCores },
	}
	for _, s := range a.subjects() {
		rps := stat.Summarize(r.closed(workAgents, s, requestsPerSecond))
		if rps.Rounds == 0 {
			continue
		}
		row := []string{titles[s], report.Number(rps.Median), spread(rps)}
		for _, figure := range columns {
			row = append(row, report.Number(median(r.closed(workAgents, s, figure))))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func (a *Agents) gateTable() report.Table {
	r := a.results
	return r.gateTable(fmt.Sprintf("Medians of %d rounds of %.0f s, %s. In brackets: for information.", r.Rounds, r.Seconds, r.Machine))
}

// subjects returns the one without an agent first.
func (*Agents) subjects() []string {
	names := []string{alone}
	for _, d := range dialects {
		names = append(names, d.name)
	}
	return names
}
