// Package attack sends requests at a fixed rate over keep-alive HTTP/1.1 connections and measures how long each
// answer took, counted from the moment its request was due.
//
// Counting from the due time matters. A generator that waits for a slow answer before it sends the next request, and
// starts its clock only then, never sees the requests that would have been waiting meanwhile. Here a request that could
// not leave on time, because every connection was still busy, has been waiting since it was due, and that is recorded.
//
// One thread serves all connections with ppoll(2), because the generator shares its machine with what it measures:
// it costs a few microseconds per request, and ppoll wakes it to the microsecond where Go's own timers may be one
// millisecond late.
package attack
