package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Lint returns what works in a loaded configuration and is still not good practice, each as a Warning,
// in the order of the configuration. What Load warns of is not repeated.
func Lint(c *Config) []Problem {
	l := linter{c: c, agents: map[string]*Agent{}, filters: map[string]*Filter{}, upstreams: map[string]*Upstream{}}
	for i := range c.Agents {
		l.agents[c.Agents[i].ID] = &c.Agents[i]
	}
	for i := range c.Filters {
		l.filters[c.Filters[i].ID] = &c.Filters[i]
	}
	for i := range c.Upstreams {
		l.upstreams[c.Upstreams[i].ID] = &c.Upstreams[i]
	}
	l.listeners()
	for i := range c.Routes {
		l.route(&c.Routes[i])
	}
	for i := range c.Upstreams {
		l.upstream(&c.Upstreams[i])
	}
	for i := range c.Filters {
		l.filter(&c.Filters[i])
	}
	for i := range c.Agents {
		l.agent(&c.Agents[i])
	}
	l.waf()
	l.observability()
	l.process()
	return l.problems
}

type linter struct {
	c         *Config
	agents    map[string]*Agent
	filters   map[string]*Filter
	upstreams map[string]*Upstream
	problems  []Problem
}

// warn adds one finding: what, and what would be better.
func (l *linter) warn(pos Pos, path, found, better string) {
	l.problems = append(l.problems, Problem{Pos: pos, Severity: Warning, Path: path, Found: found, Expected: better})
}

// top is the place of what is not in any file.
func (l *linter) top() Pos { return Pos{l.c.Files[0], 1, 1} }

func (l *linter) listeners() {
	secure := slices.ContainsFunc(l.c.Listeners, func(s Listener) bool { return s.TLS != nil })
	for _, s := range l.c.Listeners {
		path := `listeners.listener ` + kdlQuote(s.ID)
		if s.Address.Port() == 80 && s.TLS == nil && !secure {
			l.warn(s.Pos, path, "plain http on port 80 and no listener with TLS", "add a listener with protocol \"https\"")
		}
		if s.MinBodyRate == 0 {
			l.warn(s.Pos, path+".min-body-rate-bytes", "no minimum rate for request bodies", "a client may hold a connection as long as it sends a byte now and then")
		}
	}
}

func (l *linter) route(t *Route) {
	path := "routes.route " + kdlQuote(t.ID)
	if t.Upstream != "" {
		l.forwarding(t, path)
	}
	if l.servedOverTLS(t) && !l.setsHSTS(t) {
		l.warn(t.Pos, path, "reached over TLS without a Strict-Transport-Security header",
			`add policies { response-headers { set { "Strict-Transport-Security" "max-age=31536000" } } }`)
	}
	if slices.Contains([]string{"config", "upstreams", "agents", "metrics", "status"}, t.Builtin) {
		l.exposed(t, path)
	}
	asked := map[string]bool{}
	for _, id := range t.Filters {
		f := l.filters[id]
		if f == nil {
			continue
		}
		if f.Agent != nil {
			l.failureModes(t, f.Agent, path)
			l.askedTwice(t, f.Agent, asked, path)
		}
		l.preflights(t, f, path)
	}
}

