package telemetry

import (
	"sync/atomic"
	"time"
)

// Upper bounds of the buckets, inclusive. One more bucket takes what is above them all.
var (
	durationBounds = [...]time.Duration{
		time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
		50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
	}
	sizeBounds = [...]int64{1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}
)

// durations is a histogram of times. There is no counter of observations: the buckets add up to it.
// The sum stands first to share a cache line with the buckets of quick answers.
type durations struct {
	micros  atomic.Uint64 // sum; nanoseconds would overflow within weeks of many long tunnels
	buckets [len(durationBounds) + 1]atomic.Uint64
}

func (h *durations) observe(d time.Duration) {
	i := 0
	for i < len(durationBounds) && d > durationBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.micros.Add(uint64((max(d, 0) + time.Microsecond/2) / time.Microsecond))
}

// sizes is a histogram of body sizes in bytes.
type sizes struct {
	bytes   atomic.Uint64 // sum
	buckets [len(sizeBounds) + 1]atomic.Uint64
}

func (h *sizes) observe(n int64) {
	i := 0
	for i < len(sizeBounds) && n > sizeBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.bytes.Add(uint64(n))
}

// cumulate returns the number of observations and, by upper bound, how many were at most that.
func cumulate(bounds []float64, buckets []atomic.Uint64) (count uint64, upTo map[float64]uint64) {
	upTo = make(map[float64]uint64, len(bounds))
	for i := range buckets {
		count += buckets[i].Load()
		if i < len(bounds) {
			upTo[bounds[i]] = count
		}
	}
	return count, upTo
}

var (
	durationSeconds = scaled(durationBounds[:], float64(time.Second))
	sizeBytes       = scaled(sizeBounds[:], 1)
)

func scaled[T ~int64](bounds []T, unit float64) []float64 {
	out := make([]float64, len(bounds))
	for i, b := range bounds {
		out[i] = float64(b) / unit
	}
	return out
}
