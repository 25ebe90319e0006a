// Package agents asks agents: processes outside the proxy that decide about requests.
//
// An Agent has links, one connection each, in the dialect of the protocol that its process turned out to
// speak. One goroutine, keep, makes links, again and again until Close; one for each link, watch, notices its
// end and pings it. A Session is one HTTP request's use of an agent: it takes a link for its first event and
// stays with it.
//
//	agents.go   what an agent is, and its state
//	session.go  one question: breaker, slot, link, verdict
//	gate.go     the slots, and the line for them
//	pool.go     which link a session gets
//	keep.go     how links come and go
//	dial.go     finding out the dialect
//	stream.go   frames over a connection
//	v1.go v2.go the dialects' links
//	encode.go   events as JSON
//	control.go  handshakes, configuration, cancellation, pings
//	reply.go    verdicts from JSON
package agents
