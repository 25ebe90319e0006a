package conformance

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// plainRoute sends a path of the upstream's name to it.
func plainRoute(id, upstream string) string {
	return fmt.Sprintf("upstream %q {\n%s\n}\nroute %[1]q { matches { path \"/%[1]s\" }; upstream %[1]q; service-type \"api\" }\n", id, upstream)
}

// wantFailure asks and checks status, Reason and attempts, on the wire and in the logs.
func (s *site) wantFailure(t *testing.T, route string, nth, status int, word string, attempts int) {
	t.Helper()
	r := s.ask(asked{method: "GET", path: "/" + route})
	l := s.line(t, route, nth)
	if r.status() != status || r.err != nil || l.Status != status || l.Error != word || l.Attempts != attempts {
		t.Errorf("%s, request %d: the client got %q (%v), the log %+v, want %d %q after %d attempts", route, nth, r.start, r.err, l, status, word, attempts)
	}
	if hint := len(values(r.fields, "Retry-After")); (hint == 1) != (status == 503) {
		t.Errorf("%s: %d with %d fields Retry-After", route, status, hint)
	}
	s.failures.find(t, record{"route_id": route, "error_type": word, "status": fmt.Sprint(status)})
}

// targetsAsWritten is about lists of targets that leave few, or none: drained ones, dead ones, one.
func targetsAsWritten(t *testing.T) {
	a, b, dead, gone := newWard(t, nil), newWard(t, nil), refused(t), refused(t)
	s := openSite(t, plainRoute("drained", fmt.Sprintf("target %q weight=0; target %q", a.addr, b.addr))+
		plainRoute("nobody", fmt.Sprintf("target %q weight=0; target %q weight=0", a.addr, b.addr))+
		plainRoute("one", fmt.Sprintf("target %q", dead))+
		plainRoute("all-down", fmt.Sprintf("target %q; target %q", dead, gone)), nil)

	drained := &practice{checkup{id: "drained"}, s, [2]*ward{a, b}}
	drained.wantShares(t, 0, 10)
	s.wantMetric(t, 0, "upstream_target_requests_total", "upstream", "drained", "target", a.addr)
	if v := s.target(t, "drained", 0); v.Eligible || v.Weight != 0 || !v.Healthy {
		t.Errorf("/upstreams shows a drained target as %+v", v)
	}

	s.wantFailure(t, "nobody", 0, 503, "no_healthy_target", 0)
	if !strings.Contains(strings.Join(s.messages.column(record{"level": "WARN", "msg": "configuration"}, "problem"), "\n"), `upstream "nobody": every target`) {
		t.Errorf("nobody was warned: %v", s.messages.those(record{}))
	}

	for n := range 5 { // a breaker's failure-threshold
		s.wantFailure(t, "one", n, 502, "upstream_refused", 1)
		s.wantFailure(t, "all-down", n, 502, "upstream_refused", 2)
	}
	for id, targets := range map[string][]string{"one": {dead}, "all-down": {dead, gone}} {
		s.wantFailure(t, id, 5, 503, "breaker_open", 0)
		s.wantMetric(t, float64(5*len(targets)), "upstream_failures_total", "upstream", id, "route", id, "reason", "upstream_refused")
		for _, target := range targets {
			s.messages.find(t, record{"msg": "circuit breaker open", "upstream": id, "target": target, "cause": "upstream_refused"})
			s.wantMetric(t, 5, "upstream_target_failures_total", "upstream", id, "target", target)
		}
	}
	if n := a.requests.Load(); n != 0 {
		t.Errorf("a drained target got %d requests", n)
	}
}

// TestTargetTwice holds that one address cannot be listed twice.
func TestTargetTwice(t *testing.T) {
	t.Parallel()
	_, err := sentinel.New(sentinel.Options{Text: []byte(siteFrame + plainRoute("u", `target "127.0.0.1:1"; target "127.0.0.1:1"`))})
	var problem *sentinel.ConfigError
	if !errors.As(err, &problem) || !strings.Contains(err.Error(), "already listed") {
		t.Errorf("New: %v", err)
	}
}

