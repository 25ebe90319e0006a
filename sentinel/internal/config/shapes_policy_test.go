package config

import (
	"testing"
	"time"
)

func TestPolicyShapes(t *testing.T) {
	checkShapes(t, func(c *Config) Policies { return c.Routes[0].Policies }, []shape[Policies]{
		{name: "none", text: withMatches(`path "/"`), want: Policies{}},
		{name: "bytes", text: withPolicies("timeout-secs 5; max-body-size 1000"), want: Policies{Timeout: 5 * time.Second, MaxBodySize: 1000}},
		{name: "unit", text: withPolicies(`max-body-size "1.5 kb"`), want: Policies{MaxBodySize: 1536}},
		{name: "short unit", text: withPolicies(`max-body-size "10M"`), want: Policies{MaxBodySize: 10 << 20}},
		{name: "gigabytes", text: withPolicies(`max-body-size "2GB"`), want: Policies{MaxBodySize: 2 << 30}},
		{name: "plain unit", text: withPolicies(`max-body-size "7B"`), want: Policies{MaxBodySize: 7}},
		{name: "failure mode", text: withPolicies("failure-mode fail_open"), want: Policies{FailureMode: "open"}},
		{name: "failure mode closed", text: withPolicies(`failure-mode "fail-closed"`), want: Policies{FailureMode: "closed"}},
		{name: "text bool", text: withPolicies(`buffer-requests "TRUE"; buffer-responses #true`), want: Policies{BufferRequests: true, BufferResponses: true}},
		{name: "rate limit", text: withPolicies("rate-limit { requests-per-second 5 }"), want: Policies{RateLimit: limitOf(5, 5, "client-ip")}},
		{name: "rate limit key", text: withPolicies(`rate-limit { requests-per-second 5; burst 9; key "header:X-Key" }`), want: Policies{RateLimit: limitOf(5, 9, "header:x-key")}},
	})
}

func limitOf(rps, burst int, key string) *RateLimit {
	return &RateLimit{
		RPS: rps, Burst: burst, Key: key, OnLimit: "reject", Status: 429, Message: "Rate limit exceeded",
		MaxDelay: 5 * time.Second, MaxKeys: 100_000,
	}
}

func TestHeaderEditShapes(t *testing.T) {
	checkShapes(t, func(c *Config) HeaderEdits { return c.Routes[0].Policies.RequestHeaders }, []shape[HeaderEdits]{
		{name: "set", text: withPolicies(`request-headers { set { "X-A" "1"; Host "b.example" } }`), want: HeaderEdits{Set: [][2]string{{"X-A", "1"}, {"Host", "b.example"}}}},
		{name: "set by property", text: withPolicies(`request-headers { set X-A="1" }`), want: HeaderEdits{Set: [][2]string{{"X-A", "1"}}}},
		{name: "add twice", text: withPolicies(`request-headers { add { "X-A" "1"; "X-A" "2" } }`), want: HeaderEdits{Add: [][2]string{{"X-A", "1"}, {"X-A", "2"}}}},
		{name: "remove", text: withPolicies("request-headers { remove \"X-A\" \"X-B\"\nremove \"X-C\" }"), want: HeaderEdits{Remove: []string{"X-A", "X-B", "X-C"}}},
		{name: "rename", text: withPolicies(`request-headers { rename { "X-A" "X-B" } }`), want: HeaderEdits{Rename: [][2]string{{"X-A", "X-B"}}}},
		{name: "empty value", text: withPolicies(`request-headers { set { "X-A" "" } }`), want: HeaderEdits{Set: [][2]string{{"X-A", ""}}}},
		{
			name: "correlation id", text: withPolicies(`request-headers { remove "X-Correlation-Id" }`), want: HeaderEdits{Remove: []string{"X-Correlation-Id"}},
			warnings: []string{"X-Correlation-Id is always sent"},
		},
	})
}

