package conformance

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rated is a site whose origin answers everything, on which rate limits are tried.
func rated(t *testing.T, text string) (*site, *origin) {
	t.Helper()
	o := newOrigin(t, "127.0.0.1:0")
	o.auto = func(r *request) {
		r.answer([]byte("HTTP/1.1 200 OK\r\nX-RateLimit-Limit: 7\r\nx-ratelimit-policy: theirs\r\nContent-Length: 2\r\n\r\nok"))
	}
	return openSite(t, fmt.Sprintf("\nupstream \"o\" { target %q }\n", o.addr())+text, nil), o
}

// oneASecond is the slowest rate there is. What a test says of a bucket that fills so is true for some seconds.
const oneASecond = "requests-per-second 1; burst "

// rateCall is a request of some client.
type rateCall struct{ ip, path, header string }

func (c rateCall) text() string {
	return "GET " + c.path + " HTTP/1.1\r\nHost: a.example\r\n" + c.header + "\r\n"
}

// repeat sends a request until the answer is what is looked for, n times at most, and returns the last answer.
func (s *site) repeat(t *testing.T, c rateCall, n int, until func(*message) bool) *message {
	t.Helper()
	nc := from(t, c.ip, s.addr)
	k := &caller{addr: s.addr, nc: nc, br: bufio.NewReader(nc)}
	defer k.close()
	m := &message{}
	for range n {
		var err error
		if m, err = k.call(c.text()); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if until(m) {
			return m
		}
	}
	return m
}

// pass sends a request n times, which must all be let through, and returns the last answer.
func (s *site) pass(t *testing.T, c rateCall, n int) *message {
	t.Helper()
	m := s.repeat(t, c, n, func(m *message) bool { return m.status() != 200 })
	if m.status() != 200 {
		t.Errorf("%+v: got %q, want 200\n%+v", c, m.start, s.access.last())
	}
	return m
}

// exhaust repeats a request until it is refused, which must be before long.
func (s *site) exhaust(t *testing.T, c rateCall) *message {
	t.Helper()
	m := s.repeat(t, c, 1000, func(m *message) bool { return m.status() != 200 })
	if m.status() == 200 {
		t.Fatalf("a thousand requests are let through: %+v", c)
	}
	return m
}

// left returns how many tokens an answer says there are.
func left(t *testing.T, m *message) int {
	t.Helper()
	n, err := strconv.Atoi(strings.Join(values(m.fields, "X-RateLimit-Remaining"), ","))
	if err != nil {
		t.Errorf("X-RateLimit-Remaining: %v", err)
	}
	return n
}

// TestRateKeys sends, for each kind of key, requests that count together and such that do not.
func TestRateKeys(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		key         string
		same, other rateCall // that counts with the first and that does not
	}{
		{"client-ip", rateCall{ip: "127.0.0.2", path: "/o/b", header: "X-Key: b\r\n"}, rateCall{ip: "127.0.0.3", path: "/o/a", header: "X-Key: a\r\n"}},
		{"path", rateCall{ip: "127.0.0.3", path: "/o/./a?q", header: "X-Key: b\r\n"}, rateCall{ip: "127.0.0.2", path: "/o/b"}},
		{"route", rateCall{ip: "127.0.0.3", path: "/o/b"}, rateCall{ip: "127.0.0.2", path: "/p/a"}},
		{"client-ip-and-path", rateCall{ip: "127.0.0.2", path: "/o/%61", header: "X-Key: b\r\n"}, rateCall{ip: "127.0.0.2", path: "/o/b"}},
		{"client-ip-and-path", rateCall{ip: "127.0.0.2", path: "/o/a"}, rateCall{ip: "127.0.0.3", path: "/o/a"}},
		{"header:X-Key", rateCall{ip: "127.0.0.3", path: "/o/b", header: "x-key: a\r\n"}, rateCall{ip: "127.0.0.2", path: "/o/a", header: "X-Key: b\r\n"}},
		{"header:X-Key", rateCall{ip: "127.0.0.3", path: "/o/b", header: "x-key: a\r\n"}, rateCall{ip: "127.0.0.2", path: "/o/a"}},
	} {
		t.Run(row.key+" "+row.other.path+row.other.ip, func(t *testing.T) {
			t.Parallel()
			s, _ := rated(t, fmt.Sprintf(`
filter "f" { type "rate-limit"; max-rps 1; burst 100; key %q }
route "o" { matches { path-prefix "/o" }; upstream "o"; filters "f" }
route "p" { matches { path-prefix "/p" }; upstream "o"; filters "f" }
`, row.key))
			first := rateCall{ip: "127.0.0.2", path: "/o/a", header: "X-Key: a\r\n"}
			wantQuota(t, s.pass(t, first, 1), 100, 99)
			s.pass(t, first, 50)
			if n := left(t, s.pass(t, row.same, 1)); n > 90 {
				t.Errorf("%+v has %d tokens left: it does not count with %+v", row.same, n, first)
			}
			wantQuota(t, s.pass(t, row.other, 1), 100, 99)
			if n := s.metrics(t)[series("rate_limit_keys")]; n < 1 || n > 2 {
				t.Errorf("%v keys are kept apart, want 2 or, when one is full again, 1", n)
			}
		})
	}
}

