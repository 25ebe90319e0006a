package balance

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestRotation(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		weights []int
		order   []int32
	}{
		{"equal", []int{1, 1, 1}, []int32{0, 1, 2}},
		{"reduced", []int{100, 100}, []int32{0, 1}},
		{"smooth", []int{5, 1, 1}, []int32{0, 0, 1, 0, 2, 0, 0}},
		{"one", []int{7}, []int32{0}},
		{"no nodes", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := rotation(test.weights); !slices.Equal(got, test.order) {
				t.Errorf("order %v, want %v", got, test.order)
			}
		})
	}
}

// TestRotationShares shows that one round has every node exactly as often as its weight says, spread so
// that no node is ever more than one turn for each node away from its share.
func TestRotationShares(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 30), 1, 6).Draw(t, "weights")
		order := rotation(weights)
		common, total := 0, 0
		for _, w := range weights {
			common = gcd(common, w)
			total += w
		}
		turns := make([]int, len(weights))
		for done, i := range order {
			turns[i]++
			for j, w := range weights {
				fair := float64(done+1) * float64(w) / float64(total)
				if d := float64(turns[j]) - fair; d > 1+float64(len(weights)) || d < -1-float64(len(weights)) {
					t.Fatalf("after %d turns node %d had %d, its share is %.2f", done+1, j, turns[j], fair)
				}
			}
		}
		for i, w := range weights {
			if turns[i] != w/common {
				t.Fatalf("node %d of weight %d has %d turns of %d", i, w, turns[i], len(order))
			}
		}
	})
}

// TestHugeWeights shows that a round stays short, and that nobody is left out of it.
func TestHugeWeights(t *testing.T) {
	t.Parallel()
	order := rotation([]int{1_000_003, 1, 999_983})
	turns := make([]int, 3)
	for _, i := range order {
		turns[i]++
	}
	if len(order) > maxRotation+2 {
		t.Errorf("a round of %d turns", len(order))
	}
	if turns[1] != 1 || turns[0] < turns[2] || turns[0]+turns[2] < maxRotation-2 {
		t.Errorf("turns %v", turns)
	}
}

// turns counts the answers of many Picks for clients with keys of all kinds.
func turns(b Balancer, may set, picks int) []int {
	n := make([]int, len(may))
	for _, key := range keys(picks) {
		n[b.Pick(&Query{Key: key, Now: epoch, Set: may})]++
	}
	return n
}

// keys returns different clients' keys.
func keys(n int) (list []uint64) {
	dice := rand.New(rand.NewPCG(1, 2))
	for range n {
		list = append(list, dice.Uint64())
	}
	return list
}

// TestRoundRobinTakesTheNextTurn shows that nobody inherits the turns of a node that is not eligible: the
// others have theirs in proportion, exactly.
func TestRoundRobinTakesTheNextTurn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		weights []int
		may     set
		want    []int
	}{
		{"all", []int{2, 1, 0}, set{true, true, true}, []int{200, 100, 0}},
		{"one away", []int{1, 1, 1, 1}, set{true, false, true, true}, []int{100, 0, 100, 100}},
		{"heavy one away", []int{6, 1, 2, 3}, set{false, true, true, true}, []int{0, 50, 100, 150}},
		{"two left", []int{1, 1, 1, 1}, set{false, true, true, false}, []int{0, 150, 150, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := mustNew(t, "weighted", weighted(test.weights...))
			if got := turns(b, test.may, 300); !slices.Equal(got, test.want) {
				t.Errorf("turns %v, want %v", got, test.want)
			}
		})
	}
}
