package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// pending waits until so many requests of an upstream are in line.
func (s *site) pending(t *testing.T, upstream string, n float64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%v requests of %s in line", n, upstream), func() bool {
		return s.metrics(t)[series("upstream_pending_requests", "upstream", upstream)] == n
	})
}

// TestQueueOrder fills a target and the line for it: who comes first is served first, who finds no place or
// leaves gives nothing up but his own turn, and the target never has a connection too many.
func TestQueueOrder(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	s := openSite(t, fmt.Sprintf(`
upstream "o" { target %q; connection-pool { max-connections 2; max-pending 3 } }
route "o" { matches { path-prefix "/o" }; upstream "o" }
`, o.addr()), nil)
	clients := make([]*client, 6)
	for i := range clients {
		clients[i] = dial(t, s.addr, whole)
		clients[i].send(get(fmt.Sprintf("/o/%d", i)))
		switch {
		case i < 2:
			o.must(t, "the target gets what it has room for", func() bool { return len(o.requests) == i+1 && o.requests[i].complete })
		case i < 5:
			s.pending(t, "o", float64(i-1))
		}
	}
	if m := wantStatus(t, clients[5], 503); len(values(m.fields, "Retry-After")) != 1 {
		t.Error("503 without Retry-After")
	}
	if l := s.line(t, "o", 0); l.Error != "upstream_busy" || l.Attempts != 0 || l.Path != "/o/5" {
		t.Errorf("the log has %+v, want upstream_busy without an attempt", l)
	}
	clients[3].close()
	s.pending(t, "o", 2)
	if l := s.line(t, "o", 1); l.Status != 499 || l.Error != "client_gone" || l.Path != "/o/3" {
		t.Errorf("the log has %+v, want the client that left", l)
	}
	for i, next := range []int{2, 4} {
		o.request(i, complete).answer(defaultAnswer)
		wantStatus(t, clients[i], 200)
		r := o.request(2+i, complete)
		if r == nil || !strings.HasPrefix(r.seen().start, fmt.Sprintf("GET /o/%d ", next)) {
			t.Fatalf("the next one at the target is not client %d: %s", next, o)
		}
		r.answer(defaultAnswer)
		wantStatus(t, clients[next], 200)
	}
	o.update(func() {
		if len(o.requests) != 4 || o.open > 2 {
			t.Errorf("the target got %d requests and has %d connections, want 4 and at most 2", len(o.requests), o.open)
		}
	})
	m := s.metrics(t)
	if rejected, left := m[series("upstream_pending_rejected_total", "upstream", "o")], m[series("upstream_pending_requests", "upstream", "o")]; rejected != 1 || left != 0 {
		t.Errorf("%v requests were counted as rejected and %v as waiting, want 1 and 0", rejected, left)
	}
}

// TestQueueDeadline holds that nobody waits in line longer than connect-secs, and that the line is then as
// good as before.
func TestQueueDeadline(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	s := openSite(t, fmt.Sprintf(`
upstream "o" { target %q; connection-pool { max-connections 1 }; timeouts { connect-secs 1 } }
route "o" { matches { path-prefix "/o" }; upstream "o" }
`, o.addr()), nil)
	first, late := dial(t, s.addr, whole), dial(t, s.addr, whole)
	first.send(get("/o/first"))
	o.must(t, "the first request arrives", func() bool { return len(o.requests) == 1 && o.requests[0].complete })
	began := time.Now()
	late.send(get("/o/late"))
	wantStatus(t, late, 503)
	if took := time.Since(began); took < time.Second || took > 5*time.Second {
		t.Errorf("the request waited %v, want connect-secs, 1s", took)
	} else {
		t.Logf("waited %v of 1 s", took)
	}
	if l := s.line(t, "o", 0); l.Error != "upstream_busy" || l.Attempts != 0 {
		t.Errorf("the log has %+v, want upstream_busy without an attempt", l)
	}
	s.wantMetric(t, 1, "upstream_pending_rejected_total", "upstream", "o")
	late.send(get("/o/again"))
	s.pending(t, "o", 1)
	o.request(0, complete).answer(defaultAnswer)
	wantStatus(t, first, 200)
	if r := o.request(1, complete); r != nil {
		r.answer(defaultAnswer)
	}
	wantStatus(t, late, 200)
}
