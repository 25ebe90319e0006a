package conformance

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// The vectors of announce show what a PROXY protocol header does. Here is when it comes in pieces, what is
// none, and who may send one.

const sig = "\r\n\r\n\x00\r\nQUIT\n"

const announced4 = "\xcb\x00\x71\x07\xc0\x00\x02\x01\x04\xd2\x01\xbb" // 203.0.113.7:1234 to 192.0.2.1:443

// announcements are headers and whose connection they say it is.
var announcements = map[string]string{
	"PROXY TCP4 203.0.113.7 192.0.2.1 1234 443\r\n":   "203.0.113.7",
	"PROXY TCP6 2001:db8::7 2001:db8::1 1234 443\r\n": "2001:db8::7",
	"PROXY UNKNOWN\r\n":                                                 "127.0.0.1",
	sig + "\x21\x11\x00\x0c" + announced4:                               "203.0.113.7",
	sig + "\x21\x11\x00\x11" + announced4 + "\x01\x00\x02h2":            "203.0.113.7",
	sig + "\x20\x00\x00\x00":                                            "127.0.0.1",
	sig + "\x21\x21\x00\x24" + strings.Repeat("\x20\x01", 18):           "2001:2001:2001:2001:2001:2001:2001:2001",
	sig + "\x21\x00\x00\x03abc":                                         "127.0.0.1",
	"PROXY UNKNOWN ffff::1 ffff::2 " + strings.Repeat("9", 60) + "\r\n": "127.0.0.1",
}

// frame is a configuration with what a test wants of its listener.
func frame(listener string) string {
	return strings.Replace(siteFrame, `{ address "127.0.0.1:0" }`, "{\naddress \"127.0.0.1:0\"\n"+listener+"\n}", 1)
}

const healthRoute = `route "h" { matches { path "/h" }; builtin-handler "health" }`

