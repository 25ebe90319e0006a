package telemetry

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// The metric families. Labels hold configured ids and closed sets only.
var (
	upDesc          = describe("up", "Always 1 while the proxy runs.")
	buildDesc       = describe("build_info", "Always 1; the label tells the version.", "version")
	memoryDesc      = describe("memory_usage_bytes", "Resident memory of the process.")
	cpuDesc         = describe("cpu_usage_percent", "CPU time since the last scrape, 100 for one CPU kept busy.")
	activeDesc      = describe("active_requests", "Requests being served.")
	openDesc        = describe("open_connections", "Client connections open.")
	connectionsDesc = describe("connections_total", "Client connections accepted.")
	handshakeDesc   = describe("tls_handshake_duration_seconds", "Time of finished TLS handshakes.", "version")
	reloadsDesc     = describe("config_reloads_total", "Attempts to reload the configuration.", "result")
	reloadedDesc    = describe("config_last_reload_success_timestamp_seconds", "When a reload last succeeded, 0 when none has.")
	reloadOKDesc    = describe("config_last_reload_successful", "0 when the last reload failed, else 1.")
	generationDesc  = describe("config_generation", "Number of the configuration that is served, 1 at the start.")
	liveDesc        = describe("config_generations_live", "Configurations in memory: the one that is served, and those that drain.")
	logDropsDesc    = describe("log_dropped_total", "Log lines lost to a slow or failing sink.", "log")
	blockedDesc     = describe("blocked_requests_total", "Requests that the proxy refused.", "reason")

	rateLimitedDesc   = describe("rate_limit_hits_total", "Requests that were over a rate limit.")
	rateAllowedDesc   = describe("rate_limit_allowed_total", "Requests of routes with rate limits that went on.")
	rateDelayedDesc   = describe("rate_limit_delayed_total", "Requests that a rate limit held back.")
	rateKeysDesc      = describe("rate_limit_keys", "Keys that rate limits keep apart.")
	rateEvictionsDesc = describe("rate_limit_key_evictions_total", "Keys that had to go for new ones.", "scope")
	clientsDesc       = describe("connected_clients", "Clients with open connections.")
	inFlightDesc      = describe("in_flight_requests", "Requests that count for max-in-flight-requests.")
	queuedDesc        = describe("queued_requests", "Requests in line for max-in-flight-requests.")
	memoryShortDesc   = describe("memory_short", "1 while requests are refused because memory is short.")
	compressedDesc    = describe("compressed_responses_total", "Answers whose body a compress filter encoded.", "coding")
	bypassedDesc      = describe("compress_bypassed_total", "Answers that went out as they were for want of memory for an encoder.")

	requestsDesc      = describe("requests_total", "Requests answered.", "route", "method", "status")
	timesDesc         = describe("request_duration_seconds", "Time from the request to the end of its answer.", "route", "method")
	requestSizesDesc  = describe("request_body_size_bytes", "Size of request bodies.", "route")
	responseSizesDesc = describe("response_body_size_bytes", "Size of response bodies.", "route")

	attemptsDesc = describe("upstream_attempts_total", "Attempts at an upstream.", "upstream", "route")
	retriesDesc  = describe("upstream_retries_total", "Attempts after the first.", "upstream", "route")
	failuresDesc = describe("upstream_failures_total", "Failed attempts.", "upstream", "route", "reason")
	acquiredDesc = describe("connection_pool_acquired_total", "Connections taken from the pool.", "upstream")
	poolSizeDesc = describe("connection_pool_size", "Connections open to the upstream.", "upstream")
	poolIdleDesc = describe("connection_pool_idle", "Connections without a request.", "upstream")
	backendsDesc = describe("upstream_healthy_backends", "Healthy targets.", "upstream")
	healthyDesc  = describe("upstream_target_healthy", "1 when the target is healthy, else 0.", "upstream", "target")
	breakerDesc  = describe("circuit_breaker_state", "0 closed, 1 open, 2 half-open.", "component", "route")

	pendingDesc     = describe("upstream_pending_requests", "Requests waiting for a connection.", "upstream")
	unpendedDesc    = describe("upstream_pending_rejected_total", "Requests that found no place in that line, or waited in vain.", "upstream")
	exhaustedDesc   = describe("upstream_retry_budget_exhausted_total", "Repeats that the retry budget did not allow.", "upstream")
	panicDesc       = describe("upstream_panic", "1 while every usable target is ejected and ejections are ignored.", "upstream")
	activeHereDesc  = describe("upstream_target_active_requests", "Requests in flight at the target.", "upstream", "target")
	triedDesc       = describe("upstream_target_requests_total", "Attempts at the target.", "upstream", "target")
	failedDesc      = describe("upstream_target_failures_total", "Attempts that failed there, statuses of 500 and above among them.", "upstream", "target")
	ejectionsDesc   = describe("upstream_ejections_total", "Ejections of the target for its recent answers.", "upstream", "target")
	rampDesc        = describe("upstream_target_ramp", "Part of its share that a target gets, below 1 while it comes back.", "upstream", "target")
	healthTurnsDesc = describe("upstream_health_transitions_total", "Changes of a target's health.", "upstream", "target", "to")
	turnsDesc       = describe("circuit_breaker_transitions_total", "Changes of a breaker.", "component", "route", "to")
	rejectedDesc    = describe("circuit_breaker_rejected_total", "Requests that a route's breaker refused.", "component", "route")

	agentTimesDesc     = describe("agent_latency_seconds", "Time of calls to an agent.", "agent", "event")
	agentTimeoutsDesc  = describe("agent_timeouts_total", "Calls that brought nothing by their deadline.", "agent", "event")
	agentDecisionsDesc = describe("agent_requests_total", "Verdicts of an agent.", "agent", "decision")
	agentErrorsDesc    = describe("agent_errors_total", "Calls without a verdict.", "agent", "reason")
	agentBypassDesc    = describe("agent_bypass_total", "Requests that went on without the agent, which had failed.", "agent")
	agentLinksDesc     = describe("agent_connections", "Connections open to the agent.", "agent")
	agentInFlightDesc  = describe("agent_in_flight", "Calls that the agent has not answered.", "agent")
	agentWaitingDesc   = describe("agent_waiting", "Callers that wait for their turn to ask.", "agent")
	agentBusyDesc      = describe("agent_busy_total", "Calls that found no place in that line, or waited in vain.", "agent")
	agentUnknownDesc   = describe("agent_unknown_replies_total", "Replies that nobody waited for.", "agent")
)