// TestRateKeyUnclear sends ever new words that an upstream may not take for the key: the request then counts by client.
func TestRateKeyUnclear(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"first of two":  "X-Key: %d\r\nX-Key: mine\r\n",
		"second of two": "X-Key: mine\r\nX-Key: %d\r\n",
		"behind empty":  "X-Key:\r\nX-Key: %d\r\n",
		"nominated":     "X-Key: %d\r\nConnection: X-Key\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := rated(t, `
filter "f" { type "rate-limit"; max-rps 1; burst 5; key "header:X-Key" }
route "o" { matches { path-prefix "/" }; upstream "o"; filters "f" }
`)
			for i := range 100 {
				c := rateCall{ip: "127.0.0.2", path: "/", header: fmt.Sprintf(header, i)}
				if s.repeat(t, c, 1, func(*message) bool { return true }).status() == 429 {
					return
				}
			}
			t.Error("a hundred requests of one client are let through")
		})
	}
}

// TestRateUnrouted sends requests that are refused before their route's limits are asked: they count with the limits
// that are for everybody, and are told so when they are over one. Our own handlers do not.
func TestRateUnrouted(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]string{
		"global":      "limits { max-requests-per-second-global 1 }",
		"per client":  "limits { max-requests-per-second-per-client 1 }",
		"rate-limits": "rate-limits { global { max-rps 1; burst 10 } }",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := rated(t, limit+`
route "o" { matches { path-prefix "/o" }; upstream "o"; policies { max-body-size "1B" } }
route "own" { matches { path "/own" }; builtin-handler "health" }
`)
			for text, want := range map[string]int{
				"GET /nowhere HTTP/1.1\r\nHost: a.example\r\n\r\n":                   404,
				"GET /o/a%2Fb HTTP/1.1\r\nHost: a.example\r\n\r\n":                   400,
				"PUT /o/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nab": 413,
				"TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n":                        405,
			} {
				s.exhaustBy(t, text, want)
			}
			if m := s.exhaust(t, rateCall{ip: "127.0.0.2", path: "/o/"}); m.status() != 429 {
				t.Errorf("a request with a route gets %d, want 429: all count together", m.status())
			}
			s.pass(t, rateCall{ip: "127.0.0.2", path: "/own"}, 50)
		})
	}
}

// exhaustBy repeats a request that gets a status until it gets a 429 instead, which must be before long.
func (s *site) exhaustBy(t *testing.T, text string, want int) {
	t.Helper()
	for range 1000 {
		nc := from(t, "127.0.0.2", s.addr)
		k := &caller{addr: s.addr, nc: nc, br: bufio.NewReader(nc)}
		m, err := k.call(text)
		k.close()
		switch {
		case err != nil:
			t.Fatalf("%q: %v", text, err)
		case m.status() == 429:
			return
		case m.status() != want:
			t.Fatalf("%q: got %d, want %d", text, m.status(), want)
		}
	}
	t.Errorf("a thousand requests are let through: %q", text)
}

// TestRatePageRetryAfter has an error page that says when to retry: that is the one Retry-After there is.
func TestRatePageRetryAfter(t *testing.T) {
	t.Parallel()
	s, _ := rated(t, `
route "o" { matches { path-prefix "/o" }; upstream "o"; policies { rate-limit { requests-per-second 1; burst 1 } }
error-pages { pages { 429 { headers { "retry-after" "77" } } } } }
route "p" { matches { path-prefix "/p" }; upstream "o"; policies { rate-limit { requests-per-second 1; burst 1 } } }
`)
	for path, want := range map[string]string{"/o": "77", "/p": "1"} {
		m := s.exhaust(t, rateCall{ip: "127.0.0.2", path: path})
		if got := values(m.fields, "Retry-After"); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: Retry-After is %q, want %s", path, got, want)
		}
	}
}

// wantQuota checks what an answer says of the client's limit.
func wantQuota(t *testing.T, m *message, limit, left int) {
	t.Helper()
	if got := values(m.fields, "X-RateLimit-Limit"); !slices.Equal(got, []string{strconv.Itoa(limit)}) {
		t.Errorf("X-RateLimit-Limit is %q, want %d", got, limit)
	}
	if got := values(m.fields, "X-RateLimit-Remaining"); !slices.Equal(got, []string{strconv.Itoa(left)}) {
		t.Errorf("X-RateLimit-Remaining is %q, want %d", got, left)
	}
	if len(values(m.fields, "x-ratelimit-policy")) != 0 {
		t.Error("what the upstream says of a limit of its own is relayed beside ours")
	}
	reset := values(m.fields, "X-RateLimit-Reset")
	if len(reset) != 1 {
		t.Fatalf("X-RateLimit-Reset is %q", reset)
	}
	at, err := strconv.ParseInt(reset[0], 10, 64)
	full := time.Unix(at, 0)
	if most := time.Duration(limit-left+1) * time.Second; err != nil || full.Before(time.Now().Add(-*patience)) || full.After(time.Now().Add(most+time.Second)) {
		t.Errorf("the bucket is full at %s, want within %v", reset[0], most)
	}
}

// TestRateRefusal follows a refusal: what the client gets in each form, that its connection goes on, and what
// operators see.
func TestRateRefusal(t *testing.T) {
	t.Parallel()
	s, o := rated(t, `
route "plain" { matches { path-prefix "/plain" }; upstream "o"; policies { rate-limit { `+oneASecond+`2; message "Slow down, <please>"; status-code 420 } } }
route "api" { matches { path-prefix "/api" }; upstream "o"; service-type "api"; policies { rate-limit { `+oneASecond+`2; message "Too fast" } } }
route "page" { matches { path-prefix "/page" }; upstream "o"; policies { rate-limit { `+oneASecond+`2 } }; error-pages { pages { 429 { message "Ours" } } } }
route "own" { matches { path-prefix "/own" }; builtin-handler "health"; policies { rate-limit { `+oneASecond+`2 } } }
`)
	for path, want := range map[string]struct {
		status     int
		kind, body string
	}{
		"/plain": {420, "text/plain; charset=utf-8", "Slow down, <please>"},
		"/api":   {429, "application/json; charset=utf-8", `"error":{"code":"RATE_LIMIT_EXCEEDED","message":"Too fast","correlation_id":`},
		"/page":  {429, "text/html; charset=utf-8", "<p>Ours</p>"},
		"/own":   {429, "application/json; charset=utf-8", `"retry_after":`},
	} {
		m := s.exhaust(t, rateCall{ip: "127.0.0.2", path: path})
		if m.status() != want.status || !slices.Equal(values(m.fields, "Content-Type"), []string{want.kind}) || !strings.Contains(string(m.body), want.body) {
			t.Errorf("%s: %q %v %q", path, m.start, m.fields, m.body)
		}
		wantQuota(t, m, 2, 0)
		if after := values(m.fields, "Retry-After"); !slices.Equal(after, []string{"1"}) {
			t.Errorf("%s: Retry-After is %q", path, after)
		}
		if saysClose(m) {
			t.Errorf("%s: the connection ends", path)
		}
	}
	s.audit.find(t, record{"event_type": "rate_limit_exceeded", "action": "block", "reason": "rate_limited", "metadata.limit": "route:plain", "status_code": "420", "client_ip": "127.0.0.2"})
	if n := len(s.audit.those(record{"event_type": "blocked"})); n != 0 {
		t.Errorf("%d refusals are audited twice", n)
	}
	eventually(t, "all four refusals are counted", func() bool {
		return s.metrics(t)[series("blocked_requests_total", "reason", "rate_limited")] == 4
	})
	begun, _ := o.count()
	m := s.metrics(t)
	if hits := m[series("rate_limit_hits_total")]; hits != 4 {
		t.Errorf("%v hits, want 4", hits)
	}
	if allowed := m[series("rate_limit_allowed_total")]; int(allowed) < begun {
		t.Errorf("%v allowed, %d at the origin", allowed, begun)
	}
	for _, l := range s.access.snapshot() {
		if l.RateLimitHit != (l.Error == "rate_limited") {
			t.Errorf("the log has %+v", l)
		}
	}
}

// TestRateScopes proves each place where a limit can stand: it holds, for those it is about and for nobody else.
func TestRateScopes(t *testing.T) {
	t.Parallel()
	const two = `
route "o" { matches { path-prefix "/o" }; upstream "o" }
route "p" { matches { path-prefix "/p" }; upstream "o" }
`
	for _, row := range []struct {
		scope, text    string
		refused, other rateCall
	}{
		{"limits.global", "\nlimits { max-requests-per-second-global 1 }" + two, rateCall{ip: "127.0.0.3", path: "/p"}, rateCall{ip: "127.0.0.2", path: "/metrics"}},
		{"limits.per-client", "\nlimits { max-requests-per-second-per-client 1 }" + two, rateCall{ip: "127.0.0.2", path: "/p"}, rateCall{ip: "127.0.0.3", path: "/o"}},
		{"limits.per-route", "\nlimits { max-requests-per-second-per-route 1 }" + two, rateCall{ip: "127.0.0.3", path: "/o"}, rateCall{ip: "127.0.0.2", path: "/p"}},
		{"rate-limits.global", "rate-limits { global { max-rps 1; burst 10; key \"client-ip\" } }" + two, rateCall{ip: "127.0.0.2", path: "/p"}, rateCall{ip: "127.0.0.3", path: "/o"}},
		{"rate-limits.default", "rate-limits { default-rps 1 }" + two, rateCall{ip: "127.0.0.2", path: "/o"}, rateCall{ip: "127.0.0.2", path: "/p"}},
		{"route:o", "rate-limits { default-rps 1000 }" + strings.Replace(two, `upstream "o"`, `upstream "o"; policies { rate-limit { requests-per-second 1; burst 10 } }`, 1), rateCall{ip: "127.0.0.2", path: "/o"}, rateCall{ip: "127.0.0.3", path: "/o"}},
	} {
		t.Run(row.scope, func(t *testing.T) {
			t.Parallel()
			s, _ := rated(t, row.text)
			wantQuota(t, s.pass(t, rateCall{ip: "127.0.0.2", path: "/o"}, 1), 10, 9)
			s.pass(t, rateCall{ip: "127.0.0.2", path: "/o"}, 8)
			if n := left(t, s.pass(t, row.refused, 1)); n > 8 {
				t.Errorf("%+v has %d tokens left: it is not counted together", row.refused, n)
			}
			wantQuota(t, s.exhaust(t, row.refused), 10, 0)
			s.pass(t, row.other, 1)
			s.audit.find(t, record{"event_type": "rate_limit_exceeded", "metadata.limit": row.scope})
		})
	}
}

// TestRateTogether has several limits on one route: the tightest is shown, all hold, and who is refused by one
// uses up none of another.
func TestRateTogether(t *testing.T) {
	t.Parallel()
	s, _ := rated(t, `
limits { max-requests-per-second-global 5 }
filter "each" { type "rate-limit"; max-rps 1; burst 3 }
filter "noted" { type "rate-limit"; max-rps 1; burst 1; on-limit "log-only"; key "path" }
route "o" { matches { path-prefix "/o" }; upstream "o"; filters "noted" "each" }
route "p" { matches { path-prefix "/p" }; upstream "o" }
`)
	wantQuota(t, s.pass(t, rateCall{ip: "127.0.0.2", path: "/o"}, 1), 3, 2)
	if l := s.line(t, "o", 0); l.RateLimitHit {
		t.Errorf("a request within all limits is logged as %+v", l)
	}
	for range 100 { // over its own limit all the time
		s.exhaust(t, rateCall{ip: "127.0.0.2", path: "/o"})
	}
	if n := left(t, s.pass(t, rateCall{ip: "127.0.0.3", path: "/p"}, 1)); n < 10 {
		t.Errorf("%d of 50 tokens are left of what everybody shares", n)
	}
	s.audit.find(t, record{"event_type": "rate_limit_exceeded", "action": "log", "metadata.limit": "filter:noted", "status_code": "200"})
}

// TestRateEviction makes a client forget its debt by crowding it out, which is counted.
func TestRateEviction(t *testing.T) {
	t.Parallel()
	s, _ := rated(t, `
filter "few" { type "rate-limit"; max-rps 1; burst 1; key "path"; max-keys 2 }
route "o" { matches { path-prefix "/o" }; upstream "o"; filters "few" }
`)
	s.exhaust(t, rateCall{ip: "127.0.0.2", path: "/o/1"})
	for i := range 10 {
		s.pass(t, rateCall{ip: "127.0.0.2", path: fmt.Sprintf("/o/x%d", i)}, 1)
	}
	m := s.metrics(t)
	if n := m[series("rate_limit_key_evictions_total", "scope", "filter:few")]; n < 1 || m[series("rate_limit_keys")] > 2 {
		t.Errorf("%v evictions, %v keys of at most 2", n, m[series("rate_limit_keys")])
	}
}

// TestRateDelay holds requests back until their token comes, and no longer than allowed.
func TestRateDelay(t *testing.T) {
	t.Parallel()
	s, _ := rated(t, `
route "o" { matches { path-prefix "/o" }; upstream "o"; policies { rate-limit { requests-per-second 4; burst 1; on-limit "delay"; max-delay-ms 600 } } }
`)
	began := time.Now()
	replies := make([]reply, 16)
	crowd(s.addr, len(replies), len(replies), func(c *caller, i int) {
		m, err := c.call(string(get("/o")))
		replies[i] = reply{m, err, time.Since(began)}
	})
	var passed []time.Duration
	refused := 0
	for _, r := range replies {
		switch {
		case r.err != nil:
			t.Error(r.err)
		case r.status() == 200:
			passed = append(passed, r.took)
		case r.status() == 429:
			refused++
		}
	}
	slices.Sort(passed)
	t.Logf("passed after %v, %d refused", passed, refused)
	if len(passed) < 3 || len(passed)+refused != len(replies) {
		t.Fatalf("%d of %d are passed and %d refused, want at least 3", len(passed), len(replies), refused)
	}
	for i, took := range passed {
		if soonest := time.Duration(i) * 250 * time.Millisecond; took < soonest {
			t.Errorf("number %d passed after %v, want at least %v", i, took, soonest)
		}
	}
	m := s.metrics(t)
	if n := m[series("rate_limit_delayed_total")]; int(n) < 2 {
		t.Errorf("%v requests are counted as held back", n)
	}
	s.line(t, "o", len(replies)-1)
	held := 0
	for _, l := range s.access.snapshot() {
		if l.RateLimitHit && l.Status == 200 {
			held++
		}
	}
	if held < 2 {
		t.Errorf("the log has %d requests that were held back", held)
	}
}

// TestRateDelayEnds shows that nobody is held back for a client that has left, nor by a proxy that drains.
func TestRateDelayEnds(t *testing.T) {
	t.Parallel()
	s, o := rated(t, `
route "o" { matches { path-prefix "/o" }; upstream "o"; policies { rate-limit { requests-per-second 1; burst 1; on-limit "delay"; max-delay-ms 3600000 } } }
`)
	clients := make([]*client, 60) // the last would wait for a minute
	for i := range clients {
		clients[i] = dial(t, s.addr, whole)
		clients[i].send(get("/o"))
		if i == 0 {
			wantStatus(t, clients[0], 200)
		}
	}
	held := len(clients) - 1
	eventually(t, "they are held back", func() bool { return s.metrics(t)[series("rate_limit_delayed_total")] >= float64(held-1) })
	last := clients[held]
	last.close()
	if !s.access.await(func() bool {
		return slices.ContainsFunc(s.access.lines, func(l accessLine) bool { return l.Status == 499 && l.Error == "client_gone" })
	}) {
		t.Errorf("that a client left is not seen: %+v", s.access.last())
	}
	s.cancel()
	for _, c := range clients[1:held] {
		wantStatus(t, c, 200)
	}
	if begun, _ := o.count(); begun != held {
		t.Errorf("the origin got %d requests, want %d", begun, held)
	}
}
