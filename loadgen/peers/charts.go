package peers

import (
	"github.com/sentinel-proxy/sentinel-go/loadgen/report"
	"github.com/sentinel-proxy/sentinel-go/loadgen/stat"
)

// charts leaves out what was not measured.
func (r *Results) charts() []report.Bars {
	all := []report.Bars{
		r.closedChart(workSmall, "P1: CPU per request, 1 KiB", cpuMicros),
		r.closedChart(workLogged, "P3: CPU per request, 1 KiB, log and metrics", cpuMicros),
		r.closedChart(workLarge, "P4: CPU per request, 64 KiB", cpuMicros),
		r.throughputChart(),
		r.closedChart(workSmall, "P2: p99 in the closed loop, 1 KiB", p99Micros),
	}
	for _, rate := range rates(r) {
		all = append(all, r.fixedChart(rate.name))
	}
	all = append(all,
		r.memoryChart("P9: memory per idle connection", func(s MemorySample) float64 { return s.AfterOne }),
		r.memoryChart("P9: the same, after all were busy", func(s MemorySample) float64 { return s.AfterBurst }))
	var filled []report.Bars
	for _, c := range all {
		if len(c.Bars) > 0 {
			filled = append(filled, c)
		}
	}
	return filled
}

func (r *Results) closedChart(work, title string, figure func(ClosedSample) float64) report.Bars {
	c := report.Bars{Title: title, Unit: "µs", Note: "Shorter is better."}
	for _, subject := range r.measured() {
		c.Bars = appendBar(c.Bars, subject, r.closed(work, subject, figure))
	}
	return c
}

func (r *Results) throughputChart() report.Bars {
	c := report.Bars{Title: "P2: requests per second, 1 KiB", Unit: "/s", Note: "Longer is better."}
	for _, subject := range r.measured() {
		c.Bars = appendBar(c.Bars, subject, r.closed(workSmall, subject, requestsPerSecond))
	}
	return c
}

func (r *Results) fixedChart(rate string) report.Bars {
	c := report.Bars{Title: "p99 at " + rate + ", 1 KiB", Unit: "µs", Note: "Shorter is better. From the moment a request was due."}
	for _, subject := range r.measured() {
		c.Bars = appendBar(c.Bars, subject, r.fixed(rate, subject, fixedP99))
	}
	return c
}

func (r *Results) memoryChart(title string, figure func(MemorySample) float64) report.Bars {
	c := report.Bars{Title: title, Unit: "KiB", Note: "Shorter is better."}
	for _, s := range r.Memory {
		c.Bars = appendBar(c.Bars, s.Subject, []float64{max(0, figure(s)/1024)})
	}
	return c
}

func appendBar(bars []report.Bar, subject string, values []float64) []report.Bar {
	if len(values) == 0 {
		return bars
	}
	s := stat.Summarize(values)
	return append(bars, report.Bar{
		Label: titles[subject], Value: s.Median, Low: s.Min, High: s.Max,
		Ours: subject == sentinel || subject == sentinelOne,
	})
}
