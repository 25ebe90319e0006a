package ratelimit

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// logEvery bounds how often one complaint is logged.
const logEvery = time.Second

// Limiter is the agent. Its methods may be called from any goroutine.
type Limiter struct {
	agent.Base
	options  Options
	begin    time.Time // what local times count from
	rules    atomic.Pointer[[]*rule]
	local    *memory
	shared   *shared // nil: no Redis
	failures atomic.Uint64
	complain rate.Sometimes // about Redis
}

// Stats are counters of the agent.
type Stats struct {
	Buckets       int    // in memory
	Forgotten     uint64 // buckets dropped before they were full, for want of room
	RedisFailures uint64 // requests that Redis did not decide
}

// New returns the agent. It fails on options that make no sense; it does not connect to Redis.
func New(o Options) (agent.Handler, error) { return newLimiter(o) }

func newLimiter(o Options) (*Limiter, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Limiter{options: o, begin: o.now(), local: newMemory(o.MaxKeys), complain: rate.Sometimes{Interval: logEvery}}
	if err := l.use(o.Limits); err != nil {
		return nil, err
	}
	if o.Redis.Address != "" {
		l.shared, err = newShared(o.Redis)
	}
	return l, err
}

// use puts limits into force. Buckets of limits whose name stays are kept.
func (l *Limiter) use(limits []Limit) error {
	rules, err := compile(limits, l.options.IPv6Prefix)
	if err != nil {
		return err
	}
	l.rules.Store(&rules)
	return nil
}

// Close ends the connections to Redis. Requests are then decided as if it did not answer.
func (l *Limiter) Close() error {
	if l.shared == nil {
		return nil
	}
	return l.shared.close()
}

// Stats returns the counters.
func (l *Limiter) Stats() Stats {
	buckets, forgotten := l.local.stats()
	return Stats{Buckets: buckets, Forgotten: forgotten, RedisFailures: l.failures.Load()}
}

// Configure replaces the limits by the proxy's. An empty block leaves those of the command line. With
// several proxies the last one's stand.
func (l *Limiter) Configure(_ context.Context, config json.RawMessage) error {
	limits, err := parseSettings(config)
	if err != nil || len(limits) == 0 {
		return err
	}
	return l.use(limits)
}

// RequestHeaders counts the request and decides about it.
func (l *Limiter) RequestHeaders(ctx context.Context, r *agent.Request) *agent.Verdict {
	rule := l.match(path(r))
	if rule == nil {
		return agent.Allow()
	}
	o, err := l.take(ctx, rule, rule.key.of(rule.name, r))
	if err != nil {
		return (&agent.Verdict{}).WithReason("redis_unavailable")
	}
	return rule.verdict(o)
}

// match returns the rule for a path, nil without one.
func (l *Limiter) match(path string) *rule {
	for _, r := range *l.rules.Load() {
		if r.covers(path) {
			return r
		}
	}
	return nil
}

// take asks Redis, or memory when there is no Redis or it is out of order and that is what to do then.
func (l *Limiter) take(ctx context.Context, r *rule, key id) (outcome, error) {
	if l.shared != nil {
		o, err := l.shared.take(ctx, key, r.bucket, l.options.now())
		if err == nil {
			return o, nil
		}
		l.failed(err)
		if l.options.Redis.OnFailure == Fail {
			return o, err
		}
	}
	return l.local.take(key, r.bucket, l.options.now().Sub(l.begin)), nil
}

// failed counts a failure of Redis, and logs one now and then.
func (l *Limiter) failed(err error) {
	count := l.failures.Add(1)
	l.complain.Do(func() {
		l.options.Log.Warn("redis does not decide about requests", "error", shorten(err),
			"requests_so_far", count, "instead", string(l.options.Redis.OnFailure))
	})
}

// shorten returns an error's text: it may hold words of the server.
func shorten(err error) string {
	const most = 200
	text := err.Error()
	return text[:min(len(text), most)]
}

// verdict tells the proxy, and in headers the client, where the client stands.
func (r *rule) verdict(o outcome) *agent.Verdict {
	headers := [...][2]string{
		{"X-RateLimit-Limit", strconv.Itoa(r.burst)},
		{"X-RateLimit-Remaining", decimal(r.bucket.remaining(o.missing))},
		{"X-RateLimit-Reset", decimal(seconds(o.missing))},
	}
	if o.admitted {
		v := agent.Allow()
		for _, h := range headers {
			v.SetResponseHeader(h[0], h[1])
		}
		return v
	}
	retry := decimal(r.bucket.retryAfter(o.missing))
	v := agent.Block(429, fmt.Sprintf("Rate limit exceeded, retry after %s s\n", retry)).SetHeader("Retry-After", retry)
	for _, h := range headers {
		v.SetHeader(h[0], h[1])
	}
	return v.WithTag("rate_limited").WithRule("ratelimit/" + r.name).WithReason("rate_limited")
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
