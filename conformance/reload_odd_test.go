package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// TestReloadOddFiles puts things where a file is included that must not be read: a pipe, which would be waited for, and
// more than there is memory for. Each is refused, and the next reload is as before.
func TestReloadOddFiles(t *testing.T) {
	t.Parallel()
	s := openReloadSite(t, "include \"conf.d/*.kdl\"\n")
	odd := filepath.Join(filepath.Dir(s.file), "conf.d", "odd.kdl")
	if err := os.Mkdir(filepath.Dir(odd), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, want string
		make       func() error
	}{
		{"pipe", "not a regular file", func() error { return syscall.Mkfifo(odd, 0o600) }},
		{"huge", "16 MiB", func() error { put(t, odd, ""); return os.Truncate(odd, 1<<40) }},
		{"device", "not a regular file", func() error { return os.Symlink("/dev/zero", odd) }},
	} {
		if err := test.make(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := s.p.Reload(bounded(t), "test"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: the reload says %v, want %q", test.name, err, test.want)
			}
		}
		if err := os.Remove(odd); err != nil {
			t.Fatal(err)
		}
		if _, err := s.p.Reload(bounded(t), "test"); err != nil {
			t.Errorf("after the %s: %v", test.name, err)
		}
	}
}

// half sends a request and the beginning of another. They travel together: with the first one's answer the proxy has
// read both.
func half(t *testing.T, addr, path string) *client {
	t.Helper()
	c := dial(t, addr, whole)
	c.send([]byte(string(get(path)) + "GET " + path + " HTTP/1.1\r\nHost: a.example\r\n"))
	wantStatus(t, c, 200)
	return c
}

// TestReloadLeavingListener finishes a request head on a listener that has left the configuration since, after it got
// another name, and after what its route needs has left, too.
func TestReloadLeavingListener(t *testing.T) {
	t.Parallel()
	long := strings.Replace(reloadFrame, "reload-drain-secs 1", "reload-drain-secs 20", 1)
	at := freeAddress(t)
	extra := func(id string) string { return fmt.Sprintf("listener %q { address %q }\n", id, at) }
	o := answering(t, "o")
	fake := newFake(t, rogue.Options{Path: filepath.Join(t.TempDir(), "a"), Dialect: rogue.V2R})
	guarded := behindAgent(o.addr(), fake)
	s := openReloadSite(t, "")
	step := func(text string) {
		s.writeRaw(t, long+text)
		if _, err := s.p.Reload(bounded(t), "test"); err != nil {
			t.Fatal(err)
		}
	}
	step(guarded + extra("one"))
	eventually(t, "the agent is there", func() bool { return s.ask(asked{method: "GET", path: "/guarded"}).status() == 200 })
	c := half(t, at, "/guarded")
	step(guarded + extra("two"))
	step(guarded)
	step(through("a", o.addr()))
	c.send([]byte("\r\n"))
	if m := wantStatus(t, c, 200); !saysClose(m) {
		t.Error("the answer does not say that the connection ends")
	}
	wantEOF(t, c)
	must(t, fake, func(st rogue.Stats) bool { return st.Open == 0 })
}

// TestReloadTrust takes a proxy out of trusted-proxies, and puts it back: what it says of its clients is believed on
// its open connection as the configuration says now.
func TestReloadTrust(t *testing.T) {
	t.Parallel()
	o := answering(t, "o")
	at := freeAddress(t)
	text := func(trust string) string {
		return through("a", o.addr()) + fmt.Sprintf("listener \"edge\" { address %q; %s }\n", at, trust)
	}
	s := openReloadSite(t, text(`trusted-proxies "127.0.0.1"`))
	c := dial(t, at, whole)
	for n, step := range []struct{ trust, client string }{
		{`trusted-proxies "127.0.0.1"`, "6.6.6.6"}, {"", "127.0.0.1"}, {`trusted-proxies "127.0.0.0/8"`, "6.6.6.6"},
	} {
		s.reload(t, text(step.trust))
		c.send([]byte("GET /a HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"))
		wantStatus(t, c, 200)
		if got := s.line(t, "a", n).ClientIP; got != step.client {
			t.Errorf("with %q the client is %s, want %s", step.trust, got, step.client)
		}
	}
}

// TestReloadBreakerGauge moves a route with an open breaker to another upstream: the gauge of the old breaker goes.
func TestReloadBreakerGauge(t *testing.T) {
	t.Parallel()
	o := answeringWith(t, "503 Service Unavailable", "bad")
	text := func(upstream string) string {
		return through("x", o.addr()) + through("y", o.addr()) +
			`route "a" { matches { path-prefix "/a" }; upstream "` + upstream + `"; circuit-breaker { failure-threshold 1; timeout-seconds 600 } }` + "\n"
	}
	s := openReloadSite(t, text("x"))
	s.get(t, "/a", 503)
	gauge := func(upstream string) (float64, bool) {
		v, there := s.metrics(t)[series("circuit_breaker_state", "component", "upstream:"+upstream, "route", "a")]
		return v, there
	}
	if v, _ := gauge("x"); v != 1 {
		t.Fatalf("the breaker is %v, want open", v)
	}
	s.reload(t, text("y"))
	_, old := gauge("x")
	if v, there := gauge("y"); old || !there || v != 0 {
		t.Errorf("the old breaker is shown: %t; the new one is %v (shown: %t)", old, v, there)
	}
}

// TestStatusWhileReloading asks for the status again and again while reloads change it, for the race detector.
func TestStatusWhileReloading(t *testing.T) {
	t.Parallel()
	s := openReloadSite(t, "")
	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if st := s.p.Status(); st.LastReloadOK != nil && st.LastReloadOK.IsZero() {
					t.Error("a reload succeeded at no time")
				}
				runtime.Gosched()
			}
		}
	})
	for range 20 {
		s.reload(t, "")
	}
	close(stop)
	asking.Wait()
}
