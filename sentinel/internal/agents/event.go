package agents

import (
	"net/netip"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// EventKind is what an agent is told or asked.
type EventKind uint8

// The events of a request, in their order.
const (
	RequestHeaders EventKind = iota
	RequestBody
	ResponseHeaders
	ResponseBody
	RequestComplete
)

var eventWords = [...]string{
	RequestHeaders: "on_request_headers", RequestBody: "on_request_body", ResponseHeaders: "on_response_headers",
	ResponseBody: "on_response_body", RequestComplete: "on_request_complete",
}

// String returns the event's word in metrics.
func (k EventKind) String() string { return eventWords[k] }

// Event is one event of a request. Everything in it is borrowed until the call that takes it returns.
type Event struct {
	Kind     EventKind
	Request  *Request     // of every event
	Status   int          // of ResponseHeaders
	Fields   []wire.Field // of ResponseHeaders
	HasBody  bool         // of ResponseHeaders
	Chunk    Chunk        // of RequestBody and ResponseBody
	Complete Complete     // of RequestComplete
}

// Request is what agents are told of a request.
type Request struct {
	CorrelationID []byte // unique, also when the client chose the trace id
	RequestID     []byte // the trace id
	Client        netip.AddrPort
	ServerName    []byte // empty: unknown; likewise the rest
	Protocol      string
	TLSVersion    string
	TLSCipher     string
	Route         string
	Upstream      string
	Time          time.Time
	Traceparent   []byte
	Method        []byte
	Path, Query   []byte // Path is what was matched and will be forwarded
	HasQuery      bool
	Host          []byte       // becomes the header host
	Fields        []wire.Field // without Host
	HasBody       bool
}

// Chunk is a part of a body.
type Chunk struct {
	Data  []byte
	Index int // counts from 0
	Last  bool
	Total int64 // of the whole body; -1: unknown
	Sent  int64 // so far, with this chunk
}

// Complete is how a request ended.
type Complete struct {
	Status                      int
	Duration                    time.Duration
	RequestBytes, ResponseBytes int64
	Attempts                    int
	Error                       string // the Reason's word; empty: none
}

// CancelReason says why an agent is told to forget a request. The numbers are the protocol's.
type CancelReason int

// The reasons.
const (
	ClientDisconnect CancelReason = iota + 1
	TimedOut
	BlockedByAgent
	UpstreamError
	ProxyShutdown

	requestComplete CancelReason = 0 // ours: the request has ended well, and the dialect has no other word for it
)

var cancelWords = [...]string{
	requestComplete: "request_complete", ClientDisconnect: "client_disconnect", TimedOut: "timeout",
	BlockedByAgent: "blocked_by_agent", UpstreamError: "upstream_error", ProxyShutdown: "proxy_shutdown",
}

// String returns the reason's word in the protocol.
func (r CancelReason) String() string { return cancelWords[r] }
