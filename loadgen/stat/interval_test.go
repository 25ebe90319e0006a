package stat

import (
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The ranks are those of printed tables of the sign test.
func TestSignRank(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 0, 2: 0, 5: 0, 6: 1, 8: 1, 9: 2, 15: 4, 20: 6, 30: 10, 100: 40, 5000: 2431} {
		if got := signRank(n); got != want {
			t.Errorf("signRank(%d) = %d, want %d", n, got, want)
		}
	}
}

// All ways in which n rounds can fall on the two sides of the true median are counted.
func TestSignRankCoversAsPromised(t *testing.T) {
	for n := range 17 {
		missed := func(k int) (share float64) {
			for sides := range 1 << n {
				if below := bits.OnesCount(uint(sides)); below < k || n-below < k {
					share++
				}
			}
			return share / float64(int(1)<<n)
		}
		k := signRank(n)
		if got := missed(k); got > 1-Confidence {
			t.Errorf("with rank %d, %d rounds miss the median with %v", k, n, got)
		}
		if got := missed(k + 1); got <= 1-Confidence {
			t.Errorf("with rank %d, %d rounds would miss it with %v only: the interval is too wide", k+1, n, got)
		}
	}
}

func TestMedianInterval(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   Interval
	}{
		{"nothing", nil, Interval{}},
		{"too few", []float64{1, 2, 3, 4, 5}, Interval{}},
		{"six: the whole range", []float64{4, 1, 6, 2, 5, 3}, Interval{Low: 1, High: 6}},
		{"fifteen: fourth to twelfth", []float64{15, 1, 14, 2, 13, 3, 12, 4, 11, 5, 10, 6, 9, 7, 8}, Interval{Low: 4, High: 12}},
		{"an outlier changes nothing", []float64{1, 2, 3, 4, 5, 6, 7, 8, 9000}, Interval{Low: 2, High: 8}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := MedianInterval(tt.values); got != tt.want {
				t.Errorf("MedianInterval(%v) = %+v, want %+v", tt.values, got, tt.want)
			}
		})
	}
}

func TestMedianIntervalHoldsTheMedian(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0.1, 10), 6, 60).Draw(t, "values")
		before := slices.Clone(values)
		got, s := MedianInterval(values), Summarize(values)
		if !slices.Equal(values, before) {
			t.Fatalf("MedianInterval changed its argument to %v", values)
		}
		if got.Low > s.Median || got.High < s.Median || got.Low < s.Min || got.High > s.Max {
			t.Fatalf("MedianInterval(%v) = %+v, beside %+v", values, got, s)
		}
	})
}
