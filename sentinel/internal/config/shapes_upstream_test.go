package config

import (
	"testing"
	"time"
)

func TestTargetShapes(t *testing.T) {
	type target struct {
		address             string
		weight, maxRequests int
	}
	pick := func(c *Config) (list []target) {
		for _, x := range c.Upstreams[0].Targets {
			list = append(list, target{x.Address, x.Weight, x.MaxRequests})
		}
		return list
	}
	one := []target{{"10.0.0.1:80", 3, 0}}
	plain := []target{{"10.0.0.1:80", 1, 0}}
	checkShapes(t, pick, []shape[[]target]{
		{name: "argument", text: withUpstream(`target "10.0.0.1:80"`), want: plain},
		{name: "argument and property", text: withUpstream(`target "10.0.0.1:80" weight=3`), want: one},
		{name: "argument and block", text: withUpstream(`target "10.0.0.1:80" { weight 3; max-requests 7 }`), want: []target{{"10.0.0.1:80", 3, 7}}},
		{name: "block", text: withUpstream(`target { address "10.0.0.1:80"; weight 3 }`), want: one},
		{name: "property of address", text: withUpstream(`target { address "10.0.0.1:80" weight=3 }`), want: one},
		{name: "properties", text: withUpstream(`target address="10.0.0.1:80" weight=3`), want: one},
		{name: "targets block", text: withUpstream(`targets { target "10.0.0.1:80" weight=3; target { address "b.internal:81" } }`), want: []target{{"10.0.0.1:80", 3, 0}, {"b.internal:81", 1, 0}}},
		{name: "lone address", text: withUpstream(`address "10.0.0.1:80"`), want: plain},
		{name: "server", text: withUpstream(`server address="10.0.0.1:80"`), want: plain},
		{name: "IPv6", text: withUpstream(`target "[::1]:80"`), want: []target{{"[::1]:80", 1, 0}}},
		{name: "drained", text: withUpstream(`target "10.0.0.1:80" weight=0; target "10.0.0.2:80"`), want: []target{{"10.0.0.1:80", 0, 0}, {"10.0.0.2:80", 1, 0}}},
		{
			name: "all drained", text: withUpstream(`target "10.0.0.1:80" weight=0`), want: []target{{"10.0.0.1:80", 0, 0}},
			warnings: []string{"every target is drained: its weight is 0; all requests get 503"},
		},
		{name: "run-on", text: withUpstream(`target { address "10.0.0.1:80" weight 3 }`), want: one},
	})
}

func TestTargetMetadata(t *testing.T) {
	checkShapes(t, func(c *Config) map[string]string { return c.Upstreams[0].Targets[0].Metadata }, []shape[map[string]string]{
		{name: "none", text: withUpstream(`target "10.0.0.1:80"`)},
		{name: "nodes", text: withUpstream(`target "10.0.0.1:80" { metadata { zone "a"; "rack id" "7" } }`), want: map[string]string{"zone": "a", "rack id": "7"}},
		{name: "properties", text: withUpstream(`target "10.0.0.1:80" { metadata zone="a" }`), want: map[string]string{"zone": "a"}},
	})
}

func TestLoadBalancingShapes(t *testing.T) {
	algorithm := func(name string) string { return withUpstream("target \"10.0.0.1:80\"\nload-balancing " + name) }
	shapes := []shape[string]{
		{name: "absent", text: withUpstream(`target "10.0.0.1:80"`), want: "round_robin"},
		{name: "block", text: algorithm(`{ algorithm "random" }`), want: "random"},
		{name: "property", text: withUpstream("target \"10.0.0.1:80\"\nload-balancing algorithm=\"random\""), want: "random"},
		{name: "later", text: algorithm(`"locality_aware"`), want: "round_robin", warnings: []string{`"locality_aware" is not supported in this build, ignored`}},
	}
	for spelled, want := range map[string]string{
		"round-robin": "round_robin", "RoundRobin": "round_robin", "weighted_round_robin": "weighted", "least-connections": "least_connections",
		"least_conn": "least_connections", "ip-hash": "ip_hash", "iphash": "ip_hash", "consistenthash": "consistent_hash",
		"p2c": "power_of_two_choices", "power-of-two-choices": "power_of_two_choices", "adaptive": "adaptive", "sticky_session": "sticky",
		"maglev": "maglev", "peak-ewma": "adaptive", "weighted_least_connections": "least_connections",
	} {
		shapes = append(shapes, shape[string]{name: spelled, text: algorithm(`"` + spelled + `"`), want: want})
	}
	checkShapes(t, func(c *Config) string { return c.Upstreams[0].LoadBalancing }, shapes)
}

