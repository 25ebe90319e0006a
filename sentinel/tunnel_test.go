package sentinel_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	upgradeRequest = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
	upgradeAnswer  = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n"
)

// tunnelTo serves a route with websocket before an origin that switches protocols and then runs script.
func tunnelTo(t *testing.T, p plan, script func(*peer)) (*peer, accessLog) {
	t.Helper()
	p.route += "\nwebsocket #true"
	proxy, log := proxyTo(t, scripted(t, func(c *peer) {
		req, err := c.request()
		if err != nil {
			t.Error(err)
			return
		}
		if req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Connection") != "Upgrade" {
			t.Errorf("the origin got %v", req.Header)
		}
		script(c)
	}), p)
	return dial(t, proxy), log
}

func (p *peer) switched(t *testing.T) {
	t.Helper()
	resp := p.head(t, http.MethodGet)
	if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Connection") != "Upgrade" ||
		resp.Header.Get("Sec-WebSocket-Accept") != "y" {
		t.Fatalf("status %d, fields %v", resp.StatusCode, resp.Header)
	}
}

// TestTunnelEcho carries bytes both ways at once, those first that came with the heads.
func TestTunnelEcho(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	want := digestOf(io.MultiReader(&stream{n: size}))
	c, log := tunnelTo(t, plan{}, func(c *peer) {
		_, _ = io.WriteString(c, upgradeAnswer+"early")
		_, _ = io.Copy(c, c.r)
	})
	c.send(t, upgradeRequest+"first")
	go func() {
		_, _ = (&stream{n: size}).WriteTo(c)
		_ = c.tcp.CloseWrite()
	}()
	c.switched(t)
	early := make([]byte, 10)
	if _, err := io.ReadFull(c.r, early); err != nil || string(early) != "earlyfirst" {
		t.Fatalf("the client got %q, %v", early, err)
	}
	if got := digestOf(c.r); got.sum != want.sum || got.err != nil {
		t.Errorf("%d of %d bytes came back, %v", got.length, size, got.err)
	}
	if a := log.expect(t, 101, ""); a.Received != size+5 || a.Sent != size+10 {
		t.Errorf("the log has %d received and %d sent", a.Received, a.Sent)
	}
}

// TestTunnelHalfCloses shows that each direction ends on its own, whoever ends it first.
func TestTunnelHalfCloses(t *testing.T) {
	t.Parallel()
	t.Run("client first", func(t *testing.T) {
		t.Parallel()
		c, log := tunnelTo(t, plan{}, func(c *peer) {
			_, _ = io.WriteString(c, upgradeAnswer)
			got, err := io.ReadAll(c.r)
			_, _ = fmt.Fprintf(c, "after %q, %v", got, err)
		})
		c.send(t, upgradeRequest)
		c.switched(t)
		c.send(t, "last")
		_ = c.tcp.CloseWrite()
		if got, err := io.ReadAll(c.r); string(got) != `after "last", <nil>` || err != nil {
			t.Errorf("the client got %q, %v", got, err)
		}
		log.expect(t, 101, "")
	})
	t.Run("upstream first", func(t *testing.T) {
		t.Parallel()
		got := make(chan string, 1)
		c, log := tunnelTo(t, plan{}, func(c *peer) {
			_, _ = io.WriteString(c, upgradeAnswer+"last")
			_ = c.tcp.CloseWrite()
			rest, err := io.ReadAll(c.r)
			got <- fmt.Sprintf("after %q, %v", rest, err)
		})
		c.send(t, upgradeRequest)
		c.switched(t)
		if rest, err := io.ReadAll(c.r); string(rest) != "last" || err != nil {
			t.Errorf("the client got %q, %v", rest, err)
		}
		c.send(t, "still here")
		_ = c.tcp.CloseWrite()
		if rest := receive(t, "the end at the origin", got); rest != `after "still here", <nil>` {
			t.Errorf("the origin got %s", rest)
		}
		log.expect(t, 101, "")
	})
}

