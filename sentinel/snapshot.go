package sentinel

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/route"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// snapshot is everything one configuration yields. It is immutable; a request takes it once.
type snapshot struct {
	cfg        *config.Config
	generation uint64
	heads      wire.Limits // of request heads
	maxHead    int         // largest buffer a request head may need
	views      map[string]*view
	pools      []*upstream.Pool
	agents     map[string]*agents.Agent
	server     *boundRoute // answers OPTIONS for the proxy itself
}

// view is what one listener sees of the routes.
type view struct {
	table    *route.Table
	routes   []*boundRoute // by the table's indexes
	fallback *boundRoute   // default-route; nil: none
}

// match returns the route for an exchange's request, nil when there is none.
func (v *view) match(x *exchange) *boundRoute {
	q := route.Request{Host: x.req.Host, Path: x.req.Path, Query: x.req.Query, Method: x.req.Method, Fields: x.req.Fields}
	if i := v.table.Match(&q); i >= 0 {
		return v.routes[i]
	}
	return v.fallback
}

// boundRoute is a route with everything it needs to serve.
type boundRoute struct {
	id            string
	cfg           *config.Route
	upstream      string
	pool          *upstream.Pool
	builtin       builtinHandler
	metrics       *telemetry.RouteMetrics
	attempts      *telemetry.UpstreamRoute
	acquired      *telemetry.Counter // connections taken from the upstream's pool
	requestEdits  edits
	responseEdits edits
	cors          *crossOrigin // nil: no such filter, here and below
	lateEdits     edits        // of filters that see answers after cors
	compress      *compression
	witness       *logRules
	maxBody       int64
	headLimit     tick // for the response head
	readLimit     tick
	writeLimit    tick
	bodyIdle      tick          // for the request's body; 0: the listener's
	connectLimit  time.Duration // 0: the upstream's
	tunnelLimit   tick
	retries       *retryRules
	breaker       *routeBreaker // nil: none
	websocket     bool
	agents        []*boundAgent // in the order of the route's filters
	errorFormat   string
	errorPages    map[int]errorPage
}

// errorPage is a route's own version of one error response.
type errorPage struct {
	format, message, template string
	headers                   [][2]string
}

// buildSnapshot compiles a configuration. An error leaves nothing behind.
func (p *Proxy) buildSnapshot(cfg *config.Config, generation uint64) (*snapshot, error) {
	s := &snapshot{cfg: cfg, generation: generation, views: map[string]*view{}, heads: headLimits(&cfg.Limits)}
	s.maxHead = s.heads.MaxHead()
	pools := map[string]*upstream.Pool{}
	for i := range cfg.Upstreams {
		pool, err := p.buildPool(&cfg.Upstreams[i])
		if err != nil {
			return nil, err
		}
		pools[pool.ID] = pool
		s.pools = append(s.pools, pool)
	}
	var err error
	if s.agents, err = p.buildAgents(cfg); err != nil {
		return nil, err
	}
	routes := map[string]*boundRoute{}
	for i := range cfg.Routes {
		r, err := p.bind(cfg, &cfg.Routes[i], pools, s.agents)
		if err != nil {
			return nil, err
		}
		routes[r.id] = r
	}
	for i := range cfg.Listeners {
		s.views[cfg.Listeners[i].ID] = buildView(&cfg.Listeners[i], routes, cfg)
	}
	s.server = &boundRoute{id: telemetry.NoRoute, metrics: p.unrouted, builtin: answerOptions, maxBody: cfg.Limits.MaxBodySize}
	return s, nil
}

func headLimits(l *config.Limits) wire.Limits {
	return wire.Limits{Line: 8 << 10, Size: l.MaxHeaderSize, Count: l.MaxHeaderCount, Name: l.MaxHeaderName, Value: l.MaxHeaderValue}
}

func buildView(l *config.Listener, all map[string]*boundRoute, cfg *config.Config) *view {
	routes, rules := visible(l, cfg.Routes)
	v := &view{table: route.Compile(rules), fallback: all[l.DefaultRoute]}
	for _, r := range routes {
		v.routes = append(v.routes, all[r.ID])
	}
	return v
}

// visible returns the routes that a listener serves, and their rules.
func visible(l *config.Listener, all []config.Route) (routes []*config.Route, rules []route.Rule) {
	for i := range all {
		if r := &all[i]; len(r.Listeners) == 0 || slices.Contains(r.Listeners, l.ID) {
			routes = append(routes, r)
			rules = append(rules, ruleOf(r))
		}
	}
	return routes, rules
}

func ruleOf(r *config.Route) route.Rule {
	m := &r.Matches
	return route.Rule{
		ID: r.ID, Priority: r.Priority, Paths: m.Paths, Prefixes: m.PathPrefixes, PathRegexes: m.PathRegexes,
		Hosts: m.Hosts, HostRegexes: m.HostRegexes, Methods: m.Methods,
		Headers: conditions(m.Headers), Query: conditions(m.Query),
	}
}

func conditions(list []config.Condition) (out []route.Condition) {
	for _, c := range list {
		out = append(out, route.Condition{Name: c.Name, Values: c.Values})
	}
	return out
}

// bind makes a route ready to serve.
func (p *Proxy) bind(cfg *config.Config, c *config.Route, pools map[string]*upstream.Pool, all map[string]*agents.Agent) (*boundRoute, error) {
	r := &boundRoute{
		id: c.ID, cfg: c, upstream: c.Upstream, pool: pools[c.Upstream], metrics: p.metrics.Route(c.ID),
		maxBody: c.Policies.MaxBodySize, websocket: c.WebSocket.Enabled, tunnelLimit: never,
		agents: p.bindAgents(cfg, c, all),
	}
	if r.maxBody == 0 {
		r.maxBody = cfg.Limits.MaxBodySize
	}
	if c.Builtin != "" {
		r.builtin = builtins[c.Builtin]
	}
	if c.Policies.Timeout > 0 {
		r.tunnelLimit = ticks(c.Policies.Timeout)
	}
	r.bindFilters(cfg, c)
	if r.pool != nil {
		stats := p.metrics.Upstream(c.Upstream)
		r.attempts, r.acquired = stats.Route(c.ID), &stats.PoolAcquired
		r.bindTimeouts(cfg, c)
		r.retries = bindRetries(c.Retry, cfg.Limits.MaxBodyBuffer)
		r.breaker = p.bindBreaker(c, r.attempts)
	}
	r.overrideTimeouts(cfg, c)
	return r, r.bindErrorPages(c.ErrorPages)
}

func (r *boundRoute) bindTimeouts(cfg *config.Config, c *config.Route) {
	i := slices.IndexFunc(cfg.Upstreams, func(u config.Upstream) bool { return u.ID == c.Upstream })
	t := cfg.Upstreams[i].Timeouts
	request := t.Request
	if c.Policies.Timeout > 0 {
		request = c.Policies.Timeout
	}
	r.headLimit = ticks(request)
	r.readLimit, r.writeLimit = ticks(t.Read), ticks(t.Write)
}

func (r *boundRoute) bindErrorPages(c *config.ErrorPages) error {
	if c == nil {
		return nil
	}
	r.errorFormat, r.errorPages = c.DefaultFormat, map[int]errorPage{}
	for status, e := range c.Pages {
		page := errorPage{format: e.Format, message: e.Message, headers: e.Headers}
		if e.Template != "" {
			text, err := os.ReadFile(filepath.Join(c.TemplateDir, e.Template))
			if err != nil {
				return fmt.Errorf("route %q: error page %d: %w", r.id, status, err)
			}
			page.template = string(text)
		}
		r.errorPages[status] = page
	}
	return nil
}
