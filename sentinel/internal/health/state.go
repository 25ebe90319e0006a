package health

// Thresholds are the numbers of outcomes in a row that change a target's state; at least 1 each.
type Thresholds struct {
	Healthy   int // successes that make an unhealthy target healthy
	Unhealthy int // failures that make a healthy target unhealthy
}

// State says whether a target is healthy. It is not safe for concurrent use. NewState makes one.
type State struct {
	thresholds Thresholds
	unhealthy  bool
	successes  int // since the last failure
	failures   int // since the last success
}

// NewState returns the state of a target without evidence, which counts as healthy.
func NewState(t Thresholds) State { return State{thresholds: t} }

// NewUnhealthy returns the state of a target that is known to be unhealthy.
func NewUnhealthy(t Thresholds) State { return State{thresholds: t, unhealthy: true} }

// Healthy reports what the evidence so far says.
func (s *State) Healthy() bool { return !s.unhealthy }

// Record adds the outcome of one probe, and reports whether Healthy changed.
func (s *State) Record(ok bool) (changed bool) {
	if ok {
		s.successes++
		s.failures = 0
		changed = s.unhealthy && s.successes >= s.thresholds.Healthy
	} else {
		s.failures++
		s.successes = 0
		changed = !s.unhealthy && s.failures >= s.thresholds.Unhealthy
	}
	if changed {
		s.unhealthy = !s.unhealthy
	}
	return changed
}