func TestRetryShapes(t *testing.T) {
	retry := func(body string) string {
		return withRoute("matches { path \"/\" }\nretry-policy {\n" + body + "\n}")
	}
	def := RetryPolicy{
		MaxAttempts: 3, Timeout: 30 * time.Second, BackoffBase: 100 * time.Millisecond, BackoffMax: 10 * time.Second,
		StatusCodes: []int{502, 503, 504}, ConnectionError: true,
	}
	with := func(change func(*RetryPolicy)) *RetryPolicy {
		p := def
		change(&p)
		return &p
	}
	checkShapes(t, func(c *Config) *RetryPolicy { return c.Routes[0].Retry }, []shape[*RetryPolicy]{
		{name: "absent", text: withMatches(`path "/"`)},
		{name: "defaults", text: retry(""), want: &def},
		{name: "attempts", text: retry("max-attempts 5; timeout-ms 900"), want: with(func(p *RetryPolicy) { p.MaxAttempts, p.Timeout = 5, 900*time.Millisecond })},
		{name: "backoff alias", text: retry("backoff-ms 7"), want: with(func(p *RetryPolicy) { p.BackoffBase = 7 * time.Millisecond })},
		{name: "statuses", text: retry("retryable-status-codes 429 503"), want: with(func(p *RetryPolicy) { p.StatusCodes = []int{429, 503} })},
		{name: "causes", text: retry(`retry-on "5xx" "timeout"`), want: with(func(p *RetryPolicy) { p.ConnectionError, p.On5xx, p.OnTimeout = false, true, true })},
		{name: "causes with hyphen", text: retry(`retry-on "connection-error"`), want: &def},
		{name: "jitter", text: retry(`backoff-jitter #true`), want: with(func(p *RetryPolicy) { p.BackoffJitter = true })},
	})
}

func TestBreakerShapes(t *testing.T) {
	breaker := func(body string) string {
		return withRoute("matches { path \"/\" }\ncircuit-breaker " + body)
	}
	want := func(failures int, timeout time.Duration) *CircuitBreaker {
		return &CircuitBreaker{Written: true, FailureThreshold: failures, SuccessThreshold: 2, Timeout: timeout, HalfOpenMaxRequests: 1}
	}
	checkShapes(t, func(c *Config) *CircuitBreaker { return c.Routes[0].CircuitBreaker }, []shape[*CircuitBreaker]{
		{name: "absent", text: withMatches(`path "/"`)},
		{name: "defaults", text: breaker("{}"), want: want(5, 30*time.Second)},
		{name: "children", text: breaker("{ failure-threshold 3; timeout-seconds 4 }"), want: want(3, 4*time.Second)},
		{name: "run-on", text: breaker("{ failure-threshold 3 timeout-seconds 4 }"), want: want(3, 4*time.Second)},
		{name: "alias", text: breaker("{ failure-threshold 3; recovery-timeout-secs 4 }"), want: want(3, 4*time.Second)},
		{name: "properties", text: breaker("failure-threshold=3 timeout-seconds=4"), want: want(3, 4*time.Second)},
	})
	upstream := loaded(t, withUpstream(`target "h:1"`)).Upstreams[0].CircuitBreaker
	if want := (CircuitBreaker{FailureThreshold: 5, SuccessThreshold: 2, Timeout: 30 * time.Second, HalfOpenMaxRequests: 1}); upstream != want {
		t.Errorf("upstream without a block: %+v, want %+v", upstream, want)
	}
}

func TestErrorPageShapes(t *testing.T) {
	route := func(body string) string { return withRoute("matches { path \"/\" }\nerror-pages " + body) }
	checkShapes(t, func(c *Config) *ErrorPages { return c.Routes[0].ErrorPages }, []shape[*ErrorPages]{
		{name: "absent", text: withMatches(`path "/"`)},
		{name: "format", text: route(`{ default-format "HTML"; template-dir "/t" }`), want: &ErrorPages{DefaultFormat: "html", TemplateDir: "/t", Pages: map[int]ErrorPage{}}},
		{
			name: "run-on page", text: route(`{ pages { "404" { format "json" message "Not found" } } }`),
			want: &ErrorPages{Pages: map[int]ErrorPage{404: {Format: "json", Message: "Not found"}}},
		},
		{
			name: "page headers", text: route(`{ pages { "503" { template "/down.html"; headers { "Retry-After" "5" } } } }`),
			want: &ErrorPages{Pages: map[int]ErrorPage{503: {Template: "/down.html", Headers: [][2]string{{"Retry-After", "5"}}}}},
		},
		{
			name: "stack trace", text: route(`{ include-stack-trace #true }`), want: &ErrorPages{Pages: map[int]ErrorPage{}},
			warnings: []string{"has no effect: a client never sees one"},
		},
	})
}
