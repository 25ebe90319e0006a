package conformance

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
)

// verdict is what one request at a failing target comes to.
type verdict struct{ status, attempts int }

// pattern is a kind of fault, by what clients get in the eight situations it is met in. A status of 200 is
// a complete answer, but for begun.
//
//	columns: one target; a second, good one; one target and a retry-policy; two and a retry-policy
type pattern struct{ get, post [4]verdict }

var (
	// unsent: the target never saw a byte. Whoever is left gets the request, whatever its method.
	unsent = pattern{
		get:  [4]verdict{{502, 1}, {200, 2}, {502, 2}, {200, 2}},
		post: [4]verdict{{502, 1}, {200, 2}, {502, 2}, {200, 2}},
	}
	// sent: the connection ended before the head of an answer. The policy repeats what may be repeated.
	sent = pattern{
		get:  [4]verdict{{502, 1}, {502, 1}, {502, 2}, {200, 2}},
		post: [4]verdict{{502, 1}, {502, 1}, {502, 1}, {502, 1}},
	}
	// late: no head of an answer in time. The policy repeats what may be repeated.
	late = pattern{
		get:  [4]verdict{{504, 1}, {504, 1}, {504, 2}, {200, 2}},
		post: [4]verdict{{504, 1}, {504, 1}, {504, 1}, {504, 1}},
	}
	// stale: a connection that had been idle ended as the request was sent.
	stale = pattern{
		get:  [4]verdict{{200, 2}, {200, 2}, {200, 2}, {200, 2}},
		post: [4]verdict{{502, 1}, {502, 1}, {502, 1}, {502, 1}},
	}
	// nonsense: something came, and it is no answer. It may be the answer to work that was done.
	nonsense = pattern{
		get:  [4]verdict{{502, 1}, {502, 1}, {502, 1}, {502, 1}},
		post: [4]verdict{{502, 1}, {502, 1}, {502, 1}, {502, 1}},
	}
	// begun: the client has the head, so that all there is left is to cut its copy too.
	begun = pattern{
		get:  [4]verdict{{200, 1}, {200, 1}, {200, 1}, {200, 1}},
		post: [4]verdict{{200, 1}, {200, 1}, {200, 1}, {200, 1}},
	}
	// harmless: nobody notices.
	harmless = begun
	// uploading: only requests with a long body meet the fault.
	uploading = pattern{get: harmless.get, post: sent.post}
)

// faultRow is what a target does, and what comes of it.
type faultRow struct {
	name   string // empty: the fault's
	does   fault.Fault
	kind   *pattern
	words  string // the Reasons it may have, separated by spaces; empty: none
	seen   int    // how often the origin gets each attempt that fails
	limit  int    // seconds of every time limit; 0: far away
	size   int64  // of the origin's answer
	chunks bool   // of it
	upload int    // bytes of a POST's body; 0: few
	warm   bool   // the fault meets a connection that has served a request

	then  *fault.Fault           // takes over when every client has a byte of the body
	until func(fault.Stats) bool // has happened before the next requests; nil: nothing is waited for
	spent bool                   // the connection is not used again although nobody noticed anything
}

// eitherEnd is for ends of which the kernel tells a reset or a mere end: the first who reads or writes takes
// the error away.
const eitherEnd = "upstream_closed upstream_reset"

