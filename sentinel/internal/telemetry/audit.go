package telemetry

import (
	"net/netip"
	"time"
)

// The event types of the audit log. Others may be used as they are.
const (
	EventBlocked              = "blocked"
	EventAgentDecision        = "agent_decision"
	EventWAFMatch             = "waf_match"
	EventWAFBlock             = "waf_block"
	EventRateLimitExceeded    = "rate_limit_exceeded"
	EventAuth                 = "auth_event"
	EventConfigChange         = "config_change"
	EventCertReload           = "cert_reload"
	EventCircuitBreakerChange = "circuit_breaker_change"
	EventUpstreamHealthChange = "upstream_health_change"
	EventAdminAction          = "admin_action"
	EventCachePurge           = "cache_purge"
)

// AuditEntry is one security decision or one change of the proxy. Slices are borrowed until Write
// returns. Lists and metadata hold at most 64 entries, and metadata at most 4 KiB; the rest is cut.
type AuditEntry struct {
	Time         time.Time
	TraceID      []byte
	Event        string     // one of the Event constants, or a custom word
	Method, Path []byte     // empty: "-"
	ClientIP     netip.Addr // invalid: "internal", the proxy itself acted

	// What is known of the decision; the strings are left out when empty.
	Route, Reason, Agent string
	RuleIDs, Tags        []string
	Action               string
	Status               int // 0: left out
	UserID, SessionID    string
	Metadata             []Attribute
}

// Attribute is one named value of an audit entry's metadata. A name must not occur twice.
type Attribute struct {
	Name, Value string
}

// AuditOptions says which kinds of events are written. Events of no kind here always are.
type AuditOptions struct {
	LogBlocked, LogAgentDecisions, LogWAFEvents bool
}

// AuditLog writes one JSON line for each security event. A nil AuditLog writes none. Its methods may
// be called from any goroutine; whether Write waits for the sink is up to its Writer's EveryEntry.
type AuditLog struct {
	w       *Writer
	options AuditOptions
}

// NewAuditLog returns a log that writes to w, which should have EveryEntry set. Closing w is the
// caller's.
func NewAuditLog(w *Writer, o AuditOptions) *AuditLog {
	return &AuditLog{w: w, options: o}
}

// Write appends the line for e, unless its kind is switched off.
func (l *AuditLog) Write(e *AuditEntry) {
	if l == nil || !l.wants(e.Event) {
		return
	}
	s := newLine()
	s.encodeAudit(e)
	s.send(l.w)
}

func (l *AuditLog) wants(event string) bool {
	switch event {
	case EventBlocked:
		return l.options.LogBlocked
	case EventAgentDecision:
		return l.options.LogAgentDecisions
	case EventWAFMatch, EventWAFBlock:
		return l.options.LogWAFEvents
	}
	return true
}

func (l *line) encodeAudit(e *AuditEntry) {
	l.timestamp(`{"timestamp":"`, e.Time)
	text(l, `,"trace_id":"`, e.TraceID, maxWord)
	text(l, `,"event_type":"`, e.Event, maxWord)
	text(l, `,"method":"`, orDash(e.Method), maxMethod)
	text(l, `,"path":"`, orDash(e.Path), maxText)
	if e.ClientIP.IsValid() {
		l.address(`,"client_ip":"`, e.ClientIP)
	} else {
		text(l, `,"client_ip":"`, "internal", maxWord)
	}
	optional(l, `,"route_id":"`, e.Route, maxWord)
	optional(l, `,"reason":"`, e.Reason, maxWord)
	optional(l, `,"agent_id":"`, e.Agent, maxWord)
	l.list(`,"rule_ids":`, e.RuleIDs)
	l.list(`,"tags":`, e.Tags)
	optional(l, `,"action":"`, e.Action, maxWord)
	if e.Status != 0 {
		l.number(`,"status_code":`, int64(e.Status))
	}
	optional(l, `,"user_id":"`, e.UserID, maxWord)
	optional(l, `,"session_id":"`, e.SessionID, maxWord)
	l.metadata(e.Metadata)
	l.endObject()
}

func orDash(v []byte) []byte {
	if len(v) == 0 {
		return []byte{'-'}
	}
	return v
}

func (l *line) list(key string, values []string) {
	l.b = append(append(l.b, key...), '[')
	for i, v := range values[:l.entries(len(values))] {
		if i > 0 {
			l.b = append(l.b, ',')
		}
		text(l, `"`, v, maxWord)
	}
	l.b = append(l.b, ']')
}

func (l *line) metadata(attributes []Attribute) {
	l.b = append(l.b, `,"metadata":{`...)
	left := maxMetadata
	for i, a := range attributes[:l.entries(len(attributes))] {
		if left -= min(len(a.Name), maxWord) + min(len(a.Value), maxText); left < 0 {
			l.cut = true
			break
		}
		if i > 0 {
			l.b = append(l.b, ',')
		}
		text(l, `"`, a.Name, maxWord)
		text(l, `:"`, a.Value, maxText)
	}
	l.b = append(l.b, '}')
}

// entries returns how many of n entries are written.
func (l *line) entries(n int) int {
	if n > maxList {
		l.cut = true
		return maxList
	}
	return n
}