var descs = []*prometheus.Desc{
	upDesc, buildDesc, memoryDesc, cpuDesc, activeDesc, openDesc, connectionsDesc, handshakeDesc, reloadsDesc,
	reloadedDesc, reloadOKDesc, generationDesc, liveDesc,
	logDropsDesc, blockedDesc, rateLimitedDesc, rateAllowedDesc, rateDelayedDesc, rateKeysDesc, rateEvictionsDesc,
	compressedDesc, bypassedDesc, clientsDesc, inFlightDesc, queuedDesc, memoryShortDesc, requestsDesc, timesDesc, requestSizesDesc, responseSizesDesc,
	attemptsDesc, retriesDesc, failuresDesc, acquiredDesc, poolSizeDesc, poolIdleDesc, backendsDesc, healthyDesc,
	breakerDesc, pendingDesc, unpendedDesc, exhaustedDesc, panicDesc, activeHereDesc, triedDesc, failedDesc,
	ejectionsDesc, rampDesc, healthTurnsDesc, turnsDesc, rejectedDesc, agentTimesDesc, agentTimeoutsDesc,
	agentDecisionsDesc, agentErrorsDesc, agentBypassDesc, agentLinksDesc, agentInFlightDesc, agentWaitingDesc,
	agentBusyDesc, agentUnknownDesc,
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sentinel_"+name, help, labels, nil)
}

