package sentinel

import (
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
)

// agentMaxIdle is how many V1 connections an agent keeps without a request.
const agentMaxIdle = 5

// boundAgent is one agent filter of a route: who is asked about what, and what holds when that fails.
type boundAgent struct {
	id, kind     string        // the agent's id and type
	agent        *agents.Agent // nil: its transport is not in this build, so every call fails
	metrics      *telemetry.AgentMetrics
	asks         [4]bool // by agents.EventKind
	completes    bool    // it wants to be told how requests end
	open         bool    // requests pass when it fails
	timeout      time.Duration
	chunkTimeout time.Duration
	request      bodyRules
	response     bodyRules
}

// bodyRules say what an agent sees of bodies in one direction.
type bodyRules struct {
	max     int64    // bytes
	hold    bool     // all of it before a byte goes on
	ahead   int64    // without hold: what is looked at before the first byte goes on
	decode  bool     // its Content-Encoding is undone for the agent
	decoded int64    // bytes that may come out of that
	ratio   float64  // of what comes out to what goes in
	types   []string // prefixes of the media types that are inspected; empty: all
}

// buildAgents makes the configuration's agents. They connect once the proxy runs.
func (p *Proxy) buildAgents(s *snapshot, kept *adoption) error {
	s.agents = map[string]*agents.Agent{}
	for i := range s.cfg.Agents {
		c := &s.cfg.Agents[i]
		if c.Transport == "http" {
			continue
		}
		a := kept.agent(c, &s.cfg.Limits)
		if a == nil {
			var err error
			if a, err = p.buildAgent(c, &s.cfg.Limits); err != nil {
				return fmt.Errorf("agent %q: %w", c.ID, err)
			}
		}
		s.agents[c.ID] = a
	}
	return nil
}

func (p *Proxy) buildAgent(c *config.Agent, limits *config.Limits) (*agents.Agent, error) {
	o := agents.Options{
		ID: c.ID, Network: c.Transport, Address: c.Address, Protocol: c.ProtocolVersion, Timeout: c.Timeout,
		MaxCalls: c.MaxConcurrentCalls, MaxWaiting: limits.MaxAgentQueue, MaxIdle: agentMaxIdle, IdleTimeout: c.IdleTimeout,
		Links: c.Links, MaxReply: limits.MaxAgentResponse, Breaker: breakerSettings(&c.CircuitBreaker), Config: c.Config,
		Base64Bodies: c.Base64Bodies, ProxyVersion: Version,
	}
	if c.TLS != nil {
		var err error
		if o.TLS, err = agentTLS(c.TLS); err != nil {
			return nil, err
		}
	}
	metrics, id := p.metrics.Agent(c.ID), c.ID // not c: the agent may outlive the configuration
	o.Notify = func(n agents.Notice) {
		if n.Kind == agents.BreakerChanged {
			metrics.Breaker(n.To.String())
		}
		p.events.add(stateEvent{at: time.Now(), agent: id, notice: n})
	}
	a, err := agents.New(o)
	if err != nil {
		return nil, fmt.Errorf("building: %w", err)
	}
	return a, nil
}

func agentTLS(t *config.AgentTLS) (*tls.Config, error) {
	return clientTLS(&config.UpstreamTLS{
		CACert: t.CACert, ClientCert: t.ClientCert, ClientKey: t.ClientKey, InsecureSkipVerify: t.Insecure,
	}, "h2")
}

func agentStats(a *agents.Agent) telemetry.AgentStats {
	s := a.State()
	return telemetry.AgentStats{
		Connections: s.Links, InFlight: s.InFlight, Waiting: s.Waiting, Breaker: int(s.Breaker), Busy: s.Busy, Unknown: s.Unknown,
	}
}

