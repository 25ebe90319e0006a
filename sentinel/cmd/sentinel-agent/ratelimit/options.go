package ratelimit

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Bounds of what may be configured.
const (
	minRate   = 0.001
	maxRate   = 100_000
	maxBurst  = 1_000_000
	maxFill   = 7 * 24 * time.Hour // an empty bucket must be full again after that
	maxLimits = 100
	maxKeys   = 10_000_000
	maxPool   = 1000
)

// Options describe the agent. They are not changed after New.
type Options struct {
	Limits     []Limit      // at most 100; a request is counted by the one with the longest path that fits
	MaxKeys    int          // buckets in memory, up to 10,000,000; 0: 100,000
	IPv6Prefix int          // bits of an IPv6 address that make a client, 1 to 128; 0: 64
	Redis      Redis        // the zero value: buckets in memory only
	Log        *slog.Logger // nil: slog.Default

	now func() time.Time // nil: time.Now
}

// Limit is one limit.
type Limit struct {
	Name  string  // letters, digits, - and _, at most 64; unique
	Path  string  // requests below it, in whole segments; empty: every request
	Key   string  // parts separated by commas: client-ip, path, route, header:NAME; empty: client-ip
	Rate  float64 // requests per second, 0.001 to 100,000
	Burst int     // requests at once, 1 to 1,000,000; 0: one second's worth, at least 1
}

// Redis describes where buckets are shared.
type Redis struct {
	Address   string        // host:port, or a redis://, rediss:// or unix:// URL; empty: nowhere
	Password  string        // if not in the URL
	Prefix    string        // of every key, at most 64 bytes; empty: "sentinel:ratelimit:"
	Timeout   time.Duration // of one request's question, connecting included, 1 ms to 10 s; 0: 50 ms
	PoolSize  int           // connections, up to 1000; 0: 16
	OnFailure OnFailure     // empty: Local
}

// OnFailure is what becomes of requests while Redis does not answer.
type OnFailure string

// What may become of them.
const (
	Local OnFailure = "local" // counted in memory, by each agent for itself
	Fail  OnFailure = "fail"  // undecided: the proxy's failure mode decides
)

var limitName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// withDefaults fills in what is not set, and checks what is.
func (o Options) withDefaults() (Options, error) {
	o.MaxKeys = cmp.Or(o.MaxKeys, 100_000)
	o.IPv6Prefix = cmp.Or(o.IPv6Prefix, 64)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.now == nil {
		o.now = time.Now
	}
	switch {
	case o.MaxKeys < 1 || o.MaxKeys > maxKeys:
		return o, fmt.Errorf("max keys %d: want 1 to %d", o.MaxKeys, maxKeys)
	case o.IPv6Prefix < 1 || o.IPv6Prefix > 128:
		return o, fmt.Errorf("IPv6 prefix %d: want 1 to 128 bits", o.IPv6Prefix)
	}
	var err error
	o.Redis, err = o.Redis.withDefaults()
	return o, err
}

func (r Redis) withDefaults() (Redis, error) {
	r.Prefix = cmp.Or(r.Prefix, "sentinel:ratelimit:")
	r.Timeout = cmp.Or(r.Timeout, 50*time.Millisecond)
	r.PoolSize = cmp.Or(r.PoolSize, 16)
	r.OnFailure = cmp.Or(r.OnFailure, Local)
	switch {
	case len(r.Prefix) > 64:
		return r, fmt.Errorf("redis prefix: %d bytes, want at most 64", len(r.Prefix))
	case r.Timeout < time.Millisecond || r.Timeout > 10*time.Second:
		return r, fmt.Errorf("redis timeout %v: want 1ms to 10s", r.Timeout)
	case r.PoolSize < 1 || r.PoolSize > maxPool:
		return r, fmt.Errorf("redis pool size %d: want 1 to %d", r.PoolSize, maxPool)
	case r.OnFailure != Local && r.OnFailure != Fail:
		return r, fmt.Errorf("on redis failure %q: want %q or %q", r.OnFailure, Local, Fail)
	}
	return r, nil
}

// rule is a Limit, ready for use.
type rule struct {
	name   string
	path   string // without a slash at the end
	key    *key
	burst  int
	bucket bucket
}

// compile checks limits and puts them in the order in which they are tried: longer paths first.
func compile(limits []Limit, ipv6Prefix int) ([]*rule, error) {
	if len(limits) == 0 || len(limits) > maxLimits {
		return nil, fmt.Errorf("%d limits: want 1 to %d", len(limits), maxLimits)
	}
	var rules []*rule
	for _, l := range limits {
		r, err := l.compile(ipv6Prefix)
		if err != nil {
			return nil, fmt.Errorf("limit %q: %w", l.Name, err)
		}
		for _, other := range rules {
			if other.name == r.name || other.path == r.path {
				return nil, fmt.Errorf("limit %q: same name or path as limit %q", r.name, other.name)
			}
		}
		rules = append(rules, r)
	}
	slices.SortFunc(rules, func(a, b *rule) int { return cmp.Compare(len(b.path), len(a.path)) })
	return rules, nil
}

func (l Limit) compile(ipv6Prefix int) (*rule, error) {
	switch {
	case !limitName.MatchString(l.Name):
		return nil, errors.New("name: want 1 to 64 letters, digits, - and _")
	case !(l.Rate >= minRate && l.Rate <= maxRate): // not a number fails too
		return nil, fmt.Errorf("rate %v: want %v to %d requests per second", l.Rate, minRate, maxRate)
	case l.Burst < 0 || l.Burst > maxBurst:
		return nil, fmt.Errorf("burst %d: want 1 to %d", l.Burst, maxBurst)
	case l.Path != "" && l.Path[0] != '/':
		return nil, fmt.Errorf("path %q: want a / at its start", l.Path)
	}
	burst := cmp.Or(l.Burst, max(1, int(l.Rate)))
	b := newBucket(l.Rate, burst)
	if b.depth > maxFill {
		return nil, fmt.Errorf("an empty bucket takes %v to fill: want at most %v", b.depth, maxFill)
	}
	k, err := parseKey(cmp.Or(l.Key, "client-ip"), ipv6Prefix)
	if err != nil {
		return nil, err
	}
	return &rule{name: l.Name, path: strings.TrimRight(l.Path, "/"), key: k, burst: burst, bucket: b}, nil
}

// covers reports whether the rule is for a path.
func (r *rule) covers(path string) bool {
	rest, ok := strings.CutPrefix(path, r.path)
	return ok && (rest == "" || rest[0] == '/' || r.path == "")
}
