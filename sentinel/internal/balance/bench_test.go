package balance

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// noisy returns n nodes of mixed weights with some requests in flight at each, and a balancer that has
// seen answers of all of them.
func noisy(tb testing.TB, algorithm string, n int) ([]*Node, Balancer) {
	tb.Helper()
	dice := rand.New(rand.NewPCG(1, uint64(n)))
	var nodes []*Node
	for i := range n {
		node := &Node{Name: fmt.Sprintf("10.0.%d.%d:8080", i/256, i%256), Weight: 1 + dice.IntN(3)}
		node.InFlight.Store(int32(node.Weight * (2 + dice.IntN(6))))
		nodes = append(nodes, node)
	}
	b := mustNew(tb, algorithm, nodes)
	if o, ok := b.(Observer); ok {
		for i := range nodes {
			o.Observe(i, epoch, time.Duration(dice.IntN(50_000_000)), dice.IntN(20) == 0)
		}
	}
	return nodes, b
}

func BenchmarkPick(b *testing.B) {
	for _, algorithm := range Algorithms() {
		for _, n := range []int{3, 100} {
			for _, half := range []bool{false, true} {
				name := fmt.Sprintf("%s/%d nodes", algorithm, n)
				if half {
					name += ", half eligible"
				}
				b.Run(name, func(b *testing.B) { benchmarkPick(b, algorithm, n, half) })
			}
		}
	}
}

func benchmarkPick(b *testing.B, algorithm string, n int, half bool) {
	nodes, balancer := noisy(b, algorithm, n)
	may := make(set, n)
	for i := range may {
		may[i] = !half || i%2 == 0
		if !may[i] {
			nodes[i].InFlight.Store(0) // as it is when nobody may go there
		}
	}
	q := &Query{Now: epoch.Add(time.Second), Set: may}
	b.ReportAllocs()
	for b.Loop() {
		q.Key = mix(q.Key)
		i := balancer.Pick(q)
		// The noise goes on: one request comes, another goes.
		nodes[i].InFlight.Add(1)
		if other := nodes[q.Key%uint64(n)]; other.InFlight.Add(-1) < 0 {
			other.InFlight.Add(1)
		}
	}
}

func BenchmarkPickParallel(b *testing.B) {
	for _, algorithm := range Algorithms() {
		b.Run(algorithm, func(b *testing.B) {
			_, balancer := noisy(b, algorithm, 10)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				q := &Query{Now: epoch.Add(time.Second), Set: everybody(10)}
				for pb.Next() {
					q.Key = mix(q.Key)
					balancer.Pick(q)
				}
			})
		})
	}
}

func BenchmarkObserve(b *testing.B) {
	_, balancer := noisy(b, "adaptive", 10)
	o, now, i := balancer.(Observer), epoch, 0
	b.ReportAllocs()
	for b.Loop() {
		now, i = now.Add(time.Millisecond), (i+1)%10
		o.Observe(i, now, 20*time.Millisecond, false)
	}
}

func BenchmarkNew(b *testing.B) {
	for _, algorithm := range Algorithms() {
		b.Run(algorithm, func(b *testing.B) {
			nodes, _ := noisy(b, "random", 100)
			for b.Loop() {
				mustNew(b, algorithm, nodes)
			}
		})
	}
}
