package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
)

// manyRetries is a budget that decides nothing, and a breaker that does not.
const manyRetries = "retry-budget { percent 1000; min-retries 1000 }; circuit-breaker { failure-threshold 1000000 }"

// TestRetryElsewhere holds that a repeat goes to a target that the request has not tried, and to a tried
// one only when none is left.
func TestRetryElsewhere(t *testing.T) {
	t.Parallel()
	first, one := newFault(t)
	second, two := newFault(t)
	good := newCounter(t)
	for _, r := range []*fault.Relay{first, second} {
		r.Set(fault.ResetAfterResponse(0))
	}
	s := openSite(t, fmt.Sprintf(`
upstream "three" { target %[1]q; target %[2]q; target %[3]q; %[4]s }
upstream "two" { target %[1]q; target %[2]q; %[4]s }
route "three" { matches { path "/three" }; upstream "three"; retry-policy { max-attempts 3; backoff-base-ms 0 } }
route "two" { matches { path "/two" }; upstream "two"; retry-policy { max-attempts 4; backoff-base-ms 0 } }
`, first.Addr(), second.Addr(), good.Addr(), manyRetries), nil)
	c := &caller{addr: s.addr}
	defer c.close()
	const n = 9 // from 10 on, the targets are ejected
	attempts, tries := 0, 0
	for i := range n {
		id := fmt.Sprint("three-", i)
		if m, err := c.call(demand("GET", "/three", id, "")); err != nil || m.status() != 200 {
			t.Errorf("%s got %q (%v)", id, m.start, err)
		}
		if one.Seen(id) > 1 || two.Seen(id) > 1 || good.Seen(id) != 1 {
			t.Errorf("%s came %d, %d and %d times, want each target once at most", id, one.Seen(id), two.Seen(id), good.Seen(id))
		}
		tries += one.Seen(id) + two.Seen(id) + good.Seen(id)
		attempts += s.line(t, "three", i).Attempts
	}
	if attempts != tries || attempts <= n {
		t.Errorf("the log tells of %d attempts, the targets of %d, for %d requests", attempts, tries, n)
	}
	if m, err := c.call(demand("GET", "/two", "two-0", "")); err != nil || m.status() != 502 {
		t.Errorf("with no good target: %q (%v), want 502", m.start, err)
	}
	if one.Seen("two-0") != 2 || two.Seen("two-0") != 2 || s.line(t, "two", 0).Attempts != 4 {
		t.Errorf("the request came %d and %d times, want 2 and 2: %+v", one.Seen("two-0"), two.Seen("two-0"), s.line(t, "two", 0))
	}
}

// TestRetryPace holds that repeats wait as the policy says, and that none begins after its time.
func TestRetryPace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		policy string
		gaps   []time.Duration // at least; one fewer than attempts
	}{
		"doubles up to the most": {
			"max-attempts 4; backoff-base-ms 60; backoff-max-ms 150",
			[]time.Duration{60 * time.Millisecond, 120 * time.Millisecond, 150 * time.Millisecond},
		},
		"ends with the time":         {"max-attempts 100; backoff-base-ms 100; timeout-ms 250", []time.Duration{100 * time.Millisecond}},
		"no time for any":            {"max-attempts 100; backoff-base-ms 100; timeout-ms 100", nil},
		"ends with the attempts":     {"max-attempts 3; backoff-base-ms 0", make([]time.Duration, 2)},
		"one attempt is no policy":   {"max-attempts 1", nil},
		"a status that is not named": {"max-attempts 3; backoff-base-ms 0; retryable-status-codes 504", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, "127.0.0.1:0")
			var came []time.Time // guarded by the origin's lock
			o.auto = func(r *request) {
				o.update(func() { came = append(came, time.Now()) })
				r.answer([]byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"))
			}
			s := openSite(t, fmt.Sprintf(`
upstream "o" { target %q; %s }
route "o" { matches { path "/o" }; upstream "o"; retry-policy { %s } }
`, o.addr(), manyRetries, tt.policy), nil)
			c := dial(t, s.addr, whole)
			c.send(get("/o"))
			if m := wantStatus(t, c, 503); string(m.body) != "busy" {
				t.Errorf("the client got %q, want the target's last answer", m.body)
			}
			if l := s.line(t, "o", 0); l.Attempts != len(tt.gaps)+1 {
				t.Errorf("%d attempts, want %d", l.Attempts, len(tt.gaps)+1)
			}
			o.update(func() {
				if len(came) != len(tt.gaps)+1 {
					t.Fatalf("the target got %d requests, want %d", len(came), len(tt.gaps)+1)
				}
				var gaps []time.Duration
				for i, least := range tt.gaps {
					gaps = append(gaps, came[i+1].Sub(came[i]).Round(100*time.Microsecond))
					if gaps[i] < least-5*time.Millisecond { // the target sees requests a moment after they were sent
						t.Errorf("repeat %d came after %v, want at least %v", i+1, gaps[i], least)
					}
				}
				t.Logf("waited %v, at least %v", gaps, tt.gaps)
			})
		})
	}
}

