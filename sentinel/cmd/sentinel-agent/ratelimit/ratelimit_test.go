package ratelimit

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// clock is a time that only the test moves.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_800_000_000, c.nanos.Load()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// limiter returns an agent on a clock of its own.
func limiter(t testing.TB, o Options) (*Limiter, *clock) {
	t.Helper()
	c := &clock{}
	o.now, o.Log = c.now, slog.New(slog.DiscardHandler)
	l, err := newLimiter(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l, c
}

func one(rate float64, burst int, key string) Options {
	return Options{Limits: []Limit{{Name: "one", Rate: rate, Burst: burst, Key: key}}}
}

func from(ip string) *agent.Request {
	return &agent.Request{Metadata: agent.Metadata{ClientIP: ip}, Method: "GET", URI: "/"}
}

// responseHeaders returns what a verdict sets in the response.
func responseHeaders(v *agent.Verdict) map[string]string {
	headers := map[string]string{}
	for _, op := range v.ResponseOps {
		if op.Kind == agent.SetHeader {
			headers[op.Name] = op.Value
		}
	}
	for name, value := range v.Headers {
		headers[name] = value
	}
	return headers
}

// TestWhereTheClientStands follows one client: a burst, a refusal, and what comes back with time.
func TestWhereTheClientStands(t *testing.T) {
	t.Parallel()
	l, c := limiter(t, one(0.5, 3, ""))
	for i, step := range []struct {
		after                   time.Duration
		decision                agent.Decision
		remaining, reset, retry string
	}{
		{0, agent.Allowed, "2", "2", ""},
		{0, agent.Allowed, "1", "4", ""},
		{0, agent.Allowed, "0", "6", ""},
		{0, agent.Blocked, "0", "6", "2"},
		{1500 * time.Millisecond, agent.Blocked, "0", "5", "1"},
		{500*time.Millisecond - 1, agent.Blocked, "0", "5", "1"},
		{1, agent.Allowed, "0", "6", ""},
		{time.Hour, agent.Allowed, "2", "2", ""},
	} {
		c.advance(step.after)
		v := l.RequestHeaders(t.Context(), from("192.0.2.1"))
		h := responseHeaders(v)
		want := fmt.Sprint(step.decision, "3", step.remaining, step.reset, step.retry)
		got := fmt.Sprint(v.Decision, h["X-RateLimit-Limit"], h["X-RateLimit-Remaining"], h["X-RateLimit-Reset"], h["Retry-After"])
		if got != want {
			t.Errorf("step %d: %s, want %s", i, got, want)
		}
		if v.Decision == agent.Blocked && (v.Status != 429 || len(v.Audit.RuleIDs) != 1 || v.Audit.RuleIDs[0] != "ratelimit/one") {
			t.Errorf("step %d: status %d, rules %q", i, v.Status, v.Audit.RuleIDs)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	request := func(ip, uri, route, apiKey string) *agent.Request {
		r := &agent.Request{Metadata: agent.Metadata{ClientIP: ip, RouteID: route}, URI: uri}
		if apiKey != "" {
			r.Headers = agent.Headers{"x-api-key": {apiKey, "another"}}
		}
		return r
	}
	for _, c := range []struct {
		name, key string
		prefix    int
		a, b      *agent.Request
		same      bool
	}{
		{"two clients", "client-ip", 0, request("192.0.2.1", "/", "", ""), request("192.0.2.2", "/", "", ""), false},
		{"one client on two paths", "client-ip", 0, request("192.0.2.1", "/a", "", ""), request("192.0.2.1", "/b", "", ""), true},
		{"a mapped address", "client-ip", 0, request("192.0.2.1", "/", "", ""), request("::ffff:192.0.2.1", "/", "", ""), true},
		{"one /64", "client-ip", 0, request("2001:db8::1", "/", "", ""), request("2001:db8::ffff:1:2:3", "/", "", ""), true},
		{"two /64", "client-ip", 0, request("2001:db8::1", "/", "", ""), request("2001:db8:0:1::1", "/", "", ""), false},
		{"two hosts with /128", "client-ip", 128, request("2001:db8::1", "/", "", ""), request("2001:db8::2", "/", "", ""), false},
		{"one host, two zones", "client-ip", 128, request("fe80::1%a", "/", "", ""), request("fe80::1%b", "/", "", ""), true},
		{"no address at all", "client-ip", 0, request("", "/", "", ""), request("nonsense", "/", "", ""), true},
		{"one path, two queries", "path", 0, request("", "/a?x", "", ""), request("", "/a?y", "", ""), true},
		{"two paths", "path", 0, request("", "/a", "", ""), request("", "/b", "", ""), false},
		{"two routes", "route", 0, request("", "/", "a", ""), request("", "/", "b", ""), false},
		{"two API keys", "header:X-API-Key", 0, request("", "/", "", "a"), request("", "/", "", "b"), false},
		{"one API key", "header:X-API-Key", 0, request("1.2.3.4", "/", "", "a"), request("1.2.3.5", "/", "", "a"), true},
		{"no API key", "header:X-API-Key", 0, request("1.2.3.4", "/", "", ""), request("1.2.3.5", "/", "", ""), true},
		{"one of two parts differs", "client-ip, path", 0, request("192.0.2.1", "/a", "", ""), request("192.0.2.1", "/b", "", ""), false},
		{"parts that only look alike", "route,header:x-api-key", 0, request("", "/", "a", "bc"), request("", "/", "ab", "c"), false},
		{"a long key", "header:x-api-key", 0, request("", "/", "", strings.Repeat("k", 1<<20)), request("", "/", "", strings.Repeat("k", 1<<20)), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := one(0.01, 1, c.key)
			o.IPv6Prefix = c.prefix
			l, _ := limiter(t, o)
			if v := l.RequestHeaders(t.Context(), c.a); v.Decision != agent.Allowed {
				t.Fatalf("the first request: %v", v.Decision)
			}
			if v := l.RequestHeaders(t.Context(), c.b); (v.Decision == agent.Blocked) != c.same {
				t.Errorf("the second request: %v, want one bucket: %t", v.Decision, c.same)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	l, _ := limiter(t, Options{Limits: []Limit{
		{Name: "api", Path: "/api", Rate: 2, Burst: 2}, {Name: "login", Path: "/api/login/", Rate: 1, Burst: 1},
	}})
	for _, c := range []struct{ path, limit string }{
		{"/", ""},
		{"/ap", ""},
		{"/apis", ""},
		{"/api", "2"},
		{"/api?x", "2"},
		{"/api/", "2"},
		{"/api/x/y", "2"},
		{"/api/login", "1"},
		{"/api/login/x", "1"},
		{"/api/loginx", "2"},
		{"", ""},
		{"*", ""},
	} {
		r := from(c.path) // a client for each path
		r.URI = c.path
		r.ClientIP = fmt.Sprintf("192.0.2.%d", len(c.path))
		if got := responseHeaders(l.RequestHeaders(t.Context(), r))["X-RateLimit-Limit"]; got != c.limit {
			t.Errorf("%q: limit %q, want %q", c.path, got, c.limit)
		}
	}
}

// TestAgainstTokens compares the bucket with the plain form of a token bucket, which counts tokens up.
func TestAgainstTokens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		perSecond := rapid.IntRange(1, 1000).Draw(t, "rate")
		burst := rapid.IntRange(1, 20).Draw(t, "burst")
		b, m := newBucket(float64(perSecond), burst), newMemory(1)
		interval := int64(b.interval)
		tokens := int64(burst) * interval // in parts of a token: a nanosecond gives one
		now, admitted := int64(0), int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "requests") {
			wait := rapid.Int64Range(0, 3*interval).Draw(t, "wait")
			now += wait
			tokens = min(tokens+wait, int64(burst)*interval)
			o := m.take(id{}, b, time.Duration(now))
			if o.admitted != (tokens >= interval) {
				t.Fatalf("admitted %t with %d/%d of a token", o.admitted, tokens, interval)
			}
			if o.admitted {
				tokens -= interval
				admitted++
			}
			if b.remaining(o.missing) != tokens/interval {
				t.Fatalf("%d tokens remain, want %d", b.remaining(o.missing), tokens/interval)
			}
			if most := int64(burst) + now/interval; admitted > most {
				t.Fatalf("%d admitted in %v, at most %d are right", admitted, time.Duration(now), most)
			}
			if wait := b.retryAfter(o.missing); wait < 1 {
				t.Fatalf("retry after %d s", wait)
			}
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	l, c := limiter(t, one(10, 50, ""))
	if got := storm(t, []*Limiter{l}, 200); got != 50 {
		t.Errorf("%d admitted at once, want 50", got)
	}
	c.advance(2 * time.Second)
	if got := storm(t, []*Limiter{l}, 200); got != 20 {
		t.Errorf("%d admitted after 2 s, want 20", got)
	}
}

// storm sends requests from eight goroutines to agents in turn and returns how many were admitted.
func storm(t *testing.T, agents []*Limiter, requests int) int {
	t.Helper()
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range requests / 8 {
				v := agents[(g+i)%len(agents)].RequestHeaders(t.Context(), from("192.0.2.1"))
				switch v.Decision {
				case agent.Allowed:
					admitted.Add(1)
				case agent.Blocked:
				default:
					t.Errorf("%v", v.Decision)
				}
			}
		})
	}
	wg.Wait()
	return int(admitted.Load())
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	o := one(1, 1, "")
	o.MaxKeys = 100
	l, c := limiter(t, o)
	ask := func(n int) agent.Decision {
		return l.RequestHeaders(t.Context(), from("192.0.2."+strconv.Itoa(n))).Decision
	}
	for i := range 100 {
		ask(i)
	}
	ask(0) // used again: not the next to go
	if ask(100); l.Stats() != (Stats{Buckets: 100, Forgotten: 1}) {
		t.Errorf("%+v, want 100 buckets, 1 forgotten", l.Stats())
	}
	if ask(0) != agent.Blocked || ask(1) != agent.Allowed {
		t.Error("the bucket used last was dropped, or the one not used for the longest time was not")
	}
	c.advance(time.Minute)
	forgotten := l.Stats().Forgotten
	for i := range 100 {
		ask(110 + i)
	}
	if got := l.Stats(); got.Buckets != 100 || got.Forgotten != forgotten {
		t.Errorf("%+v, want that full buckets do not count as forgotten (%d before)", got, forgotten)
	}
}

func TestLimitsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	good := Limit{Name: "a", Rate: 1, Burst: 1}
	with := func(change func(l *Limit)) Options {
		l := good
		change(&l)
		return Options{Limits: []Limit{l}}
	}
	for _, c := range []struct {
		name string
		o    Options
		want string // in the error
	}{
		{"none", Options{}, "0 limits"},
		{"too many", Options{Limits: make([]Limit, 101)}, "101 limits"},
		{"no name", with(func(l *Limit) { l.Name = "" }), "name"},
		{"a name with a space", with(func(l *Limit) { l.Name = "a b" }), "name"},
		{"no rate", with(func(l *Limit) { l.Rate = 0 }), "rate"},
		{"a rate that is no number", with(func(l *Limit) { l.Rate = math.NaN() }), "rate"},
		{"an endless rate", with(func(l *Limit) { l.Rate = math.Inf(1) }), "rate"},
		{"a negative burst", with(func(l *Limit) { l.Burst = -1 }), "burst"},
		{"a giant burst", with(func(l *Limit) { l.Burst = maxBurst + 1 }), "burst"},
		{"a bucket that takes months", with(func(l *Limit) { l.Rate, l.Burst = 0.001, maxBurst }), "to fill"},
		{"a path without a slash", with(func(l *Limit) { l.Path = "api" }), "path"},
		{"an unknown key", with(func(l *Limit) { l.Key = "cookie" }), "key"},
		{"no header name", with(func(l *Limit) { l.Key = "header:" }), "header name"},
		{"a header name with a colon", with(func(l *Limit) { l.Key = "header:a:b" }), "header name"},
		{"an empty part", with(func(l *Limit) { l.Key = "path," }), "key"},
		{"five parts", with(func(l *Limit) { l.Key = "path,path,path,path,path" }), "parts"},
		{"two of a name", Options{Limits: []Limit{good, {Name: "a", Path: "/x", Rate: 1}}}, "same name"},
		{"two of a path", Options{Limits: []Limit{good, {Name: "b", Path: "/", Rate: 1}}}, "same name or path"},
		{"no room", Options{Limits: []Limit{good}, MaxKeys: -1}, "max keys"},
		{"a prefix of 129 bits", Options{Limits: []Limit{good}, IPv6Prefix: 129}, "IPv6 prefix"},
		{"a long redis prefix", Options{Limits: []Limit{good}, Redis: Redis{Prefix: strings.Repeat("p", 65)}}, "prefix"},
		{"a redis timeout of an hour", Options{Limits: []Limit{good}, Redis: Redis{Timeout: time.Hour}}, "timeout"},
		{"a giant pool", Options{Limits: []Limit{good}, Redis: Redis{PoolSize: 1001}}, "pool"},
		{"an unknown fallback", Options{Limits: []Limit{good}, Redis: Redis{OnFailure: "allow"}}, "failure"},
		{"an address without a port", Options{Limits: []Limit{good}, Redis: Redis{Address: "localhost"}}, "redis address"},
		{"a URL of another kind", Options{Limits: []Limit{good}, Redis: Redis{Address: "http://user:secret@x"}}, "not a redis URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, want an error about %q that tells no password", err, c.want)
			}
		})
	}
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, config string
		err          string // in the error; empty: none
		limit        string // X-RateLimit-Limit of a request for /login afterwards
	}{
		{"nothing", ``, "", "7"},
		{"null", `null`, "", "7"},
		{"an empty block", `{}`, "", "7"},
		{"one limit", `{"rps": 2, "burst": 3}`, "", "3"},
		{"one limit, its burst by its rate", `{"rps": 2, "key": "path"}`, "", "2"},
		{"named limits", `{"limits": {"all": {"rps": 1, "burst": 2}, "login": {"path": "/login", "rps": 1, "burst": 4}}}`, "", "4"},
		{"one and named", `{"rps": 1, "limits": {"login": {"path": "/login", "rps": 1, "burst": 5}}}`, "", "5"},
		{"an unknown setting", `{"rps": 2, "rqs": 3}`, "unknown field", "7"},
		{"where redis is", `{"rps": 2, "redis": "192.0.2.1:6379"}`, "unknown field", "7"},
		{"an unknown setting of a limit", `{"limits": {"a": {"rsp": 3}}}`, "unknown field", "7"},
		{"a burst without a rate", `{"burst": 3}`, "rate", "7"},
		{"a string", `{"rps": "2"}`, "cannot unmarshal", "7"},
		{"a broken number", `{"burst": 1.5, "rps": 1}`, "cannot unmarshal", "7"},
		{"two values", `{"rps": 2} {}`, "more after", "7"},
		{"a list", `[]`, "cannot unmarshal", "7"},
		{"half a block", `{"rps": 2`, "unexpected EOF", "7"},
		{"a bad name", `{"limits": {"a b": {"rps": 3}}}`, "name", "7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, _ := limiter(t, one(7, 7, ""))
			err := l.Configure(t.Context(), []byte(c.config))
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, want %q", err, c.err)
			}
			r := from("192.0.2.1")
			r.URI = "/login"
			if got := responseHeaders(l.RequestHeaders(t.Context(), r))["X-RateLimit-Limit"]; got != c.limit {
				t.Errorf("limit %s, want %s", got, c.limit)
			}
		})
	}
}

// TestASmallerLimit has buckets that took longer to fill than the new limit's ever do.
func TestASmallerLimit(t *testing.T) {
	t.Parallel()
	l, c := limiter(t, one(0.1, 100, ""))
	if got := storm(t, []*Limiter{l}, 200); got != 100 {
		t.Fatalf("%d admitted, want 100", got)
	}
	if err := l.use([]Limit{{Name: "one", Rate: 1, Burst: 2}}); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Second)
	if got := storm(t, []*Limiter{l}, 200); got != 0 {
		t.Errorf("%d admitted: what was missing is cut to the new limit only at the next request", got)
	}
	c.advance(time.Second)
	if got := storm(t, []*Limiter{l}, 200); got != 1 {
		t.Errorf("%d admitted a second later, want 1", got)
	}
}

func BenchmarkTake(b *testing.B) {
	l, _ := limiter(b, one(1, 1, ""))
	r := from("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		l.RequestHeaders(b.Context(), r)
	}
}
