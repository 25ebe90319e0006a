package config

import (
	"strings"
)

const (
	defaultRPS     = 100
	defaultBurst   = 10
	defaultMaxKeys = 100_000
)

// burst reads a bucket's size. Without one a bucket holds a second's worth, and never less than 10.
func (b *block) burst(name string, rps int) int {
	return b.integer(name, max(defaultBurst, rps), positive)
}

// filterRateLimit reads the settings of a `rate-limit` filter.
func (b *block) filterRateLimit() *RateLimit {
	l := &RateLimit{RPS: b.integer("max-rps", defaultRPS, positive)}
	l.Burst = b.burst("burst", l.RPS)
	b.limitRest(l)
	b.choice("backend", "local", oneOf("local").ignoring("redis", "memcached"))
	b.unsupported("redis-url", "redis-prefix", "redis-pool-size", "redis-timeout-ms", "redis-fallback-local",
		"memcached-url", "memcached-prefix", "memcached-pool-size", "memcached-timeout-ms",
		"memcached-fallback-local", "memcached-ttl-secs")
	return l
}

// policyRateLimit reads a route's `policies.rate-limit`.
func (r *reader) policyRateLimit(b *block) *RateLimit {
	l := &RateLimit{RPS: b.integer("requests-per-second", defaultRPS, positive, "max-rps")}
	if !b.written("requests-per-second") {
		b.fail("requests-per-second", `missing setting "requests-per-second"`, "it is required")
	}
	l.Burst = b.integer("burst", l.RPS, positive)
	b.limitRest(l)
	b.done()
	return l
}

// limitRest reads what all rate limits have in common.
func (b *block) limitRest(l *RateLimit) {
	l.Key = b.limitKey("key")
	l.OnLimit = b.choice("on-limit", "reject", oneOf("reject", "delay", "log-only"))
	l.Status = b.integer("status-code", 429, span{400, 599})
	l.Message = b.text("message", "Rate limit exceeded", "limit-message")
	l.MaxDelay = b.millis("max-delay-ms", 5000, millisOr0)
	l.MaxKeys = b.integer("max-keys", defaultMaxKeys, span{1, 10_000_000})
}

var limitKeys = oneOf("client-ip ip", "path", "route", "client-ip-and-path")

// limitKey reads what requests are counted by: one of the words, or `header:` and a field name.
func (b *block) limitKey(name string) string {
	v, ok := b.lookup(name)
	if !ok {
		b.note(name, kdlText("client-ip"), "default")
		return "client-ip"
	}
	s, _ := v.data.(string)
	key, ok := limitKeys.find(s)
	if field, isHeader := strings.CutPrefix(s, "header:"); isHeader && isToken(field) {
		key, ok = "header:"+strings.ToLower(field), true
	}
	if !ok {
		p := b.wrongAt(name, v, "expected one of "+strings.Join(limitKeys.canonical(), ", ")+", header:<name>")
		p.DidYouMean = b.r.nearest(s, limitKeys.canonical())
		b.r.report(p)
		return "client-ip"
	}
	b.note(name, kdlText(key), v.source())
	return key
}

// rateLimits reads the block `rate-limits`.
func (r *reader) rateLimits(b *block) *RateLimits {
	var l RateLimits
	rps := int(b.bound("default-rps", positive))
	l.Default = b.plainLimit(rps, "default-burst")
	if rps == 0 {
		l.Default = nil
		for _, name := range []string{"default-burst", "key"} {
			if b.written(name) {
				b.fail(name, name+" without default-rps", "expected default-rps: the rate it belongs to")
			}
		}
	}
	if c, ok := b.block("global"); ok {
		l.Global = c.plainLimit(c.integer("max-rps", defaultRPS, positive), "burst")
		if !c.written("max-rps") {
			c.fail("max-rps", `missing setting "max-rps"`, "it is required")
		}
		c.done()
	}
	b.done()
	return &l
}

// plainLimit is a limit of a rate, a burst and a key.
func (b *block) plainLimit(rps int, burst string) *RateLimit {
	return PlainRateLimit(rps, b.burst(burst, rps), b.limitKey("key"))
}

// PlainRateLimit returns a limit that refuses, with the defaults of all its other settings.
func PlainRateLimit(rps, burst int, key string) *RateLimit {
	return &RateLimit{
		RPS: rps, Burst: burst, Key: key, OnLimit: "reject", Status: 429, Message: "Rate limit exceeded", MaxKeys: defaultMaxKeys,
	}
}
