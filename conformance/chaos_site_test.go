package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// site is a proxy under test, and everything it tells an operator: its logs, /metrics and /upstreams.
type site struct {
	*subject
	failures *records // the error log
	audit    *records
	messages *records // the process's own
}

// siteFrame is the part of a configuration that is the same in every scenario.
const siteFrame = `
system { graceful-shutdown-timeout-secs 5 }
listener "main" { address "127.0.0.1:0" }
route "metrics" { matches { path "/metrics" }; builtin-handler "metrics" }
route "upstreams" { matches { path "/upstreams" }; builtin-handler "upstreams" }
observability {
    logging {
        access-log { file "/dev/null" }
        error-log { file "/dev/null"; level "warn" }
        audit-log { file "/dev/null" }
    }
}
`

var limitsBlock = regexp.MustCompile(`(?m)^limits \{`)

// fromHere lets one address open as many connections as the scenarios need that are not about that limit.
func fromHere(text string) string {
	const many = "limits { max-connections-per-client 10000"
	switch {
	case strings.Contains(text, "max-connections-per-client"):
		return text
	case limitsBlock.MatchString(text):
		return limitsBlock.ReplaceAllString(text, many+";")
	}
	return text + "\n" + many + " }\n"
}

// openSite runs a proxy with routes and upstreams until the test ends. The resolver may be nil.
func openSite(t testing.TB, routes string, r *net.Resolver) *site {
	t.Helper()
	return openWhole(t, siteFrame+fromHere(routes), r)
}

// openWhole is openSite for a whole configuration.
func openWhole(t testing.TB, text string, r *net.Resolver) *site {
	t.Helper()
	s := &site{&subject{access: &accessLog{}, errors: &textLog{}, ended: make(chan struct{})}, &records{}, &records{}, &records{}}
	p, err := sentinel.New(sentinel.Options{
		Text: []byte(text), Name: "site.kdl", Resolver: r,
		AccessLog: s.access, ErrorLog: io.MultiWriter(s.errors, s.failures), AuditLog: s.audit,
		Log: slog.New(slog.NewJSONHandler(s.messages, nil)),
	})
	if err != nil {
		t.Fatalf("New: %v\n%s", err, text)
	}
	s.p, s.addr = p, p.Addr(listenerID).String()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.ended)
		p.Run(ctx)
	}()
	t.Cleanup(func() { s.stop(t) })
	return s
}

// record is one JSON line of a log, the members of inner objects as outer.inner.
type record map[string]string

// records collects a log's lines.
type records struct {
	board
	all []record
	bad []string // what was no JSON line
}

// Write takes whole lines.
func (l *records) Write(b []byte) (int, error) {
	l.update(func() {
		for line := range bytes.Lines(b) {
			var members map[string]any
			if err := json.Unmarshal(line, &members); err != nil {
				l.bad = append(l.bad, string(line))
				continue
			}
			r := record{}
			r.add("", members)
			l.all = append(l.all, r)
		}
	})
	return len(b), nil
}

func (r record) add(prefix string, members map[string]any) {
	for name, v := range members {
		if inner, ok := v.(map[string]any); ok {
			r.add(prefix+name+".", inner)
			continue
		}
		r[prefix+name] = fmt.Sprint(v)
	}
}

// has reports whether every member of want is in r.
func (r record) has(want record) bool {
	for name, v := range want {
		if got, ok := r[name]; !ok || got != v {
			return false
		}
	}
	return true
}

// find waits for a record with the members of want.
func (l *records) find(t testing.TB, want record) record {
	t.Helper()
	var found record
	l.await(func() bool {
		for _, r := range l.all {
			if r.has(want) {
				found = r
			}
		}
		return found != nil
	})
	if found == nil {
		t.Fatalf("no record %v among %v %q", want, l.those(record{}), l.bad)
	}
	return found
}

// those returns the records with the members of want, so far.
func (l *records) those(want record) (some []record) {
	l.update(func() {
		for _, r := range l.all {
			if r.has(want) {
				some = append(some, maps.Clone(r))
			}
		}
	})
	return some
}

// column returns one member of every record with the members of want, in order.
func (l *records) column(want record, name string) (values []string) {
	for _, r := range l.those(want) {
		values = append(values, r[name])
	}
	return values
}

// reply is what a client got.
type reply struct {
	*message
	err  error // nil: it was complete
	took time.Duration
}

// asked is a request of a client that does nothing else.
type asked struct {
	method, path, id string
	body             int    // bytes
	begun            func() // called once, when a byte of the body came or will not come; nil: nobody is told
}

// filler is what bodies consist of.
var filler = bytes.Repeat([]byte("x"), 64<<10)

// head returns the request's head.
func (a asked) head() string {
	length := ""
	if a.method != "GET" || a.body > 0 {
		length = "Content-Length: " + strconv.Itoa(a.body) + "\r\n"
	}
	return a.method + " " + a.path + " HTTP/1.1\r\nHost: a.example\r\n" + fault.IDHeader + ": " + a.id + "\r\n" + length + "\r\n"
}

// send writes the request. A short body goes with its head, as most clients do it.
func (a asked) send(w io.Writer) {
	first := min(a.body, 1<<10)
	_, err := w.Write(append([]byte(a.head()), filler[:first]...))
	for left := a.body - first; left > 0 && err == nil; left -= len(filler) {
		_, err = w.Write(filler[:min(left, len(filler))])
	}
}

