package conformance

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// TestAgentFailures plays every way in which an agent fails, in every dialect, in every phase, with either
// failure mode. After each the agent does well again, and its next verdict is on the next request.
func TestAgentFailures(t *testing.T) {
	t.Parallel()
	places := make(chan struct{}, 2*atOnce) // they wait most of the time
	for _, row := range failings(t) {
		for _, d := range rogue.Dialects() {
			if row.dialects != nil && !slices.Contains(row.dialects, d) {
				continue
			}
			t.Run(strings.ReplaceAll(row.name, ",", "")+"/"+d.String(), func(t *testing.T) {
				t.Parallel()
				places <- struct{}{}
				defer func() { <-places }()
				row.play(t, d)
			})
		}
	}
}

// TestAgentsLeak plays a way of every class. When the proxies have stopped, no goroutine of theirs and no
// descriptor is left: it is not parallel, so that nobody else's come and go meanwhile.
func TestAgentsLeak(t *testing.T) {
	// Without the garbage collector, which closes what nobody can close any more.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(2 << 30))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := settled(t, func(h held) bool { return len(h.ours) == 0 })
	t.Run("all", func(t *testing.T) {
		var playing sync.WaitGroup
		places := make(chan struct{}, atOnce)
		seen := map[string]bool{}
		for _, row := range failings(t) {
			if seen[row.class] {
				continue
			}
			seen[row.class] = true
			dialects := row.dialects
			if dialects == nil {
				dialects = rogue.Dialects()
			}
			d := dialects[len(seen)%len(dialects)]
			if row.phases == nil {
				row.phases = []rogue.Kind{rogue.RequestHeaders, rogue.ResponseBody}
			}
			places <- struct{}{}
			playing.Go(func() {
				defer func() { <-places }()
				t.Run(strings.ReplaceAll(row.name, ",", "")+"/"+d.String(), func(t *testing.T) { row.play(t, d) })
			})
		}
		playing.Wait()
	})
	after := settled(t, func(h held) bool {
		return len(h.ours) == 0 && h.goroutines <= before.goroutines && len(h.descriptors) <= len(before.descriptors)
	})
	t.Logf("before: %d goroutines, %d descriptors; after: %d and %d",
		before.goroutines, len(before.descriptors), after.goroutines, len(after.descriptors))
}

func (f *failing) play(t *testing.T, d rogue.Dialect) {
	var all []*trial
	for _, phase := range rogue.Phases() {
		for _, open := range []bool{false, true} {
			if f.phases == nil || slices.Contains(f.phases, phase) {
				all = append(all, &trial{
					id: trialID(phase, open), open: open, phase: phase, settings: f.settings, filter: f.filter, coding: f.coding,
					body: f.body, alone: f.alone,
				})
			}
		}
	}
	s := newTrials(t, d, all, f.limits)
	for _, tr := range all {
		tr.connected(t)
	}
	var playing sync.WaitGroup
	for _, tr := range all {
		playing.Go(func() { t.Run(tr.id, func(t *testing.T) { f.try(t, tr) }) })
	}
	playing.Wait()
	f.checkMetrics(t, s, all)
	s.stop(t)
}

func trialID(phase rogue.Kind, open bool) string {
	mode := "closed"
	if open {
		mode = "open"
	}
	return mode + "-" + strings.ReplaceAll(string(phase), "_", "-")
}

// try lets a request pass, then one at which the agent fails, then one again.
func (f *failing) try(t *testing.T, tr *trial) {
	if f.kind != "" || f.well() {
		tr.passes(t, tr.id+"-1", tr.phase, func() {})
	}
	begun, _ := tr.o.count()
	mark := tr.id + "-2"
	m, err := tr.play(t, mark, tr.phase, func() { f.spoil(t, tr) })
	if f.well() || tr.open {
		tr.wantPassed(t, mark, m, err)
	} else {
		f.wantRefused(t, tr, mark, m, err)
	}
	f.checkOrigin(t, tr, begun)
	f.checkAudit(t, tr, mark)
	f.checkAsked(t, tr, mark)
	if f.kind == "" && !f.well() {
		return // it was not the agent that failed
	}
	tr.heal(t, f.restart)
	tr.passes(t, tr.id+"-3", tr.phase, func() {})
}

