package config

import (
	"math"
	"strconv"
	"strings"
)

var retryCauses = oneOf("connection_error", "timeout", "5xx")

var failureModes = oneOf("closed fail-closed", "open fail-open")

// policies reads a route's `policies`.
func (r *reader) policies(b *block) Policies {
	p := Policies{
		Timeout:         b.optionalSeconds("timeout-secs"),
		MaxBodySize:     b.byteSize("max-body-size"),
		FailureMode:     b.choice("failure-mode", "", failureModes),
		BufferRequests:  b.boolean("buffer-requests", false),
		BufferResponses: b.boolean("buffer-responses", false),
	}
	if c, ok := b.block("rate-limit"); ok {
		p.RateLimit = r.policyRateLimit(c)
	}
	if c, ok := b.block("request-headers"); ok {
		p.RequestHeaders = c.headerEdits()
		c.done()
	}
	if c, ok := b.block("response-headers"); ok {
		p.ResponseHeaders = c.headerEdits()
		c.done()
	}
	b.unsupported("cache", "rewrite-path")
	b.done()
	return p
}

// byteUnits are the units of a size, powers of 1024.
var byteUnits = []struct {
	suffix string
	factor float64
}{{"KB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"B", 1}}

// byteSize reads an optional size: whole bytes, or a string with a unit such as "1.5MB".
func (b *block) byteSize(name string) int64 {
	v, ok := b.lookup(name)
	if !ok || v.data == nil {
		b.note(name, "#null", "default")
		return 0
	}
	n, ok := v.data.(int64)
	if s, isText := v.data.(string); isText {
		n, ok = parseByteSize(s)
	}
	if !ok || n < bytesMax.lo || n > bytesMax.hi {
		b.wrong(name, v, `expected bytes, or a string with a unit of B, KB, MB or GB, such as "10MB"`)
		return 0
	}
	b.note(name, strconv.FormatInt(n, 10), v.source())
	return n
}

func parseByteSize(s string) (int64, bool) {
	upper := strings.ToUpper(s)
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(upper, u.suffix)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(f > 0) || f*u.factor > math.MaxInt64/2 {
			return 0, false
		}
		return int64(f * u.factor), true
	}
	return 0, false
}

// retryPolicy reads a route's `retry-policy`. An unknown key is an error: a retry that is not the one
// meant repeats work.
func (r *reader) retryPolicy(b *block) *RetryPolicy {
	b.strict = true
	p := &RetryPolicy{
		MaxAttempts: b.integer("max-attempts", 3, span{1, 100}),
		Timeout:     b.millis("timeout-ms", 30_000, millisMax),
		BackoffBase: b.millis("backoff-base-ms", 100, millisOr0, "backoff-ms"),
		BackoffMax:  b.millis("backoff-max-ms", 10_000, millisOr0),

		BackoffJitter: b.boolean("backoff-jitter", false),
		StatusCodes:   b.integers("retryable-status-codes", []int{502, 503, 504}, span{100, 599}),
	}
	for _, cause := range b.choices("retry-on", []string{"connection_error"}, retryCauses) {
		switch cause {
		case "connection_error":
			p.ConnectionError = true
		case "timeout":
			p.OnTimeout = true
		case "5xx":
			p.On5xx = true
		}
	}
	b.done()
	return p
}

// circuitBreaker reads a `circuit-breaker` of a route, an upstream or an agent; an unknown key is an
// error.
func (r *reader) circuitBreaker(b *block) CircuitBreaker {
	b.strict = true
	c := CircuitBreaker{
		Written:             b.node.name != "",
		FailureThreshold:    b.integer("failure-threshold", 5, positive),
		SuccessThreshold:    b.integer("success-threshold", 2, positive),
		Timeout:             b.seconds("timeout-seconds", 30, secondsMax, "recovery-timeout-secs"),
		HalfOpenMaxRequests: b.integer("half-open-max-requests", 1, positive),
	}
	b.done()
	return c
}
