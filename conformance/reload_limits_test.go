package conformance

import (
	"fmt"
	"testing"
)

// TestReloadKeepsCounts reloads while clients are counted: a bucket, a route's requests and all requests under way go
// on from where they are, under new limits where they are new; what has another definition begins anew.
func TestReloadKeepsCounts(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	text := func(rate, perRoute, perClient int, more string) string {
		return fmt.Sprintf(`
upstream "o" { target %q }
filter "f" { type "rate-limit"; max-rps 1; burst %d }
route "o" { matches { path-prefix "/o" }; upstream "o" }
route "own" { matches { path-prefix "/own" }; builtin-handler "health"; filters "f" }
limits { max-connections-per-route %d; max-connections-per-client %d }
%s`, o.addr(), rate, perRoute, perClient, more)
	}
	s := openReloadSite(t, text(100, 2, 1000, ""))
	spent := rateCall{ip: "127.0.0.2", path: "/own"}
	s.pass(t, spent, 50)
	held := []*client{dial(t, s.addr, whole), dial(t, s.addr, whole), dial(t, s.addr, whole)}
	for i, c := range held[:2] {
		c.send(get("/o"))
		o.must(t, "the request arrives", func() bool { return len(o.requests) == i+1 && o.requests[i].complete })
	}
	s.reload(t, text(100, 2, 1000, `route "new" { matches { path-prefix "/new" }; upstream "o" }`))
	if n := left(t, s.pass(t, spent, 1)); n > 90 {
		t.Errorf("%d tokens are left after a reload that is not about the limit", n)
	}
	late := dial(t, s.addr, whole)
	late.send(get("/o"))
	wantStatus(t, late, 503) // two are under way still
	s.reload(t, text(100, 3, 1, ""))
	held[2].send(get("/o"))
	o.must(t, "one more may come", func() bool { return len(o.requests) == 3 && o.requests[2].complete })
	late.send(get("/o"))
	wantStatus(t, late, 503)
	wantAlive(t, "one more connection than a client may have now", from(t, "127.0.0.1", s.addr), false)
	if n := left(t, s.pass(t, spent, 1)); n > 90 {
		t.Errorf("%d tokens are left after the limits block changed", n)
	}
	for i, c := range held {
		o.request(i, complete).answer(defaultAnswer)
		wantStatus(t, c, 200)
	}
	s.reload(t, text(99, 3, 1000, ""))
	wantQuota(t, s.pass(t, spent, 1), 99, 98)
	eventually(t, "nothing is under way", func() bool { return s.metrics(t)[series("in_flight_requests")] == 0 })
}
