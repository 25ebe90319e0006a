package conformance

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// nameServer answers questions for addresses over UDP on 127.0.0.1 (RFC 1035 4.1).
type nameServer struct {
	at      string
	running sync.WaitGroup

	mu    sync.Mutex // guards the rest
	pc    net.PacketConn
	names map[string][]netip.Addr // an unknown name does not exist
	asked map[string]int
}

func newNameServer(t testing.TB) *nameServer {
	t.Helper()
	n := &nameServer{at: "127.0.0.1:0", names: map[string][]netip.Addr{}, asked: map[string]int{}}
	n.start(t)
	t.Cleanup(n.stop)
	return n
}

// start begins to answer, always on the same port.
func (n *nameServer) start(t testing.TB) {
	t.Helper()
	pc, err := net.ListenPacket("udp", n.at)
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at, n.pc = pc.LocalAddr().String(), pc
	n.running.Go(func() { n.serve(pc) })
}

func (n *nameServer) stop() {
	n.mu.Lock()
	_ = n.pc.Close()
	n.mu.Unlock()
	n.running.Wait()
}

// set changes the addresses of a name.
func (n *nameServer) set(name string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = nil
	for _, a := range addrs {
		n.names[name] = append(n.names[name], netip.MustParseAddr(a))
	}
}

// resolver asks this server only.
func (n *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		n.mu.Lock()
		at := n.at
		n.mu.Unlock()
		return new(net.Dialer).DialContext(ctx, "udp", at)
	}}
}

func (n *nameServer) serve(pc net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		size, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if a := n.answer(buf[:size]); a != nil {
			_, _ = pc.WriteTo(a, from)
		}
	}
}

const (
	dnsHeader  = 12
	typeA      = 1
	typeAAAA   = 28
	isResponse = 0x8180 // with recursion, desired and available
	noSuchName = 3
)

// answer makes the response to a query; nil: it is none.
func (n *nameServer) answer(query []byte) []byte {
	name, end := readQuestion(query)
	if end < 0 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[name]++
	addrs, known := n.names[name]
	var records []byte
	count := 0
	for _, a := range addrs {
		kind := uint16(typeA)
		if a.Is6() {
			kind = typeAAAA
		}
		if kind != binary.BigEndian.Uint16(query[end-4:]) {
			continue
		}
		count++
		records = append(records, 0xc0, dnsHeader, 0, byte(kind), 0, 1, 0, 0, 0, 1) // the question's name, class IN, TTL 1 s
		records = binary.BigEndian.AppendUint16(records, uint16(len(a.AsSlice())))
		records = append(records, a.AsSlice()...)
	}
	flags := uint16(isResponse)
	if !known {
		flags |= noSuchName
	}
	b := append([]byte{}, query[:2]...)
	for _, v := range []uint16{flags, 1, uint16(count), 0, 0} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return append(append(b, query[dnsHeader:end]...), records...)
}

// readQuestion returns the name that is asked for and where the question ends; -1: it is none.
func readQuestion(query []byte) (name string, end int) {
	at := dnsHeader
	for at < len(query) && query[at] != 0 {
		length := int(query[at])
		if at+1+length > len(query) {
			return "", -1
		}
		name += string(query[at+1:at+1+length]) + "."
		at += 1 + length
	}
	if end = at + 1 + 4; end > len(query) {
		return "", -1
	}
	return strings.ToLower(strings.TrimSuffix(name, ".")), end
}

// twins returns two origins with one port, on 127.0.0.1 and on ::1, that answer with so many bytes.
func twins(t testing.TB, sizes [2]int) (pair [2]*origin, port string) {
	t.Helper()
	for range 100 {
		first := listen(t)
		_, port, _ = net.SplitHostPort(first.Addr().String())
		second, err := net.Listen("tcp", net.JoinHostPort("::1", port))
		if err != nil {
			_ = first.Close() // somebody has the port
			continue
		}
		for i, ln := range []net.Listener{first, second} {
			pair[i] = serveOrigin(t, ln)
			pair[i].auto = func(r *request) {
				r.answer(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", sizes[i], strings.Repeat("x", sizes[i])))
			}
		}
		return pair, port
	}
	t.Fatal("no port is free on both addresses")
	return pair, ""
}

// TestNameMoves is UP-07: a name gets another address. Within dns-refresh-secs requests go there, those on
// busy connections too, and not one fails. While the name server is down the last answer holds.
func TestNameMoves(t *testing.T) {
	t.Parallel()
	const old, moved = 1, 2 // bytes of the answers
	pair, port := twins(t, [2]int{old, moved})
	dns := newNameServer(t)
	dns.set("origin.test", "127.0.0.1")
	s := openSite(t, fmt.Sprintf(`
upstream "o" { target "origin.test:%s"; dns-refresh-secs 1; timeouts { connect-secs 1 } }
upstream "lost" { target "nowhere.test:%[1]s"; dns-refresh-secs 1 }
route "o" { matches { path "/o" }; upstream "o" }
route "lost" { matches { path "/lost" }; upstream "lost" }
`, port), dns.resolver())
	clients := lay(t, s.addr, "/o", 200**scale)
	more(t, old, 50, clients)

	change := time.Now()
	dns.set("origin.test", "::1")
	more(t, moved, 50, clients)
	pair[0].must(t, "no connection to the old address is left", func() bool { return pair[0].open == 0 })
	checkMove(t, "to another address", clients, change, moved, old)

	dns.stop()
	target := "origin.test:" + port
	atLeast(t, s.audit, 1, record{"event_type": "upstream_health_change", "metadata.target": target, "reason": "unresolved"})
	clients.until(t, time.Now().Add(1500*time.Millisecond)) // over another look-up
	more(t, moved, 50, clients)

	dns.set("origin.test", "127.0.0.1")
	dns.start(t)
	back := time.Now()
	more(t, old, 50, clients)
	checkMove(t, "back, with the name server", clients, back, old, moved)
	atLeast(t, s.audit, 1, record{"event_type": "upstream_health_change", "metadata.target": target, "reason": "resolved"})
	calls := clients.raise()
	for _, c := range failed(calls) {
		t.Errorf("%s got %d (%v)", c.id, c.status, c.err)
	}
	checkNowhere(t, s, dns)
	t.Logf("%d requests, %d failed", len(calls), len(failed(calls)))
}

// checkMove checks when the first request went to the new address, and the last one to the old.
func checkMove(t *testing.T, what string, s *siege, change time.Time, to, from int) {
	t.Helper()
	var first, last time.Duration
	s.update(func() {
		for _, c := range s.calls {
			switch since := c.began.Sub(change); {
			case since < 0:
			case c.size == to && (first == 0 || since < first):
				first = since
			case c.size == from && since > last:
				last = since
			}
		}
	})
	// The promise is dns-refresh-secs, 1 s.
	if first == 0 || first > 3*time.Second || last > 3*time.Second {
		t.Errorf("%s: the first request came after %v, the last one to the other after %v", what, first, last)
	}
	t.Logf("%s: first request after %v, last one to the other after %v", what, first, last)
}

// checkNowhere asks for a name that never resolved: each request looks it up, and fails at once.
func checkNowhere(t *testing.T, s *site, dns *nameServer) {
	t.Helper()
	for i := range 3 {
		s.get(t, "/lost", 502)
		if l := s.line(t, "lost", i); l.Error != "upstream_dns" {
			t.Errorf("a name that does not exist: %+v", l)
		}
	}
	dns.mu.Lock()
	defer dns.mu.Unlock()
	if dns.asked["nowhere.test"] == 0 {
		t.Errorf("the name server was never asked: %v", dns.asked)
	}
}
