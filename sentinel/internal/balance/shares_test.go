package balance

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestShares shows for the balancers that do not look at load that every eligible node gets its part of the
// requests by weight: within six standard deviations of chance, and what its algorithm adds to that. It
// is the same with some nodes away, and when so few are left that all must be looked at.
func TestShares(t *testing.T) {
	t.Parallel()
	const picks = 3000
	for _, test := range []struct {
		algorithm string
		// excess is the part of its share by which a node may miss it, chance aside. The ring's parts differ
		// with the square root of the number of points, as those of any random cut do.
		excess func(weight int) float64
	}{
		{"round_robin", func(int) float64 { return 0 }},
		{"weighted", func(int) float64 { return 0 }},
		{"random", func(int) float64 { return 0 }},
		{"ip_hash", func(int) float64 { return 0 }},
		{"maglev", func(int) float64 { return 0.01 }},
		{"consistent_hash", func(w int) float64 { return 6 / math.Sqrt(float64(pointsPerWeight*w)) }},
	} {
		t.Run(test.algorithm, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				weights := rapid.SliceOfN(rapid.IntRange(0, 4), 1, 40).Draw(t, "weights")
				may := someSet(t, len(weights))
				total := 0
				for i, w := range weights {
					if may[i] {
						total += w
					}
				}
				if total == 0 {
					return
				}
				b, err := New(test.algorithm, weighted(weights...), nil)
				if err != nil {
					t.Fatal(err)
				}
				for i, n := range turns(b, may, picks) {
					if !may[i] {
						continue // TestPickIsEligible
					}
					share := float64(weights[i]) / float64(total)
					fair := picks * share
					bound := 6*math.Sqrt(fair*(1-share)) + 2 + fair*test.excess(max(weights[i], 1))
					if math.Abs(float64(n)-fair) > bound {
						t.Fatalf("node %d of weight %d had %d requests, its share is %.0f, give or take %.0f", i, weights[i], n, fair, bound)
					}
				}
			})
		})
	}
}

// fewEligible is a large group of which two may be used, one three times as heavy as the other: tries alone
// rarely find them.
func fewEligible() ([]*Node, set) {
	const n = 400
	weights := slices.Repeat([]int{1}, n)
	weights[17] = 3
	may := make(set, n)
	may[17], may[202] = true, true
	return weighted(weights...), may
}

// TestFewShare shows that weights count where all nodes must be looked at, within six standard deviations.
func TestFewShare(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"round_robin", "weighted", "random", "ip_hash", "consistent_hash", "maglev"} {
		nodes, may := fewEligible()
		got := turns(mustNew(t, algorithm, nodes), may, 4000)
		if got[17] < 2835 || got[17] > 3165 || got[17]+got[202] != 4000 {
			t.Errorf("%s: the node with 3/4 of the weight had %d of 4000", algorithm, got[17])
		}
	}
}

// TestLoadedShares shows for the balancers that look at load that what they put in flight is in proportion
// to the weights, with some nodes away as well. least_connections gives everybody the whole part of the
// share at least (it is D'Hondt's way to give seats); so does adaptive in a small group that it knows
// nothing of. Two choices come within a tenth.
func TestLoadedShares(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		algorithm string
		nodes     int // at most
		bound     func(fair float64) float64
	}{
		{"least_connections", 40, math.Floor},
		{"adaptive", compareAll, math.Floor},
		{"adaptive", 40, func(fair float64) float64 { return 0.9*fair - 3 }},
		{"power_of_two_choices", 40, func(fair float64) float64 { return 0.9*fair - 3 }},
	} {
		t.Run(test.algorithm, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				nodes := weighted(rapid.SliceOfN(rapid.IntRange(0, 5), 1, test.nodes).Draw(t, "weights")...)
				may := someSet(t, len(nodes))
				total, picks := 0, 0
				for i, n := range nodes {
					if may[i] {
						total += n.Weight
					}
				}
				b, err := New(test.algorithm, nodes, nil)
				if err != nil {
					t.Fatal(err)
				}
				for range 20 * total {
					nodes[b.Pick(&Query{Now: epoch, Set: may})].InFlight.Add(1)
					picks++
				}
				for i, n := range nodes {
					fair := float64(picks) * float64(n.Weight) / float64(max(total, 1))
					if may[i] && float64(n.InFlight.Load()) < test.bound(fair) {
						t.Fatalf("node %d of weight %d has %d in flight, its share is %.1f", i, n.Weight, n.InFlight.Load(), fair)
					}
				}
			})
		})
	}
}

// TestQuietShares shows that idle nodes of one weight share alike, and that those beside a busy or an
// absent one do not get more than others: within six standard deviations of chance.
func TestQuietShares(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"least_connections", "power_of_two_choices", "adaptive"} {
		for _, n := range []int{5, 8, 30} {
			nodes := weighted(slices.Repeat([]int{1}, n)...)
			may := everybody(n)
			nodes[1].InFlight.Store(1)
			may[3] = false
			b := mustNew(t, algorithm, nodes)
			const picks = 9000
			got := turns(b, may, picks)
			fair := float64(picks) / float64(n-2)
			for i := range nodes {
				if i == 1 || i == 3 {
					continue
				}
				// What a busy node of a large group still gets is the others' in equal parts.
				if d := float64(got[i]) - fair; d > 6*math.Sqrt(fair)+2 || d < -6*math.Sqrt(fair)-2-float64(got[1]) {
					t.Errorf("%s, %d nodes: node %d had %d, its share is %.0f: %v", algorithm, n, i, got[i], fair, got)
					break
				}
			}
			if float64(got[1]) > fair/2 || got[3] != 0 {
				t.Errorf("%s, %d nodes: the busy node had %d, the absent one %d", algorithm, n, got[1], got[3])
			}
		}
	}
}
