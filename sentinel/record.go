package sentinel

import (
	"log/slog"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// record writes the exchange's one access line, its metrics, and what else its Reason calls for.
func (x *exchange) record() {
	now := time.Now()
	took := now.Sub(x.started)
	routeMetrics := x.p.unrouted
	if x.route != nil {
		routeMetrics = x.route.metrics
	}
	routeMetrics.Observe(telemetry.MethodOf(x.req.Method), x.status, took, x.received, x.delivered)
	if x.p.logs.Load().access != nil {
		x.logAccess(now, took)
	}
	if x.hit != nil {
		x.auditRate(x.hit)
	}
	if x.reason != none {
		x.recordReason(took)
	}
}

func (x *exchange) logAccess(now time.Time, took time.Duration) {
	a := telemetry.Access{
		Time: now, TraceID: x.trace, Method: x.req.Method, Path: x.req.RawTarget, Host: x.req.Host,
		UserAgent: x.req.Find(wire.UserAgent), Referer: x.req.Find(wire.Referer), Protocol: x.protocol(),
		Status: x.status, BodyBytes: x.received, BodyBytesSent: x.delivered, Duration: took, UpstreamDuration: x.took,
		ClientIP: x.clientAddr(), UpstreamAttempts: x.attempts, ConnectionReused: x.reused, RateLimitHit: x.hit != nil || x.delayed,
		Reason: x.reason.String(), ConfigGeneration: x.generation,
	}
	if c := x.counsel; c != nil {
		a.AgentDuration = c.took
		if c.decided != nil {
			a.Agent = c.decided.b.id
		}
	}
	if i := len(a.Path) - len(x.req.Query) - 1; x.req.HasQuery && i >= 0 {
		a.Path, a.Query = a.Path[:i], x.req.Query
	}
	if x.route != nil {
		a.Route, a.Upstream = x.route.id, x.route.upstream
	}
	if x.target != nil {
		a.UpstreamAddr = x.target.Address
	}
	x.p.logs.Load().access.Write(&a)
}

func (x *exchange) protocol() string {
	switch {
	case len(x.req.RawTarget) == 0: // the request line could not be read
		return ""
	case x.req.Minor == 0:
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

// recordReason counts a Reason and tells the logs that are about it.
func (x *exchange) recordReason(took time.Duration) {
	info := &reasonTable[x.reason]
	switch info.Source {
	case FromUpstream, FromInternal:
		x.logError(info, took)
	case FromAgent:
		x.recordAgent(info, took)
	case FromPolicy:
		switch x.reason {
		case tunnelIdle, shuttingDown, reloadDrained: // nothing was refused
		case rateLimited:
			x.p.metrics.Blocked(info.Word) // it has an audit entry of its own
		default:
			x.audit(info)
		}
	case FromClient:
		if info.Status != 0 && x.reason != clientGone {
			x.audit(info)
		}
	}
}

// logError writes the failure to the error log, with its cause. The client saw none of this.
func (x *exchange) logError(info *ReasonInfo, took time.Duration) {
	e := telemetry.ErrorEntry{
		Time: time.Now(), TraceID: x.trace, Level: telemetry.LevelWarn, Message: info.Help, ErrorType: info.Word,
		Status: x.status, ClientIP: x.clientAddr(), Duration: took,
	}
	if info.Source == FromInternal {
		e.Level = telemetry.LevelError
		x.p.remark(slog.LevelError, "internal error", slog.String("trace_id", string(x.trace)), slog.String("cause", x.cause))
	}
	if x.route != nil {
		e.Route, e.Upstream = x.route.id, x.route.upstream
	}
	e.Details = x.cause
	if x.target != nil {
		e.Details = "target " + x.target.Address + ": " + x.cause
	}
	x.p.logs.Load().errors.Write(&e)
}

// audit writes what was refused and why to the audit log.
func (x *exchange) audit(info *ReasonInfo) {
	x.p.metrics.Blocked(info.Word)
	e := x.auditEntry(info.Word)
	x.p.logs.Load().audit.Write(&e)
}

// auditEntry is what every entry about a refused request has.
func (x *exchange) auditEntry(reason string) telemetry.AuditEntry {
	e := telemetry.AuditEntry{
		Time: time.Now(), TraceID: x.trace, Event: telemetry.EventBlocked, Method: x.req.Method, Path: x.req.RawTarget,
		ClientIP: x.clientAddr(), Reason: reason, Action: "block", Status: x.status,
	}
	if x.route != nil {
		e.Route = x.route.id
	}
	return e
}
