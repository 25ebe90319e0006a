package conformance

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// behindAgent is a route through an agent.
func behindAgent(origin string, a *rogue.Agent) string {
	return through("a", origin) + fmt.Sprintf(`
agents { agent "guard" type="auth" { unix-socket %q; failure-mode "closed"; timeout-ms 20000 } }
filters { filter "guard" { type "agent"; agent "guard" } }
route "guarded" { matches { path-prefix "/guarded" }; upstream "a"; filters "guard" }
`, a.Path())
}

// TestReloadAgents keeps an agent that did not change connected, and replaces one that did without a request going
// wrong. A request that the old one has under way is answered by the old one.
func TestReloadAgents(t *testing.T) {
	t.Parallel()
	for _, d := range rogue.Dialects() {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			o := answering(t, "o")
			fake := newFake(t, rogue.Options{Path: filepath.Join(t.TempDir(), "a"), Dialect: d})
			s := openReloadSite(t, behindAgent(o.addr(), fake))
			load := s.keepAsking(t, "/guarded", "o")
			must(t, fake, func(st rogue.Stats) bool { return st.Answered[rogue.RequestHeaders] > 0 })
			want := 4.0
			if d == rogue.V1 {
				want = 1
			}
			eventually(t, "connections", func() bool { return s.metrics(t)[series("agent_connections", "agent", "guard")] >= want })
			handshakes := func() int { return fake.Stats().Events[rogue.Probe] + fake.Stats().Events[rogue.Handshake] }
			before := handshakes()
			for n := range 5 {
				s.reload(t, behindAgent(o.addr(), fake)+through(fmt.Sprint("other-", n), o.addr()))
			}
			if now := handshakes(); now != before {
				t.Errorf("reloads that did not change the agent made %d handshakes", now-before)
			}
			load.stop(t)
			fake.Set(func(e *rogue.Event) rogue.Act {
				return rogue.Act{Hold: e.Mark == "held" && e.Kind == rogue.RequestHeaders}
			})
			before = fake.Stats().Events[rogue.RequestHeaders]
			held := make(chan reply, 1)
			go func() { held <- s.ask(asked{method: "GET", path: "/guarded", id: "held"}) }()
			must(t, fake, func(st rogue.Stats) bool { return st.Events[rogue.RequestHeaders] > before })
			next := newFake(t, rogue.Options{Path: filepath.Join(t.TempDir(), "b"), Dialect: d})
			s.reload(t, behindAgent(o.addr(), next))
			if got := s.body(t, "/guarded"); got != "o" || next.Stats().Events[rogue.RequestHeaders] == 0 {
				t.Errorf("after the reload the request went to %q, the new agent has %+v", got, next.Stats())
			}
			fake.Release()
			if r := <-held; r.err != nil || r.status() != 200 {
				t.Errorf("the request that the old agent had got %q %v", r.start, r.err)
			}
			must(t, fake, func(st rogue.Stats) bool { return st.Open == 0 })
		})
	}
}
