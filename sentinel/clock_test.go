package sentinel

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

const clockConfig = `
system { }
listeners { listener "main" { address "127.0.0.1:0"; request-timeout-secs 60; keepalive-timeout-secs 75; keepalive-max-requests 3 } }
routes { route "health" { matches { path-prefix "/" }; builtin-handler "health" } }
`

// inBubble runs a test on a proxy whose clock is the bubble's, with a client over a connection in memory.
func inBubble(t *testing.T, test func(t *testing.T, client net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Options{Text: []byte(clockConfig), Name: t.Name(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer p.release()
		go p.sweeper.run(p.finished)
		client, server := net.Pipe()
		defer func() { _ = client.Close() }()
		listenerOf(p, "main").start(server)
		test(t, client)
		_ = client.Close()
		p.clients.Wait()
		if n := p.open.Load(); n != 0 {
			t.Errorf("%d connections are still counted", n)
		}
	})
}

// listenerOf returns what the present configuration says of a listener.
func listenerOf(p *Proxy, id string) *listener {
	for _, l := range p.snapshot.Load().listeners {
		if l.id == id {
			return l
		}
	}
	return nil
}

// endsAfter reads to the end of the connection and compares when it came. Deadlines are kept to the tick.
func endsAfter(t *testing.T, c net.Conn, want time.Duration) (text string) {
	t.Helper()
	start := time.Now()
	b, err := io.ReadAll(c)
	if took := time.Since(start); err != nil || took < want || took > want+3*tickLength {
		t.Errorf("ended after %s with %v, want %s", took, err, want)
	}
	return string(b)
}

func request(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads one small response; in memory each write of the proxy is one read.
func answer(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 4<<10)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

const getHealth = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"

// TestIdleTimes follows one connection's deadlines on a clock that does not wait.
func TestIdleTimes(t *testing.T) {
	t.Parallel()
	t.Run("nothing is ever sent", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c net.Conn) {
			if text := endsAfter(t, c, time.Minute); text != "" {
				t.Errorf("the client got %q", text)
			}
		})
	})
	t.Run("half a head", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c net.Conn) {
			request(t, c, getHealth[:10])
			if text := endsAfter(t, c, time.Minute); len(text) < 12 || text[9:12] != "408" {
				t.Errorf("the client got %q", text)
			}
		})
	})
	t.Run("a head in drips", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c net.Conn) {
			start := time.Now()
			dripped := make(chan struct{})
			go func() {
				defer close(dripped)
				for _, b := range []byte("GET / HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyy") {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					<-time.After(2 * time.Second)
				}
			}()
			_ = answer(t, c)
			if took := time.Since(start); took < time.Minute || took > time.Minute+3*tickLength {
				t.Errorf("answered after %s", took)
			}
			_ = c.Close()
			<-dripped
		})
	})
	t.Run("between requests", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c net.Conn) {
			request(t, c, getHealth)
			answer(t, c)
			<-time.After(74 * time.Second)
			request(t, c, getHealth) // starts it anew
			answer(t, c)
			if text := endsAfter(t, c, 75*time.Second); text != "" {
				t.Errorf("the client got %q", text)
			}
		})
	})
}

// TestLastRequest shows that keepalive-max-requests ends a connection with its last answer.
func TestLastRequest(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, c net.Conn) {
		for range 2 {
			request(t, c, getHealth)
			answer(t, c)
		}
		request(t, c, getHealth)
		endsAfter(t, c, 0)
	})
}

// TestHeadByteByByte shows over the plain read path that a head may come in any pieces.
func TestHeadByteByByte(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, c net.Conn) {
		for _, b := range []byte(getHealth) {
			request(t, c, string(b))
		}
		if text := answer(t, c); text[9:12] != "200" {
			t.Errorf("the client got %q", text)
		}
	})
}
