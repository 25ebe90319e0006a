// Package agent is a small kit to write agents in Go: processes of their own that decide about the requests
// of a proxy, which asks them over a Unix socket or gRPC.
//
// An agent is a Handler. Embed Base and override the events it cares about; Server answers a proxy in
// whatever dialect of the protocol it speaks. The program in example is a whole agent.
//
// What is no verdict is never an allow: a handler that panics or returns nil, an event that cannot be read,
// one of a request that the agent does not know, a body over the limit. The proxy is told that there is no
// decision, or the connection ends, and the proxy's failure mode decides. So an agent that wants to see
// responses or bodies must be asked about request headers too.
//
// The way of an event: conn reads a frame, the dialect (v1, v2d, v2r) makes it a call, the dispatcher calls
// the Handler and keeps what the request's later events need, and the dialect writes the verdict. Everything
// that is kept has a bound, and ends with the connection that the request began on; over gRPC with the stream, in the
// second version, and in the first with the request's end only.
package agent
