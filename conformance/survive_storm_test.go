package conformance

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
)

// TestRetryBudget is UP-05: targets that answer nothing but 503 get at most a fifth more than what clients
// ask, and never less than the few repeats that are always allowed.
func TestRetryBudget(t *testing.T) {
	t.Parallel()
	const minRetries = 10
	one, two := newCounter(t), newCounter(t)
	for _, o := range []*fault.Origin{one, two} {
		o.Set(fault.Script{Status: 503})
	}
	s := openSite(t, fmt.Sprintf(`
upstream "o" { target %q; target %q; circuit-breaker { failure-threshold 1000000 } }
route "o" { matches { path "/o" }; upstream "o"; retry-policy { max-attempts 3; backoff-base-ms 0; retry-on "5xx" } }
`, one.Addr(), two.Addr()), nil)
	n := 3000 * *scale
	var other atomic.Int64
	crowd(s.addr, 16, n, func(c *caller, i int) {
		if m, err := c.call(demand("GET", "/o", fmt.Sprint("storm-", i), "")); err != nil || m.status() != 503 {
			other.Add(1)
			t.Errorf("GET %d got %q (%v), want the target's 503", i, m.start, err)
		}
	})
	m := s.metrics(t)
	asked, refused := one.Total()+two.Total(), m[series("upstream_retry_budget_exhausted_total", "upstream", "o")]
	retries := m[series("upstream_retries_total", "upstream", "o", "route", "o")]
	if most := n + n/5 + minRetries; asked > most || asked != n+int(retries) {
		t.Errorf("%d requests of clients became %d at the targets, at most %d may be; %v were counted as repeats", n, asked, most, retries)
	}
	if refused == 0 || retries < float64(n)/20 {
		t.Errorf("%v repeats were refused and %v made: the budget was not what decided", refused, retries)
	}
	t.Logf("%d requests became %d at the targets (%.3f times); %v repeats made, %v refused", n, asked, float64(asked)/float64(n), retries, refused)
}

// TestRetryBudgetFloor holds that a quiet upstream has its min-retries, and not one more.
func TestRetryBudgetFloor(t *testing.T) {
	t.Parallel()
	o := newCounter(t)
	o.Set(fault.Script{Status: 503})
	s := openSite(t, fmt.Sprintf(`
upstream "o" { target %q; retry-budget { percent 0; min-retries 3 }; circuit-breaker { failure-threshold 1000000 } }
route "o" { matches { path "/o" }; upstream "o"; retry-policy { max-attempts 100; backoff-base-ms 0 } }
`, o.Addr()), nil)
	c := &caller{addr: s.addr}
	defer c.close()
	const n = 5
	for i := range n {
		if m, err := c.call(demand("GET", "/o", fmt.Sprint("floor-", i), "")); err != nil || m.status() != 503 {
			t.Errorf("GET %d got %q (%v), want 503", i, m.start, err)
		}
	}
	if got := o.Total(); got != n+3 {
		t.Errorf("%d requests became %d, want %d", n, got, n+3)
	}
	s.wantMetric(t, n, "upstream_retry_budget_exhausted_total", "upstream", "o")
}

// TestStormOpensBreaker holds that statuses open a breaker that is written in the configuration, retries
// counted, and no other.
func TestStormOpensBreaker(t *testing.T) {
	t.Parallel()
	o := newCounter(t)
	o.Set(fault.Script{Status: 500})
	s := openSite(t, fmt.Sprintf(`
upstream "written" { target %[1]q; circuit-breaker { failure-threshold 5 } }
upstream "plain" { target %[1]q }
route "written" { matches { path "/written" }; upstream "written"; retry-policy { max-attempts 2; backoff-base-ms 0; retry-on "5xx" } }
route "plain" { matches { path "/plain" }; upstream "plain" }
`, o.Addr()), nil)
	c := &caller{addr: s.addr}
	defer c.close()
	// Two attempts each; the third request's second one finds the breaker open.
	for i, want := range []int{500, 500, 502, 503, 503} {
		if m, err := c.call(demand("GET", "/written", fmt.Sprint("written-", i), "")); err != nil || m.status() != want {
			t.Errorf("GET %d got %q (%v), want %d", i, m.start, err, want)
		}
	}
	if got := o.Total(); got != 5 {
		t.Errorf("the target got %d requests, want 5", got)
	}
	s.wantMetric(t, 1, "circuit_breaker_state", "component", "upstream:written/"+o.Addr(), "route", "")
	for i := range 20 {
		if m, err := c.call(demand("GET", "/plain", fmt.Sprint("plain-", i), "")); err != nil || m.status() != 500 {
			t.Errorf("GET %d got %q (%v), want the target's 500", i, m.start, err)
		}
	}
	s.wantMetric(t, 0, "circuit_breaker_state", "component", "upstream:plain/"+o.Addr(), "route", "")
	atLeast(t, s.audit, 1, turned("written", o.Addr(), "open"))
}

// TestNoRetryOfAnswer holds that nothing is repeated of which the client has a byte: a part of the body, an
// interim answer, or a head alone. Only after the interim one there is still an answer to give.
func TestNoRetryOfAnswer(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{
		"head":    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
		"body":    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"interim": "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, "127.0.0.1:0")
			o.auto = func(r *request) {
				r.answer([]byte(part))
				r.close()
			}
			s := openSite(t, fmt.Sprintf(`
upstream "o" { target %q }
route "o" { matches { path "/o" }; upstream "o"; retry-policy { max-attempts 5; backoff-base-ms 0; retry-on "connection_error" "timeout" "5xx" } }
`, o.addr()), nil)
			c := dial(t, s.addr, whole)
			c.send(get("/o"))
			m, err := c.response(false)
			for err == nil && m.status() < 200 {
				m, err = c.response(false)
			}
			if name == "interim" && (err != nil || m.status() != 502) || name != "interim" && err == nil {
				t.Errorf("the client got %q (%v), want a 502 after an interim answer, else a cut one", m.start, err)
			}
			s.stop(t)
			if begun, _ := o.count(); begun != 1 {
				t.Errorf("the target got %d requests, want 1", begun)
			}
			if l := s.line(t, "o", 0); l.Attempts != 1 {
				t.Errorf("the log tells of %d attempts, want 1: %+v", l.Attempts, l)
			}
		})
	}
}
