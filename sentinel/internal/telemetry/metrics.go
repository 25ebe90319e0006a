package telemetry

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// TextContentType is the media type of what WriteText writes.
const TextContentType = string(expfmt.FmtText)

// NoRoute is the route label of a request that no route matched.
const NoRoute = "none"

// other is the label value of whatever is outside a closed set.
const other = "other"

// Counter counts up. The zero value is ready; its methods may be called from any goroutine.
type Counter struct{ n atomic.Uint64 }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Add adds n.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Gauge goes up and down. The zero value is ready; its methods may be called from any goroutine.
type Gauge struct{ n atomic.Int64 }

// Add adds n, which may be negative.
func (g *Gauge) Add(n int64) { g.n.Add(n) }

// Value returns the present value.
func (g *Gauge) Value() int64 { return g.n.Load() }

// MetricsOptions configures a Metrics.
type MetricsOptions struct {
	Version string   // label of build_info
	Reasons []string // the closed set of reasons; any other counts as "other"
}

// Metrics holds every metric of one proxy. Updates are atomic additions: no lock, no allocation,
// from any goroutine. The look-ups Route, Upstream and Agent lock; keep what they return.
type Metrics struct {
	ActiveRequests  Gauge   // exchanges between the first byte of the request and the end of the answer
	OpenConnections Gauge   // client connections
	Connections     Counter // client connections ever accepted
	RateLimited     Counter // requests that were over a rate limit: refused, held back, or only noted
	RateAllowed     Counter // requests of routes with rate limits that went on
	RateDelayed     Counter // requests that a rate limit held back

	CompressBypassed Counter // answers that went out as they were for want of an encoder

	version    string
	registry   *prometheus.Registry
	process    process
	blocked    map[string]*Counter // by reason; never changes
	logDrops   map[string]*Counter // by log; never changes
	compressed map[string]*Counter // by coding; never changes
	reloads    [2]Counter          // failure, success
	reloaded   atomic.Int64        // when the last one succeeded, Unix seconds; 0: none has
	failed     atomic.Bool         // the last one failed
	generation atomic.Uint64       // of the configuration that is served
	live       atomic.Int64        // configurations in memory
	handshakes [3]durations        // by tlsVersion
	limits     atomic.Pointer[func() LimitStats]

	mu        sync.Mutex // guards the maps below
	routes    map[string]*RouteMetrics
	upstreams map[string]*UpstreamMetrics
	agents    map[string]*AgentMetrics
}

// NewMetrics returns a Metrics with a registry of its own.
func NewMetrics(o MetricsOptions) *Metrics {
	m := &Metrics{
		version:    label(o.Version),
		registry:   prometheus.NewRegistry(),
		blocked:    counters(o.Reasons),
		logDrops:   counters([]string{"access", "error", "audit", "event", "filter", "process"}),
		compressed: counters([]string{"gzip", "br", "zstd"}),
		routes:     make(map[string]*RouteMetrics),
		upstreams:  make(map[string]*UpstreamMetrics),
		agents:     make(map[string]*AgentMetrics),
	}
	m.live.Store(1)
	m.process.cpuPercent() // the first interval starts here
	m.registry.MustRegister(collector{m})
	return m
}

// counters makes one counter for each word and one for "other".
func counters(words []string) map[string]*Counter {
	set := map[string]*Counter{other: new(Counter)}
	for _, w := range words {
		set[label(w)] = new(Counter)
	}
	return set
}

// label returns s as a label value: the exposition format takes UTF-8 only.
func label(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// member returns the counter for a word of a closed set, or that of "other".
func member(set map[string]*Counter, word string) *Counter {
	if c := set[word]; c != nil {
		return c
	}
	return set[other]
}

// Blocked counts a request that the proxy itself refused.
func (m *Metrics) Blocked(reason string) { member(m.blocked, reason).Inc() }

// Compressed counts an answer whose body is encoded with a coding ("gzip", "br", "zstd").
func (m *Metrics) Compressed(coding string) { member(m.compressed, coding).Inc() }

// LogDropped returns the counter of lines that a log ("access", "error", "audit", "event", "filter",
// "process") lost, in the form that WriterOptions.Dropped takes.
func (m *Metrics) LogDropped(log string) func(n int) {
	c := member(m.logDrops, log)
	return func(n int) { c.Add(uint64(n)) }
}

// Reload counts an attempt to reload the configuration.
func (m *Metrics) Reload(ok bool) {
	m.failed.Store(!ok)
	if ok {
		m.reloaded.Store(time.Now().Unix())
		m.reloads[1].Inc()
	} else {
		m.reloads[0].Inc()
	}
}

// Generation tells which configuration is served.
func (m *Metrics) Generation(n uint64) { m.generation.Store(n) }

// Generations tells how many configurations are in memory: the one that is served, and those that drain.
func (m *Metrics) Generations(n int) { m.live.Store(int64(n)) }

// Keep forgets the routes, upstreams and agents that are not among those. Their metrics may still be counted, and
// are not shown any more.
func (m *Metrics) Keep(route, upstream, agent func(id string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.routes, func(id string, _ *RouteMetrics) bool { return id != NoRoute && !route(id) })
	maps.DeleteFunc(m.upstreams, func(id string, _ *UpstreamMetrics) bool { return !upstream(id) })
	maps.DeleteFunc(m.agents, func(id string, _ *AgentMetrics) bool { return !agent(id) })
	for _, u := range m.upstreams {
		u.mu.Lock()
		maps.DeleteFunc(u.routes, func(id string, _ *UpstreamRoute) bool { return !route(id) })
		u.mu.Unlock()
	}
}

// TLSHandshake counts a finished handshake with a client. The version is one of crypto/tls's.
func (m *Metrics) TLSHandshake(version uint16, d time.Duration) {
	m.handshakes[tlsVersion(version)].observe(d)
}

// tlsVersion returns the index of a version in tlsVersions.
func tlsVersion(version uint16) int {
	switch version {
	case tls.VersionTLS12:
		return 1
	case tls.VersionTLS13:
		return 2
	}
	return 0
}

var tlsVersions = [3]string{other, "TLS1.2", "TLS1.3"}

// Route returns the metrics of a route, always the same for one id. Ids come from the configuration
// alone; what matched no route has the id NoRoute.
func (m *Metrics) Route(id string) *RouteMetrics {
	id = label(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.routes[id]
	if r == nil {
		r = &RouteMetrics{id: id}
		m.routes[id] = r
	}
	return r
}

// Upstream returns the metrics of an upstream, always the same for one id.
func (m *Metrics) Upstream(id string) *UpstreamMetrics {
	id = label(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.upstreams[id]
	if u == nil {
		u = &UpstreamMetrics{id: id, reasons: m.blocked, routes: make(map[string]*UpstreamRoute), changes: make(map[change]uint64)}
		m.upstreams[id] = u
	}
	return u
}

// Agent returns the metrics of an agent, always the same for one id.
func (m *Metrics) Agent(id string) *AgentMetrics {
	id = label(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[id]
	if a == nil {
		a = &AgentMetrics{id: id, turns: make(map[string]uint64)}
		m.agents[id] = a
	}
	return a
}

// Registry returns the registry, for collectors of others.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// WriteText writes all metrics in the text exposition format 0.0.4. When a collector fails, what the
// others gave is still written and the error returned.
func (m *Metrics) WriteText(w io.Writer) error {
	families, gathered := m.registry.Gather()
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return fmt.Errorf("writing metrics: %w", err)
		}
	}
	if gathered != nil {
		return fmt.Errorf("gathering metrics: %w", gathered)
	}
	return nil
}
