package sentinel

import (
	"context"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/limit"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// rateDef is all that the state of a rate limit depends on: limits with the same definition share it, also
// from one configuration to the next.
type rateDef struct {
	scope   string // what it is called in metrics and the audit log
	route   string // if each route has its own
	rate    limit.Rate
	key     string
	maxKeys int
}

// The scopes of limits that are not a route's or a filter's own.
const (
	scopeAll       = "limits.global"
	scopeEachIP    = "limits.per-client"
	scopeEachRoute = "limits.per-route"
	scopeGlobal    = "rate-limits.global"
	scopeDefault   = "rate-limits.default"
)

// rateLimit is a rate limit as one route applies it.
type rateLimit struct {
	def       rateDef
	keys      *limit.Keys
	evictions *atomic.Uint64
	by        keyKind
	header    string    // of byHeader, in lower case
	fixed     limit.Key // of byNothing
	status    int
	message   string
	maxDelay  time.Duration // how long a request may be held back; 0: it is refused
	logOnly   bool
}

// keyKind says what requests are counted by.
type keyKind uint8

const (
	byClient keyKind = iota
	byPath
	byClientAndPath
	byHeader
	byNothing // all requests that come here
)

// burstOfLimits is what the rates of the limits block hold, in seconds of the rate.
const burstOfLimits = 10

// bindRates returns the rate limits of a route in the order in which they are asked: those for everybody, then
// its own or, without, the default.
func (p *Proxy) bindRates(cfg *config.Config, c *config.Route) (list []rateLimit) {
	add := func(scope, route string, r *config.RateLimit) {
		list = append(list, p.bindRate(rateDef{scope, route, limit.Rate{PerSecond: r.RPS, Burst: r.Burst}, r.Key, r.MaxKeys}, c.ID, r))
	}
	if c.Builtin == "" {
		list = p.commonRates(cfg, c.ID)
	}
	common := len(list)
	if c.Policies.RateLimit != nil {
		add("route:"+c.ID, "", c.Policies.RateLimit)
	}
	for _, id := range c.Filters {
		if f := filterOf(cfg, id); f != nil && f.RateLimit != nil {
			add("filter:"+id, "", f.RateLimit)
		}
	}
	if len(list) == common && c.Builtin == "" && cfg.RateLimits != nil && cfg.RateLimits.Default != nil {
		add(scopeDefault, c.ID, cfg.RateLimits.Default)
	}
	return list
}

// commonRates returns the rate limits that are not a route's own, as a route has them.
func (p *Proxy) commonRates(cfg *config.Config, route string) (list []rateLimit) {
	add := func(scope string, r *config.RateLimit) {
		list = append(list, p.bindRate(rateDef{scope, "", limit.Rate{PerSecond: r.RPS, Burst: r.Burst}, r.Key, r.MaxKeys}, route, r))
	}
	for _, all := range []struct {
		scope string
		rps   int
		key   string
	}{
		{scopeAll, cfg.Limits.MaxRPSGlobal, "all"},
		{scopeEachIP, cfg.Limits.MaxRPSPerClient, "client-ip"},
		{scopeEachRoute, cfg.Limits.MaxRPSPerRoute, "route"},
	} {
		if all.rps > 0 {
			add(all.scope, config.PlainRateLimit(all.rps, min(all.rps, math.MaxInt32/burstOfLimits)*burstOfLimits, all.key))
		}
	}
	if cfg.RateLimits != nil && cfg.RateLimits.Global != nil {
		add(scopeGlobal, cfg.RateLimits.Global)
	}
	return list
}

// unroutedRates returns those of them that do not depend on the route: also what no route takes counts.
func (p *Proxy) unroutedRates(cfg *config.Config) (list []rateLimit) {
	for _, l := range p.commonRates(cfg, "") {
		if l.def.key != "route" {
			list = append(list, l)
		}
	}
	return list
}

func (p *Proxy) bindRate(d rateDef, route string, r *config.RateLimit) rateLimit {
	l := rateLimit{
		def: d, keys: p.limits.keys(d), evictions: p.limits.evicted(d.scope),
		status: r.Status, message: r.Message, logOnly: r.OnLimit == "log-only",
	}
	if r.OnLimit == "delay" {
		l.maxDelay = r.MaxDelay
	}
	switch field, isHeader := strings.CutPrefix(d.key, "header:"); {
	case isHeader:
		l.by, l.header = byHeader, field
	case d.key == "path":
		l.by = byPath
	case d.key == "client-ip-and-path":
		l.by = byClientAndPath
	case d.key == "route":
		l.by, l.fixed = byNothing, limit.KeyOfString(route)
	case d.key == "all":
		l.by = byNothing
	}
	return l
}

// key returns whom a request counts for.
func (l *rateLimit) key(x *exchange) limit.Key {
	switch l.by {
	case byPath:
		return limit.KeyOf(x.req.Path)
	case byClientAndPath:
		return x.clientKey().And(limit.KeyOf(x.req.Path))
	case byHeader:
		if f := x.keyField(l.header); f != nil {
			return limit.KeyOf(f.Value)
		}
	case byNothing:
		return l.fixed
	case byClient:
	}
	return x.clientKey()
}

// keyField returns the request's field of a name, nil if there is none, or more than one, or it ends at this hop: whoever
// checks the field behind us has to mean the same value.
func (x *exchange) keyField(name string) (one *wire.Field) {
	for i := range x.req.Fields {
		f := &x.req.Fields[i]
		if !wire.EqualName(f.Name, name) {
			continue
		}
		if one != nil || f.ID == wire.Nominated {
			return nil
		}
		one = f
	}
	return one
}

// clientKey is the key of the client's address. With 16 bytes that hold zeros it is none of a header's.
func (x *exchange) clientKey() limit.Key {
	ip := limit.Client(x.clientAddr()).As16()
	return limit.KeyOf(ip[:]).And(0)
}

// quota is where a request stands with the limit that leaves it least.
type quota struct {
	limit *rateLimit // nil: no limit applies
	limit.Verdict
}

// charge has a request that is refused before its route's limits are asked count with those that are for everybody. It
// returns why the request is refused then.
func (x *exchange) charge(refused Reason) Reason {
	rates := *x.p.limits.unrouted.Load()
	if len(rates) == 0 || x.route != nil && x.route.use == nil {
		return refused
	}
	if r := x.spend(rates); r != none {
		return r
	}
	return refused
}

// spend takes a token of every one of the rate limits, or of none.
func (x *exchange) spend(rates []rateLimit) Reason {
	now := x.p.since(x.started)
	delay := time.Duration(0)
	for i := range rates {
		l := &rates[i]
		v, evicted := l.keys.Take(l.key(x), now, l.maxDelay)
		if evicted {
			l.evictions.Add(1)
		}
		switch {
		case !v.OK:
			x.hit = l
			if !l.logOnly {
				x.unspend(rates[:i])
				x.quota = quota{l, v}
				x.p.metrics.RateLimited.Inc()
				return rateLimited
			}
		case l.logOnly: // what is not enforced is nobody's business
		default:
			delay = max(delay, v.Wait)
			if x.quota.limit == nil || v.Remaining < x.quota.Remaining {
				x.quota = quota{l, v}
			}
		}
	}
	if x.hit != nil || delay > 0 {
		x.p.metrics.RateLimited.Inc()
	}
	if delay > 0 {
		if r := x.holdBack(delay); r != none {
			return r
		}
	}
	x.p.metrics.RateAllowed.Inc()
	return none
}

// unspend gives back the tokens of limits: who is refused by another one must not use up these, which may be
// everybody's.
func (x *exchange) unspend(rates []rateLimit) {
	for i := range rates {
		if l := &rates[i]; !l.logOnly {
			l.keys.Return(l.key(x))
		}
	}
}

// holdBack waits until the request's token is there. A drain ends that: to be early is better than to be late.
func (x *exchange) holdBack(d time.Duration) Reason {
	x.p.metrics.RateDelayed.Inc()
	x.delayed, x.waited = true, true
	return x.awaitWithin(d, func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-x.p.stopped:
		}
	})
}

