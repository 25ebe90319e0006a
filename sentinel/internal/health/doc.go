// Package health is the active check of an upstream's targets: one probe over HTTP, TCP or gRPC, the
// thresholds that turn the outcomes of probes into healthy and unhealthy, and the times of probes.
//
// A Probe knows how to ask one target, a State what its answers mean, a Schedule when to ask. They know
// nothing of each other: whoever owns the target runs one goroutine with Schedule.Run, and tells its State
// what Probe.Do returned.
//
// A target is hostile: a probe reads a bounded number of bytes in a bounded time, leaves nothing open
// behind it, and says what went wrong in words of its own, never in the target's.
package health
