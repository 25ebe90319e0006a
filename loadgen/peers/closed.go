package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sentinel-proxy/sentinel-go/loadgen/proc"
	"github.com/sentinel-proxy/sentinel-go/loadgen/wrk"
)

const (
	connections = 64          // of the closed loop
	warmUp      = time.Second // unmeasured load before each measured one
	minLogLine  = 100         // bytes; a JSON line of an access log is longer
)

// load is one kind of work in a closed loop.
type load struct {
	work string
	path string
}

// ClosedSample is one closed-loop run of one subject.
type ClosedSample struct {
	Work              string  `json:"work"`
	Subject           string  `json:"subject"`
	Round             int     `json:"round"` // from 0
	Requests          int     `json:"requests"`
	RequestsPerSecond float64 `json:"requests_per_second"`
	CPUMicros         float64 `json:"cpu_us_per_request"`                 // of the proxy's processes
	AgentMicros       float64 `json:"agent_cpu_us_per_request,omitempty"` // of the agent's; 0: there is none
	P50Micros         float64 `json:"p50_us"`
	P99Micros         float64 `json:"p99_us"`
	OriginCores       float64 `json:"origin_cores"`    // processors the origin kept busy; near 1: it was the bottleneck
	GeneratorCores    float64 `json:"generator_cores"` // likewise the load generator
	OtherCores        float64 `json:"other_cores"`     // likewise whatever else ran on the machine: noise
}

func (b *bench) closedLoop(ctx context.Context, f *fleet, loads []load) error {
	for round := range b.Rounds {
		if err := b.closedRound(ctx, f, loads, round); err != nil {
			return err
		}
	}
	return nil
}

// closedRound gives every subject its turn under every load.
func (b *bench) closedRound(ctx context.Context, f *fleet, loads []load, round int) error {
	for _, l := range loads {
		for _, i := range b.order(round) {
			s, err := b.closedSample(ctx, f, f.proxies[i], l)
			if err != nil {
				return fmt.Errorf("%s under %s: %w", f.proxies[i].name, l.work, err)
			}
			s.Round = round
			b.results.Closed = append(b.results.Closed, s)
			b.progress("%s round %d/%d %-9s %6.0f requests/s, %6.2f µs CPU/request, p99 %6.0f µs, others %.2f cores",
				l.work, round+1, b.Rounds, s.Subject, s.RequestsPerSecond, s.CPUMicros, s.P99Micros, s.OtherCores)
		}
	}
	return nil
}

func (b *bench) closedSample(ctx context.Context, f *fleet, p *process, l load) (ClosedSample, error) {
	w := wrk.Load{URL: p.url(l.path), Connections: connections, Duration: warmUp}
	if _, err := wrk.Run(ctx, w); err != nil {
		return ClosedSample{}, err
	}
	before, err := readMeter(f, p)
	if err != nil {
		return ClosedSample{}, err
	}
	w.Duration = b.Duration
	report, err := wrk.Run(ctx, w)
	if err != nil {
		return ClosedSample{}, err
	}
	after, err := readMeter(f, p)
	if err != nil {
		return ClosedSample{}, err
	}
	if err := checkLog(p, report.Requests); err != nil {
		return ClosedSample{}, err
	}
	s, err := divide(after.minus(before), report)
	s.Work, s.Subject = l.work, p.name
	return s, err
}

// divide divides what was used by what was done.
func divide(used meter, r wrk.Report) (ClosedSample, error) {
	if used.proxy <= 0 {
		return ClosedSample{}, errors.New("the proxy used no processor time: the wrong process was watched")
	}
	others := used.machine - used.proxy - used.agent - used.origin - used.self - r.CPU
	cores := func(d time.Duration) float64 { return d.Seconds() / used.elapsed.Seconds() }
	s := ClosedSample{
		Requests:          r.Requests,
		RequestsPerSecond: float64(r.Requests) / r.Elapsed.Seconds(),
		CPUMicros:         micros(used.proxy) / float64(r.Requests),
		AgentMicros:       micros(used.agent) / float64(r.Requests),
		P50Micros:         micros(r.P50),
		P99Micros:         micros(r.P99),
		OriginCores:       cores(used.origin),
		GeneratorCores:    cores(r.CPU),
		OtherCores:        max(0, cores(others)), // the readings are some milliseconds apart
	}
	return s, nil
}

// meter is processor time used so far.
type meter struct {
	at                                  time.Time
	elapsed                             time.Duration // wall clock; only in a difference
	proxy, agent, origin, self, machine time.Duration
}

func readMeter(f *fleet, p *process) (m meter, err error) {
	if m.proxy, err = proc.CPU(p.pids...); err != nil {
		return m, err
	}
	if p.asks != nil {
		if m.agent, err = proc.CPU(p.asks.pids...); err != nil {
			return m, err
		}
	}
	if m.origin, err = proc.CPU(f.origin.pids...); err != nil {
		return m, err
	}
	if m.self, err = proc.CPU(os.Getpid()); err != nil {
		return m, err
	}
	if m.machine, err = proc.Busy(); err != nil {
		return m, err
	}
	m.at = time.Now()
	return m, nil
}

func (m meter) minus(o meter) meter {
	return meter{
		elapsed: m.at.Sub(o.at),
		proxy:   m.proxy - o.proxy,
		agent:   m.agent - o.agent,
		origin:  m.origin - o.origin,
		self:    m.self - o.self,
		machine: m.machine - o.machine,
	}
}

// checkLog makes sure that a subject which should write an access log did, and empties it: at full speed it grows by
// gigabytes in an hour.
func checkLog(p *process, requests int) error {
	if p.AccessLog == "" {
		return nil
	}
	info, err := os.Stat(p.AccessLog)
	if err != nil {
		return fmt.Errorf("looking at the access log: %w", err)
	}
	if info.Size() < int64(requests)*minLogLine {
		return fmt.Errorf("%d bytes of access log are too few for %d requests", info.Size(), requests)
	}
	if err := os.Truncate(p.AccessLog, 0); err != nil {
		return fmt.Errorf("emptying the access log: %w", err)
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
