package stat

import (
	"math"
	"slices"
)

// Confidence is how likely an Interval holds the true median, at least.
const Confidence = 0.95

// Interval is where the true median lies with Confidence. The zero value means that the values are too few to say.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// MedianInterval returns the interval of the sign test, from the k-th smallest to the k-th largest value. It assumes
// only that the rounds do not depend on each other, not how they vary, and it needs no random numbers, so that the
// same figures give the same interval. Fewer than 6 values have none. It leaves values as they are.
func MedianInterval(values []float64) Interval {
	k := signRank(len(values))
	if k == 0 {
		return Interval{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Interval{Low: sorted[k-1], High: sorted[len(sorted)-k]}
}

// signRank returns the largest k such that of n tosses of a coin fewer than k are heads, or fewer than k are tails,
// in at most 1 - Confidence of all cases; 0 when there is none.
func signRank(n int) int {
	k, outside := 0, 0.0
	for 2*k < n {
		outside += 2 * tosses(n, k)
		if outside > 1-Confidence {
			break
		}
		k++
	}
	return k
}

// tosses is the probability of k heads in n tosses. Logarithms, because 2^-n is 0 for a thousand rounds.
func tosses(n, k int) float64 {
	return math.Exp(logFactorial(n) - logFactorial(k) - logFactorial(n-k) - float64(n)*math.Ln2)
}

func logFactorial(n int) float64 {
	log, _ := math.Lgamma(float64(n) + 1)
	return log
}
