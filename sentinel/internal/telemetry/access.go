package telemetry

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Access is the facts of one access-log line. The slices are borrowed: Write copies what it needs
// before it returns.
type Access struct {
	Time    time.Time // end of the exchange
	TraceID []byte

	Method, Path, Query      []byte // as received; Query without "?"
	Host, UserAgent, Referer []byte
	Protocol                 string // "HTTP/1.1"

	Status           int   // 499: the client left before an answer
	BodyBytes        int64 // request body received
	BodyBytesSent    int64 // response body sent
	Duration         time.Duration
	UpstreamDuration time.Duration // 0: no upstream was asked; left out
	ClientIP         netip.Addr

	Agent         string        // the agent that decided; empty: none did, left out
	AgentDuration time.Duration // spent waiting for agents; 0: none was asked, left out

	Route, Upstream, UpstreamAddr  string // empty: none, left out
	UpstreamAttempts               int
	ConnectionReused, RateLimitHit bool
	Reason                         string // why there is no regular answer; member "error"; empty: left out
	ConfigGeneration               uint64
}

// AccessOptions configures an AccessLog.
type AccessOptions struct {
	Format             string  // "combined", or "json", which anything else means too
	IncludeTraceID     bool    // false: the trace id is left out ("-" in combined)
	SampleRate         float64 // share of lines to write: 0 or less none, 1 or more all
	SampleErrorsAlways bool    // write every exchange with a Reason or a status from 400
	InstanceID         string
}

// AccessLog writes one line for each exchange. A nil AccessLog writes none. Its methods may be
// called from any goroutine, never block and allocate nothing in the steady state.
type AccessLog struct {
	w        *Writer
	options  AccessOptions
	combined bool
	tail     []byte // the instance_id member, the same in every line
}

// NewAccessLog returns a log that writes to w. Closing w is the caller's.
func NewAccessLog(w *Writer, o AccessOptions) *AccessLog {
	var tail line
	text(&tail, `,"instance_id":"`, o.InstanceID, maxWord)
	return &AccessLog{w: w, options: o, combined: o.Format == "combined", tail: tail.b}
}

// Write appends the line for a, unless sampling leaves it out.
func (l *AccessLog) Write(a *Access) {
	if l == nil || !l.sampled(a) {
		return
	}
	s := newLine()
	l.encode(s, a)
	s.send(l.w)
}

func (l *AccessLog) encode(s *line, a *Access) {
	if l.combined {
		l.encodeCombined(s, a)
	} else {
		l.encodeJSON(s, a)
	}
}

func (l *AccessLog) sampled(a *Access) bool {
	if l.options.SampleRate >= 1 || l.options.SampleErrorsAlways && (a.Status >= 400 || a.Reason != "") {
		return true
	}
	return rand.Float64() < l.options.SampleRate //nolint:gosec // a sample, not a secret
}

func (l *AccessLog) encodeJSON(s *line, a *Access) {
	s.timestamp(`{"timestamp":"`, a.Time)
	if l.options.IncludeTraceID {
		text(s, `,"trace_id":"`, a.TraceID, maxWord)
	}
	s.encodeRequest(a)
	s.encodeOutcome(a)
	s.b = append(s.b, l.tail...)
	s.endObject()
}

func (l *line) encodeRequest(a *Access) {
	text(l, `,"method":"`, a.Method, maxMethod)
	text(l, `,"path":"`, a.Path, maxText)
	optional(l, `,"query":"`, a.Query, maxText)
	text(l, `,"protocol":"`, a.Protocol, maxMethod)
	l.address(`,"client_ip":"`, a.ClientIP)
	optional(l, `,"host":"`, a.Host, maxText)
	optional(l, `,"user_agent":"`, a.UserAgent, maxText)
	optional(l, `,"referer":"`, a.Referer, maxText)
	l.number(`,"body_bytes":`, a.BodyBytes)
}

func (l *line) encodeOutcome(a *Access) {
	l.number(`,"status":`, int64(a.Status))
	optional(l, `,"error":"`, a.Reason, maxWord)
	l.number(`,"body_bytes_sent":`, a.BodyBytesSent)
	l.millis(`,"duration_ms":`, a.Duration)
	optional(l, `,"route_id":"`, a.Route, maxWord)
	optional(l, `,"upstream":"`, a.Upstream, maxWord)
	optional(l, `,"upstream_addr":"`, a.UpstreamAddr, maxWord)
	l.number(`,"upstream_attempts":`, int64(a.UpstreamAttempts))
	if a.UpstreamDuration > 0 {
		l.millis(`,"upstream_duration_ms":`, a.UpstreamDuration)
	}
	optional(l, `,"agent":"`, a.Agent, maxWord)
	if a.AgentDuration > 0 {
		l.millis(`,"agent_duration_ms":`, a.AgentDuration)
	}
	l.flag(`,"connection_reused":`, a.ConnectionReused)
	l.flag(`,"rate_limit_hit":`, a.RateLimitHit)
	l.number(`,"config_generation":`, int64(a.ConfigGeneration))
}
