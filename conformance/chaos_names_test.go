package conformance

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// zone is a name server on 127.0.0.1: the names it knows, with their addresses.
type zone struct {
	known map[string]net.IP // "a.test." and its address; others do not exist
	mute  map[string]bool   // names it does not answer about
	pc    net.PacketConn
}

// newZone starts one and returns a resolver that asks nobody else.
func newZone(t testing.TB, z *zone) *net.Resolver {
	t.Helper()
	var err error
	if z.pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(z.run)
	t.Cleanup(func() {
		_ = z.pc.Close()
		running.Wait()
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", z.pc.LocalAddr().String())
	}}
}

func (z *zone) run() {
	query := make([]byte, 512)
	for {
		n, from, err := z.pc.ReadFrom(query)
		if err != nil {
			return
		}
		if reply := z.reply(query[:n]); reply != nil {
			_, _ = z.pc.WriteTo(reply, from)
		}
	}
}

// reply answers a query with one question (RFC 1035 4); nil: not at all.
func (z *zone) reply(query []byte) []byte {
	const head, noSuchName, typeA = 12, 3, 1
	name, end := "", head
	for end < len(query) && query[end] != 0 {
		next := end + 1 + int(query[end])
		if next >= len(query) {
			return nil
		}
		name += string(query[end+1:next]) + "."
		end = next
	}
	end += 5 // the last label, type and class
	if end > len(query) || z.mute[strings.ToLower(name)] {
		return nil
	}
	ip, known := z.known[strings.ToLower(name)]
	answers, code := 0, 0
	if !known {
		code = noSuchName
	} else if binary.BigEndian.Uint16(query[end-4:]) == typeA {
		answers = 1
	}
	reply := append([]byte{query[0], query[1], 0x85, 0x80 | byte(code), 0, 1, 0, byte(answers), 0, 0, 0, 0}, query[head:end]...)
	if answers > 0 {
		reply = append(reply, 0xc0, head, 0, typeA, 0, 1, 0, 0, 0, 1, 0, 4) // the name above, for a second
		reply = append(reply, ip.To4()...)
	}
	return reply
}

// targetNames is about targets with names: two names of one address, a name that does not exist, one that
// nobody answers about.
func targetNames(t *testing.T) {
	here := net.IPv4(127, 0, 0, 1)
	r := newZone(t, &zone{known: map[string]net.IP{"a.test.": here, "b.test.": here}, mute: map[string]bool{"mute.test.": true}})
	w := newWard(t, nil)
	_, port, err := net.SplitHostPort(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return fmt.Sprintf("target %q\n", name+":"+port) }
	text := plainRoute("same", at("a.test")+at("b.test")) + plainRoute("no-name", at("nowhere.test")) +
		plainRoute("no-name-two", at("nowhere.test")+at("a.test")+"load-balancing \"least_connections\"\n") +
		plainRoute("no-name-probed", at("nowhere.test")+"health-check { type \"tcp\"; interval-secs 1; unhealthy-threshold 1 }") +
		plainRoute("mute", at("mute.test")+"timeouts { connect-secs 1 }")
	s := openSite(t, text, r)

	for range 10 {
		s.get(t, "/same", 200)
	}
	for _, name := range []string{"a.test:", "b.test:"} {
		s.wantMetric(t, 5, "upstream_target_requests_total", "upstream", "same", "target", name+port)
	}

	lost := "nowhere.test:" + port
	s.wantFailure(t, "no-name", 0, 502, "upstream_dns", 1)
	s.wantMetric(t, 1, "upstream_failures_total", "upstream", "no-name", "route", "no-name", "reason", "upstream_dns")
	for _, id := range []string{"no-name", "no-name-two"} {
		s.messages.find(t, record{"msg": "upstream unresolved", "upstream": id, "target": lost, "cause": "the name does not resolve"})
		s.audit.find(t, record{"event_type": "upstream_health_change", "reason": "unresolved", "metadata.upstream": id, "metadata.target": lost})
	}
	repeats := 0
	for n := range 4 {
		s.get(t, "/no-name-two", 200)
		repeats += s.line(t, "no-name-two", n).Attempts - 1
	}
	if repeats == 0 {
		t.Error("the name that does not exist was never tried")
	}
	s.wantMetric(t, float64(repeats), "upstream_target_failures_total", "upstream", "no-name-two", "target", lost)

	s.messages.find(t, record{"msg": "upstream unhealthy", "upstream": "no-name-probed", "target": lost, "cause": "name does not resolve"})
	s.wantFailure(t, "no-name-probed", 0, 503, "no_healthy_target", 0)

	began := time.Now()
	s.wantFailure(t, "mute", 0, 502, "upstream_dns", 1)
	if took := time.Since(began); took > time.Second+patient {
		t.Errorf("a name server that does not answer took %v of a client's time, want a second", took)
	}
}
