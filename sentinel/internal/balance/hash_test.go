package balance

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var keyedAlgorithms = []string{"ip_hash", "consistent_hash", "maglev"}

func TestClientKey(t *testing.T) {
	t.Parallel()
	four := netip.MustParseAddr("203.0.113.7")
	for _, test := range []struct {
		name  string
		other string
		equal bool
	}{
		{"itself", "203.0.113.7", true},
		{"mapped to IPv6", "::ffff:203.0.113.7", true},
		{"its neighbour", "203.0.113.8", false},
		{"IPv6", "2001:db8::7", false},
	} {
		if got := ClientKey(netip.MustParseAddr(test.other)) == ClientKey(four); got != test.equal {
			t.Errorf("%s: equal %t", test.name, got)
		}
	}
	if ClientKey(netip.MustParseAddr("fe80::1%eth0")) != ClientKey(netip.MustParseAddr("fe80::1")) {
		t.Error("the zone counts")
	}
	if ClientKey(netip.Addr{}) != ClientKey(netip.IPv6Unspecified()) {
		t.Error("no address is not the unspecified one")
	}
}

func TestClientKeyAllocatesNothing(t *testing.T) {
	addr := netip.MustParseAddr("203.0.113.7")
	if n := testing.AllocsPerRun(1000, func() { ClientKey(addr) }); n != 0 {
		t.Errorf("%.1f allocations", n)
	}
}

// placed returns where these clients go.
func placed(b Balancer, may set, clients []uint64) (places []int) {
	for _, key := range clients {
		places = append(places, b.Pick(&Query{Key: key, Set: may}))
	}
	return places
}

// TestClientsStay shows that a client keeps its node whatever other clients do, and that when a node becomes
// ineligible only its clients move, and come back when it does.
func TestClientsStay(t *testing.T) {
	t.Parallel()
	clients := keys(200)
	for _, algorithm := range keyedAlgorithms {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				nodes := weighted(rapid.SliceOfN(rapid.IntRange(0, 5), 2, 30).Draw(t, "weights")...)
				may := someSet(t, len(nodes))
				b, err := New(algorithm, nodes, nil)
				if err != nil {
					t.Fatal(err)
				}
				before := placed(b, may, clients)
				lost := rapid.IntRange(0, len(nodes)-1).Draw(t, "lost")
				without := slices.Clone(may)
				without[lost] = false
				for k, i := range placed(b, without, clients) {
					if before[k] != lost && i != before[k] {
						t.Fatalf("node %d was lost, and a client moved from %d to %d", lost, before[k], i)
					}
				}
				if after := placed(b, may, clients); !slices.Equal(before, after) {
					t.Fatalf("clients were at %v, are at %v", before, after)
				}
			})
		})
	}
}

// TestLostClientsSpread shows that the clients of a lost node do not all go to one other.
func TestLostClientsSpread(t *testing.T) {
	t.Parallel()
	for _, algorithm := range keyedAlgorithms {
		b := mustNew(t, algorithm, weighted(slices.Repeat([]int{1}, 10)...))
		clients := keys(10_000)
		before := placed(b, everybody(10), clients)
		without := everybody(10)
		without[4] = false
		moved, lost := make([]int, 10), 0
		for k, i := range placed(b, without, clients) {
			if before[k] == 4 {
				moved[i]++
				lost++
			}
		}
		for i, n := range moved {
			if i != 4 && (n < lost/9/8 || n > lost/9*2) {
				t.Errorf("%s: of %d clients %v went to the others", algorithm, lost, moved)
				break
			}
		}
	}
}

// moved is the part of clients that are at nodes of another name in b.
func moved(a Balancer, before []*Node, b Balancer, after []*Node, clients []uint64) float64 {
	n := 0
	for _, key := range clients {
		i := a.Pick(&Query{Key: key, Set: everybody(len(before))})
		j := b.Pick(&Query{Key: key, Set: everybody(len(after))})
		if before[i].Name != after[j].Name {
			n++
		}
	}
	return float64(n) / float64(len(clients))
}

