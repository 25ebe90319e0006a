package config

import (
	"testing"
	"time"
)

func TestRateLimitShapes(t *testing.T) {
	filter := func(body string) string { return withFilter("type \"rate-limit\"\n" + body) }
	with := func(rps, burst int, key string, change func(*RateLimit)) *RateLimit {
		l := limitOf(rps, burst, key)
		if change != nil {
			change(l)
		}
		return l
	}
	checkShapes(t, func(c *Config) *RateLimit { return c.Filters[0].RateLimit }, []shape[*RateLimit]{
		{name: "defaults", text: filter(""), want: with(100, 100, "client-ip", nil)},
		{name: "burst below rate", text: filter("max-rps 100; burst 20"), want: with(100, 20, "client-ip", nil)},
		{name: "burst follows rate", text: filter("max-rps 50"), want: with(50, 50, "client-ip", nil)},
		{name: "burst of a slow rate", text: filter("max-rps 2"), want: with(2, 10, "client-ip", nil)},
		{name: "key ip", text: filter(`key "ip"`), want: with(100, 100, "client-ip", nil)},
		{name: "key client_ip", text: filter(`key "client_ip"`), want: with(100, 100, "client-ip", nil)},
		{name: "key pair", text: filter(`key "client-ip-and-path"`), want: with(100, 100, "client-ip-and-path", nil)},
		{name: "key header", text: filter(`key "header:Authorization"`), want: with(100, 100, "header:authorization", nil)},
		{name: "delay", text: filter(`on-limit "delay"; max-delay-ms 10; status-code 503; limit-message "slow"; max-keys 5`), want: with(100, 100, "client-ip", func(l *RateLimit) {
			l.OnLimit, l.MaxDelay, l.Status, l.Message, l.MaxKeys = "delay", 10*time.Millisecond, 503, "slow", 5
		})},
		{name: "log only", text: filter(`on-limit "log_only"`), want: with(100, 100, "client-ip", func(l *RateLimit) { l.OnLimit = "log-only" })},
		{name: "local", text: filter(`backend "local"`), want: with(100, 100, "client-ip", nil)},
		{
			name: "redis", text: filter("backend \"redis\"\nredis-url \"redis://127.0.0.1\""), want: with(100, 100, "client-ip", nil),
			warnings: []string{`"redis" is not supported in this build`, "redis-url: not supported in this build"},
		},
	})
}

func TestRateLimitsBlock(t *testing.T) {
	pick := func(c *Config) RateLimits {
		if c.RateLimits == nil {
			return RateLimits{}
		}
		return *c.RateLimits
	}
	limit := func(rps, burst int, key string) *RateLimit {
		return &RateLimit{RPS: rps, Burst: burst, Key: key, OnLimit: "reject", Status: 429, Message: "Rate limit exceeded", MaxKeys: 100_000}
	}
	checkShapes(t, pick, []shape[RateLimits]{
		{name: "absent", text: withTop("")},
		{name: "default", text: withTop("rate-limits { default-rps 5; default-burst 6; key \"path\" }"), want: RateLimits{Default: limit(5, 6, "path")}},
		{name: "global", text: withTop("rate-limits { global { max-rps 500 } }"), want: RateLimits{Global: limit(500, 500, "client-ip")}},
	})
}