// ask sends a request on a connection of its own and reads what comes.
func (s *site) ask(a asked) reply {
	began := time.Now()
	m, err := s.exchange(a)
	return reply{m, err, time.Since(began)}
}

func (s *site) exchange(a asked) (*message, error) {
	begun := once(a.begun)
	defer begun()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		return &message{}, err
	}
	defer func() { _ = nc.Close() }()
	_ = nc.SetDeadline(time.Now().Add(*patience))
	sent := make(chan struct{})
	go func() { // the proxy may answer and close before it has read everything
		defer close(sent)
		a.send(nc)
	}()
	defer func() {
		_ = nc.Close()
		<-sent
	}()
	br := bufio.NewReader(nc)
	m, err := readResponseHead(br)
	if err != nil {
		return m, err
	}
	if _, err := br.Peek(1); err == nil {
		begun()
	}
	return m, readResponseBody(br, m, a.method == "HEAD")
}

// once returns f to be called any number of times; only the first does something.
func once(f func()) func() {
	return func() {
		if f != nil {
			f()
			f = nil
		}
	}
}

// get asks for a path and demands a status.
func (s *site) get(t testing.TB, path string, status int) *message {
	t.Helper()
	r := s.ask(asked{method: "GET", path: path})
	if r.err != nil || r.status() != status {
		t.Errorf("GET %s: %q %v, want %d\n%+v\n%s", path, r.start, r.err, status, s.access.last(), s.errors)
	}
	return r.message
}

// series names one line of the metrics. Labels are name, value, name, value.
func series(name string, labels ...string) string {
	var pairs []string
	for pair := range slices.Chunk(labels, 2) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", pair[0], pair[1]))
	}
	slices.Sort(pairs)
	if len(pairs) == 0 {
		return "sentinel_" + name
	}
	return "sentinel_" + name + "{" + strings.Join(pairs, ",") + "}"
}

// metrics scrapes the proxy: values by series.
func (s *site) metrics(t testing.TB) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for line := range strings.Lines(string(s.get(t, "/metrics", 200).body)) {
		name, value, ok := cutLast(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); ok && err == nil && !strings.HasPrefix(line, "#") {
			values[name] = n
		}
	}
	return values
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// wantMetric waits until a series has a value; one that is not there is 0. A request is counted after its answer.
func (s *site) wantMetric(t testing.TB, want float64, name string, labels ...string) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for began := time.Now(); ; <-look.C {
		got := s.metrics(t)[series(name, labels...)]
		if got == want {
			return
		}
		if time.Since(began) > *patience {
			t.Errorf("%s is %v, want %v", series(name, labels...), got, want)
			return
		}
	}
}

// shown is what /upstreams says of one target.
type shown struct {
	Address    string  `json:"address"`
	Weight     int     `json:"weight"`
	Status     string  `json:"status"`
	Healthy    bool    `json:"healthy"`
	Eligible   bool    `json:"eligible"`
	Ejected    bool    `json:"ejected"`
	Breaker    string  `json:"breaker"`
	Active     int     `json:"active_connections"`
	Requests   int     `json:"total_requests"`
	Failures   int     `json:"failed_requests"`
	LastError  *string `json:"last_error"`
	LastProbe  *string `json:"last_probe_at"`
	ProbeError *string `json:"last_probe_error"`
	Since      *string `json:"unhealthy_since"`
}

// target returns what /upstreams says of the nth target of an upstream.
func (s *site) target(t testing.TB, upstream string, n int) shown {
	t.Helper()
	var page struct {
		Upstreams []struct {
			ID      string  `json:"id"`
			Targets []shown `json:"targets"`
		} `json:"upstreams"`
	}
	if err := json.Unmarshal(s.get(t, "/upstreams", 200).body, &page); err != nil {
		t.Fatalf("/upstreams: %v", err)
	}
	for _, u := range page.Upstreams {
		if u.ID == upstream && n < len(u.Targets) {
			return u.Targets[n]
		}
	}
	t.Fatalf("/upstreams has no target %d of %q: %+v", n, upstream, page)
	return shown{}
}

// or returns what p points to, or "none".
func or(p *string) string {
	if p == nil {
		return "none"
	}
	return *p
}

// eventually asks again and again until holds. It is for what only time brings and nothing announces.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit := time.NewTimer(*patience)
	defer limit.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-limit.C:
			t.Fatalf("%s: not within %v", what, *patience)
		}
	}
}

// line returns the nth access line of a route, counted from 0, once it is there.
func (s *site) line(t testing.TB, route string, n int) accessLine {
	t.Helper()
	var found accessLine
	ok := s.access.await(func() bool {
		left := n
		for _, l := range s.access.lines {
			if l.RouteID != route {
				continue
			}
			if left == 0 {
				found = l
				return true
			}
			left--
		}
		return false
	})
	if !ok {
		t.Fatalf("no access line %d of route %s: %+v", n, route, s.access.last())
	}
	return found
}

// newFault starts a relay and the origin behind it.
func newFault(t testing.TB) (*fault.Relay, *fault.Origin) {
	t.Helper()
	o := newCounter(t)
	r, err := fault.NewRelay(o.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("closing the relay: %v", err)
		}
	})
	return r, o
}

// newCounter starts an origin that answers everything and counts it.
func newCounter(t testing.TB) *fault.Origin {
	t.Helper()
	o, err := fault.NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() }) // an error is that of a connection closed already
	return o
}

// bounded returns a context that ends with the patience.
func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), *patience, errors.New("patience is over"))
	t.Cleanup(cancel)
	return ctx
}
