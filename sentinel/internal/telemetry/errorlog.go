package telemetry

import (
	"net/netip"
	"time"
)

// The levels of an error-log entry.
const (
	LevelWarn  = "warn"
	LevelError = "error"
)

// ErrorEntry is one failure. Empty members with an "optional" note are left out of the line.
type ErrorEntry struct {
	Time      time.Time
	TraceID   []byte // borrowed; empty for what concerns no request
	Level     string // LevelWarn or LevelError
	Message   string // at most 2048 bytes
	ErrorType string // the Reason word; optional
	Details   string // causes, or the stack of a panic, at most 16 KiB; optional

	// What is known of the request, each optional.
	Route, Upstream string
	Status          int
	ClientIP        netip.Addr
	Duration        time.Duration
}

// ErrorOptions configures an ErrorLog.
type ErrorOptions struct {
	Level string // LevelError leaves warnings out; anything else writes both
}

// ErrorLog writes one JSON line for each failure. A nil ErrorLog writes none. Its methods may be
// called from any goroutine and never block.
type ErrorLog struct {
	w          *Writer
	errorsOnly bool
}

// NewErrorLog returns a log that writes to w. Closing w is the caller's.
func NewErrorLog(w *Writer, o ErrorOptions) *ErrorLog {
	return &ErrorLog{w: w, errorsOnly: o.Level == LevelError}
}

// Write appends the line for e, unless its level is left out.
func (l *ErrorLog) Write(e *ErrorEntry) {
	if l == nil || l.errorsOnly && e.Level != LevelError {
		return
	}
	s := newLine()
	s.encodeError(e)
	s.send(l.w)
}

func (l *line) encodeError(e *ErrorEntry) {
	l.timestamp(`{"timestamp":"`, e.Time)
	text(l, `,"trace_id":"`, e.TraceID, maxWord)
	text(l, `,"level":"`, e.Level, maxWord)
	text(l, `,"message":"`, e.Message, maxText)
	optional(l, `,"error_type":"`, e.ErrorType, maxWord)
	optional(l, `,"route_id":"`, e.Route, maxWord)
	optional(l, `,"upstream":"`, e.Upstream, maxWord)
	if e.Status != 0 {
		l.number(`,"status":`, int64(e.Status))
	}
	if e.ClientIP.IsValid() {
		l.address(`,"client_ip":"`, e.ClientIP)
	}
	if e.Duration > 0 {
		l.millis(`,"duration_ms":`, e.Duration)
	}
	optional(l, `,"details":"`, e.Details, maxStack)
	l.endObject()
}
