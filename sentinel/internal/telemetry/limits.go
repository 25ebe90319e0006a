package telemetry

// LimitStats is the state of the limits at the moment of a scrape.
type LimitStats struct {
	RateKeys    int  // that rate limits keep apart
	Clients     int  // with open connections
	InFlight    int  // requests that count for max-in-flight-requests
	Queued      int  // requests in line for that
	MemoryShort bool // new requests are refused
}

// SetLimits names the function that a scrape asks for the present state. It must be quick and safe for
// concurrent use.
func (m *Metrics) SetLimits(stats func() LimitStats) { m.limits.Store(&stats) }

// RateEvictions returns the counter of keys that a rate limit had to forget, always the same for one scope.
// Scopes come from the configuration alone.
func (m *Metrics) RateEvictions(scope string) *Counter {
	scope = label(scope)
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.evictions[scope]
	if c == nil {
		c = new(Counter)
		m.evictions[scope] = c
	}
	return c
}

func (s sink) limits(m *Metrics, evictions map[string]*Counter) {
	s.counter(rateLimitedDesc, m.RateLimited.n.Load())
	s.counter(rateAllowedDesc, m.RateAllowed.n.Load())
	s.counter(rateDelayedDesc, m.RateDelayed.n.Load())
	s.set(rateEvictionsDesc, evictions)
	stats := m.limits.Load()
	if stats == nil {
		return
	}
	now := (*stats)()
	s.gauge(rateKeysDesc, float64(now.RateKeys))
	s.gauge(clientsDesc, float64(now.Clients))
	s.gauge(inFlightDesc, float64(now.InFlight))
	s.gauge(queuedDesc, float64(now.Queued))
	short := 0.0
	if now.MemoryShort {
		short = 1
	}
	s.gauge(memoryShortDesc, short)
}
