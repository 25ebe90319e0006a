package conformance

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// TestReloadKeepsOldOnInvalid breaks the configuration in every way while requests run: the old one goes on, each
// problem is told with its place, and the next good file is served.
func TestReloadKeepsOldOnInvalid(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	o := answering(t, "old")
	good := through("a", o.addr())
	s := openReloadSite(t, good)
	load := s.keepAsking(t, "/a", "old")
	key := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text string // text is added to the good one; "=" before it: it stands alone
		want       string // in the error
	}{
		{"syntax", `route "b" {`, "sentinel.kdl:"},
		{"unknown node", `rout "b" { }`, `did you mean "route"`},
		{"reference", `route "b" { matches { path "/b" }; upstream "nobody" }`, `"nobody"`},
		{"duplicate id", `route "a" { matches { path "/b" }; upstream "a" }`, `"a"`},
		{"regular expression", `route "b" { matches { path-regex "(" }; upstream "a" }`, "sentinel.kdl:"},
		{"missing include", "include \"/nowhere/\x00.kdl\"", "sentinel.kdl:"},
		{"includes itself", `include "sentinel.kdl"`, "circular include"},
		{"missing certificate", `listener "tls" { address "127.0.0.1:0"; protocol "https"; tls { cert-file "/nowhere/c.pem"; key-file "/nowhere/k.pem" } }`, "/nowhere/c.pem"},
		{"no certificate", `listener "tls" { address "127.0.0.1:0"; protocol "https"; tls { cert-file "` + key + `"; key-file "` + key + `" } }`, "key.pem"},
		{"port in use", `listener "b" { address "` + taken.Addr().String() + `" }`, "address already in use"},
		{"no agent socket directory", `agent "x" { unix-socket "/nowhere/x.sock" }`, "/nowhere"},
		{"half written", "=" + reloadFrame[:len(reloadFrame)/2], "sentinel.kdl:"},
		{"empty", "=", "listener"},
		{"too large", "=// " + strings.Repeat("x", 17<<20), "16 MiB"},
		{"not text", "=\xff\xfe\x00", "sentinel.kdl:"},
	} {
		text := reloadFrame + good + test.text
		if alone, ok := strings.CutPrefix(test.text, "="); ok {
			text = alone
		}
		s.writeRaw(t, text)
		s.refuses(t, test.name, test.want)
	}
	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "vanished", "sentinel.kdl")
	load.stop(t)
	fresh := answering(t, "new")
	if r := s.reload(t, through("a", fresh.addr())); r.Generation != 2 {
		t.Errorf("the next good configuration is generation %d, want 2", r.Generation)
	}
	if got := s.body(t, "/a"); got != "new" {
		t.Errorf("the origin is %q after a good reload", got)
	}
}

// refuses makes the proxy read what is there, and demands that it says why it does not want it, everywhere.
func (s *reloadSite) refuses(t *testing.T, name, want string) {
	t.Helper()
	failed := s.metrics(t)[series("config_reloads_total", "result", "failure")]
	r, err := s.p.Reload(bounded(t), name)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: reload says %v, want %q", name, err, want)
		return
	}
	if bad := (*sentinel.ConfigError)(nil); errors.As(err, &bad) {
		for _, p := range bad.Problems {
			if p.File == "" || p.Line == 0 && name != "vanished" && name != "too large" {
				t.Errorf("%s: a problem without its place: %+v", name, p)
			}
		}
	}
	if r.OK || r.Generation != 1 || r.Error == "" {
		t.Errorf("%s: the result is %+v", name, r)
	}
	if st := s.p.Status(); st.LastReload == nil || st.LastReload.Trigger != name || st.LastReload.OK || st.Generation != 1 {
		t.Errorf("%s: the status is %+v", name, st.LastReload)
	}
	s.audit.find(t, record{"event_type": "config_change", "reason": "reload_failed", "metadata.trigger": name, "path": "/-/config", "client_ip": "internal"})
	s.messages.find(t, record{"msg": "reload failed, the old configuration goes on", "trigger": name, "level": "ERROR"})
	m := s.metrics(t)
	if got := m[series("config_reloads_total", "result", "failure")]; got != failed+1 || m[series("config_last_reload_successful")] != 0 {
		t.Errorf("%s: %v failed reloads, before %v", name, got, failed)
	}
}

// asking is a client that asks again and again on kept and on new connections.
type asking struct {
	stopping chan struct{}
	done     sync.WaitGroup
	mu       sync.Mutex
	count    int
	wrong    []string
}