func (l *linter) forwarding(t *Route, path string) {
	if t.Policies.Timeout == 0 && !l.patience(t) {
		l.warn(t.Pos, path, "no timeout of its own", "add policies { timeout-secs … }; the upstream's request timeout holds")
	}
	p := t.Retry
	switch {
	case p == nil:
		l.warn(t.Pos, path, "no retry policy", "add retry-policy { … }; only failed connections are tried elsewhere")
		return
	case p.MaxAttempts == 1:
		l.warn(t.Pos, path+".retry-policy", "max-attempts 1 never retries", "")
	case p.BackoffBase > p.BackoffMax:
		l.warn(t.Pos, path+".retry-policy", fmt.Sprintf("backoff-base-ms %d is above backoff-max-ms %d", p.BackoffBase.Milliseconds(), p.BackoffMax.Milliseconds()), "every wait is the maximum")
	}
	if t.Policies.Timeout > p.Timeout {
		l.warn(t.Pos, path+".retry-policy", fmt.Sprintf("timeout-ms %d ends before one attempt may (timeout-secs %v)", p.Timeout.Milliseconds(), t.Policies.Timeout.Seconds()), "a slow attempt is never followed by another")
	}
	if len(t.Matches.Methods) > 0 && !slices.ContainsFunc(t.Matches.Methods, isIdempotent) {
		l.warn(t.Pos, path+".retry-policy", "no method of the route is idempotent", "only failed connections are retried: nothing makes a POST safe to send twice")
	}
	if n := l.upstreams[t.Upstream].addresses(); 0 < n && n < p.MaxAttempts {
		l.warn(t.Pos, path+".retry-policy", fmt.Sprintf("max-attempts %d is more than the targets of upstream %q that get requests: %d", p.MaxAttempts, t.Upstream, n),
			"the last attempts go to a target that has just failed")
	}
}

// isIdempotent follows RFC 9110 9.2.2.
func isIdempotent(method string) bool {
	return slices.Contains([]string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}, method)
}

func (l *linter) onRoute(t *Route, s *Listener) bool {
	return len(t.Listeners) == 0 || slices.Contains(t.Listeners, s.ID)
}

func (l *linter) servedOverTLS(t *Route) bool {
	return slices.ContainsFunc(l.c.Listeners, func(s Listener) bool { return s.TLS != nil && l.onRoute(t, &s) })
}

func (l *linter) setsHSTS(t *Route) bool {
	edits := []HeaderEdits{t.Policies.ResponseHeaders}
	for _, id := range t.Filters {
		if f := l.filters[id]; f != nil && f.Headers != nil && f.Headers.Phase != "request" {
			edits = append(edits, f.Headers.Edits)
		}
	}
	return slices.ContainsFunc(edits, func(e HeaderEdits) bool {
		return slices.ContainsFunc(slices.Concat(e.Set, e.Add), func(h [2]string) bool {
			return strings.EqualFold(h[0], "strict-transport-security")
		})
	})
}

// exposed warns of an operator's page on an address that other machines reach.
func (l *linter) exposed(t *Route, path string) {
	for _, s := range l.c.Listeners {
		if l.onRoute(t, &s) && !isLocal(s.Address) {
			l.warn(t.Pos, path, fmt.Sprintf("builtin-handler %s answers on %v", t.Builtin, s.Address),
				"bind the route to a listener on 127.0.0.1 with listeners \"…\"")
			return
		}
	}
}

func isLocal(a netip.AddrPort) bool { return a.Addr().IsLoopback() }

// failureModes warns when filter, route and agent do not say the same about a failing agent.
func (l *linter) failureModes(t *Route, f *AgentFilter, path string) {
	a := l.agents[f.Agent]
	modes := []string{f.FailureMode, t.Policies.FailureMode, a.FailureMode}
	written := slices.DeleteFunc(slices.Clone(modes), func(m string) bool { return m == "" })
	if len(written) == 0 {
		return
	}
	mode := written[0]
	if slices.ContainsFunc(written, func(m string) bool { return m != mode }) {
		l.warn(t.Pos, path, fmt.Sprintf("filter, route and agent %q disagree on failure-mode", a.ID), mode+" holds: the filter's comes first, then the route's, then the agent's")
	}
	if mode == "open" && (a.Type == "waf" || a.Type == "auth") {
		l.warn(t.Pos, path, fmt.Sprintf("requests pass when agent %q of type %s fails", a.ID, a.Type), `expected failure-mode "closed" for what protects the route`)
	}
}