// keptBody is the max-body-buffer-bytes of TestRetryMethods.
const keptBody = 64 << 10

// TestRetryMethods lets the target reset each request when it has all of it, once: those that may be sent
// again are, with every byte of their bodies. No connection is kept, so that none is taken for one that had
// died idle.
func TestRetryMethods(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method   string
		body     int
		chunked  bool
		attempts int // with a policy; without, it is always one
	}{
		"GET":                        {method: "GET", attempts: 2},
		"HEAD":                       {method: "HEAD", attempts: 2},
		"OPTIONS":                    {method: "OPTIONS", attempts: 2},
		"DELETE":                     {method: "DELETE", attempts: 2},
		"PUT without a body":         {method: "PUT", attempts: 2},
		"PUT in one piece":           {method: "PUT", body: 100, attempts: 2},
		"PUT in many pieces":         {method: "PUT", body: keptBody - 1, attempts: 2},
		"PUT as long as is kept":     {method: "PUT", body: keptBody, attempts: 2},
		"PUT longer than is kept":    {method: "PUT", body: keptBody + 1, attempts: 1},
		"PUT in chunks":              {method: "PUT", body: 100, chunked: true, attempts: 1},
		"POST without a body":        {method: "POST", attempts: 1},
		"POST":                       {method: "POST", body: 100, attempts: 1},
		"PATCH":                      {method: "PATCH", body: 100, attempts: 1},
		"a method that nobody knows": {method: "PURGE", attempts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, "127.0.0.1:0")
			o.auto = func(r *request) {
				switch {
				case !o.isLater(r):
					r.reset()
				case tt.method == "HEAD":
					r.answer([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"))
				default:
					r.answer(defaultAnswer)
				}
			}
			s := openSite(t, fmt.Sprintf(`
limits { max-body-buffer-bytes %d }
upstream "o" { target %q; connection-pool { max-idle 0 }; %s }
route "policy" { matches { path "/policy" }; upstream "o"; retry-policy { backoff-base-ms 0 } }
route "plain" { matches { path "/plain" }; upstream "o" }
`, keptBody, o.addr(), manyRetries), nil)
			for _, path := range []string{"/policy", "/plain"} {
				attempts := map[string]int{"/policy": tt.attempts, "/plain": 1}[path]
				before, _ := o.count()
				c := dial(t, s.addr, pieces)
				c.send([]byte(upload(tt.method, path, tt.body, tt.chunked)))
				m, err := c.response(tt.method == "HEAD")
				want := map[int]int{1: 502, 2: 200}[attempts]
				if err != nil || m.status() != want {
					t.Errorf("%s: the client got %q (%v), want %d", path, m.start, err, want)
				}
				if l := s.line(t, path[1:], 0); l.Attempts != attempts {
					t.Errorf("%s: %d attempts in the log, want %d", path, l.Attempts, attempts)
				}
				begun, whole := o.count()
				if begun-before != attempts || whole != begun {
					t.Errorf("%s: the target got %d requests, %d of %d whole, want %d", path, begun-before, whole, begun, attempts)
				}
			}
			o.update(func() {
				for _, r := range o.requests {
					if string(r.body) != content(tt.body) {
						t.Errorf("the target got a body of %d bytes that is not the client's, of %d", len(r.body), tt.body)
					}
				}
			})
		})
	}
}

// isLater reports whether a request for the same thing came before.
func (o *origin) isLater(r *request) (later bool) {
	o.update(func() {
		i := slices.Index(o.requests, r)
		later = slices.ContainsFunc(o.requests[:i], func(before *request) bool { return before.start == r.start })
	})
	return later
}

// pieces cuts what a client sends so that a body takes many reads.
func pieces(b []byte, _ int) (all [][]byte) {
	return slices.Collect(slices.Chunk(b, 5000))
}

// content is a body whose parts differ.
func content(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.String()[:n]
}

// upload is the text of a request with a body.
func upload(method, path string, n int, chunked bool) string {
	head := method + " " + path + " HTTP/1.1\r\nHost: a.example\r\n"
	switch {
	case chunked:
		return head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, content(n))
	case n > 0 || method == "PUT" || method == "POST":
		return head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n, content(n))
	}
	return head + "\r\n"
}