// bindAgents attaches the agents of a route's filters, in their order.
func (p *Proxy) bindAgents(cfg *config.Config, c *config.Route, all map[string]*agents.Agent) (list []*boundAgent) {
	for _, id := range c.Filters {
		f := filterOf(cfg, id)
		if f == nil || f.Agent == nil {
			continue
		}
		i := slices.IndexFunc(cfg.Agents, func(a config.Agent) bool { return a.ID == f.Agent.Agent })
		list = append(list, p.bindAgent(cfg, c, f.Agent, &cfg.Agents[i], all[f.Agent.Agent]))
	}
	return list
}

func (p *Proxy) bindAgent(cfg *config.Config, c *config.Route, f *config.AgentFilter, a *config.Agent, to *agents.Agent) *boundAgent {
	b := &boundAgent{
		id: a.ID, kind: a.Type, agent: to, metrics: p.metrics.Agent(a.ID), open: failureMode(f, c, a) == "open",
		timeout: a.Timeout, chunkTimeout: a.ChunkTimeout,
		request:  bindBody(a.RequestBodyMode, a.MaxRequestBody, a.Decompress, &cfg.Limits),
		response: bindBody(a.ResponseBodyMode, a.MaxResponseBody, a.Decompress, &cfg.Limits),
	}
	if f.Timeout > 0 {
		b.timeout = f.Timeout
	}
	if f.MaxBody > 0 {
		b.request.max, b.response.max = f.MaxBody, f.MaxBody
	}
	phases := f.Phases
	if len(phases) == 0 {
		phases = a.Events
	}
	b.subscribe(phases, f.InspectBody)
	if cfg.WAF != nil && a.Type == "waf" {
		b.narrow(cfg.WAF)
	}
	b.request.decoded = min(b.request.max, cfg.Limits.MaxDecompressedSize)
	b.response.decoded = min(b.response.max, cfg.Limits.MaxDecompressedSize)
	return b
}

// failureMode is what holds when an agent fails: the filter's word if written, then the route's, then the
// agent's, then closed.
func failureMode(f *config.AgentFilter, c *config.Route, a *config.Agent) string {
	for _, mode := range [...]string{f.FailureMode, c.Policies.FailureMode, a.FailureMode} {
		if mode != "" {
			return mode
		}
	}
	return "closed"
}

func bindBody(mode config.BodyMode, most int64, decode bool, limits *config.Limits) bodyRules {
	return bodyRules{
		max: most, hold: mode.Mode == "buffer", ahead: mode.Threshold,
		decode: decode, ratio: limits.MaxDecompressionRatio,
	}
}

// eventNames are the words of the configuration for the events that ask.
var eventNames = [...]string{
	agents.RequestHeaders: "request_headers", agents.RequestBody: "request_body",
	agents.ResponseHeaders: "response_headers", agents.ResponseBody: "response_body",
}

// subscribe notes the events that the agent is asked about. Who sees a body saw its head first: agents keep
// what the head told them.
func (b *boundAgent) subscribe(events []string, body bool) {
	for kind, name := range eventNames {
		b.asks[kind] = slices.Contains(events, name)
	}
	b.completes = slices.Contains(events, "log")
	b.asks[agents.RequestBody] = b.asks[agents.RequestBody] || body
	b.asks[agents.ResponseHeaders] = b.asks[agents.ResponseHeaders] || b.asks[agents.ResponseBody]
	b.asks[agents.RequestHeaders] = b.asks != [4]bool{}
}

// narrow applies what the waf block says about the bodies that agents of type waf inspect.
func (b *boundAgent) narrow(w *config.WAF) {
	i := w.BodyInspection
	if i == nil {
		return
	}
	b.asks[agents.RequestBody] = b.asks[agents.RequestBody] && i.Request
	b.asks[agents.ResponseBody] = b.asks[agents.ResponseBody] && i.Response
	for _, r := range [...]*bodyRules{&b.request, &b.response} {
		r.types, r.ratio, r.max = i.ContentTypes, i.MaxRatio, min(r.max, i.MaxBytes)
	}
}
