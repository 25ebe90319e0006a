package upstream

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func weighted(weights ...int) (list []TargetOptions) {
	for _, w := range weights {
		list = append(list, TargetOptions{"127.0.0.1:1", w})
	}
	return list
}

func TestRotation(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		weights []int
		order   []int
	}{
		{"equal", []int{1, 1, 1}, []int{0, 1, 2}},
		{"reduced", []int{100, 100}, []int{0, 1}},
		{"smooth", []int{5, 1, 1}, []int{0, 0, 1, 0, 2, 0, 0}},
		{"without the drained one", []int{0, 2, 1}, []int{1, 2, 1}},
		{"all drained", []int{0, 0}, nil},
		{"no targets", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := rotation(weighted(test.weights...)); !slices.Equal(got, test.order) {
				t.Errorf("order %v, want %v", got, test.order)
			}
		})
	}
}

// TestRotationShares shows that one round has every target exactly as often as its weight says, spread so
// that no target is ever more than its own weight's turns away from its share.
func TestRotationShares(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(0, 30), 1, 6).Draw(t, "weights")
		order := rotation(weighted(weights...))
		common, total := 0, 0
		for _, w := range weights {
			common = gcd(common, w)
			total += w
		}
		if total == 0 {
			if len(order) > 0 {
				t.Fatalf("targets without weight have turns: %v", order)
			}
			return
		}
		turns := make([]int, len(weights))
		for done, i := range order {
			turns[i]++
			for j, w := range weights {
				fair := float64(done+1) * float64(w) / float64(total)
				if d := float64(turns[j]) - fair; d > 1+float64(len(weights)) || d < -1-float64(len(weights)) {
					t.Fatalf("after %d turns target %d had %d, its share is %.2f", done+1, j, turns[j], fair)
				}
			}
		}
		for i, w := range weights {
			if turns[i] != w/common {
				t.Fatalf("target %d of weight %d has %d turns of %d", i, w, turns[i], len(order))
			}
		}
	})
}

// TestHugeWeights shows that a round stays short, and that nobody with a weight is left out of it.
func TestHugeWeights(t *testing.T) {
	t.Parallel()
	order := rotation(weighted(1_000_003, 1, 999_983, 0))
	turns := make([]int, 4)
	for _, i := range order {
		turns[i]++
	}
	if len(order) > maxRotation+3 {
		t.Errorf("a round of %d turns", len(order))
	}
	if turns[1] != 1 || turns[3] != 0 || turns[0] < turns[2] || turns[0]+turns[2] < maxRotation-3 {
		t.Errorf("turns %v", turns)
	}
}

func TestPick(t *testing.T) {
	t.Parallel()
	p := NewPool(Options{Targets: weighted(2, 1, 0)})
	turns := map[*Target]int{}
	for range 30 {
		target, err := p.Pick(nil)
		if err != nil {
			t.Fatal(err)
		}
		turns[target]++
	}
	if turns[p.targets[0]] != 20 || turns[p.targets[1]] != 10 || turns[p.targets[2]] != 0 {
		t.Errorf("turns %v", turns)
	}
	for _, tried := range [][]*Target{p.targets[:2], p.targets} {
		if _, err := p.Pick(tried); !errors.Is(err, ErrNoTarget) {
			t.Errorf("with %d tried: %v", len(tried), err)
		}
	}
	if _, err := NewPool(Options{Targets: weighted(0, 0)}).Pick(nil); !errors.Is(err, ErrNoTarget) {
		t.Errorf("with all drained: %v", err)
	}
}

// TestPickTogether shows that a request that has tried one target always finds the other, whoever else
// picks at the same time.
func TestPickTogether(t *testing.T) {
	t.Parallel()
	p := NewPool(Options{Targets: weighted(1, 1)})
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			tried := p.targets[n%2 : n%2+1]
			for range 100_000 {
				if got, err := p.Pick(tried); err != nil || got == tried[0] {
					t.Errorf("picked %v, %v", got, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestPickAfterWrap starts at the end of the counter.
func TestPickAfterWrap(t *testing.T) {
	t.Parallel()
	p := NewPool(Options{Targets: weighted(1, 1, 1)})
	p.turn.Store(^uint32(0) - 1)
	for range 9 {
		if _, err := p.Pick(p.targets[:2]); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, bench := range []struct {
		name  string
		tried int
	}{{"first", 0}, {"after one", 1}} {
		b.Run(bench.name, func(b *testing.B) {
			p := NewPool(Options{Targets: weighted(5, 3, 2)})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Pick(p.targets[:bench.tried]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestPickAllocatesNothing holds what the benchmark reports.
func TestPickAllocatesNothing(t *testing.T) {
	p := NewPool(Options{Targets: weighted(5, 3, 2)})
	if n := testing.AllocsPerRun(1000, func() { _, _ = p.Pick(p.targets[:1]) }); n != 0 {
		t.Errorf("%.1f allocations", n)
	}
}
