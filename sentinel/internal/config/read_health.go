package config

import (
	"fmt"
	"strings"
	"time"
)

// healthCheck reads an upstream's `health-check`. The settings of a type may stand in the type's block
// or beside it.
func (r *reader) healthCheck(b *block) *HealthCheck {
	b.lift("type")
	h := &HealthCheck{Type: b.choice("type", "tcp", oneOf("http", "tcp", "grpc").ignoring("inference"))}
	switch h.Type {
	case "http":
		h.Path = b.text("path", "/")
		h.Host = b.text("host", "")
		h.ExpectedStatus = b.integers("expected-status", nil, span{100, 599})
		b.requestPath("path", h.Path)
	case "grpc":
		h.Service = b.text("service", "")
	}
	h.Interval = b.seconds("interval-secs", 10, secondsMax)
	h.Timeout = b.seconds("timeout-secs", 5, secondsMax)
	h.HealthyThreshold = b.integer("healthy-threshold", 2, positive)
	h.UnhealthyThreshold = b.integer("unhealthy-threshold", 3, positive)
	ramp := min(int64(h.Interval/time.Second)*int64(h.HealthyThreshold), secondsOr0.hi)
	h.RecoveryRamp = b.seconds("recovery-ramp-secs", int(ramp), secondsOr0)
	if h.Timeout > h.Interval {
		b.warn("timeout-secs", fmt.Sprintf("a probe may take %v, longer than the interval of %v", h.Timeout, h.Interval), "expected at most interval-secs")
	}
	b.done()
	return h
}

// requestPath checks a path that goes into a request line: anything else in it would be a second
// request.
func (b *block) requestPath(name, path string) {
	bad := func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }
	if path[0] != '/' || strings.ContainsFunc(path, bad) {
		b.fail(name, "found "+kdlQuote(cut(path)), `expected a path that starts with "/", without spaces and control characters`)
	}
}
