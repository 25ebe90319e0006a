package conformance

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// reloadSite is a proxy whose configuration is a file that the test writes again and again.
type reloadSite struct {
	*site
	file string
}

// openReloadSite writes a configuration and runs a proxy with it until the test ends.
func openReloadSite(t testing.TB, text string) *reloadSite {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sentinel.kdl")
	s := &reloadSite{&site{&subject{access: &accessLog{}, errors: &textLog{}, ended: make(chan struct{})}, &records{}, &records{}, &records{}}, file}
	s.write(t, text)
	p, err := sentinel.New(sentinel.Options{
		Path:      file,
		AccessLog: s.access, ErrorLog: io.MultiWriter(s.errors, s.failures), AuditLog: s.audit,
		Log: slog.New(slog.NewJSONHandler(s.messages, nil)),
	})
	if err != nil {
		t.Fatalf("New: %v\n%s", err, text)
	}
	s.p, s.addr = p, p.Addr(listenerID).String()
	s.run(t)
	return s
}

// startFile runs a proxy with a configuration file, whose logs are the files that it names.
func startFile(t testing.TB, file string) *subject {
	t.Helper()
	p, err := sentinel.New(sentinel.Options{Path: file, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := &subject{p: p, addr: p.Addr(listenerID).String(), ended: make(chan struct{})}
	s.run(t)
	return s
}

// run lets the proxy serve until the test ends.
func (s *subject) run(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.ended)
		s.p.Run(ctx)
	}()
	t.Cleanup(func() { s.stop(t) })
	eventually(t, "the proxy serves", func() bool { return s.p.Status().State == "serving" })
}

// write replaces the configuration as an editor does.
func (s *reloadSite) write(t testing.TB, text string) {
	t.Helper()
	s.writeRaw(t, inReloadFrame(text))
}

func (s *reloadSite) writeRaw(t testing.TB, text string) {
	t.Helper()
	next := s.file + ".new"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, s.file); err != nil {
		t.Fatal(err)
	}
}

// reload writes another configuration and has the proxy read it, which must succeed.
func (s *reloadSite) reload(t testing.TB, text string) *sentinel.ReloadResult {
	t.Helper()
	s.write(t, text)
	r, err := s.p.Reload(bounded(t), "test")
	if err != nil {
		t.Fatalf("reload: %v\n%s", err, text)
	}
	return r
}

// reloadFrame is siteFrame with a short drain, and with as many connections from here as there need be.
var reloadFrame = fromHere(strings.Replace(siteFrame, "system {", "system { reload-drain-secs 1;", 1))

// inReloadFrame completes a configuration; its own limits come first.
func inReloadFrame(text string) string {
	if limitsBlock.MatchString(text) {
		return siteFrame + text
	}
	return reloadFrame + text
}

// through is a route for a path prefix, and its upstream.
func through(id, target string) string {
	return `route "` + id + `" { matches { path-prefix "/` + id + `" }; upstream "` + id + `" }
upstream "` + id + `" { target "` + target + `" }
`
}

// answering is an origin that answers every request with its own name.
func answering(t testing.TB, name string) *origin {
	t.Helper()
	return answeringWith(t, "200 OK", name)
}

func answeringWith(t testing.TB, status, name string) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{ln: ln}
	o.auto = func(r *request) {
		r.answer([]byte("HTTP/1.1 " + status + "\r\nContent-Length: " + strconv.Itoa(len(name)) + "\r\n\r\n" + name))
	}
	go o.accept()
	t.Cleanup(func() { _ = ln.Close() })
	return o
}

// peers counts the connections on which requests have come.
func (o *origin) peers() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[net.Conn]bool{}
	for _, r := range o.requests {
		all[r.nc] = true
	}
	return len(all)
}

// body asks for a path and returns what came, which must be a 200.
func (s *site) body(t testing.TB, path string) string {
	t.Helper()
	return string(s.get(t, path, 200).body)
}

// freeAddress is one that nobody listens on at the moment.
func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}
