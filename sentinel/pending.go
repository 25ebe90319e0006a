package sentinel

import (
	"fmt"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

// pending lists what a configuration asks for and this build does not do yet, so that nobody relies on
// it. Agents are not here as ignored: without a connection to one its failure mode decides.
func pending(c *config.Config) (list []string) {
	say := func(at config.Pos, format string, args ...any) {
		list = append(list, at.String()+": "+fmt.Sprintf(format, args...))
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		if u.LoadBalancing != "round_robin" && u.LoadBalancing != "weighted" {
			say(u.Pos, "upstream %q: load-balancing %q is not in this build: targets take turns by weight", u.ID, u.LoadBalancing)
		}
		if u.HealthCheck != nil {
			say(u.Pos, "upstream %q: health-check is not in this build: every target counts as healthy", u.ID)
		}
		if u.CircuitBreaker.Written {
			say(u.Pos, "upstream %q: circuit-breaker is not in this build", u.ID)
		}
	}
	for i := range c.Routes {
		pendingRoute(&c.Routes[i], say)
	}
	for i := range c.Filters {
		if f := &c.Filters[i]; f.Headers == nil && f.Agent == nil {
			say(f.Pos, "filter %q: type %q is not in this build: it does nothing", f.ID, f.Type)
		}
	}
	for i := range c.Agents {
		say(c.Agents[i].Pos, "agent %q: agents are not in this build: it counts as failed, and the failure mode decides", c.Agents[i].ID)
	}
	if c.RateLimits != nil {
		say(config.Pos{File: c.Path}, "rate-limits is not in this build: nothing is limited")
	}
	if c.Observability.Tracing != nil {
		say(config.Pos{File: c.Path}, "tracing is not in this build")
	}
	if c.System.AutoReload {
		say(config.Pos{File: c.Path}, "auto-reload is not in this build: restart to change the configuration")
	}
	return list
}

func pendingRoute(r *config.Route, say func(config.Pos, string, ...any)) {
	for _, p := range []struct {
		written bool
		what    string
	}{
		{r.StaticFiles != nil, "static-files is not in this build: requests get 503"},
		{r.Retry != nil, "retry-policy is not in this build: only failed connections are tried elsewhere"},
		{r.CircuitBreaker != nil, "circuit-breaker is not in this build"},
		{r.Policies.RateLimit != nil, "rate-limit is not in this build: nothing is limited"},
		{r.Policies.BufferRequests, "buffer-requests is not in this build: bodies are streamed"},
		{r.Policies.BufferResponses, "buffer-responses is not in this build: bodies are streamed"},
	} {
		if p.written {
			say(r.Pos, "route %q: %s", r.ID, p.what)
		}
	}
}