// askedTwice warns when two filters of a route ask one agent about the same event. asked holds what the
// filters before this one ask.
func (l *linter) askedTwice(t *Route, f *AgentFilter, asked map[string]bool, path string) {
	phases := f.Phases
	if len(phases) == 0 {
		phases = l.agents[f.Agent].Events
	}
	for _, phase := range phases {
		if key := phase + " " + f.Agent; asked[key] {
			l.warn(t.Pos, path, fmt.Sprintf("two filters ask agent %q about %s", f.Agent, phase), "it is asked twice for each request, and each answer counts")
		} else {
			asked[key] = true
		}
	}
}

func (l *linter) upstream(u *Upstream) {
	path := "upstreams.upstream " + kdlQuote(u.ID)
	switch {
	case u.HealthCheck == nil && len(u.Targets) == 1:
		l.warn(u.Pos, path, "a single target without a health check", "nobody notices when it is down; add health-check { … }")
	case u.HealthCheck == nil:
		l.warn(u.Pos, path, "no health check", "only failing requests show that a target is down; add health-check { … }")
	case u.addresses() == 1:
		l.warn(u.Pos, path, "a single target", "nothing takes over when it is down; add another target")
	}
	if u.TLS != nil && u.TLS.InsecureSkipVerify {
		l.warn(u.TLS.Pos, path+".tls", "insecure-skip-verify: anyone on the way can pose as the upstream", "add ca-cert with the authority that signs its certificate")
	}
}

// addresses counts the targets that get requests. It is 0, unknown, when one of them is a name: that may
// stand for many.
func (u *Upstream) addresses() (n int) {
	for _, t := range u.Targets {
		if _, err := netip.ParseAddrPort(t.Address); err != nil {
			return 0
		}
		if t.Weight > 0 {
			n++
		}
	}
	return n
}

func (l *linter) agent(a *Agent) {
	path := "agents.agent " + kdlQuote(a.ID)
	if a.TLS != nil && a.TLS.Insecure {
		l.warn(a.Pos, path, "tls-insecure: anyone on the way can pose as the agent", "add ca-cert with the authority that signs its certificate")
	}
	if a.Transport == "grpc" && a.TLS == nil && !strings.HasPrefix(a.Address, "127.") && !strings.HasPrefix(a.Address, "localhost:") && !strings.HasPrefix(a.Address, "[::1]:") {
		l.warn(a.Pos, path, "requests go to "+a.Address+" in the clear", "expected an address that starts with https://")
	}
}

func (l *linter) waf() {
	isWAF := func(a Agent) bool { return a.Type == "waf" }
	if l.c.WAF != nil && l.c.WAF.BodyInspection != nil && !slices.ContainsFunc(l.c.Agents, isWAF) {
		l.warn(l.top(), "waf.body-inspection", "no agent has the type waf", "nothing inspects bodies")
	}
}

func (l *linter) observability() {
	o := &l.c.Observability
	served := slices.ContainsFunc(l.c.Routes, func(t Route) bool { return t.Builtin == "metrics" })
	if !o.Metrics.Enabled && !served {
		l.warn(l.top(), "observability.metrics", "metrics are off", "add metrics { }")
	}
	if o.Metrics.Enabled && !isLocal(o.Metrics.Address) {
		l.warn(l.top(), "observability.metrics", "metrics answer on "+o.Metrics.Address.String(), "bind them to 127.0.0.1, or protect the port")
	}
	if o.Logging.Access == nil {
		l.warn(l.top(), "observability.logging.access-log", "the access log is off", "add access-log { }")
	}
}

// process looks at what the process itself is asked for.
func (l *linter) process() {
	s := &l.c.System
	if !s.Daemon {
		return
	}
	if s.PIDFile == "" {
		l.warn(l.top(), "system.daemon", "in the background without a pid-file", "signals have no address and --upgrade cannot find the process; add pid-file \"…\"")
	}
	if a := l.c.Observability.Logging.Access; a != nil && a.File == "-" {
		l.warn(l.top(), "observability.logging.access-log.file", "standard output is gone in the background", "expected a file")
	}
}