// TestClientsMove shows what a change of the list of nodes does: consistent_hash and maglev move about the
// share of the node that comes or goes, ip_hash nearly everybody. That of the ring varies like a share
// does; maglev moves up to a twentieth of all clients besides.
func TestClientsMove(t *testing.T) {
	t.Parallel()
	clients := keys(2000)
	for _, test := range []struct {
		algorithm   string
		least, most func(share float64) float64
	}{
		{"consistent_hash", func(s float64) float64 { return 0.5 * s }, func(s float64) float64 { return 1.6 * s }},
		{"maglev", func(s float64) float64 { return 0.7 * s }, func(s float64) float64 { return 1.2*s + 0.05 }},
		{"ip_hash", func(float64) float64 { return 0.4 }, func(float64) float64 { return 1 }},
	} {
		t.Run(test.algorithm, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				n := rapid.IntRange(2, 30).Draw(t, "nodes")
				all := weighted(slices.Repeat([]int{1}, n+1)...)
				at := rapid.IntRange(0, n).Draw(t, "the one that comes")
				fewer := slices.Delete(slices.Clone(all), at, at+1)
				a, _ := New(test.algorithm, all, nil)
				b, _ := New(test.algorithm, fewer, nil)
				share := 1 / float64(n+1)
				// With nodes before it, a plain table changes in the middle only at its end.
				if test.algorithm == "ip_hash" && at == n && n < 4 {
					return
				}
				if m := moved(a, all, b, fewer, clients); m < test.least(share)-0.02 || m > test.most(share)+0.02 {
					t.Fatalf("%.3f moved, the share of one is %.3f", m, share)
				}
			})
		})
	}
}

// TestDrainedIsGone shows that a node of weight 0 leaves the clients where they are without it, and that the
// order of the list does not matter, but for ip_hash.
func TestDrainedIsGone(t *testing.T) {
	t.Parallel()
	clients := keys(2000)
	for _, algorithm := range keyedAlgorithms {
		nodes, drained := weighted(3, 1, 2, 2), weighted(3, 1, 2, 2)
		drained = slices.Insert(drained, 1, &Node{Name: "10.9.9.9:8080"})
		a, b := mustNew(t, algorithm, nodes), mustNew(t, algorithm, drained)
		if m := moved(a, nodes, b, drained, clients); m > 0 {
			t.Errorf("%s: %.3f moved for a drained node", algorithm, m)
		}
		slices.Reverse(drained)
		b = mustNew(t, algorithm, drained)
		if m := moved(a, nodes, b, drained, clients); m > 0 != (algorithm == "ip_hash") {
			t.Errorf("%s: %.3f moved for another order", algorithm, m)
		}
	}
}

// TestEqualNames shows that nodes of one name all get their share.
func TestEqualNames(t *testing.T) {
	t.Parallel()
	for _, algorithm := range keyedAlgorithms {
		nodes := weighted(1, 1, 1, 1)
		for _, n := range nodes[:3] {
			n.Name = "10.0.0.3:8080"
		}
		b := mustNew(t, algorithm, nodes)
		for i, n := range turns(b, everybody(4), 4000) {
			if n < 700 || n > 1300 {
				t.Errorf("%s: node %d had %d of 4000", algorithm, i, n)
			}
		}
	}
}

// TestFewEligible shows that clients keep their node where all nodes must be looked at.
func TestFewEligible(t *testing.T) {
	t.Parallel()
	for _, algorithm := range keyedAlgorithms {
		nodes, may := fewEligible()
		b := mustNew(t, algorithm, nodes)
		if clients := keys(1000); !slices.Equal(placed(b, may, clients), placed(b, may, clients)) {
			t.Errorf("%s: clients moved", algorithm)
		}
	}
}

func BenchmarkClientKey(b *testing.B) {
	for _, text := range []string{"203.0.113.7", "2001:db8::7"} {
		addr := netip.MustParseAddr(text)
		b.Run(fmt.Sprint("IPv6 ", addr.Is6()), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ClientKey(addr)
			}
		})
	}
}
