package health

import (
	"testing"

	"pgregory.net/rapid"
)

// TestState plays outcomes: + a success, - a failure, ! evidence from traffic. After each of them the state
// must be the one below it: H healthy, u unhealthy.
func TestState(t *testing.T) {
	t.Parallel()
	defaults := Thresholds{Healthy: 2, Unhealthy: 3}
	for _, test := range []struct {
		name           string
		thresholds     Thresholds
		outcomes, want string
	}{
		{"a success changes nothing", defaults, "+", "H"},
		{"failures below the threshold", defaults, "--", "HH"},
		{"failures up to the threshold", defaults, "---", "HHu"},
		{"a success starts the count again", defaults, "--+--+---", "HHHHHHHHu"},
		{"successes below the threshold", defaults, "---+", "HHuu"},
		{"successes up to the threshold", defaults, "---++", "HHuuH"},
		{"a failure starts the count again", defaults, "---+-+-++", "HHuuuuuuH"},
		{"more failures do not make it harder", defaults, "------++", "HHuuuuuH"},
		{"more successes do not help later", defaults, "+++++---", "HHHHHHHu"},
		{"after recovery it takes all failures again", defaults, "---++--", "HHuuHHH"},
		{"one failure is enough", Thresholds{1, 1}, "-+-+", "uHuH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, got := NewState(test.thresholds), ""
			if !s.Healthy() {
				t.Error("unhealthy without evidence")
			}
			for i, o := range test.outcomes {
				was := s.Healthy()
				if changed := s.Record(o == '+'); changed != (was != s.Healthy()) {
					t.Errorf("outcome %d: changed is %t", i, changed)
				}
				if s.Healthy() {
					got += "H"
				} else {
					got += "u"
				}
			}
			if got != test.want {
				t.Errorf("%s: %s, want %s", test.outcomes, got, test.want)
			}
		})
	}
}

// model is the state as the specification's words have it, out of the whole history.
type model struct {
	thresholds Thresholds
	history    []bool
	unhealthy  bool
}

// inARow reports whether the last n outcomes were all the same.
func (m *model) inARow(n int, ok bool) bool {
	if len(m.history) < n {
		return false
	}
	for _, o := range m.history[len(m.history)-n:] {
		if o != ok {
			return false
		}
	}
	return true
}

func (m *model) record(ok bool) {
	m.history = append(m.history, ok)
	switch {
	case m.inARow(m.thresholds.Unhealthy, false):
		m.unhealthy = true
	case m.inARow(m.thresholds.Healthy, true):
		m.unhealthy = false
	}
}

func TestStateAgreesWithModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		thresholds := Thresholds{rapid.IntRange(1, 5).Draw(t, "healthy"), rapid.IntRange(1, 5).Draw(t, "unhealthy")}
		s, m := NewState(thresholds), model{thresholds: thresholds}
		for _, o := range rapid.SliceOf(rapid.Bool()).Draw(t, "outcomes") {
			was := s.Healthy()
			changed := s.Record(o)
			m.record(o)
			if changed != (was != s.Healthy()) {
				t.Fatalf("changed is %t", changed)
			}
			if s.Healthy() == m.unhealthy {
				t.Fatalf("healthy is %t after %v", s.Healthy(), m.history)
			}
		}
	})
}
