package sentinel

import (
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
)

// stateEvent is a change in an upstream, of a route's breaker, or in an agent.
type stateEvent struct {
	at       time.Time
	route    string // of a route's breaker; else empty
	upstream string
	upstream.Event
	agent  string // of an agent; then notice holds, and none of the above
	notice agents.Notice
}

// maxEvents bounds the events that wait to be written: logs may be slow, and whoever tells of an event has
// a breaker locked.
const maxEvents = 1024

// events carries changes of state to the logs, in their order.
type events struct {
	queue chan stateEvent
	done  chan struct{} // closed when run has ended
	lost  func(n int)   // counts what did not fit
}

func newEvents(lost func(int)) *events {
	return &events{queue: make(chan stateEvent, maxEvents), done: make(chan struct{}), lost: lost}
}

// add never waits.
func (q *events) add(e stateEvent) {
	select {
	case q.queue <- e:
	default:
		q.lost(1)
	}
}

// run writes what is added until close.
func (q *events) run(write func(*stateEvent)) {
	defer close(q.done)
	for e := range q.queue {
		write(&e)
	}
}

// close ends run once it has written everything; nothing may be added any more.
func (q *events) close() {
	close(q.queue)
	<-q.done
}

// eventWords are the words of the log and of the audit trail.
var eventWords = map[upstream.EventKind]string{
	upstream.Healthy: "healthy", upstream.Unhealthy: "unhealthy", upstream.Ejected: "ejected", upstream.Readmitted: "readmitted",
	upstream.BreakerChanged: "breaker", upstream.PanicBegan: "panic_began", upstream.PanicEnded: "panic_ended",
	upstream.Resolved: "resolved", upstream.Unresolved: "unresolved",
}

// countEvent adds an event to the metrics.
func countEvent(stats *telemetry.UpstreamMetrics, e *upstream.Event) {
	switch e.Kind {
	case upstream.BreakerChanged:
		stats.Breaker(e.Target, e.To.String())
	case upstream.Healthy, upstream.Unhealthy, upstream.Ejected, upstream.Readmitted:
		stats.Health(e.Target, eventWords[e.Kind])
	default: // the log and the audit trail have the rest
	}
}

// logEvent writes an event to the log and to the audit trail.
func (p *Proxy) logEvent(e *stateEvent) {
	if e.agent != "" {
		p.logNotice(e.at, e.agent, &e.notice)
		return
	}
	entry := telemetry.AuditEntry{Time: e.at, Event: telemetry.EventUpstreamHealthChange, Route: e.route, Reason: eventWords[e.Kind]}
	if e.Kind == upstream.BreakerChanged {
		p.logBreaker(e, &entry)
	} else {
		p.log.Warn("upstream "+eventWords[e.Kind], "upstream", e.upstream, "target", e.Target, "cause", e.Cause)
		entry.Metadata = attributes("upstream", e.upstream, "target", e.Target, "cause", e.Cause)
	}
	p.logs.Load().audit.Write(&entry)
}

func (p *Proxy) logBreaker(e *stateEvent, entry *telemetry.AuditEntry) {
	from, to := e.From.String(), e.To.String()
	p.log.Warn("circuit breaker "+to, "upstream", e.upstream, "target", e.Target, "route", e.route, "from", from, "cause", e.Cause)
	entry.Event, entry.Reason = telemetry.EventCircuitBreakerChange, e.Cause
	entry.Action = to
	entry.Metadata = attributes("component", telemetry.BreakerComponent(e.upstream, e.Target), "from", from, "to", to)
}

func attributes(pairs ...string) (list []telemetry.Attribute) {
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, telemetry.Attribute{Name: pairs[i], Value: pairs[i+1]})
	}
	return list
}
