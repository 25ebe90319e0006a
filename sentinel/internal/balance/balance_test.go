package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// set says of each node whether it is eligible.
type set []bool

func (s set) Eligible(i int) bool { return s[i] }

func everybody(n int) set { return slices.Repeat(set{true}, n) }

func only(n, i int) set {
	s := make(set, n)
	s[i] = true
	return s
}

// weighted returns nodes of these weights, each with a name of its own.
func weighted(weights ...int) (nodes []*Node) {
	for i, w := range weights {
		nodes = append(nodes, &Node{Name: fmt.Sprintf("10.0.%d.%d:8080", i/256, i%256), Weight: w})
	}
	return nodes
}

func mustNew(tb testing.TB, algorithm string, nodes []*Node) Balancer {
	tb.Helper()
	b, err := New(algorithm, nodes, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// someNodes draws nodes with weights, equal names here and there, and requests in flight.
func someNodes(t *rapid.T, most int) []*Node {
	nodes := weighted(rapid.SliceOfN(rapid.IntRange(0, 5), 0, most).Draw(t, "weights")...)
	for i, n := range nodes {
		if rapid.IntRange(0, 9).Draw(t, "equal name") == 0 {
			n.Name = nodes[i/2].Name
		}
		n.InFlight.Store(rapid.Int32Range(0, 6).Draw(t, "in flight"))
	}
	return nodes
}

func someSet(t *rapid.T, n int) set {
	often := rapid.IntRange(0, 4).Draw(t, "how often eligible")
	s := make(set, n)
	for i := range s {
		s[i] = rapid.IntRange(0, 3).Draw(t, "eligible") < often
	}
	return s
}

func TestNew(t *testing.T) {
	t.Parallel()
	if _, err := New("fastest", nil, nil); err == nil || !strings.Contains(err.Error(), "maglev") {
		t.Errorf("an unknown name: %v, want the known ones", err)
	}
	keyed := []string{"ip_hash", "consistent_hash", "maglev"}
	for _, algorithm := range Algorithms() {
		if got, want := Keyed(algorithm), slices.Contains(keyed, algorithm); got != want {
			t.Errorf("%s: keyed %t, want %t", algorithm, got, want)
		}
		if _, learns := mustNew(t, algorithm, nil).(Observer); learns != (algorithm == "adaptive") {
			t.Errorf("%s: learns %t", algorithm, learns)
		}
	}
	if Keyed("fastest") {
		t.Error("an unknown name is keyed")
	}
	if n := len(Algorithms()); n != 9 {
		t.Errorf("%d algorithms, want the nine of spec 6.2", n)
	}
}

// TestPickIsEligible shows for every balancer that it answers with an eligible node of positive weight,
// and with -1 only if there is none.
func TestPickIsEligible(t *testing.T) {
	t.Parallel()
	for _, algorithm := range Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				nodes := someNodes(t, 20)
				may := someSet(t, len(nodes))
				none := true
				for i, n := range nodes {
					none = none && (!may[i] || n.Weight == 0)
				}
				b, err := New(algorithm, nodes, nil)
				if err != nil {
					t.Fatal(err)
				}
				q := &Query{Key: rapid.Uint64().Draw(t, "key"), Now: epoch, Set: may}
				for range 30 {
					i := b.Pick(q)
					switch {
					case i < 0 != none:
						t.Fatalf("picked %d of %v", i, may)
					case i >= 0 && !may[i]:
						t.Fatalf("picked %d, which is not eligible", i)
					case i >= 0 && nodes[i].Weight == 0:
						t.Fatalf("picked %d, which is drained", i)
					}
					q.Key = mix(q.Key)
				}
			})
		})
	}
}

// TestPickTogether shows that a request finds the only node it may use, whoever picks and learns at the same
// time.
func TestPickTogether(t *testing.T) {
	t.Parallel()
	const n = 12
	for _, algorithm := range Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			nodes := weighted(1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3)
			b := mustNew(t, algorithm, nodes)
			var all sync.WaitGroup
			for g := range 4 {
				all.Go(func() {
					dice := rand.New(rand.NewPCG(1, uint64(g)))
					for k := range 3000 {
						want := dice.IntN(n)
						q := &Query{Key: dice.Uint64(), Now: epoch.Add(time.Duration(k) * time.Millisecond), Set: only(n, want)}
						got := b.Pick(q)
						if got != want {
							t.Errorf("picked %d, want %d", got, want)
							return
						}
						nodes[got].InFlight.Add(1)
						if o, learns := b.(Observer); learns {
							o.Observe(got, q.Now, time.Duration(dice.IntN(1000)), k%3 == 0)
						}
						nodes[got].InFlight.Add(-1)
					}
				})
			}
			all.Wait()
		})
	}
}

// TestPickAsksLittle bounds the questions of a Pick whatever is eligible: they cost more than the rest.
func TestPickAsksLittle(t *testing.T) {
	t.Parallel()
	const n = 50
	for _, algorithm := range Algorithms() {
		for _, test := range []struct {
			name string
			may  set
			most int
		}{
			{"all eligible", everybody(n), 4},
			{"one eligible", only(n, 7), 3*n + 3*maxTries},
			{"none eligible", make(set, n), 3*n + 3*maxTries},
		} {
			t.Run(algorithm+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				b := mustNew(t, algorithm, weighted(slices.Repeat([]int{1}, n)...))
				q := &Query{Now: epoch}
				for range 200 {
					asked := counter{set: test.may}
					q.Key, q.Set = mix(q.Key), &asked
					if b.Pick(q); asked.n > test.most {
						t.Fatalf("%d questions, want at most %d", asked.n, test.most)
					}
				}
			})
		}
	}
}

// counter counts the questions.
type counter struct {
	set
	n int
}

func (c *counter) Eligible(i int) bool {
	c.n++
	return c.set[i]
}

// TestPickAllocatesNothing holds what the benchmarks report, on the ways they do not take as well.
func TestPickAllocatesNothing(t *testing.T) {
	for _, algorithm := range Algorithms() {
		for _, test := range []struct {
			name string
			may  set
		}{{"all", everybody(100)}, {"one", only(100, 42)}, {"none", make(set, 100)}} {
			nodes, b := noisy(t, algorithm, 100)
			nodes[42].InFlight.Store(10_000) // over any bound
			q := &Query{Now: epoch, Set: test.may}
			if n := testing.AllocsPerRun(1000, func() { q.Key = mix(q.Key); b.Pick(q) }); n != 0 {
				t.Errorf("%s, %s eligible: %.1f allocations", algorithm, test.name, n)
			}
		}
	}
}
