package telemetry

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The closed sets of what happens with agents. Their words are label values.
var (
	agentEvents    = [...]string{"on_request_headers", "on_request_body", "on_response_headers", "on_response_body"}
	agentDecisions = [...]string{"allow", "block", "redirect", "challenge"}
	agentErrors    = [...]string{"unavailable", "timeout", "bad_reply", "breaker_open", "busy"}
)

// AgentStats is the state of an agent at the moment of a scrape.
type AgentStats struct {
	Connections       int    // open
	InFlight, Waiting int    // calls, and callers that wait to make one
	Breaker           int    // BreakerClosed, BreakerOpen or BreakerHalfOpen
	Busy              uint64 // calls that found the line full, or no slot in time
	Unknown           uint64 // replies that nobody waited for
}

// AgentMetrics counts what happens with one agent. Its methods may be called from any goroutine; all but
// Breaker and SetStats neither lock nor allocate.
type AgentMetrics struct {
	Bypassed Counter // requests that went on without the agent, which had failed

	id        string
	times     [len(agentEvents)]durations
	timeouts  [len(agentEvents)]Counter
	decisions [len(agentDecisions)]Counter
	errors    [len(agentErrors)]Counter
	stats     atomic.Pointer[func() AgentStats]

	mu    sync.Mutex // guards the rest
	turns map[string]uint64
}

// Observe counts a call about an event, from the wish to make it to its end, whatever that was. Events are
// numbered in their order: the request's headers 0, its body 1, the response's headers 2, its body 3.
// Others are not counted.
func (a *AgentMetrics) Observe(event int, d time.Duration) {
	if 0 <= event && event < len(a.times) {
		a.times[event].observe(d)
	}
}

// Timeout counts a call about an event that brought nothing by its deadline. Events are those of Observe.
func (a *AgentMetrics) Timeout(event int) {
	if 0 <= event && event < len(a.timeouts) {
		a.timeouts[event].Inc()
	}
}

// Decided counts a verdict: "allow", "block", "redirect" or "challenge". Other words are not counted.
func (a *AgentMetrics) Decided(decision string) { inc(agentDecisions[:], a.decisions[:], decision) }

// Failed counts a call without a verdict: "unavailable", "timeout", "bad_reply", "breaker_open" or "busy".
// Other words, such as for a client that left, are not counted.
func (a *AgentMetrics) Failed(reason string) { inc(agentErrors[:], a.errors[:], reason) }

func inc(words []string, counters []Counter, word string) {
	if i := slices.Index(words, word); i >= 0 {
		counters[i].Inc()
	}
}

// Breaker counts that the agent's breaker turned "open", "half_open" or "closed".
func (a *AgentMetrics) Breaker(to string) {
	a.mu.Lock()
	a.turns[to]++
	a.mu.Unlock()
}

// SetStats names the function that a scrape asks for the present state. It must be quick and safe for
// concurrent use. Nil: the agent is gone, its gauges are no longer shown.
func (a *AgentMetrics) SetStats(stats func() AgentStats) {
	if stats == nil {
		a.stats.Store(nil)
		return
	}
	a.stats.Store(&stats)
}

// AgentComponent names an agent's breaker in metrics and audit entries.
func AgentComponent(id string) string { return "agent:" + id }
