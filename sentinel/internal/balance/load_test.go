package balance

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestLeastConnectionsIsLeast compares with the definition: nobody eligible has fewer in flight per weight.
func TestLeastConnectionsIsLeast(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes := someNodes(t, 20)
		may := someSet(t, len(nodes))
		b, err := New("least_connections", nodes, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			i := b.Pick(&Query{Set: may})
			for j, n := range nodes {
				if i >= 0 && may[j] && int(n.InFlight.Load())*nodes[i].Weight < int(nodes[i].InFlight.Load())*n.Weight {
					t.Fatalf("picked %d, and %d is lighter", i, j)
				}
			}
		}
	})
}

// TestLeastConnectionsTakesTurns shows that idle nodes are used one after the other.
func TestLeastConnectionsTakesTurns(t *testing.T) {
	t.Parallel()
	b := mustNew(t, "least_connections", weighted(1, 1, 1))
	if got := placed(b, everybody(3), keys(6)); !slices.Equal(got, []int{0, 1, 2, 0, 1, 2}) {
		t.Errorf("picked %v", got)
	}
	b = mustNew(t, "least_connections", weighted(3, 1))
	if got := turns(b, everybody(2), 400); got[0] != 300 || got[1] != 100 {
		t.Errorf("idle nodes of weight 3 and 1 had %v of 400", got)
	}
}

// TestTwoChoicesAreDistinct shows that of two nodes the busier one is never taken, however heavy it is.
func TestTwoChoicesAreDistinct(t *testing.T) {
	t.Parallel()
	nodes := weighted(98, 1)
	nodes[0].InFlight.Store(500)
	b := mustNew(t, "power_of_two_choices", nodes)
	if got := turns(b, everybody(2), 1000); got[0] > 0 {
		t.Errorf("the busy node had %d of 1000", got[0])
	}
}

// TestTwoChoicesLeaveTheWorst shows on a larger group that the busiest node is only taken with nobody else
// to compare, and that the others are taken alike.
func TestTwoChoicesLeaveTheWorst(t *testing.T) {
	t.Parallel()
	nodes := weighted(slices.Repeat([]int{1}, 20)...)
	nodes[7].InFlight.Store(1)
	b := mustNew(t, "power_of_two_choices", nodes)
	for i, n := range turns(b, everybody(20), 19_000) {
		if i == 7 && n > 0 || i != 7 && (n < 800 || n > 1200) {
			t.Errorf("node %d had %d of 19000", i, n)
		}
	}
}