// TestUpstreamStatus answers with a status that is to be tried again when nobody is left to try.
func TestUpstreamStatus(t *testing.T) {
	t.Parallel()
	w := newWard(t, nil)
	w.status.Store(503)
	s := openSite(t, fmt.Sprintf("upstream \"u\" { target %q; circuit-breaker { failure-threshold 1 } }\n"+
		"route \"r\" { matches { path \"/r\" }; upstream \"u\"; retry-policy { backoff-base-ms 1 } }\n", w.addr), nil)
	s.wantFailure(t, "r", 0, 502, "upstream_status", 1)
	s.wantMetric(t, 1, "upstream_failures_total", "upstream", "u", "route", "r", "reason", "upstream_status")
	if n := w.requests.Load(); n != 1 {
		t.Errorf("the target got %d requests, want 1", n)
	}
}

// identity is what a target shows of itself over TLS, and what is wrong with it.
type identity struct {
	id    string
	shows func(*testing.T, *authority) *tls.Config // nil: it speaks no TLS
	asks  string                                   // the name that is asked for
	cause string                                   // why a probe fails
}

var identities = []identity{
	{"unknown-ca", func(t *testing.T, _ *authority) *tls.Config {
		return certified(newAuthority(t).issue(t, "ward.example"))
	}, "ward.example", "certificate: unknown authority"},
	{"wrong-name", func(t *testing.T, a *authority) *tls.Config { return certified(a.issue(t, "other.example")) }, "ward.example", "certificate: wrong name"},
	{"expired", func(t *testing.T, a *authority) *tls.Config { return certified(a.expired(t, "ward.example")) }, "ward.example", "certificate: expired or not yet valid"},
	{"plain", func(*testing.T, *authority) *tls.Config { return nil }, "ward.example", "no TLS answer"},
}

