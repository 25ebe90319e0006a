package balance

import (
	"testing"
	"time"
)

// answer is one answer of a node.
type answer struct {
	node   int
	took   time.Duration
	failed bool
}

// TestAdaptivePrefers shows the rules one by one, in groups of two idle nodes: which is taken, at what time
// after the answers.
func TestAdaptivePrefers(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, test := range []struct {
		name     string
		answers  []answer
		inFlight [2]int32
		after    time.Duration
		want     []int // one of these, each at times
	}{
		{name: "nothing known", want: []int{0, 1}},
		{name: "the faster", answers: []answer{{0, 10 * ms, false}, {1, 20 * ms, false}}, want: []int{0}},
		{name: "the faster is busy", answers: []answer{{0, 10 * ms, false}, {1, 19 * ms, false}}, inFlight: [2]int32{1, 0}, want: []int{1}},
		{name: "one is unknown", answers: []answer{{0, 10 * ms, false}}, want: []int{0, 1}},
		{name: "one is unknown, and busy", answers: []answer{{0, 10 * ms, false}}, inFlight: [2]int32{0, 1}, want: []int{0}},
		{
			name: "a failure is not fast", inFlight: [2]int32{1, 0},
			answers: []answer{{0, 20 * ms, false}, {1, 20 * ms, false}, {1, 0, true}, {1, 0, true}}, want: []int{0},
		},
		{name: "nothing but failures", answers: []answer{{0, 20 * ms, false}, {1, ms, true}}, want: []int{0}},
		{name: "a timeout is slow", answers: []answer{{0, 20 * ms, false}, {1, 10 * ms, false}, {1, time.Minute, true}}, want: []int{0}},
		{name: "tried again", answers: []answer{{0, 20 * ms, false}, {1, 60 * ms, false}}, after: 30 * time.Second, want: []int{0, 1}},
		{name: "failures are forgotten", answers: []answer{{0, ms, true}, {0, ms, true}}, after: 91 * time.Second, want: []int{0, 1}},
		{name: "not at once", answers: []answer{{0, ms, true}, {0, ms, true}}, after: 60 * time.Second, want: []int{1}},
		{name: "the clock was set back", answers: []answer{{0, ms, true}, {1, ms, false}}, after: -time.Hour, want: []int{0, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			nodes := weighted(1, 1)
			b := mustNew(t, "adaptive", nodes)
			for _, a := range test.answers {
				b.(Observer).Observe(a.node, epoch, a.took, a.failed)
			}
			for i, f := range test.inFlight {
				nodes[i].InFlight.Store(f)
			}
			got := make([]int, 2)
			for range 200 {
				got[b.Pick(&Query{Now: epoch.Add(test.after), Set: everybody(2)})]++
			}
			for i := range got {
				want := false
				for _, w := range test.want {
					want = want || w == i
				}
				if got[i] > 0 != want {
					t.Errorf("picked %v, want %v only", got, test.want)
					break
				}
			}
		})
	}
}

// TestAdaptiveAverages shows that the latency follows the answers in seconds, at any rate of them.
func TestAdaptiveAverages(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{time.Millisecond, 100 * time.Millisecond} {
		b := mustNew(t, "adaptive", weighted(1)).(*adaptive)
		now := epoch
		b.Observe(0, now, 10*time.Millisecond, false)
		for end := epoch.Add(memory / 4); now.Before(end); {
			now = now.Add(every)
			b.Observe(0, now, 110*time.Millisecond, false)
		}
		// After a quarter of the memory, to the power of four, 1/e is left of the old value.
		if got := load(&b.records[0].latency) * 1e3; got < 72 || got > 75 {
			t.Errorf("an answer every %v: %.1f ms, want 73.2", every, got)
		}
	}
}

// TestAdaptiveSharesAreWeighted shows that equally fast nodes have in flight what their weights say.
func TestAdaptiveSharesAreWeighted(t *testing.T) {
	t.Parallel()
	nodes := weighted(3, 1)
	b := mustNew(t, "adaptive", nodes)
	for i := range nodes {
		b.(Observer).Observe(i, epoch, 20*time.Millisecond, false)
	}
	for range 400 {
		nodes[b.Pick(&Query{Now: epoch, Set: everybody(2)})].InFlight.Add(1)
	}
	if a, b := nodes[0].InFlight.Load(), nodes[1].InFlight.Load(); a != 300 || b != 100 {
		t.Errorf("in flight %d and %d, want 300 and 100", a, b)
	}
}