// heal makes the agent do well again. Its verdicts say whose they are.
func (tr *trial) heal(t *testing.T, restart bool) {
	t.Helper()
	if tr.held != nil {
		tr.release(t)
	}
	tr.fake.SetDoor(rogue.Open)
	well := func(e *rogue.Event) rogue.Act {
		if e.Kind != rogue.ResponseHeaders {
			return rogue.Act{}
		}
		return rogue.Act{Answer: rogue.Answer{ResponseOps: []rogue.Op{{Kind: "set", Name: "X-Verdict-On", Value: e.Mark}}}}
	}
	tr.fake.Set(well)
	if restart {
		tr.reborn(t, well)
	}
	tr.connected(t)
}

// passes makes a request that the agent allows.
func (tr *trial) passes(t *testing.T, mark string, phase rogue.Kind, before func()) {
	t.Helper()
	m, err := tr.play(t, mark, phase, before)
	tr.wantPassed(t, mark, m, err)
	if got := values(m.fields, "X-Verdict-On"); len(got) > 0 && !slices.Equal(got, []string{mark}) {
		t.Errorf("%s: the client got the verdict on %q", mark, got)
	}
}

func (tr *trial) wantPassed(t *testing.T, mark string, m *message, err error) {
	t.Helper()
	if err != nil || m.status() != 200 || string(m.body) != tr.fruit() || !slices.Equal(values(m.fields, "X-Origin"), []string{tr.id}) {
		t.Errorf("%s: the client got %q %q %q (%v), want the origin's answer\n%s", mark, m.start, m.fields, clip(m.body), err, tr.s.errors)
	}
	if l := tr.s.traced(t, mark); l.Status != 200 || l.Error != "" || l.RouteID != tr.id {
		t.Errorf("%s: access line %+v, want 200 and no error", mark, l)
	}
}

// word is the Reason in closed mode.
func (f *failing) word(tr *trial) string {
	if tr.phase == rogue.ResponseHeaders || tr.phase == rogue.ResponseBody {
		return "agent_response_failed"
	}
	return f.reason
}

func (f *failing) wantRefused(t *testing.T, tr *trial, mark string, m *message, err error) {
	t.Helper()
	word := f.word(tr)
	if err != nil || m.status() != agentStatus[word] || len(values(m.fields, "X-Origin")) > 0 || strings.Contains(string(m.body), tr.fruit()) {
		t.Errorf("%s: the client got %q %q %q (%v), want %d and nothing of the origin's", mark, m.start, m.fields, clip(m.body), err, agentStatus[word])
	}
	if l := tr.s.traced(t, mark); l.Status != agentStatus[word] || l.Error != word || l.RouteID != tr.id {
		t.Errorf("%s: access line %+v, want %d and %s", mark, l, agentStatus[word], word)
	}
	if got := tr.s.failures.find(t, record{"trace_id": mark})["error_type"]; got != word {
		t.Errorf("%s: the error log has %q, want %s", mark, got, word)
	}
}

// checkOrigin counts what came to the origin: nothing that the agent had not allowed.
func (f *failing) checkOrigin(t *testing.T, tr *trial, begun int) {
	t.Helper()
	want := begun + 1
	if !f.well() && !tr.open && (tr.phase == rogue.RequestHeaders || tr.phase == rogue.RequestBody) {
		want = begun
	}
	got, _ := tr.o.count()
	if got != want {
		t.Errorf("%d requests came to the origin, want %d", got-begun, want-begun)
	}
	if got == begun || want == begun {
		return
	}
	if r := tr.o.request(begun, complete).seen(); string(r.body) != tr.seeds() || r.coding() != tr.coded(rogue.RequestBody) {
		t.Errorf("the origin got %q in %q, want what the client sent", clip(r.body), r.coding())
	}
}

