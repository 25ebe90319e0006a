package stat

import (
	"fmt"
	"slices"
)

// Summary is what is kept of one figure over all rounds. The zero value means that nothing was measured.
type Summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Rounds int     `json:"rounds"`
}

// Summarize returns the median, smallest and largest of values. It leaves values as they are.
func Summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	// Both indexes meet in the middle for odd n; for even n the median is the mean of the two middle ones.
	median := (sorted[(n-1)/2] + sorted[n/2]) / 2
	return Summary{Median: median, Min: sorted[0], Max: sorted[n-1], Rounds: n}
}

// Ratios divides ours by theirs round by round, so that noise which lasted a whole round cancels out.
// It fails when the rounds do not pair up or a divisor is not positive.
func Ratios(ours, theirs []float64) ([]float64, error) {
	if len(ours) != len(theirs) {
		return nil, fmt.Errorf("pairing rounds: %d of ours, %d of theirs", len(ours), len(theirs))
	}
	ratios := make([]float64, len(ours))
	for i := range ours {
		if theirs[i] <= 0 {
			return nil, fmt.Errorf("round %d: cannot divide by %v", i+1, theirs[i])
		}
		ratios[i] = ours[i] / theirs[i]
	}
	return ratios, nil
}
