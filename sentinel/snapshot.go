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
	heads      wire.Limits          // of request heads
	maxHead    int                  // largest buffer a request head may need
	listeners  map[string]*listener // by socketKey
	views      map[string]*view     // by the listener's id
	routes     map[string]*boundRoute
	upstreams  map[string]int   // places in the configuration, by id
	pools      []*upstream.Pool // in the order of the configuration
	agents     map[string]*agents.Agent
	files      digests     // of the files that definitions name
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
	rates         []rateLimit
	use           *routeUse // nil: a handler of our own, which no load is kept from
	maxRequests   int       // at a time
	maxSockets    int       // upgraded connections of one client; 0: no bound
	// Whole bodies are read before they are passed on, if they are not over maxBuffer bytes.
	bufferRequests, bufferResponses bool
	maxBuffer                       int64
	agents                          []*boundAgent // in the order of the route's filters
	errorFormat                     string
	errorPages                      map[int]errorPage
}

// errorPage is a route's own version of one error response.
type errorPage struct {
	format, message, template string
	headers                   [][2]string
}

// buildSnapshot compiles a configuration, with what it defines just as old does taken over from there. Nothing of
// it runs yet, and no listener has a socket.
func (p *Proxy) buildSnapshot(cfg *config.Config, old *snapshot, rest func()) (*snapshot, error) {
	s := &snapshot{
		cfg: cfg, generation: 1, heads: headLimits(&cfg.Limits),
		listeners: map[string]*listener{}, views: map[string]*view{}, routes: map[string]*boundRoute{},
		upstreams: map[string]int{},
	}
	if old != nil {
		s.generation = old.generation + 1
	}
	s.maxHead = s.heads.MaxHead()
	kept := adopt(old, cfg, rest)
	s.files = kept.files
	for _, build := range [...]func(*snapshot, *adoption) error{p.buildPools, p.buildAgents, p.buildRoutes, p.buildListeners} {
		if err := build(s, kept); err != nil {
			return nil, err
		}
	}
	s.server = &boundRoute{id: telemetry.NoRoute, metrics: p.unrouted, builtin: answerOptions, maxBody: cfg.Limits.MaxBodySize}
	return s, nil
}

func (p *Proxy) buildPools(s *snapshot, kept *adoption) error {
	for i := range s.cfg.Upstreams {
		pool := kept.pool(&s.cfg.Upstreams[i])
		if pool == nil {
			var err error
			if pool, err = p.buildPool(&s.cfg.Upstreams[i]); err != nil {
				return err
			}
		}
		s.upstreams[pool.ID] = i
		s.pools = append(s.pools, pool)
	}
	return nil
}

// pool returns the pool of an upstream, nil if there is none of that id.
func (s *snapshot) pool(id string) *upstream.Pool {
	if i, ok := s.upstreams[id]; ok {
		return s.pools[i]
	}
	return nil
}

func (p *Proxy) buildRoutes(s *snapshot, kept *adoption) error {
	for i := range s.cfg.Routes {
		kept.rest()
		r, err := p.bindRoute(s, &s.cfg.Routes[i], kept)
		if err != nil {
			return err
		}
		s.routes[r.id] = kept.route(s, r)
	}
	return nil
}

func (p *Proxy) buildListeners(s *snapshot, _ *adoption) error {
	for i := range s.cfg.Listeners {
		c := &s.cfg.Listeners[i]
		l, err := p.buildListener(c)
		if err != nil {
			return err
		}
		s.listeners[l.key] = l
		s.views[c.ID] = buildView(c, s.routes, s.cfg)
	}
	return nil
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
	routes, rules = make([]*config.Route, 0, len(all)), make([]route.Rule, 0, len(all))
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

// bindRoute makes a route ready to serve.
func (p *Proxy) bindRoute(s *snapshot, c *config.Route, kept *adoption) (*boundRoute, error) {
	cfg := s.cfg
	own := *c // the route may outlive the configuration, of which it must not keep the rest
	c = &own
	r := &boundRoute{
		id: c.ID, cfg: c, upstream: c.Upstream, pool: s.pool(c.Upstream), metrics: p.metrics.Route(c.ID),
		maxBody: c.Policies.MaxBodySize, websocket: c.WebSocket.Enabled, tunnelLimit: never,
		agents: p.bindAgents(cfg, c, s.agents), maxBuffer: cfg.Limits.MaxBodyBuffer,
		bufferRequests: c.Policies.BufferRequests, bufferResponses: c.Policies.BufferResponses,
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
	r.bindLimits(p, cfg)
	r.bindFilters(cfg, c)
	if r.pool != nil {
		stats := p.metrics.Upstream(c.Upstream)
		r.attempts, r.acquired = stats.Route(c.ID), &stats.PoolAcquired
		r.bindTimeouts(&cfg.Upstreams[s.upstreams[c.Upstream]].Timeouts, c)
		r.retries = bindRetries(c.Retry, cfg.Limits.MaxBodyBuffer)
		if r.breaker = kept.breaker(c); r.breaker == nil {
			r.breaker = p.bindBreaker(c, r.attempts)
		}
	}
	r.overrideTimeouts(cfg, c)
	return r, r.bindErrorPages(c.ErrorPages)
}

func (r *boundRoute) bindTimeouts(t *config.UpstreamTimeouts, c *config.Route) {
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
