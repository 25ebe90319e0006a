package agent

import (
	"context"
	"encoding/json"
)

// callKind is what the proxy wants.
type callKind uint8

const (
	callUnreadable callKind = iota // gets an undecided verdict, under whatever key could be read
	callRequestHeaders
	callRequestBody
	callResponseHeaders
	callResponseBody
	callComplete
	callConfigure
	callCancel
	callCancelAll
	callPing
	callHealth
	callNothing // needs no reply and no work
)

// call is one frame of the proxy, read. What it points to belongs to the call, but for echo.
type call struct {
	kind     callKind
	key      key
	request  *Request
	response *Response
	chunk    Chunk
	complete *Complete
	config   json.RawMessage
	echo     []byte // of a ping: borrowed from the frame
	problem  error  // with the configuration
}

// dialect reads and writes one variant of the protocol.
type dialect interface {
	// decode reads a frame. An error ends the connection.
	decode(frame []byte, c *call) error
	// encode appends the reply to a call, if the dialect has one.
	encode(dst []byte, c *call, v *Verdict) []byte
	// maxFrame is the limit of a frame's length.
	maxFrame() int
	// ordered says that replies must come in the order of the calls.
	ordered() bool
}

// asksHandler reports whether the handler decides how long the call takes.
func (c *call) asksHandler() bool { return c.kind >= callRequestHeaders && c.kind <= callConfigure }

// needsReply reports whether the proxy waits for one.
func (c *call) needsReply() bool {
	return c.kind != callCancel && c.kind != callCancelAll && c.kind != callNothing
}

// do makes the call. The verdict is never nil.
func (c *call) do(ctx context.Context, d *dispatcher) *Verdict {
	switch c.kind {
	case callRequestHeaders:
		return d.requestHeaders(ctx, c.key, c.request)
	case callRequestBody:
		return d.requestBody(ctx, c.key, &c.chunk)
	case callResponseHeaders:
		return d.responseHeaders(ctx, c.key, c.response)
	case callResponseBody:
		return d.responseBody(ctx, c.key, &c.chunk)
	case callComplete:
		d.complete(c.key, c.complete)
	case callConfigure:
		c.problem = d.configure(ctx, c.config)
	case callCancel:
		d.cancel(c.key)
	case callCancelAll:
		d.disconnect(c.key.conn, "canceled")
	case callUnreadable, callPing, callHealth, callNothing:
	}
	return &Verdict{}
}
