package conformance

import (
	"fmt"
	"time"
)

// model is the circuit breaker of spec 6.6, as simple as can be. It does not know the moment at which the
// proxy reads its clock, only that it lies between two of the test's.
type model struct {
	failureThreshold, successThreshold, slots int
	timeout                                   time.Duration

	state     string
	era       int          // grows with every change: outcomes of earlier eras are nobody's
	failures  int          // in a row, while closed
	successes int          // of probes, while half-open
	probes    map[int]span // while half-open: those that have a slot, and when they were admitted
	serial    int          // of the last pass
	opened    span
	changes   []string // from, to and cause
}

// span is when something happened: not before from, not after to.
type span struct{ from, to time.Time }

// pass is the admission of a request.
type pass struct {
	era, serial int
	probe       bool
}

func newModel(failures, successes, slots int, timeout time.Duration) *model {
	return &model{failureThreshold: failures, successThreshold: successes, slots: slots, timeout: timeout, state: "closed"}
}

// ask compares what became of a request with what had to. Around the end of some time both may be. doubtful
// are the serials of probes that may have lost their slot to the request, or not: the walk has to end them
// without an outcome, so that this does not matter.
func (m *model) ask(admitted bool, asked span) (p pass, doubtful []int, err error) {
	var overdue []int
	must, may := m.state == "closed" || len(m.probes) < m.slots, false
	switch {
	case m.state == "open":
		must, may = m.over(m.opened, asked)
	case !must:
		overdue, doubtful = m.overdue(asked)
		must, may = len(overdue) > 0, len(doubtful) > 0
	}
	if admitted && !must && !may || !admitted && must {
		return pass{}, nil, fmt.Errorf("admitted: %v, which is wrong for %s, %d probes of %d under way, %v to %v after it opened",
			admitted, m.state, len(m.probes), m.slots, asked.from.Sub(m.opened.to), asked.to.Sub(m.opened.from))
	}
	if !admitted {
		return pass{}, nil, nil
	}
	if m.state == "open" {
		m.move("half_open", "timeout")
	}
	for _, serial := range append(overdue, doubtful...) {
		delete(m.probes, serial)
	}
	m.serial++
	if m.state == "half_open" {
		m.probes[m.serial] = asked
	}
	return pass{m.era, m.serial, m.state == "half_open"}, doubtful, nil
}

// over reports whether the breaker's time is over at asked that began at since: for sure, or perhaps.
func (m *model) over(since, asked span) (must, may bool) {
	must = asked.from.Sub(since.to) > m.timeout
	return must, !must && asked.to.Sub(since.from) >= m.timeout
}

// overdue returns the probes whose slots go to a request that finds none: after the breaker's time, for sure
// or perhaps.
func (m *model) overdue(asked span) (sure, perhaps []int) {
	for serial, admitted := range m.probes {
		switch must, may := m.over(admitted, asked); {
		case must:
			sure = append(sure, serial)
		case may:
			perhaps = append(perhaps, serial)
		}
	}
	return sure, perhaps
}

// outcome is how a request ended.
type outcome int

const (
	wentWell outcome = iota
	answered500
	wasReset
	clientLeft
)

// causes are the words of the outcomes that are failures.
var causes = map[outcome]string{answered500: "upstream_status", wasReset: "upstream_reset"}

// settle takes a request's outcome.
func (m *model) settle(p pass, o outcome, at span) {
	if p.era != m.era {
		return
	}
	if _, held := m.probes[p.serial]; p.probe && !held {
		return // its slot has gone to another
	}
	delete(m.probes, p.serial)
	cause, failed := causes[o]
	switch {
	case o == clientLeft:
	case failed && p.probe:
		m.open(cause, at)
	case failed:
		if m.failures++; m.failures >= m.failureThreshold {
			m.open(cause, at)
		}
	case p.probe:
		if m.successes++; m.successes >= m.successThreshold {
			m.move("closed", "recovered")
		}
	default:
		m.failures = 0
	}
}

func (m *model) open(cause string, at span) {
	m.opened = at
	m.move("open", cause)
}

func (m *model) move(to, cause string) {
	m.changes = append(m.changes, m.state+" "+to+" "+cause)
	m.state = to
	m.era++
	m.failures, m.successes, m.probes = 0, 0, map[int]span{}
}
