package conformance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// from connects to a proxy from one of the loopback addresses, each of which is another client.
func from(t *testing.T, ip, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	nc, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatalf("connecting from %s: %v", ip, err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(*patience))
	return nc
}

// alive reports whether the proxy serves a connection; an error says that it neither does nor closed it.
func alive(nc net.Conn) (bool, error) {
	if _, err := nc.Write(get("/nowhere")); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return false, err
	}
	b := make([]byte, 4<<10)
	n, err := nc.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, err
	}
	return n > 0, nil
}

func wantAlive(t *testing.T, what string, nc net.Conn, want bool) {
	t.Helper()
	if got, err := alive(nc); got != want || err != nil {
		t.Errorf("%s: served %t (%v), want %t", what, got, err, want)
	}
}

// TestClientConnectionLimit opens one connection more than a client may have: it is closed, another client's
// is not, and a place that becomes free is given away.
func TestClientConnectionLimit(t *testing.T) {
	t.Parallel()
	s := openSite(t, "\nlimits { max-connections-per-client 2 }\n", nil)
	first, second := from(t, "127.0.0.2", s.addr), from(t, "127.0.0.2", s.addr)
	wantAlive(t, "the first connection", first, true)
	wantAlive(t, "the second connection", second, true)
	wantAlive(t, "the third connection", from(t, "127.0.0.2", s.addr), false)
	wantAlive(t, "another client", from(t, "127.0.0.3", s.addr), true)
	wantAlive(t, "the second connection", second, true)
	s.wantMetric(t, 1, "blocked_requests_total", "reason", "client_connection_limit")
	if r := s.messages.find(t, record{"reason": "client_connection_limit"}); r["limit"] != "2" {
		t.Errorf("the log has %v", r)
	}
	_ = first.Close()
	eventually(t, "the place of a connection that ended is free", func() bool {
		ok, err := alive(from(t, "127.0.0.2", s.addr))
		return ok && err == nil
	})
}

// ordinary reports whether a connection is still good for a request.
func ordinary(t *testing.T, c *client, o *origin) {
	t.Helper()
	begun, _ := o.count()
	c.send(get("/other/x"))
	if r := o.request(begun, complete); r != nil {
		r.answer(defaultAnswer)
	}
	wantStatus(t, c, 200)
}

// shed checks the first refusal on route "o": its status, when to come back, and what the logs say.
func (s *site) shed(t *testing.T, c *client, reason string) {
	t.Helper()
	m := wantStatus(t, c, 503)
	if after := values(m.fields, "Retry-After"); len(after) != 1 || after[0] != "1" {
		t.Errorf("Retry-After is %q, want 1", after)
	}
	if l := s.line(t, "o", 0); l.Error != reason || l.Attempts != 0 {
		t.Errorf("the log has %+v, want %s without an attempt", l, reason)
	}
	s.audit.find(t, record{"event_type": "blocked", "reason": reason, "route_id": "o", "status_code": "503"})
	s.wantMetric(t, 1, "blocked_requests_total", "reason", reason)
}

// twoRoutes lead to one origin.
const twoRoutes = `
upstream "o" { target %q }
route "o" { matches { path-prefix "/o" }; upstream "o"; websocket { max-connections-per-ip 1 } }
route "other" { matches { path-prefix "/other" }; upstream "o" }
limits { %s }
`

// TestRouteLimit fills a route: what is over it is refused, its connection and the other route go on.
func TestRouteLimit(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	s := openSite(t, fmt.Sprintf(twoRoutes, o.addr(), "max-connections-per-route 2"), nil)
	held := []*client{dial(t, s.addr, whole), dial(t, s.addr, whole)}
	for i, c := range held {
		c.send(get("/o"))
		o.must(t, "the request arrives", func() bool { return len(o.requests) == i+1 && o.requests[i].complete })
	}
	late := dial(t, s.addr, whole)
	late.send([]byte("POST /o HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello"))
	s.shed(t, late, "route_limit")
	ordinary(t, late, o)
	late.send([]byte("POST /o HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"))
	wantStatus(t, late, 503) // at once, and the body is not asked for
	wantEOF(t, late)
	o.request(0, complete).answer(defaultAnswer)
	wantStatus(t, held[0], 200)
	begun, _ := o.count()
	held[0].send(get("/o/again"))
	if r := o.request(begun, complete); r != nil {
		r.answer(defaultAnswer)
	}
	wantStatus(t, held[0], 200)
}