var (
	nameQuotaLimit = []byte("X-RateLimit-Limit")
	nameQuotaLeft  = []byte("X-RateLimit-Remaining")
	nameQuotaReset = []byte("X-RateLimit-Reset")
)

// quotaFields tells the client where it stands, in place of what the upstream says of limits of its own.
func (x *exchange) quotaFields(f []wire.Field) []wire.Field {
	kept := f[:0]
	for i := range f {
		if !isQuota(f[i].Name) {
			kept = append(kept, f[i])
		}
	}
	q := &x.quota
	full := x.started.Add(q.Full)
	reset := full.Unix()
	if full.Nanosecond() > 0 {
		reset++
	}
	b := strconv.AppendInt(x.quotaText[:0], int64(q.limit.def.rate.Burst), 10)
	n := len(b)
	b = strconv.AppendInt(b, int64(q.Remaining), 10)
	m := len(b)
	b = strconv.AppendInt(b, reset, 10)
	return append(kept,
		wire.Field{ID: wire.Other, Name: nameQuotaLimit, Value: b[:n]},
		wire.Field{ID: wire.Other, Name: nameQuotaLeft, Value: b[n:m]},
		wire.Field{ID: wire.Other, Name: nameQuotaReset, Value: b[m:]},
	)
}

// isQuota reports whether a field is about a rate limit.
func isQuota(name []byte) bool {
	const prefix = "x-ratelimit-"
	return len(name) >= len(prefix) && wire.EqualName(name[:len(prefix)], prefix)
}

// retryAfter is what Retry-After says, in seconds.
func (x *exchange) retryAfter(r Reason) int {
	if r != rateLimited {
		return 1
	}
	return max(1, int((x.quota.Wait+time.Second-1)/time.Second))
}

// auditRate writes that a request was over a rate limit.
func (x *exchange) auditRate(l *rateLimit) {
	e := x.auditEntry(rateLimited.String())
	e.Event, e.Action = telemetry.EventRateLimitExceeded, "block"
	if l.logOnly {
		e.Action = "log"
	}
	e.Metadata = []telemetry.Attribute{{Name: "limit", Value: l.def.scope}}
	x.p.logs.Load().audit.Write(&e)
}