func faultRows() []faultRow {
	forEver := time.Hour
	reset := fault.ResetAtOnce()
	poison := []byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON")
	injected := func(s fault.Stats) bool { return s.Injected >= len(cells) }
	rows := []faultRow{
		{does: fault.Refuse(), kind: &unsent, words: "upstream_refused"},
		{does: fault.CloseAtOnce(), kind: &sent, words: eitherEnd},
		{name: "reset before the request", does: fault.ResetAfterRequest(0), kind: &sent, words: "upstream_reset"},
		{name: "reset in the request's head", does: fault.ResetAfterRequest(20), kind: &sent, words: "upstream_reset"},
		{name: "reset in the request's body", does: fault.ResetAfterRequest(64 << 10), kind: &uploading, words: eitherEnd, seen: 1, upload: 1 << 20},
		{name: "reset before the answer", does: fault.ResetAfterResponse(0), kind: &sent, words: "upstream_reset", seen: 1},
		{name: "reset in the answer's head", does: fault.ResetAfterResponse(20), kind: &sent, words: "upstream_reset", seen: 1},
		{name: "reset in the answer's body", does: fault.Drip(time.Millisecond), then: &reset, kind: &begun, words: "upstream_truncated", seen: 1, size: 1 << 20},
		{name: "half-close before the answer", does: fault.HalfCloseAfter(0), kind: &sent, words: "upstream_closed", seen: 1},
		{name: "half-close in the answer's head", does: fault.HalfCloseAfter(20), kind: &nonsense, words: "upstream_bad_response", seen: 1},
		{name: "half-close in the answer's body", does: fault.HalfCloseAfter(5000), kind: &begun, words: "upstream_truncated", seen: 1, size: 10_000},
		{does: fault.TruncateBody(1), kind: &begun, words: "upstream_truncated", seen: 1},
		{name: "truncate chunks", does: fault.TruncateBody(4000), kind: &begun, words: "upstream_truncated", seen: 1, size: 10_000, chunks: true},
		{does: fault.Blackhole(), kind: &late, words: "upstream_timeout", limit: 1},
		{does: fault.Ignore(), kind: &late, words: "upstream_timeout", limit: 1},
		{name: "delay for ever", does: fault.Delay(forEver), kind: &late, words: "upstream_timeout", seen: 1, limit: 1},
		{name: "drip too slowly", does: fault.Drip(forEver), kind: &late, words: "upstream_timeout", seen: 1, limit: 1},
		{does: fault.HeadAndHang(), kind: &begun, words: "upstream_read_timeout", seen: 1, limit: 1},
		{name: "corrupt status line", does: fault.Corrupt(0), kind: &nonsense, words: "upstream_bad_response", seen: 1},
		{name: "drip", does: fault.Drip(time.Millisecond), kind: &harmless},
		{name: "delay", does: fault.Delay(50 * time.Millisecond), kind: &harmless},
		{does: fault.Duplicate(), kind: &harmless, until: injected, spent: true},
		{does: fault.Unasked([]byte("x")), kind: &harmless, until: injected, spent: true},
		{name: "unasked answer", does: fault.Unasked(poison), kind: &harmless, until: injected, spent: true},
		{does: fault.CloseIdle(1), kind: &harmless, until: func(s fault.Stats) bool { return s.Cut >= len(cells) }, spent: true},
		{name: "reset on reuse", does: fault.ResetAfterRequest(0).After(1), kind: &stale, words: "upstream_stale", warm: true},
	}
	for _, j := range fault.Junks() {
		rows = append(rows, faultRow{does: fault.Garbage(j), kind: &nonsense, words: "upstream_bad_response", seen: 1})
	}
	return rows
}

// cell is one of the eight situations.
type cell struct {
	method string
	column int // of a pattern
}

var cells = []cell{{"GET", 0}, {"GET", 1}, {"GET", 2}, {"GET", 3}, {"POST", 0}, {"POST", 1}, {"POST", 2}, {"POST", 3}}

func (c cell) two() bool    { return c.column%2 == 1 }
func (c cell) policy() bool { return c.column >= 2 }

// name is the id of the cell's route and of its upstream.
func (c cell) name() string {
	name := strings.ToLower(c.method) + "-one"
	if c.two() {
		name = strings.ToLower(c.method) + "-two"
	}
	if c.policy() {
		name += "-policy"
	}
	return name
}

func (c cell) verdict(p *pattern) verdict {
	if c.method == "POST" {
		return p.post[c.column]
	}
	return p.get[c.column]
}

// routes configures the cell. Clients of one address always come to the same of two targets first, which is
// the failing one. No breaker opens: that is for other scenarios.
func (c cell) routes(bad, good string, first, limit int) string {
	targets := []string{bad}
	if c.two() {
		targets = slices.Insert([]string{good}, first, bad)
	}
	text := fmt.Sprintf("upstream %q {\n load-balancing \"ip_hash\"\n circuit-breaker { failure-threshold 1000000 }\n", c.name())
	text += fmt.Sprintf(" timeouts { connect-secs %d; request-secs %[1]d; read-secs %[1]d; write-secs %[1]d }\n", limit)
	for _, t := range targets {
		text += fmt.Sprintf(" target %q\n", t)
	}
	text += fmt.Sprintf("}\nroute %q {\n matches { path-prefix \"/%[1]s\" }\n upstream %[1]q\n", c.name())
	if c.policy() {
		text += " retry-policy { max-attempts 2; backoff-base-ms 1; retry-on \"connection_error\" \"timeout\" }\n"
	}
	return text + "}\n"
}

// firstChoice is the place of the target that ip_hash gives this machine's clients, of two.
func firstChoice(t testing.TB) int {
	t.Helper()
	a, b := newCounter(t), newCounter(t)
	s := openSite(t, fmt.Sprintf("upstream \"u\" { target %q; target %q; load-balancing \"ip_hash\" }\nroute \"r\" { matches { path \"/r\" }; upstream \"u\" }\n",
		a.Addr(), b.Addr()), nil)
	s.get(t, "/r", 200)
	return b.Total()
}