// TestRouteLimitTunnel has a WebSocket take its route's only place, for as long as it is open.
func TestRouteLimitTunnel(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	s := openSite(t, fmt.Sprintf(twoRoutes, o.addr(), "max-connections-per-route 1"), nil)
	tunnel, plain := dial(t, s.addr, whole), dial(t, s.addr, whole)
	r := upgrade(t, o, 0, tunnel.nc)
	wantStatus(t, tunnel, 101)
	plain.send(get("/o"))
	s.shed(t, plain, "route_limit")
	tunnel.close()
	r.close()
	s.line(t, "o", 1)
	plain.send(get("/o"))
	if r := o.request(1, complete); r != nil {
		r.answer(defaultAnswer)
	}
	wantStatus(t, plain, 200)
}

// TestInFlightLine fills the proxy and the line: the handlers of the proxy's own go on answering, who finds no
// place is refused, who leaves gives up its turn, and the next in line is served.
func TestInFlightLine(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	s := openSite(t, fmt.Sprintf(twoRoutes, o.addr(), "max-in-flight-requests 1; max-queued-requests 2; queue-timeout-ms 600000"), nil)
	clients := make([]*client, 4)
	for i := range clients {
		clients[i] = dial(t, s.addr, whole)
		clients[i].send(get(fmt.Sprintf("/o/%d", i)))
		switch {
		case i == 0:
			o.must(t, "the first request arrives", func() bool { return len(o.requests) == 1 && o.requests[0].complete })
		case i < 3:
			s.queued(t, float64(i))
		}
	}
	s.shed(t, clients[3], "in_flight_limit")
	clients[1].close()
	s.queued(t, 1)
	if l := s.line(t, "o", 1); l.Status != 499 || l.Error != "client_gone" || l.Path != "/o/1" {
		t.Errorf("the log has %+v, want the client that left", l)
	}
	o.request(0, complete).answer(defaultAnswer)
	wantStatus(t, clients[0], 200)
	if r := o.request(1, complete); r == nil || r.seen().start != "GET /o/2 HTTP/1.1" {
		t.Fatalf("the next one in line is not served: %s", o)
	}
	o.request(1, complete).answer(defaultAnswer)
	wantStatus(t, clients[2], 200)
	ordinary(t, clients[3], o)
	s.queued(t, 0)
	eventually(t, "all places are free", func() bool { return s.metrics(t)[series("in_flight_requests")] == 0 })
}

// queued waits until so many requests are in line.
func (s *site) queued(t *testing.T, n float64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%v requests in line", n), func() bool { return s.metrics(t)[series("queued_requests")] == n })
}

// TestInFlightDeadline holds that nobody waits in line longer than queue-timeout-ms.
func TestInFlightDeadline(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	s := openSite(t, fmt.Sprintf(twoRoutes, o.addr(), "max-in-flight-requests 1; queue-timeout-ms 300"), nil)
	first, late := dial(t, s.addr, whole), dial(t, s.addr, whole)
	first.send(get("/o"))
	o.must(t, "the first request arrives", func() bool { return len(o.requests) == 1 && o.requests[0].complete })
	began := time.Now()
	late.send(get("/o"))
	s.shed(t, late, "in_flight_limit")
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("refused after %v, want queue-timeout-ms, 300 ms", took)
	} else {
		t.Logf("refused after %v of 300 ms", took)
	}
	o.request(0, complete).answer(defaultAnswer)
	wantStatus(t, first, 200)
	ordinary(t, late, o)
}

const handshake = " HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// upgrade sends a handshake, which must be the nth request at the origin, and has it accepted.
func upgrade(t *testing.T, o *origin, n int, nc io.Writer) *request {
	t.Helper()
	_, _ = io.WriteString(nc, "GET /o/chat"+handshake)
	r := o.request(n, complete)
	if r == nil {
		t.Fatalf("the handshake does not arrive: %s", o)
	}
	r.answer([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"))
	return r
}

// TestWebSocketLimit opens one WebSocket more than a client may have on a route. Plain requests are not counted,
// other clients have their own, and a place comes back with the end of the tunnel.
func TestWebSocketLimit(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	s := openSite(t, fmt.Sprintf(twoRoutes, o.addr(), "max-connections-per-route 5"), nil)
	first := dial(t, s.addr, whole)
	r := upgrade(t, o, 0, first.nc)
	wantStatus(t, first, 101)
	second := dial(t, s.addr, whole)
	second.send([]byte("GET /o/chat" + handshake))
	s.shed(t, second, "websocket_limit")
	ordinary(t, second, o)
	defer upgrade(t, o, 2, from(t, "127.0.0.9", s.addr)).close()
	first.close()
	r.close()
	s.line(t, "o", 1)
	third := dial(t, s.addr, whole)
	defer upgrade(t, o, 3, third.nc).close()
	wantStatus(t, third, 101)
}
