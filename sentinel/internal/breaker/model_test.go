package breaker

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is the table of spec 6.6 and the rules below it, written down with no thought of speed. Times are
// since epoch.
type model struct {
	s                   Settings
	state               State
	failures, successes int
	since, lasts        time.Duration // while open
	generation          int           // of the state
	admitted            int           // ever
	changes             []Change
	tickets             []*modelTicket
}

// modelTicket is an admission in both worlds.
type modelTicket struct {
	real       Ticket
	generation int
	probe      bool
	at         time.Duration // admitted
	settled    bool
}

func (m *model) move(to State, cause string) {
	m.changes = append(m.changes, Change{m.state, to, cause})
	m.state, m.failures, m.successes = to, 0, 0
	m.generation++
}

func (m *model) open(now, d time.Duration, cause string) {
	m.move(Open, cause)
	m.since, m.lasts = now, d
}

// over reports whether an open breaker's time is.
func (m *model) over(now time.Duration) bool { return now-m.since >= m.lasts }

// unfinished lists the probes that hold a slot.
func (m *model) unfinished() (list []*modelTicket) {
	for _, t := range m.tickets {
		if t.probe && !t.settled && t.generation == m.generation {
			list = append(list, t)
		}
	}
	return list
}

// overdue lists those of them whose slot may be taken back.
func (m *model) overdue(now time.Duration) (list []*modelTicket) {
	for _, t := range m.unfinished() {
		if now-t.at > m.s.Timeout {
			list = append(list, t)
		}
	}
	return list
}

func (m *model) ready(now time.Duration) bool {
	switch m.state {
	case Open:
		return m.over(now)
	case HalfOpen:
		return len(m.unfinished())-len(m.overdue(now)) < m.s.HalfOpenMaxRequests
	default:
		return true
	}
}

func (m *model) admit(now time.Duration, real Ticket) bool {
	if m.state == HalfOpen && len(m.unfinished()) >= m.s.HalfOpenMaxRequests {
		for _, t := range m.overdue(now) {
			t.settled = true
		}
	}
	if !m.ready(now) {
		return false
	}
	if m.state == Open {
		m.move(HalfOpen, "timeout")
	}
	m.admitted++
	m.tickets = append(m.tickets, &modelTicket{real: real, generation: m.generation, probe: m.state == HalfOpen, at: now})
	return true
}

// settle reports whether the outcome of the ticket still counts.
func (m *model) settle(t *modelTicket) bool {
	twice := t.probe && t.settled
	t.settled = true
	return t.generation == m.generation && !twice
}

func (m *model) success(t *modelTicket) {
	if !m.settle(t) {
		return
	}
	if m.state == Closed {
		m.failures = 0
		return
	}
	if m.successes++; m.successes >= m.s.SuccessThreshold {
		m.move(Closed, "recovered")
	}
}

func (m *model) failure(t *modelTicket, now time.Duration, cause string) {
	if !m.settle(t) {
		return
	}
	if m.failures++; m.state == HalfOpen || m.failures >= m.s.FailureThreshold {
		m.open(now, m.s.Timeout, cause)
	}
}

func (m *model) left(now time.Duration) time.Duration {
	switch {
	case m.state != Open || m.over(now):
		return 0
	case now < m.since:
		return m.lasts
	default:
		return m.since + m.lasts - now
	}
}

const (
	shares = 10 // of rapid's 100 walks each
	legs   = 5  // of rapid's 30 steps each, on average
)

// TestWalks is UP-06: in 1,000 random walks the breaker and the model agree in every state, transition and
// admission.
func TestWalks(t *testing.T) {
	t.Parallel()
	for i := range shares {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) { newPair(t).walk(t) })
		})
	}
}

// pair is a breaker and its model on the way.
type pair struct {
	b       *Breaker
	m       *model
	changes []Change
	clock   time.Duration
	count   int // admissions by b
}

func newPair(t *rapid.T) *pair {
	some := rapid.SampledFrom([]int{1, 1, 2, 2, 3, 3, 5, math.MaxInt})
	s := Settings{
		FailureThreshold:    some.Draw(t, "failure-threshold"),
		SuccessThreshold:    some.Draw(t, "success-threshold"),
		HalfOpenMaxRequests: some.Draw(t, "half-open-max-requests"),
		Timeout:             rapid.SampledFrom([]time.Duration{1, time.Second, time.Hour}).Draw(t, "timeout"),
	}
	p := &pair{m: &model{s: s}}
	p.b = New(s, func(c Change) { p.changes = append(p.changes, c) })
	return p
}

