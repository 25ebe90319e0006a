package peers

import (
	"context"
	"fmt"

	"github.com/sentinel-proxy/sentinel-go/loadgen/attack"
	"github.com/sentinel-proxy/sentinel-go/loadgen/stat"
)

const (
	lowRate   = 2000 // requests per second
	highShare = 0.4  // of what nginx reached in the closed loop
)

// FixedSample is one run at a fixed rate against one subject. Latencies count from the moment a request was due.
type FixedSample struct {
	Rate       string  `json:"rate"` // in words
	PerSecond  float64 `json:"per_second"`
	Subject    string  `json:"subject"`
	Round      int     `json:"round"` // from 0
	Requests   int64   `json:"requests"`
	P50Micros  float64 `json:"p50_us"`
	P90Micros  float64 `json:"p90_us"`
	P99Micros  float64 `json:"p99_us"`
	P999Micros float64 `json:"p999_us"`
	MaxMicros  float64 `json:"max_us"`
}

// rate is a fixed rate and its name.
type rate struct {
	name      string
	perSecond float64
}

func low() rate { return rate{name: fmt.Sprintf("%d/s", lowRate), perSecond: lowRate} }

// rates returns the low rate, and the high one when nginx has been measured.
func rates(r *Results) []rate {
	all := []rate{low()}
	reached := r.closed(workSmall, nginx, func(s ClosedSample) float64 { return s.RequestsPerSecond })
	if len(reached) > 0 {
		high := highShare * stat.Summarize(reached).Median
		all = append(all, rate{name: fmt.Sprintf("%.0f %% of nginx", 100*highShare), perSecond: high})
	}
	return all
}

func (b *bench) fixedRates(ctx context.Context, f *fleet) error {
	for round := range b.Rounds {
		for _, r := range rates(b.results) {
			if err := b.fixedRound(ctx, f, r, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// fixedRound gives every subject its turn at one rate.
func (b *bench) fixedRound(ctx context.Context, f *fleet, r rate, round int) error {
	for _, i := range b.order(round) {
		s, err := b.fixedSample(ctx, f.proxies[i], r)
		if err != nil {
			return fmt.Errorf("%s at %s: %w", f.proxies[i].name, r.name, err)
		}
		s.Round = round
		b.results.Fixed = append(b.results.Fixed, s)
		b.progress("latency round %d/%d %-9s at %s: p50 %.0f µs, p99 %.0f µs, p99.9 %.0f µs",
			round+1, b.Rounds, s.Subject, r.name, s.P50Micros, s.P99Micros, s.P999Micros)
	}
	return nil
}

func (b *bench) fixedSample(ctx context.Context, p *process, r rate) (FixedSample, error) {
	a := attack.Attack{
		Target:      p.Listen,
		Request:     []byte("GET /1k HTTP/1.1\r\nHost: " + p.Listen.String() + "\r\n\r\n"),
		Connections: connections,
		Rate:        r.perSecond,
		Duration:    warmUp / 2,
	}
	if _, err := a.Run(ctx); err != nil {
		return FixedSample{}, err
	}
	a.Duration = b.Duration
	got, err := a.Run(ctx)
	if err != nil {
		return FixedSample{}, err
	}
	return FixedSample{
		Rate:       r.name,
		PerSecond:  r.perSecond,
		Subject:    p.name,
		Requests:   got.Requests,
		P50Micros:  micros(got.P50),
		P90Micros:  micros(got.P90),
		P99Micros:  micros(got.P99),
		P999Micros: micros(got.P999),
		MaxMicros:  micros(got.Max),
	}, nil
}
