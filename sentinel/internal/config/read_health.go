package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// healthCheck reads an upstream's `health-check`. The settings of a type may stand in the type's block
// or beside it. ramp is the time a recovered target takes to its full share, and whether it was written.
func (r *reader) healthCheck(b *block) (h *HealthCheck, ramp time.Duration, written bool) {
	b.lift("type")
	h = &HealthCheck{Type: b.choice("type", "tcp", oneOf("http", "tcp", "grpc").ignoring("inference"))}
	switch h.Type {
	case "http":
		h.Path = b.text("path", "/")
		h.Host = b.text("host", "")
		h.ExpectedStatus = b.integers("expected-status", nil, span{100, 599})
		b.requestPath("path", h.Path)
		b.hostField("host", h.Host)
	case "grpc":
		h.Service = b.text("service", "")
	}
	h.Interval = b.seconds("interval-secs", 10, secondsMax)
	h.Timeout = b.seconds("timeout-secs", 5, secondsMax)
	h.HealthyThreshold = b.integer("healthy-threshold", 2, positive)
	h.UnhealthyThreshold = b.integer("unhealthy-threshold", 3, positive)
	ramp = b.seconds(rampSetting, int(min(int64(h.Interval/time.Second)*int64(h.HealthyThreshold), secondsOr0.hi)), secondsOr0)
	if h.Timeout > h.Interval {
		b.warn("timeout-secs", fmt.Sprintf("a probe may take %v, longer than the interval of %v", h.Timeout, h.Interval), "expected at most interval-secs")
	}
	b.done()
	return h, ramp, b.written(rampSetting)
}

const rampSetting = "recovery-ramp-secs"

// healthAndRamp reads what brings targets back: the active check, and the ramp, which may stand in it or,
// for an upstream without one, beside it.
func (b *block) healthAndRamp(u *Upstream) {
	ramp, written := 10*time.Second, false
	if c, ok := b.block("health-check"); ok {
		u.HealthCheck, ramp, written = b.r.healthCheck(c)
	}
	u.RecoveryRamp = b.seconds(rampSetting, int(ramp/time.Second), secondsOr0)
	if written && b.written(rampSetting) {
		b.fail(rampSetting, rampSetting+" is also written in health-check", "expected it in one of the two places")
	}
}

// retryBudget reads an upstream's `retry-budget`; an unknown key is an error: it would be a bound that does
// not hold.
func (r *reader) retryBudget(b *block) RetryBudget {
	b.strict = true
	budget := RetryBudget{
		Percent:    b.integer("percent", 20, span{0, 1000}),
		MinRetries: b.integer("min-retries", 10, orZero),
	}
	b.done()
	return budget
}

// requestPath checks a path that goes into a request line: anything else in it would be a second
// request.
func (b *block) requestPath(name, path string) {
	bad := func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }
	_, err := url.PathUnescape(path)
	if path[0] != '/' || err != nil || strings.ContainsFunc(path, bad) {
		b.fail(name, "found "+kdlQuote(cut(path)), `expected a path that starts with "/", without spaces, control characters and broken escapes`)
	}
}

// hostField checks what a probe sends as Host: a name or an address, with a port or without; empty: the
// target's own.
func (b *block) hostField(name, value string) {
	host := value
	if h, port, err := net.SplitHostPort(value); err == nil && isPort(port) {
		host = h
	}
	if value != "" && !isHostName(host) && !isHostAddress(host) {
		b.fail(name, "found "+kdlQuote(cut(value)), `expected a host name or address, such as "www.example.com" or "10.0.0.1:8080"`)
	}
}
