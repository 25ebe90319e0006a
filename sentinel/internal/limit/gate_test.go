package limit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestGateModel compares a gate with a count and a list. Waiters are goroutines of a bubble.
func TestGateModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		script := make([]int, rapid.IntRange(1, 40).Draw(rt, "steps"))
		for i := range script {
			script[i] = rapid.IntRange(0, 99).Draw(rt, "step")
		}
		places, line := rapid.IntRange(0, 3).Draw(rt, "places"), rapid.IntRange(0, 3).Draw(rt, "line")
		var failure string
		synctest.Test(t, func(*testing.T) { failure = playGate(script, places, line) })
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

// played is a gate with its model: how many are inside, and who waits.
type played struct {
	g            *Gate
	places, line int
	inside       int
	order        []int // who waits, by arrival
	want         []int // who must have got in after waiting
	cancels      map[int]context.CancelFunc

	mu       sync.Mutex // guards admitted
	admitted []int
}

// playGate carries out a script and says what went wrong.
func playGate(script []int, places, line int) (failure string) {
	p := &played{g: NewGate(places, line), places: places, line: line, cancels: map[int]context.CancelFunc{}}
	defer func() {
		for _, cancel := range p.cancels {
			cancel()
		}
		synctest.Wait()
	}()
	for i, step := range script {
		if failure := p.step(i, step); failure != "" {
			return fmt.Sprintf("step %d (%d): %s", i, step, failure)
		}
	}
	return ""
}

func (p *played) step(i, step int) (failure string) {
	switch {
	case step < 30:
		failure = p.enter()
	case step < 55:
		failure = p.wait(i)
	case step < 75 && p.inside > 0:
		p.inside--
		p.g.Leave()
	case step < 85 && len(p.order) > 0:
		who := step % len(p.order)
		p.cancels[p.order[who]]()
		p.order = slices.Delete(p.order, who, who+1)
	case step >= 85:
		p.places, p.line = step%4, step/2%4
		p.g.Resize(p.places, p.line)
	}
	for p.inside < p.places && len(p.order) > 0 { // those in line move up
		p.inside++
		p.want = append(p.want, p.order[0])
		p.order = p.order[1:]
	}
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.admitted) // those who got in together may say so in any order
	slices.Sort(p.want)
	if failure == "" && (!slices.Equal(p.admitted, p.want) || p.g.Inside() != p.inside || p.g.Waiting() != len(p.order)) {
		failure = fmt.Sprintf("%v got in, %d inside, %d waiting, want %v, %d and %d",
			p.admitted, p.g.Inside(), p.g.Waiting(), p.want, p.inside, len(p.order))
	}
	return failure
}

func (p *played) enter() string {
	want := p.inside < p.places && len(p.order) == 0
	if ok := p.g.Enter(); ok != want {
		return fmt.Sprintf("Enter is %t, want %t", ok, want)
	}
	if want {
		p.inside++
	}
	return ""
}

func (p *played) wait(i int) string {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancels[i] = cancel
	full := len(p.order) >= p.line
	err := make(chan error, 1)
	go func() {
		e := p.g.Wait(ctx)
		if e == nil {
			p.mu.Lock()
			p.admitted = append(p.admitted, i)
			p.mu.Unlock()
		}
		err <- e
	}()
	synctest.Wait()
	if !full {
		p.order = append(p.order, i)
		return ""
	}
	if e := <-err; !errors.Is(e, ErrFull) {
		return fmt.Sprintf("Wait with a full line is %v", e)
	}
	return ""
}

// TestGateInLine holds that a place that is free belongs to who waits for it, even before that one has moved.
func TestGateInLine(t *testing.T) {
	t.Parallel()
	g := NewGate(1, 1)
	w, ok := g.line.Join()
	if !ok || g.Enter() {
		t.Error("somebody went past the line")
	}
	if err := g.Wait(t.Context()); !errors.Is(err, ErrFull) {
		t.Errorf("a second one waits: %v", err)
	}
	g.Leave() // wakes it: it is out of line, and as good as inside
	g.inside.Store(0)
	if g.Enter() {
		t.Error("somebody went past one that was woken")
	}
	w.Leave()
	if !g.Enter() || g.Enter() {
		t.Error("not one gets in")
	}
}

// TestGateTogether lets many in and out at once: never too many are inside, everybody gets in or gives up in
// time, and at the end all is as at first.
func TestGateTogether(t *testing.T) {
	t.Parallel()
	const places, workers, rounds = 3, 16, 300
	g := NewGate(places, workers)
	var inside, most, entered atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			chance := rand.New(rand.NewPCG(1, uint64(w)))
			for range rounds {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(chance.IntN(300))*time.Microsecond+time.Duration(chance.IntN(2))*time.Minute)
				if g.Enter() || g.Wait(ctx) == nil {
					if n := inside.Add(1); n > most.Load() {
						most.Store(n)
					}
					entered.Add(1)
					inside.Add(-1)
					g.Leave()
				}
				cancel()
			}
		})
	}
	all.Wait()
	if most.Load() > places || g.Inside() != 0 || g.Waiting() != 0 || entered.Load() < workers*rounds/4 {
		t.Errorf("at most %d were inside, %d got in; left are %d inside, %d waiting", most.Load(), entered.Load(), g.Inside(), g.Waiting())
	}
}

func TestGateAllocatesNothing(t *testing.T) {
	g := NewGate(10, 10)
	if n := testing.AllocsPerRun(1000, func() {
		if g.Enter() {
			g.Leave()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGate(b *testing.B) {
	g := NewGate(1000, 10)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if g.Enter() {
				g.Leave()
			}
		}
	})
}