// storm is one fault at work.
type storm struct {
	faultRow
	*site
	relay     *fault.Relay
	bad, good *fault.Origin
}

func newStorm(t *testing.T, row faultRow, first int) *storm {
	st := &storm{faultRow: row, good: newCounter(t)}
	st.relay, st.bad = newFault(t)
	st.bad.Set(fault.Script{Size: row.size, Chunked: row.chunks})
	limit := row.limit
	if limit == 0 {
		limit = 60
	}
	text := fmt.Sprintf("upstream \"well\" { target %q }\nroute \"well\" { matches { path \"/well\" }; upstream \"well\" }\n", st.good.Addr())
	for _, c := range cells {
		text += c.routes(st.relay.Addr(), st.good.Addr(), first, limit)
	}
	st.site = openSite(t, text, nil)
	st.relay.Set(row.does)
	return st
}

// play does to a target what a network or a program can do to it. What clients see of it is in the
// patterns. What must not happen, whatever the fault: a POST that comes to an origin twice, a request
// elsewhere that suffers, a client that hangs, a connection that is used again with something wrong.
func (row *faultRow) play(t *testing.T, first int) {
	st := newStorm(t, *row, first)
	if row.warm {
		for _, c := range cells {
			st.get(t, "/"+c.name(), 200)
			st.line(t, c.name(), 0) // by now the connection is free again
		}
	}
	replies := st.ask8(t)
	for i, c := range cells {
		st.check(t, c, replies[i])
	}
	st.checkMetrics(t)
	st.after(t)
	st.stop(t)
	for _, c := range cells {
		st.checkOrigins(t, c)
	}
}

func (row *faultRow) title() string {
	if row.name != "" {
		return row.name
	}
	return row.does.String()
}

// ask8 asks once in each cell, all at the same time, and elsewhere meanwhile.
func (st *storm) ask8(t *testing.T) []reply {
	replies := make([]reply, len(cells))
	var all, started sync.WaitGroup
	started.Add(len(cells))
	for i, c := range cells {
		all.Go(func() {
			a := asked{method: c.method, path: "/" + c.name(), id: c.name(), begun: started.Done}
			if c.method == "POST" {
				a.body = max(st.upload, 5)
			}
			replies[i] = st.ask(a)
		})
	}
	for range 3 {
		st.get(t, "/well", 200)
	}
	if st.then != nil {
		started.Wait()
		st.relay.SetAll(*st.then)
	}
	all.Wait()
	return replies
}

// check compares what a client got, and what the logs say, with the verdict.
func (st *storm) check(t *testing.T, c cell, r reply) {
	t.Helper()
	want := c.verdict(st.kind)
	cut := st.kind == &begun
	if r.status() != want.status || (r.err != nil) != cut {
		t.Errorf("%s: the client got %q (%v), want %d, cut: %t", c.name(), r.start, r.err, want.status, cut)
	}
	if r.status() == 200 && strings.Join(values(r.fields, fault.IDHeader), " ") != c.name() {
		t.Errorf("%s: the client got somebody's answer: %q", c.name(), r.fields)
	}
	if most := time.Duration(want.attempts*st.limit)*time.Second + *patience/2; r.took > most {
		t.Errorf("%s: took %v, want less than %v", c.name(), r.took, most)
	}
	l := st.line(t, c.name(), st.before())
	if l.Status != want.status || l.Attempts != want.attempts || !st.isWord(l.Error, want.status != 200 || cut) {
		t.Errorf("%s: access line %+v, want %+v and %q", c.name(), l, want, st.words)
	}
	if l.Error != "" {
		st.failures.find(t, record{"route_id": c.name()}) // it is written after the access line
	}
	told := st.failures.column(record{"route_id": c.name()}, "error_type")
	if l.Error != "" && !slices.Equal(told, []string{l.Error}) || l.Error == "" && len(told) > 0 {
		t.Errorf("%s: the error log has %q, the access log %q", c.name(), told, l.Error)
	}
}

// before counts the requests of each cell that came before the fault.
func (st *storm) before() int {
	if st.warm {
		return 1
	}
	return 0
}

// isWord reports whether word is one that an access line may have.
func (st *storm) isWord(word string, failed bool) bool {
	if !failed {
		return word == ""
	}
	return slices.Contains(strings.Fields(st.words), word)
}

// failed is how many attempts of a cell failed.
func (st *storm) failed(c cell) int {
	v := c.verdict(st.kind)
	if v.status == 200 && st.kind != &begun {
		return v.attempts - 1
	}
	return v.attempts
}