// keepAsking asks for a path until stop is called: every answer must be a 200 whose body is one of those.
func (s *site) keepAsking(t *testing.T, path string, bodies ...string) *asking {
	t.Helper()
	a := &asking{stopping: make(chan struct{})}
	a.done.Go(func() {
		var kept *client
		for n := 0; !a.stopped(); n++ {
			if kept == nil || n%7 == 0 {
				kept = dial(t, s.addr, whole)
			}
			kept.send(get(path))
			m, err := kept.response(false)
			got := fmt.Sprintf("%q %q %v", m.start, m.body, err)
			if err == nil && m.status() == 200 && slices.Contains(bodies, string(m.body)) {
				got = ""
			}
			if err != nil || saysClose(m) {
				kept = nil
			}
			a.note(got)
		}
	})
	return a
}

func (a *asking) stopped() bool {
	select {
	case <-a.stopping:
		return true
	default:
		return false
	}
}

func (a *asking) note(wrong string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	if wrong != "" {
		a.wrong = append(a.wrong, wrong)
	}
}

// stop ends the asking and fails the test for every wrong answer.
func (a *asking) stop(t *testing.T) {
	t.Helper()
	close(a.stopping)
	a.done.Wait()
	if len(a.wrong) > 0 || a.count == 0 {
		t.Errorf("%d of %d requests went wrong: %.3q", len(a.wrong), a.count, a.wrong)
	}
}

