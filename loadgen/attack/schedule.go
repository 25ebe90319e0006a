package attack

import "time"

// schedule says when each request ought to leave. It never waits for answers.
type schedule struct {
	began    time.Time
	interval time.Duration
	total    int
}

// due returns when request n, counted from 0, ought to leave.
func (s schedule) due(n int) time.Time {
	return s.began.Add(time.Duration(n) * s.interval)
}
