package balance

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRingPoints holds how many points a node has, and that there are never too many.
func TestRingPoints(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		weights []int
		points  []int // of the first nodes
		most    int   // of all
	}{
		{"by weight", []int{1, 3, 0}, []int{150, 450, 0}, 600},
		{"halved to fit", []int{100, 100, 100}, []int{7500, 7500, 7500}, maxPoints},
		{"at least one", []int{65_535, 1, 1}, []int{19_199, 1, 1}, maxPoints},
		{"more than the largest weight", []int{1 << 40, 65_535}, []int{9599, 9599}, maxPoints},
		{"many nodes", slices.Repeat([]int{1}, 1000), []int{150, 150}, 150_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := mustNew(t, "consistent_hash", weighted(test.weights...)).(*ring)
			points := make([]int, len(test.weights))
			for _, m := range r.owners {
				points[r.members[m].index]++
			}
			if got := points[:len(test.points)]; !slices.Equal(got, test.points) || len(r.owners) > test.most {
				t.Errorf("points %v of %d, want %v", got, len(r.owners), test.points)
			}
		})
	}
}

// TestRingKeysAreTheSpecs pins the ring to its points: the keys are name-number, hashed by XXH64.
func TestRingKeysAreTheSpecs(t *testing.T) {
	t.Parallel()
	r := mustNew(t, "consistent_hash", weighted(1, 1)).(*ring)
	const want = 0x3e18eb07ac812413 // XXH64 of 10.0.0.1:8080-7
	at, found := slices.BinarySearch(r.hashes, want)
	if !found || r.owners[at] != 1 {
		t.Errorf("no point of node 1 at %#x", uint64(want))
	}
}

// TestRingWraps shows that after the last point comes the first.
func TestRingWraps(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3, 5, 7, 11} {
		r := mustNew(t, "consistent_hash", weighted(slices.Repeat([]int{1}, n)...)).(*ring)
		first, last := int(r.owners[0]), r.hashes[len(r.hashes)-1]
		if i := r.Pick(&Query{Key: last + 1, Set: everybody(n)}); i != first {
			t.Errorf("%d nodes: behind the last point is node %d, want %d", n, i, first)
		}
		if i := r.Pick(&Query{Key: last, Set: everybody(n)}); i != int(r.owners[len(r.owners)-1]) {
			t.Errorf("%d nodes: at the last point is node %d", n, i)
		}
	}
}

// TestRingHasRoom holds the bound: 1.25 times a node's part of what is in flight with the present request,
// rounded up, must hold what it has and one more.
func TestRingHasRoom(t *testing.T) {
	t.Parallel()
	all := everybody(4)
	for _, test := range []struct {
		name     string
		weights  []int
		inFlight []int32 // the first node is asked about
		may      set
		want     bool
	}{
		{"idle", []int{1, 1, 1, 1}, []int32{0, 0, 0, 0}, all, true},
		{"the only busy one", []int{1, 1, 1, 1}, []int32{1, 0, 0, 0}, all, false},                    // 2 of ceil(0.625) = 1
		{"like all others", []int{1, 1, 1, 1}, []int32{3, 3, 3, 3}, all, true},                       // 4 of ceil(4.06) = 5
		{"at the bound", []int{1, 1, 1, 1}, []int32{4, 4, 4, 0}, all, true},                          // 5 of ceil(4.06) = 5
		{"above it", []int{1, 1, 1, 1}, []int32{5, 4, 3, 0}, all, false},                             // 6 of ceil(4.06) = 5
		{"exactly", []int{1, 1, 1, 1}, []int32{5, 5, 5, 0}, all, false},                              // 6 of ceil(5.00) = 5
		{"heavier", []int{3, 1, 1, 1}, []int32{9, 3, 3, 0}, all, true},                               // 10 of ceil(10) = 10
		{"heavier, above it", []int{3, 1, 1, 1}, []int32{10, 3, 2, 0}, all, false},                   // 11 of ceil(10) = 10
		{"others away", []int{1, 1, 1, 1}, []int32{7, 6, 0, 0}, set{true, true, false, false}, true}, // 8 of ceil(8.75) = 9
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			nodes := weighted(test.weights...)
			for i, f := range test.inFlight {
				nodes[i].InFlight.Store(f)
			}
			r := mustNew(t, "consistent_hash", nodes).(*ring)
			if got := r.hasRoom(&r.members[0], test.may); got != test.want {
				t.Errorf("room: %t", got)
			}
		})
	}
}

// TestRingBounds shows that no node gets more than its bound while any has room, which one always has as
// long as the counts are not late.
func TestRingBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		nodes := weighted(rapid.SliceOfN(rapid.IntRange(1, 4), 1, 7).Draw(t, "weights")...)
		may := someSet(t, len(nodes))
		b, err := New("consistent_hash", nodes, nil)
		if err != nil {
			t.Fatal(err)
		}
		sum, total := 1, 0
		for i, n := range nodes {
			n.InFlight.Store(rapid.Int32Range(0, 20).Draw(t, "in flight"))
			sum += int(n.InFlight.Load())
			if may[i] {
				total += n.Weight
			}
		}
		i := b.Pick(&Query{Key: rapid.Uint64().Draw(t, "key"), Set: may})
		if i >= 0 && 4*int(nodes[i].InFlight.Load())*total >= 5*sum*nodes[i].Weight {
			t.Fatalf("picked %d with %d of %d in flight", i, nodes[i].InFlight.Load(), sum)
		}
	})
}

// rush is a pool in which every node, as soon as it is asked for, gets all the requests there are.
type rush []*Node

func (r rush) Eligible(i int) bool {
	for _, n := range r {
		n.InFlight.Store(0)
	}
	r[i].InFlight.Store(100)
	return true
}

// TestRingAllOver shows that an eligible node is found though each in its turn was too full.
func TestRingAllOver(t *testing.T) {
	t.Parallel()
	nodes := weighted(1, 1, 1, 1)
	b := mustNew(t, "consistent_hash", nodes)
	for _, key := range keys(10) {
		if i := b.Pick(&Query{Key: key, Set: rush(nodes)}); i < 0 {
			t.Fatalf("picked %d", i)
		}
	}
}

// TestRingUnderLoad shows that one client's flood is spread, and that a client stays where it
// is while there is room.
func TestRingUnderLoad(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		n    int
		may  set
	}{
		{"few", 4, everybody(4)},
		{"many", 100, everybody(100)},
		{"half away", 4, set{true, false, true, false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			nodes := weighted(slices.Repeat([]int{1}, test.n)...)
			b := mustNew(t, "consistent_hash", nodes)
			eligible := 0
			for _, e := range test.may {
				if e {
					eligible++
				}
			}
			q := &Query{Key: 1 << 62, Set: test.may}
			first := b.Pick(q)
			for range 100 * eligible {
				nodes[b.Pick(q)].InFlight.Add(1)
			}
			for i, n := range nodes {
				if f := n.InFlight.Load(); f > 130 {
					t.Errorf("node %d has %d in flight, the mean is 100", i, f)
				}
			}
			nodes[first].InFlight.Store(100)
			if i := b.Pick(q); i != first {
				t.Errorf("with the mean in flight at %d the client went to %d", first, i)
			}
		})
	}
}