// TestTunnelIdle shows that a route's timeout-secs bounds the silence of a tunnel, not its life.
func TestTunnelIdle(t *testing.T) {
	t.Parallel()
	c, log := tunnelTo(t, plan{route: "policies { timeout-secs 1 }"}, func(c *peer) {
		_, _ = io.WriteString(c, upgradeAnswer)
		_ = c.ends()
	})
	c.send(t, upgradeRequest)
	c.switched(t)
	if err := c.ends(); isTimeout(err) {
		t.Errorf("the client's connection is still open: %v", err)
	}
	log.expect(t, 101, "tunnel_idle")
}

// TestUpgradeRefused covers upgrades that are none: the request goes on plainly.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, route, request string }{
		{"route without websocket", "", upgradeRequest},
		{"another protocol", "websocket #true", "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"},
		{"not nominated", "websocket #true", "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n"},
		{"HTTP/1.0", "websocket #true", "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: Upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, log := proxyTo(t, scripted(t, func(c *peer) {
				for {
					req, err := c.request()
					if err != nil {
						return
					}
					if req.Header.Get("Upgrade") != "" {
						t.Errorf("the origin got Upgrade: %s", req.Header.Get("Upgrade"))
					}
					_, _ = io.WriteString(c, okAnswer)
				}
			}), plan{route: test.route})
			c := dial(t, p)
			for range 2 {
				c.send(t, test.request)
				c.expect(t, 200)
				log.expect(t, 200, "")
			}
		})
	}
}

// TestUpgradeDeclined shows that an upstream may answer an upgrade with an ordinary response, and that a
// 101 to another protocol is refused.
func TestUpgradeDeclined(t *testing.T) {
	t.Parallel()
	const another = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
	p, log := proxyTo(t, scripted(t, func(c *peer) { c.serve(okAnswer) }), plan{route: "websocket #true"})
	c := dial(t, p)
	c.send(t, upgradeRequest)
	c.expect(t, 200)
	log.expect(t, 200, "")
	other, log := proxyTo(t, scripted(t, func(c *peer) { c.serve(another) }), plan{route: "websocket #true"})
	c = dial(t, other)
	c.send(t, upgradeRequest)
	c.expect(t, 502)
	log.expect(t, 502, "upstream_bad_response")
}

// TestTunnelResets shows that a side that breaks off ends the other one too.
func TestTunnelResets(t *testing.T) {
	t.Parallel()
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		ended := make(chan error, 1)
		c, log := tunnelTo(t, plan{}, func(c *peer) {
			_, _ = io.WriteString(c, upgradeAnswer)
			ended <- c.ends()
			<-c.over
		})
		c.send(t, upgradeRequest)
		c.switched(t)
		_ = c.tcp.SetLinger(0)
		_ = c.Close()
		_ = receive(t, "the end at the origin", ended)
		log.expect(t, 101, "")
	})
	t.Run("upstream", func(t *testing.T) {
		t.Parallel()
		c, log := tunnelTo(t, plan{}, func(c *peer) {
			_, _ = io.WriteString(c, upgradeAnswer)
			_, _ = c.r.ReadByte()
			_ = c.tcp.SetLinger(0)
		})
		c.send(t, upgradeRequest)
		c.switched(t)
		c.send(t, "x")
		if err := c.ends(); isTimeout(err) {
			t.Errorf("the client's connection is still open: %v", err)
		}
		log.expect(t, 101, "") // the client's own side is still open
	})
}

// TestTunnelLog shows that the log has the request that opened a tunnel, whatever went through it.
func TestTunnelLog(t *testing.T) {
	t.Parallel()
	c, log := tunnelTo(t, plan{}, func(c *peer) {
		_, _ = io.WriteString(c, upgradeAnswer)
		_ = c.ends()
	})
	c.send(t, strings.Replace(upgradeRequest, "GET /", "GET /mine", 1))
	c.switched(t)
	c.send(t, "PUT /forged HTTP/1.1\r\n")
	_ = c.tcp.CloseWrite()
	if a := log.expect(t, 101, ""); a.Path != "/mine" {
		t.Errorf("the log has %q", a.Path)
	}
}
