package agent

import (
	"strings"
	"time"
)

// Request is one HTTP request as an agent is told of it. It is shared by all events of the request; handlers
// must not change it.
type Request struct {
	Metadata
	Method  string
	URI     string // the path, and ? and the query if there is one
	Headers Headers
	HasBody bool // a body follows; false also when the dialect does not say

	conn uint64 // the connection or stream that it began on, by number; with it the request ends; 0: none
}

// Metadata is what the proxy knows of a request beside its bytes. Empty means unknown.
type Metadata struct {
	CorrelationID string // names the request in every event; unique to it
	RequestID     string
	ClientIP      string // without a port
	ClientPort    int
	ServerName    string // the name the client asked for
	Protocol      string // "HTTP/1.1", "HTTP/2"
	TLSVersion    string // empty: no TLS
	TLSCipher     string
	RouteID       string
	UpstreamID    string
	Timestamp     time.Time
	Traceparent   string
}

// Response is the head of the answer to a request.
type Response struct {
	Status  int
	Headers Headers
}

// Chunk is a part of a body.
type Chunk struct {
	Data  []byte // borrowed: valid until the handler returns
	Index int    // counts from 0
	Last  bool   // nothing follows
	Total int64  // of the whole body, if it is known; else -1
	Sent  int64  // bytes of the body so far, this chunk's included
}

// Complete is how a request ended.
type Complete struct {
	Status       int
	Duration     time.Duration
	RequestBody  int64 // bytes
	ResponseBody int64 // bytes
	Attempts     int   // at the upstream
	Error        string
}

// Headers are header fields by name, in lower case. All values of a name are in the order they came.
type Headers map[string][]string

// Get returns the first value of a field, in any case; empty when there is none.
func (h Headers) Get(name string) string {
	if v := h[strings.ToLower(name)]; len(v) > 0 {
		return v[0]
	}
	return ""
}