func (p *pair) walk(t *rapid.T) {
	actions := map[string]func(*rapid.T){
		"":          p.agree,
		"admit":     p.admit,
		"admit 2":   p.admit, // the names of an action are how often it is drawn
		"admit 3":   p.admit,
		"success":   p.success,
		"success 2": p.success,
		"failure":   p.failure,
		"abandon":   p.abandon,
		"nobody": func(*rapid.T) {
			p.b.Success(Ticket{})
			p.b.Failure(Ticket{}, epoch, "nobody")
			p.b.Abandon(Ticket{})
		},
		"wait": func(t *rapid.T) {
			p.clock += rapid.SampledFrom([]time.Duration{1, time.Second / 2, time.Second, time.Hour}).Draw(t, "for")
		},
		"evidence": p.evidence,
	}
	for range legs {
		t.Repeat(actions)
	}
}

func (p *pair) success(t *rapid.T) {
	k := p.ticket(t)
	p.b.Success(k.real)
	p.m.success(k)
}

func (p *pair) abandon(t *rapid.T) {
	k := p.ticket(t)
	p.b.Abandon(k.real)
	p.m.settle(k)
}

func (p *pair) admit(t *rapid.T) {
	now := p.now(t)
	ready := p.b.Ready(epoch.Add(now))
	ticket, ok := p.b.Admit(epoch.Add(now))
	want := p.m.admit(now, ticket)
	if ok != want || ready != want || ticket.Probe() != (ok && p.m.state == HalfOpen) {
		t.Fatalf("ready %v, admitted %v, as a probe %v; want %v in %s", ready, ok, ticket.Probe(), want, p.m.state)
	}
	if ok {
		p.count++
	}
}

func (p *pair) failure(t *rapid.T) {
	k, now, cause := p.ticket(t), p.now(t), rapid.SampledFrom([]string{"refused", "timeout"}).Draw(t, "cause")
	p.b.Failure(k.real, epoch.Add(now), cause)
	p.m.failure(k, now, cause)
}

// evidence comes seldom: it ends what the walk was about.
func (p *pair) evidence(t *rapid.T) {
	switch rapid.IntRange(0, 19).Draw(t, "kind") {
	case 0:
		now, d := p.now(t), rapid.SampledFrom([]time.Duration{1, time.Second, time.Minute}).Draw(t, "for")
		p.b.Trip(epoch.Add(now), d, "trip")
		if p.m.state != Open {
			p.m.open(now, d, "trip")
		}
	case 1:
		p.b.HalfOpen("half-open")
		if p.m.state == Open {
			p.m.move(HalfOpen, "half-open")
		}
	case 2:
		p.b.Close("close")
		if p.m.state != Closed {
			p.m.move(Closed, "close")
		}
	default:
		t.Skip("seldom")
	}
}

// now is the clock as some caller read it: sometimes a little late.
func (p *pair) now(t *rapid.T) time.Duration {
	return p.clock - rapid.SampledFrom([]time.Duration{0, 0, 0, 1, time.Second}).Draw(t, "stale by")
}

// ticket draws one of all that were given, mostly one of the last, often one that is settled.
func (p *pair) ticket(t *rapid.T) *modelTicket {
	n := len(p.m.tickets)
	if n == 0 {
		t.Skip("no ticket yet")
	}
	if rapid.Bool().Draw(t, "a late one") {
		return p.m.tickets[n-1-rapid.IntRange(0, min(n-1, 3)).Draw(t, "how late")]
	}
	return p.m.tickets[rapid.IntRange(0, n-1).Draw(t, "ticket")]
}

func (p *pair) agree(t *rapid.T) {
	if got, want := p.b.State(), p.m.state; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	if !slices.Equal(p.changes, p.m.changes) {
		t.Fatalf("changes %v\nwant    %v", p.changes, p.m.changes)
	}
	if p.count != p.m.admitted {
		t.Fatalf("%d admitted, want %d", p.count, p.m.admitted)
	}
	if got, want := len(p.b.probes), len(p.m.unfinished()); got != want {
		t.Fatalf("%d slots taken, want %d", got, want)
	}
	for _, now := range []time.Duration{p.clock - time.Second, p.clock, p.clock + time.Minute} {
		if got, want := p.b.Left(epoch.Add(now)), p.m.left(now); got != want {
			t.Fatalf("left %v at %v, want %v", got, now, want)
		}
		if got, want := p.b.Ready(epoch.Add(now)), p.m.ready(now); got != want {
			t.Fatalf("ready %v at %v, want %v", got, now, want)
		}
	}
}