func TestStickyShapes(t *testing.T) {
	sticky := func(body string) string { return withUpstream("target \"10.0.0.1:80\"\nload-balancing " + body) }
	want := func(ttl time.Duration, fallback string) *Sticky {
		return &Sticky{CookieName: "SERVERID", CookiePath: "/", SameSite: "lax", TTL: ttl, Secure: true, Fallback: fallback}
	}
	checkShapes(t, func(c *Config) *Sticky { return c.Upstreams[0].Sticky }, []shape[*Sticky]{
		{name: "other algorithm", text: sticky(`"random"`)},
		{name: "defaults", text: sticky(`"sticky"`), want: want(time.Hour, "round_robin")},
		{name: "block", text: sticky(`"sticky" { cookie-ttl 60; fallback "ip-hash" }`), want: want(time.Minute, "ip_hash")},
		{name: "unit", text: sticky(`"sticky" { cookie-ttl "2d" }`), want: want(48*time.Hour, "round_robin")},
		{name: "algorithm in block", text: sticky(`{ algorithm "sticky"; cookie-ttl "30m" }`), want: want(30*time.Minute, "round_robin")},
	})
}

func TestHealthCheckShapes(t *testing.T) {
	check := func(body string) string { return withUpstream("target \"10.0.0.1:80\"\nhealth-check " + body) }
	base := HealthCheck{
		Type: "http", Path: "/health", ExpectedStatus: []int{200}, Interval: 10 * time.Second, Timeout: 5 * time.Second,
		HealthyThreshold: 2, UnhealthyThreshold: 3,
	}
	with := func(change func(*HealthCheck)) *HealthCheck {
		h := base
		change(&h)
		return &h
	}
	tcp := with(func(h *HealthCheck) { h.Type, h.Path, h.ExpectedStatus = "tcp", "", nil })
	checkShapes(t, func(c *Config) *HealthCheck { return c.Upstreams[0].HealthCheck }, []shape[*HealthCheck]{
		{name: "absent", text: withUpstream(`target "10.0.0.1:80"`)},
		{name: "type block", text: check(`{ type "http" { path "/health"; expected-status 200 } }`), want: &base},
		{name: "run-on", text: check(`{ type "http" { path "/health" expected-status 200 } }`), want: &base},
		{name: "siblings", text: check(`{ type "http"; path "/health"; expected-status 200 }`), want: &base},
		{name: "properties", text: check(`type="http" path="/health" expected-status=200`), want: &base},
		{name: "any 2xx", text: check(`{ type "http" { path "/health" } }`), want: with(func(h *HealthCheck) { h.ExpectedStatus = nil })},
		{name: "several statuses", text: check(`{ type "http" { path "/health"; expected-status 200 204 } }`), want: with(func(h *HealthCheck) { h.ExpectedStatus = []int{200, 204} })},
		{name: "host", text: check(`{ type "http" { path "/health"; expected-status 200; host "h" } }`), want: with(func(h *HealthCheck) { h.Host = "h" })},
		{name: "no type is tcp", text: check(`{ }`), want: tcp},
		{name: "tcp", text: check(`{ type "TCP" }`), want: tcp},
		{name: "grpc", text: check(`{ type "grpc" { service "s" } }`), want: with(func(h *HealthCheck) { h.Type, h.Path, h.ExpectedStatus, h.Service = "grpc", "", nil, "s" })},
		{name: "inference", text: check(`{ type "inference" }`), want: tcp, warnings: []string{`"inference" is not supported in this build`}},
		{name: "slow probe", text: check(`{ type "tcp"; timeout-secs 20 }`), want: with(func(h *HealthCheck) {
			h.Type, h.Path, h.ExpectedStatus, h.Timeout = "tcp", "", nil, 20*time.Second
		}), warnings: []string{"longer than the interval"}},
	})
}

func TestRampShapes(t *testing.T) {
	upstream := func(body string) string { return withUpstream("target \"10.0.0.1:80\"\n" + body) }
	checkShapes(t, func(c *Config) time.Duration { return c.Upstreams[0].RecoveryRamp }, []shape[time.Duration]{
		{name: "absent", text: upstream(""), want: 10 * time.Second},
		{name: "beside no check", text: upstream("recovery-ramp-secs 7"), want: 7 * time.Second},
		{name: "follows the check", text: upstream("health-check { interval-secs 7; healthy-threshold 3 }"), want: 21 * time.Second},
		{name: "in the check", text: upstream("health-check { recovery-ramp-secs 5 }"), want: 5 * time.Second},
		{name: "beside the check", text: upstream("health-check { }\nrecovery-ramp-secs 5"), want: 5 * time.Second},
		{name: "off in the check", text: upstream("health-check { recovery-ramp-secs 0 }")},
		{name: "off", text: upstream("recovery-ramp-secs 0")},
	})
}

func TestRetryBudgetShapes(t *testing.T) {
	upstream := func(body string) string { return withUpstream("target \"10.0.0.1:80\"\n" + body) }
	checkShapes(t, func(c *Config) RetryBudget { return c.Upstreams[0].RetryBudget }, []shape[RetryBudget]{
		{name: "absent", text: upstream(""), want: RetryBudget{20, 10}},
		{name: "block", text: upstream("retry-budget { percent 50; min-retries 0 }"), want: RetryBudget{50, 0}},
		{name: "properties", text: upstream("retry-budget percent=0 min-retries=3"), want: RetryBudget{0, 3}},
		{name: "half", text: upstream("retry-budget { percent 1000 }"), want: RetryBudget{1000, 10}},
	})
}

