package conformance

import (
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
)

// webSockets is through for a route that upgrades.
func webSockets(id, target string) string {
	return strings.Replace(through(id, target), "}; upstream", "}; websocket true; upstream", 1)
}

// tunnel opens an upgraded connection through a route; n counts the origin's requests.
func (s *reloadSite) tunnel(t *testing.T, o *origin, id string, n int) (*client, *request) {
	t.Helper()
	c := dial(t, s.addr, whole)
	c.send([]byte("GET /" + id + " HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	r := o.request(n, complete)
	if r == nil {
		t.Fatalf("the handshake of %s did not come to the origin: %q", id, clip(c.got))
	}
	r.answer([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"))
	wantStatus(t, c, 101)
	return c, r
}

// TestReloadTunnels keeps upgraded connections open over reloads of everything but their route (REL-05).
func TestReloadTunnels(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	const many = 1_000_000 // as -scale asks for
	sockets := strings.Replace(webSockets("ws", o.addr()), "upstream \"ws\" {", fmt.Sprintf("upstream \"ws\" { connection-pool { max-connections %d };", many), 1)
	limits := func(headers int) string {
		return fmt.Sprintf("limits { max-connections-per-client %d; max-connections-per-route %[1]d; max-header-count %d }\n", many, headers)
	}
	s := openReloadSite(t, sockets+limits(50))
	type open struct {
		c *client
		r *request
	}
	var all []open
	for n := range 50 * *scale {
		c, r := s.tunnel(t, o, "ws", n)
		all = append(all, open{c, r})
	}
	for n := range 20 * *scale {
		s.reload(t, sockets+through(fmt.Sprint("other-", n), o.addr())+
			fmt.Sprintf("listener \"extra\" { address \"127.0.0.1:0\"; keepalive-timeout-secs %d }\n", n+1)+limits(n+50))
	}
	for n, tunnel := range all {
		ping := fmt.Appendf(nil, "ping %d", n)
		tunnel.c.send(ping)
		tunnel.r.tunnelled(t, ping)
		tunnel.r.close()
	}
	eventually(t, "one generation", func() bool { return s.p.Status().GenerationsLive == 1 })
}

// TestReloadGenerations holds that no more than four configurations are in memory: the oldest is cut for the fifth.
func TestReloadGenerations(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	changed := func(n int) string {
		return strings.Replace(webSockets("ws", o.addr()), "websocket true", fmt.Sprintf("websocket true; priority %d", n), 1)
	}
	s := openReloadSite(t, "")
	frame := strings.Replace(reloadFrame, "reload-drain-secs 1", "reload-drain-secs 600", 1)
	step := func(n int) {
		s.writeRaw(t, frame+changed(n))
		if _, err := s.p.Reload(bounded(t), "test"); err != nil {
			t.Fatal(err)
		}
	}
	step(0)
	var all []*client
	for n := range 5 {
		c, _ := s.tunnel(t, o, "ws", n)
		all = append(all, c)
		if live := s.p.Status().GenerationsLive; live != min(n+1, 4) {
			t.Errorf("%d generations after %d reloads", live, n)
		}
		step(n + 1)
	}
	for n, c := range all[:2] {
		wantGone(t, c)
		s.access.must(t, "its access line", func() bool {
			cut := 0
			for _, l := range s.access.lines {
				if l.Error == "reload_drained" {
					cut++
				}
			}
			return cut > n
		})
	}
	s.messages.find(t, record{"msg": "too many generations drain, the oldest is cut"})
	for n, c := range all[2:] {
		r := o.request(n+2, complete)
		c.send([]byte("ping"))
		r.tunnelled(t, []byte("ping"))
		r.close()
	}
}

// TestReloadLeak reloads again and again, with everything coming and going. When the proxy has stopped, no goroutine of
// its own and no descriptor is left; while it runs, no more of them than after the first reload. It is not parallel,
// so that nobody else's come and go meanwhile.
func TestReloadLeak(t *testing.T) {
	// Without the garbage collector, which closes what nobody can close any more.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(2 << 30))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := settled(t, func(h held) bool { return len(h.ours) == 0 })
	t.Run("all", func(t *testing.T) {
		o := answering(t, "o")
		s := openReloadSite(t, through("a", o.addr()))
		step := func(n int) {
			s.reload(t, through("a", o.addr())+through(fmt.Sprint("b-", n), o.addr())+fmt.Sprintf(`
listener "extra" { address "127.0.0.%d:0" }
upstream "probed-%d" { target %q; health-check { type "tcp" } }
agents { agent "g-%[2]d" { unix-socket "/tmp/nobody-listens-here-%[2]d.sock" } }
filters { filter "g" { type "agent"; agent "g-%[2]d"; failure-mode "open" } }
route "g" { matches { path "/g" }; upstream "probed-%[2]d"; filters "g" }
`, n%2+1, n, o.addr()))
			s.body(t, "/a")
			s.body(t, "/g")
		}
		step(0)
		eventually(t, "one generation", func() bool { return s.p.Status().GenerationsLive == 1 })
		first := holds(t)
		for n := range 30 * *scale {
			step(n + 1)
		}
		eventually(t, "one generation", func() bool { return s.p.Status().GenerationsLive == 1 })
		last := settled(t, func(h held) bool {
			return h.goroutines <= first.goroutines+5 && len(h.descriptors) <= len(first.descriptors)+5 // as REL-07 says
		})
		t.Logf("after the first reload %d goroutines and %d descriptors, after the last %d and %d",
			first.goroutines, len(first.descriptors), last.goroutines, len(last.descriptors))
	})
	settled(t, func(h held) bool {
		return len(h.ours) == 0 && h.goroutines <= before.goroutines && len(h.descriptors) <= len(before.descriptors)
	})
}
