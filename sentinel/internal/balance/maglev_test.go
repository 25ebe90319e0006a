package balance

import (
	"math"
	"slices"
	"testing"
)

// TestMaglevSlots holds how many slots a node has, for which the paper promises nearly equal numbers.
func TestMaglevSlots(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		weights []int
		excess  float64 // of a node's slots
	}{
		{"one", []int{1}, 0},
		{"equal", slices.Repeat([]int{1}, 100), 0.002},
		{"weighted", []int{1, 2, 3, 10, 0, 4}, 0.001},
		{"hundreds", []int{300, 200, 100}, 0.001},
		{"heavy", []int{60_000, 60_000, 6000}, 0.001},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := mustNew(t, "maglev", weighted(test.weights...)).(*slots)
			got := make([]int, len(test.weights))
			for _, m := range s.table {
				got[s.members[m].index]++
			}
			for i, w := range test.weights {
				fair := float64(maglevSize) * float64(w) / float64(s.total)
				if d := math.Abs(float64(got[i]) - fair); d > 1+test.excess*fair {
					t.Errorf("node %d of weight %d has %d slots, its share is %.1f", i, w, got[i], fair)
				}
			}
		})
	}
}

// TestMaglevForgetsNobody shows that a weight too small for one slot still has one, and that filling the
// table ends.
func TestMaglevForgetsNobody(t *testing.T) {
	t.Parallel()
	s := mustNew(t, "maglev", weighted(65_535, 65_535, 65_535, 1)).(*slots)
	if !slices.Contains(s.table, 3) {
		t.Error("the lightest node has no slot")
	}
}