// collector turns the counters into metrics when the registry asks.
type collector struct{ m *Metrics }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	out := sink(ch)
	c.m.mu.Lock()
	routes := slices.Collect(maps.Values(c.m.routes))
	upstreams := slices.Collect(maps.Values(c.m.upstreams))
	agents := slices.Collect(maps.Values(c.m.agents))
	c.m.mu.Unlock()

	out.proxy(c.m)
	out.limits(c.m)
	for _, r := range routes {
		out.route(r)
	}
	for _, u := range upstreams {
		out.upstream(u)
	}
	for _, a := range agents {
		out.agent(a)
	}
}

// sink is where the metrics of one scrape go.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, n uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (s sink) set(d *prometheus.Desc, set map[string]*Counter) {
	for word, c := range set {
		s.counter(d, c.n.Load(), word)
	}
}

// durations leaves out a histogram without observations: most routes see few of the methods.
func (s sink) durations(d *prometheus.Desc, h *durations, labels ...string) {
	micros := h.micros.Load()
	s.histogram(d, series{durationSeconds, h.buckets[:], float64(micros) / 1e6, labels})
}

func (s sink) sizes(d *prometheus.Desc, h *sizes, labels ...string) {
	s.histogram(d, series{sizeBytes, h.buckets[:], float64(h.bytes.Load()), labels})
}

type series struct {
	bounds  []float64
	buckets []atomic.Uint64
	sum     float64
	labels  []string
}

func (s sink) histogram(d *prometheus.Desc, h series) {
	if count, upTo := cumulate(h.bounds, h.buckets); count > 0 {
		s <- prometheus.MustNewConstHistogram(d, count, h.sum, upTo, h.labels...)
	}
}

func (s sink) proxy(m *Metrics) {
	s.gauge(upDesc, 1)
	s.gauge(buildDesc, 1, m.version)
	s.gauge(memoryDesc, memoryBytes())
	s.gauge(cpuDesc, m.process.cpuPercent())
	s.gauge(activeDesc, float64(m.ActiveRequests.Value()))
	s.gauge(openDesc, float64(m.OpenConnections.Value()))
	s.counter(connectionsDesc, m.Connections.n.Load())
	s.counter(reloadsDesc, m.reloads[0].n.Load(), "failure")
	s.counter(reloadsDesc, m.reloads[1].n.Load(), "success")
	s.gauge(reloadedDesc, float64(m.reloaded.Load()))
	s.gauge(reloadOKDesc, number(!m.failed.Load()))
	s.gauge(generationDesc, float64(m.generation.Load()))
	s.gauge(liveDesc, float64(m.live.Load()))
	s.set(logDropsDesc, m.logDrops)
	s.set(blockedDesc, m.blocked)
	s.set(compressedDesc, m.compressed)
	s.counter(bypassedDesc, m.CompressBypassed.n.Load())
	for i := range m.handshakes {
		s.durations(handshakeDesc, &m.handshakes[i], tlsVersions[i])
	}
}

func (s sink) route(r *RouteMetrics) {
	for i := range r.methods {
		m, method := r.methods[i].Load(), methodNames[i]
		if m == nil {
			continue
		}
		for slot := range m.statuses {
			if n := m.statuses[slot].Load(); n > 0 {
				s.counter(requestsDesc, n, r.id, method, statusNames[slot])
			}
		}
		s.durations(timesDesc, &m.times, r.id, method)
	}
	s.sizes(requestSizesDesc, &r.requestSizes, r.id)
	s.sizes(responseSizesDesc, &r.responseSizes, r.id)
}

func (s sink) upstream(u *UpstreamMetrics) {
	s.counter(acquiredDesc, u.PoolAcquired.n.Load(), u.id)
	if stats := u.stats.Load(); stats != nil {
		s.upstreamStats(u.id, (*stats)())
	}
	u.mu.Lock()
	routes := slices.Collect(maps.Values(u.routes))
	changes := maps.Clone(u.changes)
	u.mu.Unlock()
	for _, r := range routes {
		s.upstreamRoute(u.id, r)
	}
	for c, n := range changes {
		switch c.what {
		case changedHealth:
			s.counter(healthTurnsDesc, n, u.id, c.target, c.to)
		case changedBreaker:
			s.counter(turnsDesc, n, BreakerComponent(u.id, c.target), "", c.to)
		}
	}
}

