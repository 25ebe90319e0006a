package telemetry

// LimitStats is the state of the limits at the moment of a scrape.
type LimitStats struct {
	RateKeys    int  // that rate limits keep apart
	Clients     int  // with open connections
	InFlight    int  // requests that count for max-in-flight-requests
	Queued      int  // requests in line for that
	MemoryShort bool // new requests are refused
	// Evictions counts, by scope, the keys that a rate limit had to forget. Scopes come from the configuration alone.
	Evictions map[string]uint64
}

// SetLimits names the function that a scrape asks for the present state. It must be quick and safe for
// concurrent use.
func (m *Metrics) SetLimits(stats func() LimitStats) { m.limits.Store(&stats) }

func (s sink) limits(m *Metrics) {
	s.counter(rateLimitedDesc, m.RateLimited.n.Load())
	s.counter(rateAllowedDesc, m.RateAllowed.n.Load())
	s.counter(rateDelayedDesc, m.RateDelayed.n.Load())
	stats := m.limits.Load()
	if stats == nil {
		return
	}
	now := (*stats)()
	for scope, n := range now.Evictions {
		s.counter(rateEvictionsDesc, n, label(scope))
	}
	s.gauge(rateKeysDesc, float64(now.RateKeys))
	s.gauge(clientsDesc, float64(now.Clients))
	s.gauge(inFlightDesc, float64(now.InFlight))
	s.gauge(queuedDesc, float64(now.Queued))
	s.gauge(memoryShortDesc, number(now.MemoryShort))
}
