// Package telemetry records what the proxy did: access, error and audit logs, metrics, and the
// trace ids that tie them together.
//
// Recording never holds up a request. A log line is encoded into a scratch buffer and copied into
// its Writer's bounded buffer; one goroutine per Writer talks to the file. When the file cannot keep
// up, whole lines are dropped and counted. Metrics are atomic counters, read only when scraped.
//
// Whatever a client or an origin sent is hostile here: a log string is cut to a bound and escaped,
// and no metric label comes from traffic, only from the configuration and from closed sets.
package telemetry
