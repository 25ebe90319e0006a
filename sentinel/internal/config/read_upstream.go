package config

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// upstream reads one `upstream`.
func (r *reader) upstream(n *node, limits *Limits) Upstream {
	id, b := r.define(anUpstream, n)
	u := Upstream{
		Pos: n.pos, ID: id,
		Targets: b.targets(),
	}
	b.loadBalancing(&u)
	b.healthAndRamp(&u)
	c, _ := b.block("circuit-breaker")
	u.CircuitBreaker = r.circuitBreaker(c)
	c, _ = b.block("retry-budget")
	u.RetryBudget = r.retryBudget(c)
	u.DNSRefresh = b.seconds("dns-refresh-secs", 30, secondsMax)
	c, _ = b.block("connection-pool")
	u.Pool = r.connectionPool(c, limits)
	c, _ = b.block("timeouts")
	u.Timeouts = r.upstreamTimeouts(c)
	if c, ok := b.block("tls"); ok {
		u.TLS = r.upstreamTLS(c)
	}
	c, _ = b.block("http-version")
	r.httpVersion(c, &u)
	b.unsupported("discovery", "sticky")
	b.done()
	return u
}

var algorithms = oneOf(
	"round_robin roundrobin", "weighted weighted_round_robin",
	"least_connections leastconnections least_conn weighted_least_connections",
	"random", "ip_hash iphash", "consistent_hash consistenthash", "maglev", "power_of_two_choices p2c",
	"adaptive peak_ewma", "sticky sticky_session",
).ignoring("deterministic_subset", "locality_aware", "least_tokens_queued")

// loadBalancing reads `load-balancing "name"`, with a block for "sticky", or a block that names the
// algorithm.
func (b *block) loadBalancing(u *Upstream) {
	n := b.first("load-balancing")
	if n == nil || len(n.children) == 0 {
		u.LoadBalancing = b.algorithm("load-balancing")
		if u.LoadBalancing == "sticky" {
			u.Sticky = b.r.sticky(b.r.absent(b.node.pos, b.pathOf("load-balancing")))
		}
		return
	}
	b.one("load-balancing")
	c := b.r.open(n, b.pathOf("load-balancing"), min(len(n.args), 1))
	if len(n.args) > 0 {
		c.node = withProp(n, "algorithm", n.args[0])
	}
	u.LoadBalancing = c.algorithm("algorithm")
	if u.LoadBalancing == "sticky" {
		u.Sticky = b.r.sticky(c)
	}
	c.done()
}

// withProp returns n with one more property.
func withProp(n *node, key string, v value) *node {
	more := *n
	more.props = append(slices.Clone(n.props), prop{key, v})
	return &more
}

func (b *block) algorithm(name string) string { return b.choice(name, "round_robin", algorithms) }

// sticky reads the cookie of the sticky algorithm.
func (r *reader) sticky(b *block) *Sticky {
	s := &Sticky{
		CookieName: b.text("cookie-name", "SERVERID"),
		CookiePath: b.text("cookie-path", "/"),
		SameSite:   b.choice("cookie-same-site", "lax", oneOf("lax", "strict", "none")),
		TTL:        b.ttl("cookie-ttl", time.Hour),
		Secure:     b.boolean("cookie-secure", true),
		Fallback:   b.algorithm("fallback"),
	}
	if !isToken(s.CookieName) {
		b.fail("cookie-name", "found "+kdlQuote(cut(s.CookieName)), "expected a cookie name: letters, digits and any of !#$%&'*+-.^_`|~")
	}
	if s.Fallback == "sticky" {
		b.fail("fallback", "sticky falls back to itself", "expected another algorithm")
	}
	return s
}

// ttl reads whole seconds or a string with a unit: "30m", "1h", "1d".
func (b *block) ttl(name string, def time.Duration) time.Duration {
	v, ok := b.lookup(name)
	if !ok {
		b.note(name, fmt.Sprint(int(def.Seconds())), "default")
		return def
	}
	n, ok := v.data.(int64)
	if s, isText := v.data.(string); isText {
		n, ok = parseTTL(s)
	}
	if !ok || n < secondsMax.lo || n > secondsMax.hi {
		b.wrong(name, v, `expected seconds, or a string with a unit of s, m, h or d, such as "1h"`)
		return def
	}
	b.note(name, fmt.Sprint(n), v.source())
	return time.Duration(n) * time.Second
}

