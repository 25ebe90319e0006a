// Package upstream holds the pools of targets requests are forwarded to: which target is next, which
// of its connections is free, and one request/response round trip on a connection.
package upstream