func TestFilterShapes(t *testing.T) {
	pick := func(c *Config) Filter {
		f := c.Filters[0]
		f.Pos = Pos{}
		return f
	}
	is := func(kind string, set func(*Filter)) Filter {
		f := Filter{ID: "f", Type: kind}
		set(&f)
		return f
	}
	methods := []string{"GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"}
	types := []string{"text/html", "text/css", "text/plain", "text/xml", "application/json", "application/javascript", "application/xml", "image/svg+xml"}
	compress := func(algorithms ...string) Filter {
		return is("compress", func(f *Filter) {
			f.Compress = &Compress{Algorithms: algorithms, MinSize: 1024, Level: 6, ContentTypes: types}
		})
	}
	checkShapes(t, pick, []shape[Filter]{
		{name: "headers", text: withFilter(`type "headers"; phase "both"; set { "X-A" "1" }; remove "X-B"`), want: is("headers", func(f *Filter) {
			f.Headers = &HeadersFilter{"both", HeaderEdits{Set: [][2]string{{"X-A", "1"}}, Remove: []string{"X-B"}}}
		})},
		{name: "cors", text: withFilter(`type "cors"`), want: is("cors", func(f *Filter) {
			f.CORS = &CORS{AllowedOrigins: []string{"*"}, AllowedMethods: methods, MaxAge: 24 * time.Hour}
		})},
		{name: "cors options", text: withFilter(`type "cors"; allowed-origins "https://a.example"; allowed-methods "get"; allowed-headers "X-A"; exposed-headers "X-B"; allow-credentials #true; max-age-secs 0`), want: is("cors", func(f *Filter) {
			f.CORS = &CORS{[]string{"https://a.example"}, []string{"GET"}, []string{"X-A"}, []string{"X-B"}, true, 0}
		})},
		{name: "cors origins as browsers write them", text: withFilter(`type "cors"; allowed-origins "HTTPS://A.example:443" "http://[::1]:80" "https://a.example" "null"`), want: is("cors", func(f *Filter) {
			f.CORS = &CORS{AllowedOrigins: []string{"https://a.example", "http://[::1]", "null"}, AllowedMethods: methods, MaxAge: 24 * time.Hour}
		})},
		{name: "compress", text: withFilter(`type "compress"`), want: compress("gzip", "br")},
		{name: "compress list", text: withFilter(`type "compress"; algorithms "brotli" "gzip" "zstd"`), want: compress("br", "gzip", "zstd")},
		{name: "compress string", text: withFilter(`type "compress"; algorithms "gzip, br"`), want: compress("gzip", "br")},
		{name: "deflate", text: withFilter(`type "compress"; algorithms "gzip,deflate"`), want: compress("gzip"), warnings: []string{`"deflate" is not supported`}},
		{name: "timeout", text: withFilter(`type "timeout"; request-timeout-secs 1; upstream-timeout-secs 2; connect-timeout-secs 3`), want: is("timeout", func(f *Filter) {
			f.Timeout = &TimeoutFilter{time.Second, 2 * time.Second, 3 * time.Second}
		})},
		{name: "log", text: withFilter(`type "log"; log-body #true; level "debug"; fields "a" "b"`), want: is("log", func(f *Filter) {
			f.Log = &LogFilter{Request: true, Response: true, Body: true, MaxBodySize: 4096, Level: "debug", Fields: []string{"a", "b"}}
		})},
		{name: "geo", text: withFilter(`type "geo"; database-path "/db"`), want: Filter{ID: "f"}, warnings: []string{`"geo" is not supported in this build, ignored`}},
	})
}

func TestAgentFilterShapes(t *testing.T) {
	filter := func(body string) string {
		return withFilter("type \"agent\"\nagent \"a\"\n"+body) + "agents { agent \"a\" { unix-socket \"/a\"; events \"request_headers\" \"request_body\" } }\n"
	}
	checkShapes(t, func(c *Config) *AgentFilter { return c.Filters[0].Agent }, []shape[*AgentFilter]{
		{name: "plain", text: filter(""), want: &AgentFilter{Agent: "a"}},
		{name: "all", text: filter(`phase "request_headers" "request-body"; timeout-ms 5; failure-mode "open"; inspect-body #true; max-body-bytes 9`), want: &AgentFilter{
			Agent: "a", Phases: []string{"request_headers", "request_body"}, Timeout: 5 * time.Millisecond, FailureMode: "open", InspectBody: true, MaxBody: 9,
		}},
	})
}