func certified(pair tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// expired is issue with a certificate whose time is over.
func (a *authority) expired(t *testing.T, host string) tls.Certificate {
	t.Helper()
	pair := a.issue(t, host)
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	cert.NotBefore, cert.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	pair.Certificate = [][]byte{a.sign(t, cert, cert.PublicKey.(*ecdsa.PublicKey), a.cert).Raw}
	return pair
}

// certificates holds that a target that cannot show who it is gets no request, with a probe that says
// why and without one.
func certificates(t *testing.T) {
	a := newAuthority(t)
	good := newWard(t, certified(a.issue(t, "ward.example")))
	text, wards := "", map[string]*ward{}
	for _, i := range identities {
		w := newWard(t, i.shows(t, a))
		wards[i.id] = w
		block := fmt.Sprintf("target %q; tls { sni %q; ca-cert %q }\n", w.addr, i.asks, a.path("ca.pem"))
		text += plainRoute(i.id, block) + plainRoute(i.id+"-two", block+fmt.Sprintf("target %q\n", good.addr)) +
			plainRoute(i.id+"-probed", block+"health-check { type \"http\"; interval-secs 1; unhealthy-threshold 1 }")
	}
	s := openSite(t, text, nil)
	for _, i := range identities {
		w := wards[i.id]
		s.wantFailure(t, i.id, 0, 502, "upstream_tls", 1)
		s.wantMetric(t, 1, "upstream_failures_total", "upstream", i.id, "route", i.id, "reason", "upstream_tls")
		repeats := 0
		for n := range 2 { // at least one of them begins at the failing target
			s.get(t, "/"+i.id+"-two", 200)
			repeats += s.line(t, i.id+"-two", n).Attempts - 1
		}
		if repeats == 0 {
			t.Errorf("%s: the second target got everything at once", i.id)
		}
		s.wantMetric(t, float64(repeats), "upstream_target_failures_total", "upstream", i.id+"-two", "target", w.addr)

		s.messages.find(t, record{"msg": "upstream unhealthy", "upstream": i.id + "-probed", "target": w.addr, "cause": i.cause})
		s.wantFailure(t, i.id+"-probed", 0, 503, "no_healthy_target", 0)
		if v := s.target(t, i.id+"-probed", 0); or(v.ProbeError) != i.cause || v.Healthy {
			t.Errorf("%s: /upstreams shows %+v, want %q", i.id, v, i.cause)
		}
		if n := w.requests.Load() + w.probes.Load(); n != 0 {
			t.Errorf("%s: the target got %d requests and probes over a connection nobody trusts", i.id, n)
		}
	}
}

// hostile is an answer to a probe that is meant to cost something.
type hostile struct {
	id     string
	answer func(net.Conn) // writes raw bytes; the connection ends after it
	cause  string         // why the target is unhealthy; empty: it is not, the status decides
}

var hostiles = []hostile{
	{"large-body", after("HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n", strings.Repeat("x", 1<<20), 10), ""},
	{"unending-body", after("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "10000\r\n"+strings.Repeat("x", 1<<16)+"\r\n", forEver), ""},
	{"unending-body-of-an-error", after("HTTP/1.1 500 No\r\n\r\n", strings.Repeat("x", 1<<16), forEver), "status 500, expected 2xx"},
	{"unending-head", after("HTTP/1.1 200 OK\r\n", "X-Filler: "+strings.Repeat("x", 1<<10)+"\r\n", forEver), "response head too large"},
	{"unending-field", after("HTTP/1.1 200 OK\r\nX: ", strings.Repeat("x", 1<<16), forEver), "response head too large"},
	{"unending-interim", after("", "HTTP/1.1 103 Early Hints\r\n\r\n", forEver), "response head too large"},
	{"silent", func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }, "timeout"},
	{"garbage", after("\x00\x01\x02\r\n\r\n", "", 0), "no HTTP response"},
	{"nothing", after("", "", 0), "connection closed"},
}

const forEver = 1 << 40

// after returns an answer that begins with head and goes on with part, n times.
func after(head, part string, n int) func(net.Conn) {
	again := []byte(part)
	return func(nc net.Conn) {
		_, err := io.WriteString(nc, head)
		for i := 0; i < n && err == nil; i++ {
			_, err = nc.Write(again)
		}
	}
}

// hostileProbes answers probes with what is large, or has no end, or never comes. Each is over within
// the probe's time, and has one result.
func hostileProbes(t *testing.T) {
	text := ""
	wards := make([]*ward, len(hostiles))
	over := make([]chan struct{}, len(hostiles)) // one for each answer that has ended
	for i, h := range hostiles {
		wards[i], over[i] = newWard(t, nil), make(chan struct{}, 100)
		wards[i].probed = h.serve(over[i])
		text += plainRoute(h.id, fmt.Sprintf("target %q; health-check { type \"http\"; interval-secs 1; timeout-secs 1; unhealthy-threshold 1 }", wards[i].addr))
	}
	s := openSite(t, text, nil)
	for i, h := range hostiles {
		for range 2 {
			select {
			case <-over[i]:
			case <-bounded(t).Done():
				t.Fatalf("%s: the probe does not end", h.id)
			}
		}
		h.check(t, s, wards[i])
	}
}

// serve answers on the bare connection and tells when that is over.
func (h *hostile) serve(over chan<- struct{}) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		nc, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		h.answer(nc)
		_ = nc.Close()
		select {
		case over <- struct{}{}:
		default: // nobody counts any more
		}
	}
}

func (h *hostile) check(t *testing.T, s *site, w *ward) {
	t.Helper()
	if h.cause == "" {
		s.get(t, "/"+h.id, 200)
		if v := s.target(t, h.id, 0); !v.Healthy || v.Status != "healthy" || v.LastProbe == nil || v.ProbeError != nil {
			t.Errorf("%s: /upstreams shows %+v, %s, want it healthy", h.id, v, or(v.ProbeError))
		}
		if events := s.messages.those(record{"upstream": h.id}); len(events) > 0 {
			t.Errorf("%s: the log has %v", h.id, events)
		}
		return
	}
	s.messages.find(t, record{"msg": "upstream unhealthy", "upstream": h.id, "target": w.addr, "cause": h.cause})
	s.wantMetric(t, 0, "upstream_target_healthy", "upstream", h.id, "target", w.addr)
	s.wantFailure(t, h.id, 0, 503, "no_healthy_target", 0)
}

// neverStarted asks for proxies that cannot be, when much of each is there already.
func neverStarted(t *testing.T) {
	taken := listen(t)
	defer func() { _ = taken.Close() }()
	text := siteFrame + plainRoute("u", `target "127.0.0.1:1"; health-check { type "tcp" }`)
	text += fmt.Sprintf("listener \"second\" { address %q }\n", taken.Addr())
	for range 20 {
		if _, err := sentinel.New(sentinel.Options{Text: []byte(text)}); err == nil {
			t.Fatal("two listen on one address")
		}
	}
}