func parseTTL(s string) (seconds int64, ok bool) {
	var n int64
	var unit string
	if _, err := fmt.Sscanf(s, "%d%s", &n, &unit); err != nil || n < 0 || n > math.MaxInt32 {
		return 0, false
	}
	factor, ok := map[string]int64{"s": 1, "m": 60, "h": 3600, "d": 86_400}[unit]
	return n * factor, ok
}

// connectionPool reads an upstream's `connection-pool`.
func (r *reader) connectionPool(b *block, limits *Limits) ConnectionPool {
	p := ConnectionPool{MaxConnections: b.integer("max-connections", 100, positive)}
	p.MaxPending = b.integer("max-pending", p.MaxConnections, orZero)
	p.MaxIdle = b.integer("max-idle", min(p.MaxConnections, limits.MaxIdlePerUpstream), orZero)
	if p.MaxIdle > p.MaxConnections {
		b.warn("max-idle", fmt.Sprintf("%d idle connections of at most %d", p.MaxIdle, p.MaxConnections), "expected at most max-connections")
		p.MaxIdle = p.MaxConnections
	}
	p.IdleTimeout = b.seconds("idle-timeout-secs", 60, secondsMax, "idle-timeout")
	p.MaxLifetime = b.optionalSeconds("max-lifetime-secs", "max-lifetime")
	b.done()
	return p
}

// upstreamTimeouts reads an upstream's `timeouts`. None can be 0: every operation has an end.
func (r *reader) upstreamTimeouts(b *block) UpstreamTimeouts {
	t := UpstreamTimeouts{
		Connect: b.seconds("connect-secs", 10, secondsMax, "connect"),
		Request: b.seconds("request-secs", 60, secondsMax, "request"),
		Read:    b.seconds("read-secs", 30, secondsMax, "read"),
		Write:   b.seconds("write-secs", 30, secondsMax, "write"),
	}
	b.done()
	return t
}

// upstreamTLS reads an upstream's `tls`.
func (r *reader) upstreamTLS(b *block) *UpstreamTLS {
	t := &UpstreamTLS{
		Pos:                b.node.pos,
		SNI:                b.text("sni", ""),
		InsecureSkipVerify: b.boolean("insecure-skip-verify", false),
		ClientCert:         b.text("client-cert", ""),
		ClientKey:          b.text("client-key", ""),
		CACert:             b.text("ca-cert", ""),
	}
	if b.first("verify") != nil || b.hasProp("verify") { // the same, the other way round
		t.InsecureSkipVerify = !b.boolean("verify", true)
	}
	b.bothOrNone("client-cert", "client-key")
	b.needs("client-cert", t.ClientCert, keyPair(t.ClientCert, t.ClientKey), t.ClientCert, t.ClientKey)
	b.needs("ca-cert", t.CACert, authorities(t.CACert), t.CACert)
	b.done()
	return t
}

// bothOrNone checks two settings that only make sense together.
func (b *block) bothOrNone(first, second string) {
	switch {
	case b.written(first) && !b.written(second):
		b.fail(first, first+" without "+second, "expected both or none")
	case b.written(second) && !b.written(first):
		b.fail(second, second+" without "+first, "expected both or none")
	}
}

// httpVersion reads an upstream's `http-version`.
func (r *reader) httpVersion(b *block, u *Upstream) {
	u.MinHTTPVersion = b.integer("min-version", 1, span{1, 2})
	u.MaxHTTPVersion = b.integer("max-version", 2, span{1, 2})
	u.H2PingInterval = b.seconds("h2-ping-interval", 0, secondsOr0)
	u.MaxH2Streams = b.integer("max-h2-streams", 100, positive)
	if u.MaxHTTPVersion < u.MinHTTPVersion {
		b.fail("max-version", "max-version is lower than min-version", "")
	}
	b.done()
}
