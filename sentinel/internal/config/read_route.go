package config

import (
	"math"
	"strconv"
)

// route reads one `route`.
func (r *reader) route(n *node) Route {
	id, b := r.define(aRoute, n)
	t := Route{
		Pos: n.pos, ID: id,
		Listeners:    b.referAll("listeners", aListener),
		Priority:     b.priority(),
		Upstream:     b.refer("upstream", anUpstream),
		Builtin:      b.builtin(),
		Filters:      b.referAll("filters", aFilter),
		WAFEnabled:   b.boolean("waf-enabled", false),
		EncodedSlash: b.choice("encoded-slash", "reject", slashModes),
	}
	for _, agent := range b.referAll("agents", anAgent) {
		t.Filters = append(t.Filters, implicitFilter(agent))
	}
	m, _ := b.block("matches")
	t.Matches = r.matches(m)
	b.staticFiles(&t)
	b.serviceType(&t)
	p, _ := b.block("policies")
	t.Policies = r.policies(p)
	if p, ok := b.block("retry-policy"); ok {
		t.Retry = r.retryPolicy(p)
	}
	if p, ok := b.block("circuit-breaker"); ok {
		breaker := r.circuitBreaker(p)
		t.CircuitBreaker = &breaker
	}
	if p, ok := b.block("error-pages"); ok {
		t.ErrorPages = r.errorPages(p)
	}
	t.WebSocket = b.webSocket(&t.Matches)
	b.unsupported("websocket-inspection", "cache", "shadow", "fallback", "inference", "api-schema")
	b.routeRules(&t)
	b.done()
	return t
}

var (
	slashModes   = oneOf("reject", "keep", "decode")
	serviceTypes = oneOf("web", "api", "static", "builtin").ignoring("inference")
)

// priorities are the names of a route's priority.
var priorities = oneOf("critical", "high", "normal", "low", "background")

var priorityValues = map[string]int{"critical": 1000, "high": 100, "normal": 50, "low": 10, "background": 1}

// catchAllPriority is the highest priority a route without conditions may have.
const catchAllPriority = 10

func (b *block) priority() int {
	v, ok := b.lookup("priority")
	if !ok {
		b.note("priority", "50", "default")
		return priorityValues["normal"]
	}
	n, isInt := v.data.(int64)
	if !isInt {
		word, ok := b.word("priority", v, priorities)
		if !ok {
			return priorityValues["normal"]
		}
		n = int64(priorityValues[word])
	}
	if n < math.MinInt32 || n > math.MaxInt32 {
		b.wrong("priority", v, span{math.MinInt32, math.MaxInt32}.String())
		return priorityValues["normal"]
	}
	b.note("priority", strconv.FormatInt(n, 10), v.source())
	return int(n)
}

var builtins = oneOf("health", "ready", "status", "version", "metrics", "config", "upstreams", "agents", "not-found").
	ignoring("cache-purge", "cache-stats")

// builtin reads the name of a handler of our own. One that is known and not built answers 404.
func (b *block) builtin() string {
	name := b.choice("builtin-handler", "", builtins)
	if name == "" && b.written("builtin-handler") {
		return "not-found"
	}
	return name
}

func (b *block) staticFiles(t *Route) {
	s, ok := b.block("static-files")
	if !ok {
		return
	}
	t.StaticFiles = &StaticFiles{
		Pos:              s.node.pos,
		Root:             s.required("root"),
		Index:            s.text("index", "index.html"),
		DirectoryListing: s.boolean("directory-listing", false),
		CacheControl:     s.fieldValue("cache-control", "public, max-age=3600"),
		Compress:         s.boolean("compress", true),
		Fallback:         s.text("fallback", "", "spa-fallback"),
		MIMETypes:        s.stringMap("mime-types"),
	}
	s.needs("root", t.StaticFiles.Root, directory(t.StaticFiles.Root))
	s.done()
}

// serviceType reads the type, or infers it from what the route has.
func (b *block) serviceType(t *Route) {
	def := "web"
	switch {
	case t.StaticFiles != nil:
		def = "static"
	case t.Builtin != "":
		def = "builtin"
	}
	t.ServiceType = b.choice("service-type", def, serviceTypes)
}

// routeRules checks what a route needs as a whole.
func (b *block) routeRules(t *Route) {
	const oneHandler = "expected one of upstream, static-files, builtin-handler"
	has := map[string]bool{"upstream": t.Upstream != "", "static-files": t.StaticFiles != nil, "builtin-handler": t.Builtin != ""}
	handlers := 0
	for _, name := range []string{"upstream", "static-files", "builtin-handler"} {
		if !has[name] {
			continue
		}
		if handlers++; handlers > 1 {
			b.fail(name, "a second handler for the route", oneHandler)
		}
	}
	switch {
	case t.ServiceType == "static" && t.StaticFiles == nil:
		b.fail("service-type", "service-type static without a static-files block", `expected static-files { root "…" }`)
	case t.ServiceType == "builtin" && !b.written("builtin-handler"):
		b.fail("service-type", "service-type builtin without a builtin-handler", `expected builtin-handler "…"`)
	case handlers == 0:
		b.fail("", "the route has no handler", oneHandler)
	}
	if m := b.first("matches"); (m == nil || len(m.children)+len(m.props) == 0) && t.Priority > catchAllPriority {
		b.fail("", "the route has no match conditions", `expected a condition in matches, or priority "low" for a catch-all`)
	}
}

// webSocket reads `websocket #true` or a block. A route that matches on the upgrade means it too.
func (b *block) webSocket(m *Matches) WebSocket {
	c := b.r.absent(b.node.pos, b.pathOf("websocket"))
	var w WebSocket
	if n := b.first("websocket"); n != nil && len(n.args) == 0 {
		c, _ = b.block("websocket")
		w.Enabled = c.boolean("enabled", true)
	} else {
		w.Enabled = b.boolean("websocket", asksForWebSocket(m))
	}
	w.PingInterval = c.seconds("ping-interval-secs", 30, secondsMax)
	w.PingTimeout = c.seconds("ping-timeout-secs", 10, secondsMax)
	w.MaxMessageSize = c.bound("max-message-size-bytes", bytesMax)
	w.MaxConnectionsPerIP = int(c.bound("max-connections-per-ip", positive))
	for _, name := range []string{"ping-interval-secs", "ping-timeout-secs", "max-message-size-bytes"} {
		if c.written(name) {
			c.warn(name, "not enforced: frames are relayed unread", "")
		}
	}
	c.done()
	return w
}

func asksForWebSocket(m *Matches) bool {
	for _, h := range m.Headers {
		for _, v := range h.Values {
			if h.Name == "upgrade" && spelling(v) == "websocket" {
				return true
			}
		}
	}
	return false
}