// checkAudit compares the audit entry of a request at which the agent failed.
func (f *failing) checkAudit(t *testing.T, tr *trial, mark string) {
	t.Helper()
	if f.well() {
		if got := tr.s.audit.those(record{"trace_id": mark}); len(got) > 0 {
			t.Errorf("the audit log has %v", got)
		}
		return
	}
	want := record{"event_type": "agent_decision", "route_id": tr.id, "agent_id": tr.id, "reason": f.reason, "action": "fail_open", "tags": "[agent:" + tr.id + "]"}
	if !tr.open {
		word := f.word(tr)
		want["action"], want["reason"], want["status_code"] = "fail_closed", word, fmt.Sprint(agentStatus[word])
	}
	got := tr.s.audit.find(t, record{"trace_id": mark})
	if !got.has(want) || len(tr.s.audit.those(record{"trace_id": mark})) != 1 {
		t.Errorf("the audit log has %v, want %v", got, want)
	}
	if cause := got["metadata.cause"]; !tr.open && want["reason"] == "agent_response_failed" && !strings.HasPrefix(cause, f.reason+": ") {
		t.Errorf("the audit entry gives %q as the cause, want %s", cause, f.reason)
	}
}

// checkAsked makes sure that an agent that failed is asked nothing more about the request.
func (f *failing) checkAsked(t *testing.T, tr *trial, mark string) {
	t.Helper()
	want := slices.Index(rogue.Phases(), tr.phase) + 1
	switch {
	case f.well():
		want = len(rogue.Phases())
	case f.unasked:
		want--
	}
	for _, e := range tr.fake.Of(mark) {
		if at := slices.Index(rogue.Phases(), e.Kind); at >= want {
			t.Errorf("%s: the agent was asked about %s", mark, e.Kind)
		}
	}
}

// checkMetrics compares the counters of every trial's agent.
func (f *failing) checkMetrics(t *testing.T, s *site, all []*trial) {
	t.Helper()
	m := s.metrics(t)
	refused := map[string]float64{}
	for _, tr := range all {
		for name, n := range f.counts(tr) {
			got, there := m[name]
			if optional := strings.HasPrefix(name, "sentinel_agent_latency"); got != n || !there && !optional {
				t.Errorf("%s is %v (shown: %t), want %v", name, got, there, n)
			}
		}
		refused["agent_bad_reply"] += float64(f.spoiled)
		refused["waf"] += float64(f.occupied) // what an agent refuses counts as its type
		if !tr.open && !f.well() {
			refused[f.word(tr)]++
		}
	}
	for word, n := range refused {
		if got := m[series("blocked_requests_total", "reason", word)]; got != n {
			t.Errorf("blocked_requests_total of %s is %v, want %v", word, got, n)
		}
	}
}

// counts are the counters of a trial's agent when the trial is over.
func (f *failing) counts(tr *trial) map[string]float64 {
	all := map[string]float64{}
	count := func(n int, name string, labels ...string) {
		all[series(name, append(labels, "agent", tr.id)...)] += float64(n)
	}
	for _, kind := range []string{"unavailable", "timeout", "bad_reply", "breaker_open", "busy"} {
		count(0, "agent_errors_total", "reason", kind)
	}
	if f.kind != "" {
		count(1, "agent_errors_total", "reason", f.kind)
	}
	count(f.spoiled, "agent_errors_total", "reason", "bad_reply")
	bypassed := 0
	if tr.open && !f.well() {
		bypassed = 1
	}
	count(bypassed, "agent_bypass_total")
	others := 2 // requests at which the agent does well
	if f.kind == "" && !f.well() {
		others = 0
	}
	verdicts := 0
	failed := slices.Index(rogue.Phases(), tr.phase)
	for at, phase := range rogue.Phases() {
		asked, late := others, 0
		switch {
		case f.well(), at < failed:
			asked++
			verdicts++
		case at == failed && f.kind != "":
			asked++ // in vain
		}
		if at == failed && f.kind == "timeout" {
			late = 1
		}
		verdicts += others
		if phase == rogue.RequestHeaders {
			asked += f.spoiled + f.occupied
		}
		count(asked, "agent_latency_seconds_count", "event", "on_"+string(phase))
		count(late, "agent_timeouts_total", "event", "on_"+string(phase))
	}
	count(verdicts, "agent_requests_total", "decision", "allow")
	count(f.occupied, "agent_requests_total", "decision", "block")
	return all
}
