package agent

import (
	"context"
	"encoding/json"
)

// Handler decides about requests. Its methods are called from many goroutines at once, for one request one
// after the other. The context ends when the proxy no longer waits: the client left, or the agent stops.
// A nil verdict, an Undecided one and a panic are failures: the proxy's failure mode decides.
type Handler interface {
	// Configure gives the agent the `config` block that the proxy has for it, as JSON, before the first
	// request, and again when it changes. It is called for one at a time, and not again for the one that it
	// took last. An error keeps the proxy from using the agent, and is told to it.
	Configure(ctx context.Context, config json.RawMessage) error
	// RequestHeaders is asked before anything is sent to the upstream.
	RequestHeaders(ctx context.Context, r *Request) *Verdict
	// RequestBody is asked about the whole body, or, if the Server has Chunks set, about every part of it.
	RequestBody(ctx context.Context, r *Request, c *Chunk) *Verdict
	// ResponseHeaders is asked when the upstream has answered. It can change the response, not refuse it.
	ResponseHeaders(ctx context.Context, r *Request, resp *Response) *Verdict
	// ResponseBody is like RequestBody.
	ResponseBody(ctx context.Context, r *Request, resp *Response, c *Chunk) *Verdict
	// Complete is called once for every request, last of all: state that is kept for it can go. How it
	// ended is known only if the proxy's dialect tells: else Status is 0, and Error is "canceled",
	// "disconnected", "replaced" or "evicted". Of a request that the agent was asked nothing about, because it
	// is subscribed to ends only, there is just the CorrelationID. The context is not the request's.
	Complete(ctx context.Context, r *Request, c *Complete)
}

// Base is a Handler that allows everything. Embed it.
type Base struct{}

// Configure takes any configuration.
func (Base) Configure(context.Context, json.RawMessage) error { return nil }

// RequestHeaders allows the request.
func (Base) RequestHeaders(context.Context, *Request) *Verdict { return Allow() }

// RequestBody allows the body.
func (Base) RequestBody(context.Context, *Request, *Chunk) *Verdict { return Allow() }

// ResponseHeaders leaves the response as it is.
func (Base) ResponseHeaders(context.Context, *Request, *Response) *Verdict { return Allow() }

// ResponseBody leaves the body as it is.
func (Base) ResponseBody(context.Context, *Request, *Response, *Chunk) *Verdict { return Allow() }

// Complete does nothing.
func (Base) Complete(context.Context, *Request, *Complete) {}