// TestReloadInFlight changes and removes what requests use while they run: a long download, an upload, an upgraded
// connection. Each ends on what it began with.
func TestReloadInFlight(t *testing.T) {
	t.Parallel()
	for _, change := range []struct{ name, text string }{
		{"removed route", ""},
		{"another upstream", through("a", "127.0.0.1:1")},
		{"nothing", ""},
	} {
		t.Run(change.name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, "127.0.0.1:0")
			text := strings.Replace(through("a", o.addr()), "}; upstream", "}; websocket true; upstream", 1)
			s := openReloadSite(t, text)
			download, upload, tunnel := dial(t, s.addr, whole), dial(t, s.addr, whole), dial(t, s.addr, whole)
			download.send(get("/a/download"))
			d := o.request(0, complete)
			d.answer([]byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc"))
			m, err := download.responseHead()
			if err != nil {
				t.Fatal(err)
			}
			upload.send([]byte("POST /a/upload HTTP/1.1\r\nHost: a.example\r\nContent-Length: 6\r\n\r\nabc"))
			u := o.request(1, headDone)
			tunnel.send([]byte("GET /a/ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
			w := o.request(2, complete)
			w.answer([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"))
			if m, err := tunnel.responseHead(); err != nil || m.status() != 101 {
				t.Fatalf("%+v %v", m, err)
			}
			next := change.text
			if change.name == "nothing" {
				next = text
			}
			s.reload(t, next)
			d.answer([]byte("def"))
			upload.send([]byte("def"))
			o.must(t, "the upload", func() bool { return u.complete })
			u.answer(defaultAnswer)
			wantStatus(t, upload, 200)
			tunnel.send([]byte("ping"))
			w.tunnelled(t, []byte("ping"))
			if err := download.responseBody(m, false); err != nil || string(m.body) != "abcdef" {
				t.Errorf("the download is %q %v", m.body, err)
			}
			if change.name == "nothing" {
				return
			}
			wantGone(t, tunnel) // its route has left: reload-drain-secs is one
			s.access.must(t, "the tunnel's access line", func() bool {
				return slices.ContainsFunc(s.access.lines, func(l accessLine) bool { return l.Path == "/a/ws" && l.Error == "reload_drained" })
			})
			eventually(t, "one generation", func() bool { return s.p.Status().GenerationsLive == 1 })
		})
	}
}

// TestReloadListeners adds, moves, changes and removes listeners while one that stays is asked.
func TestReloadListeners(t *testing.T) {
	t.Parallel()
	o := answering(t, "o")
	base := through("a", o.addr())
	s := openReloadSite(t, base)
	load := s.keepAsking(t, "/a", "o")
	second := freeAddress(t)
	s.reload(t, base+`listener "second" { address "`+second+`" }`)
	idle, busy := dial(t, second, whole), dial(t, second, whole)
	for _, c := range []*client{idle, busy} {
		c.send(get("/a"))
		wantStatus(t, c, 200)
	}
	s.reload(t, base+`listener "renamed" { address "`+second+`"; keepalive-timeout-secs 7 }`)
	busy.send(get("/a"))
	if m := wantStatus(t, busy, 200); saysClose(m) {
		t.Error("a connection of a listener that has another name now is closed")
	}
	busy.send([]byte("POST /a/busy HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nx"))
	o.must(t, "the busy connection's request", func() bool {
		return slices.ContainsFunc(o.requests, func(r *request) bool { return strings.HasPrefix(r.start, "POST /a/busy ") })
	})
	s.reload(t, base)
	wantEOF(t, idle)
	busy.send([]byte("x"))
	if m := wantStatus(t, busy, 200); !saysClose(m) {
		t.Error("the last answer of a listener that has left does not say so")
	}
	wantEOF(t, busy)
	if nc, err := net.Dial("tcp", second); err == nil {
		_ = nc.Close()
		t.Error("a listener that has left accepts connections")
	}
	if s.p.Addr("second") != nil || s.p.Addr("renamed") != nil {
		t.Error("the removed listener still has an address")
	}
	load.stop(t)
	// Where the system picks the port, each listener has its own.
	both := base + "listener \"x\" { address \"127.0.0.1:0\" }\nlistener \"y\" { address \"127.0.0.1:0\" }\n"
	s.reload(t, both)
	x, y := s.p.Addr("x").String(), s.p.Addr("y").String()
	s.reload(t, both+"// again\n")
	for _, addr := range []string{x, y} {
		c := dial(t, addr, whole)
		c.send(get("/a"))
		wantStatus(t, c, 200)
	}
	if x == y || s.p.Addr("x").String() != x || s.p.Addr("y").String() != y || s.p.Addr(listenerID).String() != s.addr {
		t.Errorf("listeners on a port of the system's choice are at %s and %s", x, y)
	}
}

// TestReloadState shows what stays when an upstream is as before, and what is inherited when it is not.
func TestReloadState(t *testing.T) {
	t.Parallel()
	bad, good := answeringWith(t, "503 Service Unavailable", "bad"), answering(t, "good")
	upstream := func(weight int) string {
		return fmt.Sprintf(`route "a" { matches { path-prefix "/a" }; upstream "a"; circuit-breaker { failure-threshold 100 } }
upstream "a" { target %q; target %q weight=%d; circuit-breaker { failure-threshold 2; timeout-seconds 600 } }
`, bad.addr(), good.addr(), weight)
	}
	s := openReloadSite(t, upstream(1))
	eventually(t, "the breaker opens", func() bool {
		s.ask(asked{method: "GET", path: "/a"})
		return s.target(t, "a", 0).Breaker == "open"
	})
	before := s.target(t, "a", 0)
	for n, text := range []string{upstream(1), "// a comment moves every line\n" + upstream(1), upstream(3)} {
		s.reload(t, text)
		if now := s.target(t, "a", 0); now.Breaker != "open" || now.Failures != before.Failures || or(now.LastError) != or(before.LastError) {
			t.Errorf("after reload %d the target is %+v, before %+v", n, now, before)
		}
		if got := s.body(t, "/a"); got != "good" {
			t.Errorf("after reload %d a request went to %q", n, got)
		}
	}
	if got := s.target(t, "a", 1).Weight; got != 3 {
		t.Errorf("the weight is %d after the reload", got)
	}
	first := good.peers()
	s.reload(t, upstream(4))
	s.body(t, "/a")
	if now := good.peers(); now != first {
		t.Errorf("after a reload of the weight the origin has seen %d connections, before %d", now, first)
	}
	s.reload(t, through("b", good.addr()))
	if m := s.metrics(t); m[series("upstream_healthy_backends", "upstream", "b")] != 1 {
		t.Error("the new upstream has no gauge")
	} else if _, there := m[series("upstream_healthy_backends", "upstream", "a")]; there {
		t.Error("the removed upstream has a gauge")
	}
}

// TestReloadHundred reloads a hundred times, half of them with a broken file, while requests run. Every request is
// answered, and nothing is left behind.
func TestReloadHundred(t *testing.T) {
	t.Parallel()
	o := answering(t, "o")
	s := openReloadSite(t, through("a", o.addr()))
	load := s.keepAsking(t, "/a", "o")
	for n := range 50 {
		s.reload(t, through("a", o.addr())+through(fmt.Sprintf("extra-%d", n), o.addr()))
		s.writeRaw(t, reloadFrame+"route {")
		if _, err := s.p.Reload(bounded(t), "broken"); err == nil {
			t.Fatal("a broken file was taken")
		}
	}
	load.stop(t)
	st := s.p.Status()
	if st.Generation != 51 || st.ReloadsOK != 50 || st.ReloadsFailed != 50 {
		t.Errorf("after a hundred reloads: %+v", st)
	}
	eventually(t, "one generation", func() bool { return s.p.Status().GenerationsLive == 1 })
	m := s.metrics(t)
	for n := range 49 {
		if _, there := m[series("upstream_healthy_backends", "upstream", fmt.Sprintf("extra-%d", n))]; there {
			t.Errorf("upstream extra-%d still has metrics", n)
		}
	}
}

// TestReloadCollapses asks for many reloads at once: each caller gets one that began after it asked, and they share.
func TestReloadCollapses(t *testing.T) {
	t.Parallel()
	o := answering(t, "o")
	s := openReloadSite(t, through("a", o.addr()))
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			if _, err := s.p.Reload(bounded(t), "burst"); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if st := s.p.Status(); st.ReloadsOK < 1 || st.ReloadsOK > 50 || st.Generation != uint64(st.ReloadsOK)+1 {
		t.Errorf("%+v", st)
	}
}
