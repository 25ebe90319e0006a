package ratelimit

import "time"

// bucket is a token bucket in whole nanoseconds. What is kept of it for a key is one number: how long it
// takes until the bucket is full again. A full bucket is the same as none.
type bucket struct {
	interval time.Duration // in which one token comes back
	depth    time.Duration // burst times interval: how long an empty one takes to fill
}

func newBucket(rate float64, burst int) bucket {
	interval := time.Duration(float64(time.Second)/rate + 0.5)
	return bucket{interval: interval, depth: time.Duration(burst) * interval}
}

// outcome is what asking for a token brought.
type outcome struct {
	admitted bool
	missing  time.Duration // until the bucket is full, after the request
}

// take takes a token from a bucket that is full in missing, which may be out of range: the clock, or the
// limit, may have changed.
func (b bucket) take(missing time.Duration) outcome {
	missing = min(max(missing, 0), b.depth)
	if missing+b.interval > b.depth {
		return outcome{missing: missing}
	}
	return outcome{admitted: true, missing: missing + b.interval}
}

// remaining returns the whole tokens left.
func (b bucket) remaining(missing time.Duration) int64 {
	return int64((b.depth - missing) / b.interval)
}

// retryAfter returns the seconds until there is a token again, at least 1.
func (b bucket) retryAfter(missing time.Duration) int64 {
	return max(1, seconds(missing+b.interval-b.depth))
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
