package stat

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSummarize(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   Summary
	}{
		{"nothing", nil, Summary{}},
		{"one", []float64{3}, Summary{Median: 3, Min: 3, Max: 3, Rounds: 1}},
		{"odd, not in order", []float64{9, 1, 5}, Summary{Median: 5, Min: 1, Max: 9, Rounds: 3}},
		{"even takes the mean of the middle", []float64{8, 1, 2, 4}, Summary{Median: 3, Min: 1, Max: 8, Rounds: 4}},
		{"one outlier changes nothing", []float64{10, 11, 12, 13, 9000}, Summary{Median: 12, Min: 10, Max: 9000, Rounds: 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Summarize(tt.values); got != tt.want {
				t.Errorf("Summarize(%v) = %+v, want %+v", tt.values, got, tt.want)
			}
		})
	}
}

func TestSummarizeSplitsInHalves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 40).Draw(t, "values")
		before := slices.Clone(values)
		s := Summarize(values)
		if !slices.Equal(values, before) {
			t.Fatalf("Summarize changed its argument to %v", values)
		}
		below, above := 0, 0
		for _, v := range values {
			if v < s.Median {
				below++
			}
			if v > s.Median {
				above++
			}
		}
		if 2*below > len(values) || 2*above > len(values) {
			t.Fatalf("median %v of %v has %d below and %d above", s.Median, values, below, above)
		}
	})
}

func TestRatios(t *testing.T) {
	got, err := Ratios([]float64{2, 9}, []float64{4, 3})
	if err != nil || !slices.Equal(got, []float64{0.5, 3}) {
		t.Errorf("Ratios = %v, %v, want [0.5 3]", got, err)
	}
}

func TestRatiosRefuses(t *testing.T) {
	tests := map[string][2][]float64{
		"an unpaired round": {{1, 2}, {1}},
		"division by zero":  {{1, 2}, {1, 0}},
	}
	for name, pair := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := Ratios(pair[0], pair[1]); err == nil {
				t.Errorf("Ratios(%v, %v) = %v, want an error", pair[0], pair[1], got)
			}
		})
	}
}

// Noise that slows both sides of a round equally must not show.
func TestRatiosCancelNoiseOfARound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		theirs := rapid.SliceOfN(rapid.Float64Range(1, 1e4), 1, 20).Draw(t, "theirs")
		ratio := rapid.Float64Range(0.1, 10).Draw(t, "ratio")
		ours := make([]float64, len(theirs))
		for i := range theirs {
			ours[i] = ratio * theirs[i]
		}
		got, err := Ratios(ours, theirs)
		if err != nil {
			t.Fatal(err)
		}
		if m := Summarize(got).Median; m < ratio*0.999 || m > ratio*1.001 {
			t.Fatalf("median ratio %v, want %v", m, ratio)
		}
	})
}
