// Package upstream holds the pools of targets requests are forwarded to: which target may be used and is
// next, which of its connections is free, and one request/response round trip on a connection.
//
// A Pool asks internal/balance for the next target, and tells it which ones are eligible: not unhealthy by
// the active check (internal/health), not ejected for its recent answers, not behind an open breaker
// (internal/breaker), not at its limit of requests in flight. A Visit is one request's way through that:
// Pick claims a target, Done gives it back with how it went.
package upstream
