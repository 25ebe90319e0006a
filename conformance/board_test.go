package conformance

import (
	"flag"
	"sync"
	"testing"
	"time"
)

var patience = flag.Duration("patience", 10*time.Second, "how long a test waits for something that must happen; a passing test never waits that long")

// board is state that tests wait on: every change wakes all who wait.
type board struct {
	mu      sync.Mutex
	changed chan struct{}
}

// update changes the state under the lock.
func (b *board) update(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// await waits until holds is true, which it calls under the lock; false: it never was.
func (b *board) await(holds func() bool) bool {
	timeout := time.NewTimer(*patience)
	defer timeout.Stop()
	for {
		b.mu.Lock()
		if holds() {
			b.mu.Unlock()
			return true
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-timeout.C:
			return false
		}
	}
}

// must fails the test unless holds becomes true.
func (b *board) must(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !b.await(holds) {
		t.Fatalf("%s: not within %v", what, *patience)
	}
}