// BreakerComponent names a breaker in metrics and audit entries: that of an upstream's target, or, with an
// empty target, of a route's use of the upstream.
func BreakerComponent(upstream, target string) string {
	if target == "" {
		return "upstream:" + upstream
	}
	return "upstream:" + upstream + "/" + target
}

func (s sink) upstreamStats(id string, stats UpstreamStats) {
	s.gauge(poolSizeDesc, float64(stats.PoolSize), id)
	s.gauge(poolIdleDesc, float64(stats.PoolIdle), id)
	s.gauge(pendingDesc, float64(stats.Pending), id)
	s.counter(unpendedDesc, stats.PendingRejected, id)
	s.counter(exhaustedDesc, stats.BudgetExhausted, id)
	s.gauge(panicDesc, number(stats.Panic), id)
	healthy := 0.0
	seen := make(map[string]bool, len(stats.Targets)) // a series that comes twice would fail the scrape
	for i := range stats.Targets {
		t := &stats.Targets[i]
		healthy += number(t.Healthy)
		if address := label(t.Address); !seen[address] {
			seen[address] = true
			s.target(id, address, t)
		}
	}
	s.gauge(backendsDesc, healthy, id)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s sink) target(id, address string, t *TargetStats) {
	s.gauge(healthyDesc, number(t.Healthy), id, address)
	s.gauge(breakerDesc, float64(t.Breaker), BreakerComponent(id, address), "")
	s.gauge(activeHereDesc, float64(t.InFlight), id, address)
	s.counter(triedDesc, t.Requests, id, address)
	s.counter(failedDesc, t.Failures, id, address)
	s.counter(ejectionsDesc, t.Ejections, id, address)
	s.gauge(rampDesc, t.Ramp, id, address)
}

func (s sink) upstreamRoute(upstream string, r *UpstreamRoute) {
	s.counter(attemptsDesc, r.Attempts.n.Load(), upstream, r.id)
	s.counter(retriesDesc, r.Retries.n.Load(), upstream, r.id)
	if state := r.breaker.Load(); state != nil {
		s.gauge(breakerDesc, float64((*state)()), BreakerComponent(upstream, ""), r.id)
		s.counter(rejectedDesc, r.Rejected.n.Load(), BreakerComponent(upstream, ""), r.id)
	}
	r.mu.Lock()
	failures, turns := maps.Clone(r.failures), maps.Clone(r.turns)
	r.mu.Unlock()
	for to, n := range turns {
		s.counter(turnsDesc, n, BreakerComponent(upstream, ""), r.id, to)
	}
	for reason, n := range failures {
		s.counter(failuresDesc, n, upstream, r.id, reason)
	}
}

func (s sink) agent(a *AgentMetrics) {
	for i, event := range agentEvents {
		s.durations(agentTimesDesc, &a.times[i], a.id, event)
		s.counter(agentTimeoutsDesc, a.timeouts[i].n.Load(), a.id, event)
	}
	for i, decision := range agentDecisions {
		s.counter(agentDecisionsDesc, a.decisions[i].n.Load(), a.id, decision)
	}
	for i, reason := range agentErrors {
		s.counter(agentErrorsDesc, a.errors[i].n.Load(), a.id, reason)
	}
	s.counter(agentBypassDesc, a.Bypassed.n.Load(), a.id)
	if stats := a.stats.Load(); stats != nil {
		s.agentStats(a.id, (*stats)())
	}
	a.mu.Lock()
	turns := maps.Clone(a.turns)
	a.mu.Unlock()
	for to, n := range turns {
		s.counter(turnsDesc, n, AgentComponent(a.id), "", to)
	}
}

func (s sink) agentStats(id string, stats AgentStats) {
	s.gauge(agentLinksDesc, float64(stats.Connections), id)
	s.gauge(agentInFlightDesc, float64(stats.InFlight), id)
	s.gauge(agentWaitingDesc, float64(stats.Waiting), id)
	s.counter(agentBusyDesc, stats.Busy, id)
	s.counter(agentUnknownDesc, stats.Unknown, id)
	s.gauge(breakerDesc, float64(stats.Breaker), AgentComponent(id), "")
}