func TestDNSRefreshShapes(t *testing.T) {
	upstream := func(body string) string { return withUpstream("target \"b.internal:80\"\n" + body) }
	checkShapes(t, func(c *Config) time.Duration { return c.Upstreams[0].DNSRefresh }, []shape[time.Duration]{
		{name: "absent", text: upstream(""), want: 30 * time.Second},
		{name: "written", text: upstream("dns-refresh-secs 5"), want: 5 * time.Second},
	})
}

func TestPoolAndTimeoutShapes(t *testing.T) {
	type both struct {
		pool     ConnectionPool
		timeouts UpstreamTimeouts
	}
	def := both{
		ConnectionPool{100, 100, 100, time.Minute, 0},
		UpstreamTimeouts{10 * time.Second, time.Minute, 30 * time.Second, 30 * time.Second},
	}
	with := func(change func(*both)) both {
		b := def
		change(&b)
		return b
	}
	pick := func(c *Config) both { return both{c.Upstreams[0].Pool, c.Upstreams[0].Timeouts} }
	upstream := func(body string) string { return withUpstream("target \"10.0.0.1:80\"\n" + body) }
	quick := with(func(b *both) {
		b.timeouts = UpstreamTimeouts{time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}
	})
	checkShapes(t, pick, []shape[both]{
		{name: "absent", text: upstream(""), want: def},
		{name: "idle follows", text: upstream(`connection-pool { max-connections 5 }`), want: with(func(b *both) { b.pool.MaxConnections, b.pool.MaxPending, b.pool.MaxIdle = 5, 5, 5 })},
		{name: "nobody waits", text: upstream(`connection-pool { max-pending 0 }`), want: with(func(b *both) { b.pool.MaxPending = 0 })},
		{name: "suffix", text: upstream(`connection-pool { idle-timeout-secs 5; max-lifetime-secs 9 }`), want: with(func(b *both) { b.pool.IdleTimeout, b.pool.MaxLifetime = 5*time.Second, 9*time.Second })},
		{name: "no suffix", text: upstream(`connection-pool { idle-timeout 5; max-lifetime 9 }`), want: with(func(b *both) { b.pool.IdleTimeout, b.pool.MaxLifetime = 5*time.Second, 9*time.Second })},
		{name: "no lifetime", text: upstream(`connection-pool { max-lifetime #null }`), want: def},
		{
			name: "too many idle", text: upstream(`connection-pool { max-connections 5; max-idle 6 }`), want: with(func(b *both) { b.pool.MaxConnections, b.pool.MaxPending, b.pool.MaxIdle = 5, 5, 5 }),
			warnings: []string{"6 idle connections of at most 5"},
		},
		{name: "timeouts", text: upstream(`timeouts { connect-secs 1; request-secs 2; read-secs 3; write-secs 4 }`), want: quick},
		{name: "timeouts without suffix", text: upstream(`timeouts { connect 1; request 2; read 3; write 4 }`), want: quick},
		{name: "timeouts on one line", text: upstream(`timeouts { connect 1 request 2 read 3 write 4 }`), want: quick},
		{name: "timeouts as properties", text: upstream(`timeouts connect=1 request=2 read=3 write=4`), want: quick},
	})
}

func TestUpstreamTLSShapes(t *testing.T) {
	upstream := func(body string) string { return withUpstream("target \"10.0.0.1:443\"\n" + body) }
	pick := func(c *Config) *UpstreamTLS {
		if u := c.Upstreams[0].TLS; u != nil {
			u.Pos = Pos{}
		}
		return c.Upstreams[0].TLS
	}
	checkShapes(t, pick, []shape[*UpstreamTLS]{
		{name: "absent", text: upstream("")},
		{name: "empty", text: upstream("tls {}"), want: &UpstreamTLS{}},
		{name: "skip", text: upstream("tls { insecure-skip-verify #true }"), want: &UpstreamTLS{InsecureSkipVerify: true}},
		{name: "verify", text: upstream("tls { verify #false }"), want: &UpstreamTLS{InsecureSkipVerify: true}},
		{name: "verified", text: upstream("tls verify=true"), want: &UpstreamTLS{}},
		{name: "pair", text: upstream(`tls { sni "s"; client-cert "c"; client-key "k"; ca-cert "a" }`), want: &UpstreamTLS{SNI: "s", ClientCert: "c", ClientKey: "k", CACert: "a"}},
	})
}

func TestUpstreamNotBuilt(t *testing.T) {
	checkShapes(t, func(c *Config) int { return len(c.Upstreams[0].Targets) }, []shape[int]{{
		name: "discovery", text: withUpstream("target \"10.0.0.1:80\"\ndiscovery \"dns\" { hostname \"h\" }"), want: 1,
		warnings: []string{"discovery: not supported in this build, ignored"},
	}})
}
