package conformance

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// TestAgentRestarts is AG-05: agents of every dialect end and come back every 300 ms under load. Open, no
// request fails; closed, none is answered but by a verdict or 503. Afterwards the proxy has no
// more goroutines and descriptors than before, and none when it has stopped: TestAgentRestarts is not parallel, so
// that nobody else's come and go meanwhile.
func TestAgentRestarts(t *testing.T) {
	// Without the garbage collector, which closes what nobody can close any more.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(2 << 30))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	settled(t, func(h held) bool { return len(h.ours) == 0 })
	for _, dialect := range rogue.Dialects() {
		t.Run(dialect.String(), func(t *testing.T) { restarts(t, dialect) })
	}
	settled(t, func(h held) bool { return len(h.ours) == 0 })
}

func restarts(t *testing.T, dialect rogue.Dialect) {
	const (
		period = 300 * time.Millisecond
		slack  = 3 // of what starts and ends by itself; half of what one leak at every restart would leave
	)
	fake := newFake(t, rogue.Options{Path: filepath.Join(t.TempDir(), "a"), Dialect: dialect})
	o := newCounter(t)
	s := openSite(t, fmt.Sprintf(`
agents { agent "a" type="waf" { unix-socket %q; pool { max-connections 4; idle-timeout-ms 300 } } }
upstream "o" { target %q; connection-pool { max-idle 0 } }
filters { filter "closed" { type "agent"; agent "a" }; filter "open" { type "agent"; agent "a"; failure-mode "open" } }
route "closed" { matches { path "/closed" }; upstream "o"; filters "closed" }
route "open" { matches { path "/open" }; upstream "o"; filters "open" }
`, fake.Path(), o.Addr()), nil)
	s.await(t, dialect, fake)
	before := holds(t)
	closed, open := lay(t, s.addr, "/closed", 100**scale), lay(t, s.addr, "/open", 100**scale)
	n := 6 * *scale
	turns(t, fake, n, period)
	more(t, well, 20, closed, open)
	refusable, passing := closed.raise(), open.raise()
	after := settled(t, func(h held) bool {
		return h.goroutines <= before.goroutines+slack && len(h.descriptors) <= len(before.descriptors)+slack
	})
	for _, c := range failed(passing) {
		t.Errorf("open: %s got %d (%v)", c.id, c.status, c.err)
	}
	for _, c := range failed(refusable) {
		if c.err != nil || c.status != 503 || o.Seen(c.id) > 0 || len(fake.Of(c.id)) > 1 {
			t.Errorf("closed: %s got %d (%v), and it came to the origin %d times", c.id, c.status, c.err, o.Seen(c.id))
		}
	}
	for _, c := range refusable {
		if c.good() && len(fake.Of(c.id)) == 0 {
			t.Errorf("closed: %s passed, and the agent never saw it", c.id)
		}
	}
	if len(failed(refusable)) == 0 || len(failed(refusable)) == len(refusable) {
		t.Errorf("closed: %d of %d refused: that proves nothing", len(failed(refusable)), len(refusable))
	}
	s.stop(t)
	t.Logf("%d restarts; closed: %d of %d refused; open: %d of %d failed; before: %d goroutines, %d descriptors; after: %d and %d",
		n, len(failed(refusable)), len(refusable), len(failed(passing)), len(passing),
		before.goroutines, len(before.descriptors), after.goroutines, len(after.descriptors))
}

// await waits until the proxy has the connections to an agent that it has without requests.
func (s *site) await(t *testing.T, dialect rogue.Dialect, fake *rogue.Agent) {
	t.Helper()
	want := 4
	if dialect == rogue.V1 {
		want = 1
	}
	must(t, fake, func(stats rogue.Stats) bool { return stats.Open == want })
	s.reaches(t, "a")
}

// turns ends the agent in turn as SIGTERM and as SIGKILL would, n times, and starts it again after half a period.
func turns(t *testing.T, fake *rogue.Agent, n int, period time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*period+*patience)
	defer cancel()
	half := time.NewTicker(period / 2)
	defer half.Stop()
	wait := func() {
		select {
		case <-half.C:
		case <-ctx.Done():
			t.Fatal("the clock does not tick")
		}
	}
	for i := range n {
		if wait(); i%2 == 0 {
			fake.Kill()
		} else if err := fake.Remove(); err != nil {
			t.Fatal(err)
		}
		wait()
		if err := fake.Restart(); err != nil {
			t.Fatal(err)
		}
	}
}
