package sentinel_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// inFlight serves a plan before an origin that holds every request until release is called. asked tells
// when one is there.
func inFlight(t *testing.T, p plan) (r *running, log accessLog, asked <-chan struct{}, release func()) {
	t.Helper()
	arrived, held := make(chan struct{}, 10), make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	address := scripted(t, func(c *peer) {
		for {
			if _, err := c.request(); err != nil {
				return
			}
			arrived <- struct{}{}
			<-held
			if _, err := io.WriteString(c, okAnswer); err != nil {
				return
			}
		}
	})
	t.Cleanup(release)
	log = newAccessLog()
	p.targets = `target "` + address + `"`
	return launch(t, p.String(), log, nil), log, arrived, release
}

// refused waits until the proxy takes no more connections: it is draining then.
func refused(t *testing.T, p *sentinel.Proxy) {
	t.Helper()
	eventually(t, "the listener is closed", func() bool {
		c, err := net.Dial("tcp", p.Addr("main").String())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
}

const readyRoute = `route "ready" {
matches { path "/ready" }
priority "high"
builtin-handler "ready"
}`

// TestDrain follows a graceful stop: what is in flight ends well and says that the connection ends, what
// is idle is closed, nothing new is accepted, and Run returns when the last connection has ended.
func TestDrain(t *testing.T) {
	t.Parallel()
	r, log, asked, release := inFlight(t, plan{routes: readyRoute})
	idle, unused, busy, begun := dial(t, r.Proxy), dial(t, r.Proxy), dial(t, r.Proxy), dial(t, r.Proxy)
	idle.get(t, "/ready")
	if resp := idle.expect(t, 200); resp.Close {
		t.Error("nothing ends before the drain")
	}
	log.expect(t, 200, "")
	busy.get(t, "/")
	receive(t, "the request at the origin", asked)
	begun.send(t, "GET /ready HTTP/1.1\r\nHost: a.test\r\n\r\nGET /ready HTTP/1.1\r\n") // answered: half of the next is there
	begun.expect(t, 200)
	log.expect(t, 200, "")
	r.stop()
	refused(t, r.Proxy)
	idle.closed(t)
	unused.closed(t)
	begun.send(t, "Host: a.test\r\n\r\n")
	if resp := begun.expect(t, http.StatusServiceUnavailable); !resp.Close {
		t.Error("a response during the drain must say that the connection ends")
	}
	begun.closed(t)
	select {
	case <-r.done:
		t.Error("Run returned with a request in flight")
	default:
	}
	release()
	if resp := busy.expect(t, 200); !resp.Close {
		t.Error("a response begun during the drain must say that the connection ends")
	}
	busy.closed(t)
	receive(t, "Run's return", r.done)
}

// TestDrainHeldBody begins a drain while the body of a request is read that is to be held until it is complete. Nothing
// was written to its client: only the head's end has ended the wait for a request.
func TestDrainHeldBody(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, expect, before, after string }{
		{"begun", "", "hello", "world"},
		{"asked for", "Expect: 100-continue\r\n", "", "helloworld"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, log, asked, release := inFlight(t, plan{route: "policies { buffer-requests #true }", routes: readyRoute})
			c, idle := dial(t, r.Proxy), dial(t, r.Proxy)
			for _, each := range []*peer{c, idle} {
				each.get(t, "/ready")
				each.expect(t, 200)
				log.expect(t, 200, "")
			}
			eventually(t, "no request is under way", func() bool { return r.Status().Requests == 0 })
			c.send(t, "PUT / HTTP/1.1\r\nHost: a.test\r\n"+test.expect+"Content-Length: 10\r\n\r\n"+test.before)
			eventually(t, "the request is under way", func() bool { return r.Status().Requests == 1 })
			if test.expect != "" {
				if resp := c.head(t, http.MethodPut); resp.StatusCode != http.StatusContinue {
					t.Fatalf("status %d, want 100", resp.StatusCode)
				}
			}
			r.stop()
			idle.closed(t)
			c.send(t, test.after)
			receive(t, "the request at the origin", asked)
			release()
			if resp := c.expect(t, 200); !resp.Close {
				t.Error("a response during the drain must say that the connection ends")
			}
			log.expect(t, 200, "")
		})
	}
}

// TestDrainTimeout shows that graceful-shutdown-timeout-secs bounds the drain whatever a connection waits
// for, far below every other limit.
func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, request, answer string }{
		{"for a response head", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", ""},
		{"for a response body", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1"},
		{"for a spliced body", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n1"},
		{"for a request body", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n1", ""},
		{
			"in a tunnel", "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan struct{})
			address := scripted(t, func(c *peer) {
				if _, err := c.request(); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(c, test.answer)
				close(asked)
				<-c.over // whatever the proxy does, this side stays
			})
			r := launch(t, plan{
				system: "graceful-shutdown-timeout-secs 1", targets: `target "` + address + `"`, route: "websocket #true",
				listener: "request-timeout-secs 300; body-idle-timeout-secs 300",
				upstream: "timeouts { request-secs 300; read-secs 300; write-secs 300 }",
			}.String(), nil, nil)
			c := dial(t, r.Proxy)
			c.send(t, test.request)
			receive(t, "the request at the origin", asked)
			r.stop()
			receive(t, "Run's return", r.done)
			_ = c.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, c.r); errors.Is(err, net.ErrClosed) || isTimeout(err) {
				t.Errorf("the client's connection is still open: %v", err)
			}
		})
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// TestConnectionCap shows that connections over the cap are closed at once while the others go on, and
// that a place is free again when one ends.
func TestConnectionCap(t *testing.T) {
	t.Parallel()
	log := newAccessLog()
	p := startProxy(t, plan{system: "max-connections 2", routes: readyRoute}.String(), refusing(t), log)
	first, second := dial(t, p), dial(t, p)
	for _, c := range []*peer{first, second} {
		c.get(t, "/ready")
		c.expect(t, 200)
	}
	over := dial(t, p)
	if n, err := over.Read(make([]byte, 1)); n != 0 || err == nil || isTimeout(err) {
		t.Errorf("a connection over the cap read %d bytes, %v", n, err)
	}
	first.get(t, "/ready")
	first.expect(t, 200)
	_ = second.Close()
	eventually(t, "the place is free", func() bool {
		c, err := net.Dial("tcp", p.Addr("main").String())
		if err != nil {
			return false
		}
		defer func() { _ = c.Close() }()
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, "GET /ready HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
			return false
		}
		n, _ := c.Read(make([]byte, 12))
		return n == 12
	})
}
