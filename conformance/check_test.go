package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/fixtures"
)

// compare checks a message against what a vector says of it.
func compare(want *fixtures.Message, got *message) error {
	if want.Start != "" && want.Start != got.start {
		return fmt.Errorf("start line %q, want %q", got.start, want.Start)
	}
	if err := compareFields(want.Fields, got.fields); err != nil {
		return err
	}
	if err := compareFields(want.Trailers, got.trailers); err != nil {
		return fmt.Errorf("trailer: %w", err)
	}
	isRequest := !strings.HasPrefix(got.start, "HTTP/")
	if !want.HeadOnly && (want.HasBody || isRequest) && string(want.Body) != string(got.body) {
		return fmt.Errorf("body %q, want %q", clip(got.body), clip(want.Body))
	}
	return nil
}

// compareFields checks that each field a vector names has exactly the values it lists.
func compareFields(want []fixtures.Field, got []field) error {
	for _, w := range want {
		var listed []string
		for _, f := range want {
			if strings.EqualFold(f.Name, w.Name) && !f.Absent {
				listed = append(listed, f.Value)
			}
		}
		have := values(got, w.Name)
		if !slices.EqualFunc(listed, have, func(w, h string) bool { return w == h || w == "*" && h != "" }) {
			return fmt.Errorf("%s: %q, want %q", w.Name, have, listed)
		}
	}
	return nil
}

// hopByHop are the fields of one connection (RFC 9110 7.6.1) and those that speak for somebody else;
// none of them may arrive as a client or upstream wrote it.
var hopByHop = []string{
	"Keep-Alive", "Proxy-Connection", "TE", "Trailer", "HTTP2-Settings", "Proxy-Authorization", "Proxy-Authenticate", "Expect",
	"Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override",
	"X-Forwarded-Port", "X-Forwarded-Server", "X-Internal-Token", "Authorization-Internal",
}

// soundRequest checks what holds for every request the proxy forwards, but for fields of which a vector
// says what they are.
func soundRequest(m *message, stated []fixtures.Field) error {
	isStated := func(name string) bool {
		return slices.ContainsFunc(stated, func(f fixtures.Field) bool { return strings.EqualFold(f.Name, name) })
	}
	if !strings.HasSuffix(m.start, " HTTP/1.1") {
		return fmt.Errorf("start line %q is not the proxy's own version", m.start)
	}
	for _, name := range hopByHop {
		if v := values(m.fields, name); v != nil && !isStated(name) {
			return fmt.Errorf("%s: %q was forwarded", name, v)
		}
	}
	upgrade := values(m.fields, "Upgrade")
	if c := values(m.fields, "Connection"); c != nil && (upgrade == nil || !slices.Equal(c, []string{"Upgrade"})) {
		return fmt.Errorf("Connection: %q was forwarded with Upgrade: %q", c, upgrade)
	}
	own := map[string]string{
		"Host": "*", "X-Correlation-Id": "*", "X-Trace-Id": "*", "X-Forwarded-Host": "*",
		"X-Forwarded-Proto": "http", "X-Forwarded-By": "Sentinel", "X-Forwarded-For": "127.0.0.1",
	}
	for name, want := range own {
		if have := values(m.fields, name); len(have) != 1 || have[0] != want && want != "*" && !isStated(name) {
			return fmt.Errorf("%s: %q, want exactly %q", name, have, want)
		}
	}
	if via := values(m.fields, "Via"); len(via) == 0 || !strings.HasSuffix(via[len(via)-1], "1.1 sentinel") {
		return fmt.Errorf("Via: %q does not end in ours", via)
	}
	if values(m.fields, "X-Correlation-Id")[0] != values(m.fields, "X-Trace-Id")[0] {
		return errors.New("X-Correlation-Id and X-Trace-Id differ")
	}
	return nil
}

// soundResponse checks what holds for every response a client gets.
func soundResponse(m *message, upstream string) error {
	for _, name := range []string{"Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "TE", "Server", "X-Powered-By"} {
		if v := values(m.fields, name); v != nil {
			return fmt.Errorf("the client got %s: %q", name, v)
		}
	}
	if m.status() < 200 {
		return nil
	}
	for _, name := range []string{
		"Date", "X-Content-Type-Options", "X-Frame-Options", "X-XSS-Protection", "Referrer-Policy", "X-Correlation-Id",
	} {
		if v := values(m.fields, name); len(v) != 1 {
			return fmt.Errorf("the client got %s: %q, want one", name, v)
		}
	}
	if m.status() < 400 {
		return nil
	}
	for _, secret := range []string{upstream, "goroutine ", ".go:", "panic", "/internal/"} {
		if strings.Contains(string(m.body), secret) {
			return fmt.Errorf("the error body discloses %q: %q", secret, clip(m.body))
		}
	}
	return nil
}

// settled checks what can only be known after a run: no more requests upstream than the vector says, and
// one access line for each request.
func (r *run) settled(lines []accessLine) error {
	if err := r.upstreamSettled(); err != nil {
		return err
	}
	want := r.wantLines()
	if len(lines) != len(want) {
		return fmt.Errorf("%d access lines, want %d: %+v", len(lines), len(want), lines)
	}
	for i, w := range want {
		got := lines[i]
		if got.Status != w.Status || got.Error != w.Error {
			return fmt.Errorf("access line %d says %d %q, want %d %q", i+1, got.Status, got.Error, w.Status, w.Error)
		}
	}
	return nil
}

// upstreamSettled checks the requests the vector does not describe.
func (r *run) upstreamSettled() error {
	mayBegin := false
	for _, s := range r.v.Steps {
		mayBegin = mayBegin || s.Mark == fixtures.Incomplete
	}
	var surplus []*request
	ended := r.o.await(func() bool {
		surplus = slices.Clone(r.o.requests[min(r.base+r.matched, len(r.o.requests)):])
		surplus = slices.DeleteFunc(surplus, func(q *request) bool { return q == r.probe })
		return !slices.ContainsFunc(surplus, func(q *request) bool { return !q.complete && !q.gone })
	})
	for _, q := range surplus {
		switch {
		case q.fault != nil:
			return fmt.Errorf("the upstream got what it must not: %w", q.fault)
		case q.complete, !mayBegin:
			return fmt.Errorf("the upstream got a request it must not: %q", clip(q.raw))
		}
	}
	if !ended {
		return errors.New("an upstream connection with an incomplete request was not closed")
	}
	return nil
}

// wantLines returns the access lines the run must have left: one for each answer, and one for an
// exchange that ended without.
func (r *run) wantLines() []accessLine {
	var want []accessLine
	for _, m := range r.finals {
		want = append(want, accessLine{Status: m.status()})
	}
	e := r.v.Expect
	switch {
	case e.Verdict == fixtures.Forward:
	case e.Verdict == fixtures.Abort && !r.endsCut():
		want = append(want, accessLine{Status: e.Status, Error: e.Reason})
	case len(want) > 0:
		want[len(want)-1] = accessLine{Status: e.Status, Error: e.Reason}
	}
	if r.probe != nil {
		want = append(want, accessLine{Status: 200})
	}
	return want
}