func getPath(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a.example\r\n\r\n" }

// TestProxyProtocolSplit sends every header in two pieces, cut at every byte, and a request right behind it.
func TestProxyProtocolSplit(t *testing.T) {
	t.Parallel()
	s := openWhole(t, frame(`proxy-protocol "require"`)+healthRoute, nil)
	n := 0
	for header, client := range announcements {
		script := []byte(header + getPath("/h"))
		for at := 1; at <= len(header); at++ {
			c := dial(t, s.addr, halves(at))
			c.send(script)
			wantStatus(t, c, 200)
			if lines := s.access.wait(n + 1); len(lines) != n+1 || lines[n].ClientIP != client {
				t.Fatalf("%q cut at %d: %+v, want client %s", header, at, s.access.last(), client)
			}
			c.close()
			n++
		}
	}
}

// nonHeaders are beginnings of connections that are no header, and what is wrong with them.
var nonHeaders = map[string]string{
	getPath("/h"): "no header",
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03":    "no header",
	"proxy TCP4 203.0.113.7 192.0.2.1 1234 443\r\n":   "no header",
	"PROXY TCP4 203.0.113.7 192.0.2.1 1234 443\n":     "malformed header",
	"PROXY TCP4 203.0.113.7 192.0.2.1 01234 443\r\n":  "malformed header",
	"PROXY TCP4 2001:db8::7 2001:db8::1 1234 443\r\n": "malformed header",
	"PROXY UDP4 203.0.113.7 192.0.2.1 1234 443\r\n":   "malformed header",
	"PROXY UNKNOWN " + strings.Repeat("x", 100):       "malformed header",
	sig + "\x22\x11\x00\x0c" + announced4:             "malformed header",
	sig + "\x21\x12\x00\x0c" + announced4:             "malformed header",
	sig + "\x21\x11\x00\x0b" + announced4[1:]:         "malformed header",
	sig + "\x21\x11\x0f\xf1" + announced4:             "header over 4096 bytes",
	sig + "\x21\x11\xff\xff" + announced4:             "header over 4096 bytes",
}

// TestProxyProtocolRefused shows that without a well-formed header nothing of a connection is served: it is
// closed, counted, and the log says why.
func TestProxyProtocolRefused(t *testing.T) {
	t.Parallel()
	for bad, wrong := range nonHeaders {
		t.Run(fmt.Sprintf("%.24q", bad), func(t *testing.T) {
			t.Parallel()
			s := openWhole(t, frame(`proxy-protocol "require"`)+healthRoute, nil)
			for _, cut := range []cutter{whole, single(len(bad))} {
				c := dial(t, s.addr, cut)
				c.send([]byte(bad + getPath("/h")))
				wantEOF(t, c)
				c.close()
			}
			s.messages.find(t, record{"msg": "connection refused", "reason": "proxy_protocol", "problem": wrong, "peer": "127.0.0.1"})
			s.wantRefusals(t, 2)
			if lines := s.access.wait(1); len(lines) != 1 { // that of the scrape
				t.Errorf("access log: %+v", lines)
			}
		})
	}
}

// wantRefusals checks how many connections the proxy says it refused, over one with a header.
func (s *site) wantRefusals(t *testing.T, n int) {
	t.Helper()
	c := dial(t, s.addr, whole)
	defer c.close()
	c.send([]byte("PROXY UNKNOWN\r\n" + getPath("/metrics")))
	if m := wantStatus(t, c, 200); !strings.Contains(string(m.body), fmt.Sprintf("{reason=\"proxy_protocol\"} %d\n", n)) {
		t.Errorf("the metrics do not say %d: %s", n, m.body)
	}
}

// TestProxyProtocolSenders shows who may send a header, and that what is sent inside TLS is none.
func TestProxyProtocolSenders(t *testing.T) {
	t.Parallel()
	s := openWhole(t, frame(`proxy-protocol "require"; trusted-proxies "10.0.0.0/8" "127.0.0.2"`)+healthRoute, nil)
	script := []byte("PROXY TCP4 203.0.113.7 192.0.2.1 1234 443\r\n" + getPath("/h"))
	stranger := dial(t, s.addr, whole)
	stranger.send(script)
	wantEOF(t, stranger)
	s.messages.find(t, record{"reason": "proxy_protocol", "problem": "the peer is not in trusted-proxies"})
	balancer := dialFrom(t, "127.0.0.2", s.addr)
	if _, err := balancer.Write(script); err != nil {
		t.Fatal(err)
	}
	if lines := s.access.wait(1); len(lines) != 1 || lines[0].ClientIP != "203.0.113.7" {
		t.Errorf("access log: %+v", lines)
	}
}

// dialFrom connects from one of the addresses of this machine.
func dialFrom(t tester, from, addr string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	nc, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatalf("connecting from %s: %v", from, err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(*patience))
	return nc.(*net.TCPConn)
}

// glued is a connection whose first write has something before it.
type glued struct {
	net.Conn
	before string
}

func (g *glued) Write(b []byte) (int, error) {
	n := len(g.before)
	k, err := g.Conn.Write(append([]byte(g.before), b...))
	g.before = ""
	return max(k-n, 0), err
}

// TestProxyProtocolBeforeTLS sends the header and the beginning of the handshake in one segment.
func TestProxyProtocolBeforeTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue(t, "a.example")
	s := openWhole(t, frame(fmt.Sprintf(`proxy-protocol "require"
protocol "https"
tls { cert-file %q; key-file %q }`, a.path("a.example.pem"), a.path("a.example.key")))+healthRoute, nil)
	client := &tls.Config{RootCAs: a.pool(), ServerName: "a.example"}
	n := 0
	for header, ip := range announcements {
		nc := dialFrom(t, "127.0.0.1", s.addr)
		secured := tls.Client(&glued{nc, header}, client)
		if _, err := io.WriteString(secured, getPath("/h")); err != nil {
			t.Fatalf("%q: %v", header, err)
		}
		if lines := s.access.wait(n + 1); len(lines) != n+1 || lines[n].ClientIP != ip || lines[n].Status != 200 {
			t.Fatalf("%q: %+v, want client %s", header, s.access.last(), ip)
		}
		n++
	}
	if nc, err := dialTLS(t, s.addr, client); err == nil {
		_ = nc.Close()
		t.Error("a handshake without a header succeeds")
	}
	s.messages.find(t, record{"reason": "proxy_protocol", "problem": "no header"})
}

// TestProxyProtocolSlow shows that a header has the time of a request head, that who says nothing is no
// refusal, and that neither holds up the end of the proxy.
func TestProxyProtocolSlow(t *testing.T) {
	t.Parallel()
	s := openWhole(t, frame(`proxy-protocol "require"; request-timeout-secs 1`)+healthRoute, nil)
	var slow []*client
	for _, begun := range []string{"", "PROXY TCP4 203.0.113.7", sig, sig + "\x21\x11\x00\x0d" + announced4} {
		c := dial(t, s.addr, whole)
		c.send([]byte(begun))
		slow = append(slow, c)
	}
	for _, c := range slow {
		wantEOF(t, c)
	}
	s.messages.find(t, record{"reason": "proxy_protocol", "problem": "incomplete header"})
	s.wantRefusals(t, 3)

	patient := openWhole(t, frame(`proxy-protocol "require"; request-timeout-secs 3600`)+healthRoute, nil)
	silent := dial(t, patient.addr, whole)
	served := dial(t, patient.addr, whole)
	served.send([]byte("PROXY UNKNOWN\r\n" + getPath("/h")))
	wantStatus(t, served, 200)
	patient.cancel()
	wantEOF(t, silent)
	wantEOF(t, served)
}
