package sentinel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

func TestWatchWord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := phase(rapid.Uint64Range(0, uint64(killed)).Draw(t, "phase"))
		since := tick(rapid.Uint64().Draw(t, "since"))
		deadline := tick(rapid.Uint64().Draw(t, "deadline"))
		gotPhase, gotSince, gotDeadline := unpack(pack(p, since, deadline))
		if gotPhase != p || gotSince != since&tickMask || gotDeadline != deadline&tickMask {
			t.Fatalf("%d %d %d came back as %d %d %d", p, since, deadline, gotPhase, gotSince, gotDeadline)
		}
	})
}

// TestAfter compares the clock's order with that of numbers that do not wrap.
func TestAfter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := tick(rapid.Uint64Range(0, 1<<40).Draw(t, "b"))
		d := rapid.Int64Range(-int64(never), int64(never)).Draw(t, "d")
		a := tick(int64(b) + d)
		if got := after(a, b); got != (d > 0) {
			t.Fatalf("after(%d, %d) is %t", a, b, got)
		}
	})
}

func TestWatchMarks(t *testing.T) {
	t.Parallel()
	for _, mark := range []phase{expired, gone, killed} {
		var w watch
		w.enter(awaitingHead, 7, 10)
		if !w.end(w.word.Load(), mark) {
			t.Fatal("a running wait cannot be ended")
		}
		if got := w.enter(busy, 8, never); got != mark {
			t.Errorf("enter returned %d after the mark %d", got, mark)
		}
		if got := w.enter(idle, 9, never); got != busy {
			t.Errorf("enter returned the mark %d twice", got)
		}
	}
	var w watch
	w.enter(idle, 1, 5)
	old := w.word.Load()
	w.enter(readingHead, 2, 5)
	if w.end(old, expired) {
		t.Error("a wait that had ended by itself was marked")
	}
}

func TestWatchTurn(t *testing.T) {
	t.Parallel()
	var w watch
	w.enter(duringUpload, 3, never)
	w.turn(duringUpload, awaitingHead, 10, 20)
	if p, since, deadline := unpack(w.word.Load()); p != awaitingHead || since != 10 || deadline != 30 {
		t.Errorf("the wait is now %d since %d until %d", p, since, deadline)
	}
	w.turn(duringUpload, idle, 11, 20)
	if p, _, _ := unpack(w.word.Load()); p != awaitingHead {
		t.Errorf("a wait in another phase became %d", p)
	}
	w.end(w.word.Load(), gone)
	w.turn(awaitingHead, idle, 12, 20)
	if got := w.enter(busy, 12, never); got != gone {
		t.Errorf("turn overwrote a mark: %d", got)
	}
}

// TestWatchRaces lets an owner wait while a sweeper marks and an upload turns its waits: every mark that
// was set is seen by the owner, once.
func TestWatchRaces(t *testing.T) {
	t.Parallel()
	const waits = 20_000
	var w watch
	var others sync.WaitGroup
	var over atomic.Bool
	marked := 0
	others.Go(func() {
		for !over.Load() {
			if word := w.word.Load(); word>>(2*tickBits) != uint64(busy) && phase(word>>(2*tickBits)) < expired && w.end(word, expired) {
				marked++
			}
			runtime.Gosched()
		}
	})
	others.Go(func() {
		for !over.Load() {
			w.turn(duringUpload, awaitingHead, 1, 10)
			runtime.Gosched()
		}
	})
	seen := 0
	for range waits {
		w.enter(duringUpload, 0, never)
		runtime.Gosched()
		if w.enter(busy, 0, never) == expired {
			seen++
		}
	}
	over.Store(true)
	others.Wait()
	if seen != marked || seen == 0 {
		t.Errorf("the owner saw %d of %d marks", seen, marked)
	}
}
