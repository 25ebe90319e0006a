package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// patience bounds every wait for something that must happen.
const patience = 10 * time.Second

var limits = wire.Limits{Line: 8 << 10, Size: 16 << 10, Count: 100, Name: 256, Value: 8 << 10}

// server runs script on each connection and closes it then. When the test ends all are closed.
func server(t testing.TB, script func(net.Conn)) (address string) {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards open
	var open []net.Conn
	var scripts sync.WaitGroup
	scripts.Go(func() {
		for {
			c, err := nl.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			scripts.Go(func() {
				defer func() { _ = c.Close() }()
				script(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = nl.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		scripts.Wait()
	})
	return nl.Addr().String()
}

// silent is a server that never says anything.
func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// saying answers each request with the pieces, one write each.
func saying(pieces ...string) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			for _, p := range pieces {
				if _, err := io.WriteString(c, p); err != nil {
					return
				}
			}
		}
	}
}

// poolOf returns a pool of one target, closed when the test ends.
func poolOf(t testing.TB, address string, change func(*Options)) (*Pool, *Target) {
	t.Helper()
	p := newPool(t, targets(address), change)
	return p, p.targets[0]
}

// poolOfMany returns a pool of n targets that nobody dials.
func poolOfMany(t testing.TB, n int, change func(*Options)) *Pool {
	t.Helper()
	var list []TargetOptions
	for i := range n {
		list = append(list, TargetOptions{Address: fmt.Sprintf("127.0.0.1:%d", i+1), Weight: 1})
	}
	return newPool(t, list, change)
}

func newPool(t testing.TB, list []TargetOptions, change func(*Options)) *Pool {
	t.Helper()
	o := Options{
		ID: "test", Targets: list, MaxConnections: 10, MaxPending: 10, MaxIdle: 10, IdleTimeout: time.Minute, Connect: patience,
		Breaker: breaker.Settings{FailureThreshold: 5, SuccessThreshold: 2, HalfOpenMaxRequests: 1, Timeout: 30 * time.Second},
	}
	if change != nil {
		change(&o)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// targets is a list of targets of weight 1.
func targets(addresses ...string) (list []TargetOptions) {
	for _, a := range addresses {
		list = append(list, TargetOptions{Address: a, Weight: 1})
	}
	return list
}

// open takes a connection, dialling it when none is idle.
func open(t testing.TB, target *Target) *Conn {
	t.Helper()
	if c := target.Get(); c != nil {
		return c
	}
	c, err := target.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func expectCounts(t testing.TB, p *Pool, opened, idle int) {
	t.Helper()
	if p.Open() != opened || p.Idle() != idle {
		t.Errorf("%d connections of which %d idle, want %d and %d", p.Open(), p.Idle(), opened, idle)
	}
}

// readable waits until something, if only the end, has arrived on an idle connection.
func readable(t testing.TB, c *Conn) {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN | unix.POLLRDHUP}}
	if n, err := unix.Poll(poll, int(patience.Milliseconds())); n != 1 {
		t.Fatalf("nothing arrived: %v", err)
	}
}

// roundTrip sends a GET and returns the trip.
func roundTrip(c *Conn) (*Trip, error) {
	trip := &Trip{
		Out: []byte("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"), In: make([]byte, 4<<10), Head: &wire.Response{}, Lim: &limits,
	}
	trip.Head.Reset(false)
	return trip, c.RoundTrip(trip)
}

// secureServer starts an HTTPS server that answers 404. Its certificate is for 127.0.0.1 and example.com.
func secureServer(t *testing.T) (s *httptest.Server, roots *x509.CertPool) {
	t.Helper()
	s = httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s, roots
}

// secured runs a script over TLS.
func secured(config *tls.Config, script func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) { script(tls.Server(c, config)) }
}