// elsewhere reports whether the good target answered.
func (st *storm) elsewhere(c cell) bool {
	return c.two() && st.failed(c) > 0 && st.failed(c) < c.verdict(st.kind).attempts
}

func (st *storm) checkMetrics(t *testing.T) {
	t.Helper()
	m := st.metrics(t)
	for _, c := range cells {
		want := c.verdict(st.kind)
		labels := []string{"route", c.name(), "upstream", c.name()}
		if got := m[series("upstream_attempts_total", labels...)]; int(got) != want.attempts+st.before() {
			t.Errorf("%s: %v attempts in the metrics, want %d", c.name(), got, want.attempts+st.before())
		}
		if got := m[series("upstream_retries_total", labels...)]; int(got) != want.attempts-1 {
			t.Errorf("%s: %v retries in the metrics, want %d", c.name(), got, want.attempts-1)
		}
		reasons, all := 0, 0
		for _, word := range strings.Fields(st.words) {
			reasons += int(m[series("upstream_failures_total", append([]string{"reason", word}, labels...)...)])
		}
		for name, n := range m {
			if strings.HasPrefix(name, "sentinel_upstream_failures_total{") && strings.Contains(name, fmt.Sprintf("route=%q", c.name())) {
				all += int(n)
			}
		}
		if reasons != st.failed(c) || all != reasons {
			t.Errorf("%s: %d failures of %d have the words %q, want %d", c.name(), reasons, all, st.words, st.failed(c))
		}
	}
}

// after asks once more in each cell, when the fault is over or, where nobody noticed it, still there.
func (st *storm) after(t *testing.T) {
	if st.until != nil {
		if err := st.relay.Await(bounded(t), st.until); err != nil {
			t.Fatalf("%v: %+v", err, st.relay.Stats())
		}
	}
	if !st.spent {
		st.relay.SetAll(fault.Pass())
	}
	for _, c := range cells {
		id := c.name() + " again"
		r := st.ask(asked{method: "POST", path: "/" + c.name(), id: id, body: 5})
		if r.err != nil || r.status() != 200 || strings.Join(values(r.fields, fault.IDHeader), " ") != id {
			t.Errorf("%s, afterwards: the client got %q %q %q (%v)", c.name(), r.start, r.fields, clip(r.body), r.err)
		}
		l := st.line(t, c.name(), st.before()+1)
		if well := l.Attempts == 1 && l.Error == ""; !well || l.Reused != st.keeps(c) {
			t.Errorf("%s, afterwards: %+v, want one attempt on a connection that is reused: %t", c.name(), l, st.keeps(c))
		}
	}
}

// keeps reports whether the cell's request left a connection to the failing target that can be used again.
func (st *storm) keeps(c cell) bool {
	return !st.spent && !st.elsewhere(c) && st.failed(c) < c.verdict(st.kind).attempts
}

// checkOrigins counts what came to the origins once nothing is on its way any more.
func (st *storm) checkOrigins(t *testing.T, c cell) {
	t.Helper()
	bad, good := st.failed(c)*st.seen, 0
	switch {
	case st.elsewhere(c):
		good = 1
	case st.failed(c) < c.verdict(st.kind).attempts:
		bad++
	}
	if got := st.bad.Seen(c.name()); got != bad {
		t.Errorf("%s: the failing origin got the request %d times, want %d", c.name(), got, bad)
	}
	if got := st.good.Seen(c.name()); got != good {
		t.Errorf("%s: the good origin got the request %d times, want %d", c.name(), got, good)
	}
	if c.method == "POST" && bad+good > 1 {
		t.Errorf("%s: the table lets a POST come twice", c.name())
	}
	if n := st.bad.Seen(c.name() + " again"); n != 1 {
		t.Errorf("%s: the request after the fault came %d times", c.name(), n)
	}
}

// interim lets a target break down when a byte of its answer, though only an interim one, has reached the
// client: nothing is repeated then, whatever the policy says and whoever is left.
func interim(t *testing.T, first int) {
	o, good := newOrigin(t, "127.0.0.1:0"), newCounter(t)
	c := cell{"GET", 3}
	s := openSite(t, c.routes(o.addr(), good.Addr(), first, 60), nil)
	client := dial(t, s.addr, whole)
	client.send(get("/" + c.name()))
	r := o.request(0, complete)
	if r == nil {
		t.Fatalf("the target never got the request: %s", o)
	}
	r.answer([]byte("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"))
	wantStatus(t, client, 103)
	r.reset()
	wantStatus(t, client, 502)
	if l := s.line(t, c.name(), 0); l.Error != "upstream_reset" || l.Attempts != 1 || good.Total() != 0 {
		t.Errorf("access line %+v, want one attempt and upstream_reset; the second target got %d requests", l, good.Total())
	}
}
