package conformance

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// place is what there is where an agent's socket should be.
type place struct {
	name string
	make func(t *testing.T, path string)
	says string // of the path: what is wrong with it at the start; empty: nothing
}

func places() []place {
	return []place{
		{"nothing", func(*testing.T, string) {}, ""},
		{"regular file", func(t *testing.T, path string) { sound(t, os.WriteFile(path, []byte("precious"), 0o600)) }, " is a regular file, not a socket"},
		{"directory", func(t *testing.T, path string) { sound(t, os.Mkdir(path, 0o700)) }, " is a directory, not a socket"},
		{"link to nothing", func(t *testing.T, path string) { sound(t, os.Symlink(path+"-elsewhere", path)) }, ""},
		{"dead socket", func(t *testing.T, path string) {
			a, err := rogue.New(rogue.Options{Path: path, Dialect: rogue.V1})
			sound(t, err)
			a.Kill()
			t.Cleanup(func() { sound(t, a.Close()) })
		}, ""},
	}
}

func sound(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// withSocket is a configuration with an agent at a path, whose setting is in line 3 from column 5.
func withSocket(path, upstream string) string {
	return fmt.Sprintf(`
agents { agent "a" type="waf" {
    unix-socket %q
    timeout-ms 1000
} }
upstream "o" { target %q }
filters { filter "closed" { type "agent"; agent "a" }; filter "open" { type "agent"; agent "a"; failure-mode "open" } }
route "closed" { matches { path "/closed" }; upstream "o"; filters "closed" }
route "open" { matches { path "/open" }; upstream "o"; filters "open" }
`, path, upstream)
}

// TestSocketAtStart is AG-06 at the start: a socket that is missing may come yet, so there is a warning and the
// failure mode holds until then. What is no socket, or would be in no directory, is an error at its place.
func TestSocketAtStart(t *testing.T) {
	t.Parallel()
	for _, p := range places() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "a")
			p.make(t, path)
			if p.says != "" {
				wantRejected(t, path, path+p.says)
				return
			}
			o := newCounter(t)
			s := openSite(t, withSocket(path, o.Addr()), nil)
			s.wantWarned(t, path)
			s.get(t, "/closed", 503)
			s.get(t, "/open", 200)
			if o.Total() != 1 {
				t.Errorf("%d requests came to the origin, want the open route's", o.Total())
			}
			agentReturns(t, s, path)
		})
	}
	t.Run("no directory", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "d")
		wantRejected(t, filepath.Join(dir, "a"), dir)
	})
}

// wantRejected holds that a proxy does not start, and says where and why.
func wantRejected(t *testing.T, path, why string) {
	t.Helper()
	text := withSocket(path, "127.0.0.1:1")
	p, err := sentinel.New(sentinel.Options{
		Text: []byte(siteFrame + text), Name: "site.kdl", AccessLog: io.Discard, ErrorLog: io.Discard, AuditLog: io.Discard,
		Log: slog.New(slog.DiscardHandler),
	})
	var bad *sentinel.ConfigError
	if !errors.As(err, &bad) {
		t.Fatalf("New returns %v, %v, want a configuration's error", p, err)
	}
	at := fmt.Sprintf("site.kdl:%d:%d", strings.Count(siteFrame, "\n")+3, len("    unix-socket ")+1)
	if report := bad.Report(); !strings.Contains(report, at) || !strings.Contains(report, why) {
		t.Errorf("the report is %q, want %s and %q in it", report, at, why)
	}
}

// wantWarned holds that the proxy's own log names the agent's socket in a warning.
func (s *site) wantWarned(t *testing.T, path string) {
	t.Helper()
	s.messages.must(t, "a warning of the socket", func() bool {
		for _, r := range s.messages.all {
			if r["level"] == "WARN" && strings.Contains(fmt.Sprint(r), path) {
				return true
			}
		}
		return false
	})
}

// agentReturns starts an agent in the place of what is at the path. The proxy finds it by itself.
func agentReturns(t *testing.T, s *site, path string) {
	t.Helper()
	sound(t, os.RemoveAll(path))
	fake := newFake(t, rogue.Options{Path: path, Dialect: rogue.V2D})
	s.reaches(t, "a")
	s.get(t, "/closed", 200)
	if got := fake.Stats().Events[rogue.RequestHeaders]; got != 1 {
		t.Errorf("the agent was asked %d times, want once", got)
	}
}

// TestSocketReplaced is AG-06 at run time: the agent ends, and something else is where its socket was. The
// failure mode holds until an agent is there again, and what is there is left alone.
func TestSocketReplaced(t *testing.T) {
	t.Parallel()
	for _, p := range places() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "a")
			fake, err := rogue.New(rogue.Options{Path: path, Dialect: rogue.V2D})
			sound(t, err)
			o := newCounter(t)
			s := openSite(t, withSocket(path, o.Addr()), nil)
			s.reaches(t, "a")
			s.get(t, "/closed", 200)
			sound(t, fake.Close())
			p.make(t, path)
			before, err := os.Lstat(path)
			for range 3 {
				s.get(t, "/closed", 503)
				s.get(t, "/open", 200)
			}
			if after, again := os.Lstat(path); err == nil && (again != nil || after.Mode() != before.Mode() || after.Size() != before.Size()) {
				t.Errorf("where the socket was, there is %v (%v), and was %v", after, again, before)
			}
			if o.Total() != 4 {
				t.Errorf("%d requests came to the origin, want 4", o.Total())
			}
			s.wantMetric(t, 3, "agent_bypass_total", "agent", "a")
			agentReturns(t, s, path)
		})
	}
}

// TestSocketForbidden takes the permission to connect from a socket, before the start and at run time. To root
// nothing is forbidden: then the agent serves on.
func TestSocketForbidden(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a")
	fake := newFake(t, rogue.Options{Path: path, Dialect: rogue.V2D})
	sound(t, os.Chmod(path, 0))
	o := newCounter(t)
	s := openSite(t, withSocket(path, o.Addr()), nil)
	if os.Geteuid() == 0 {
		s.reaches(t, "a")
		s.get(t, "/closed", 200)
		return
	}
	s.wantWarned(t, path)
	s.get(t, "/closed", 503)
	s.get(t, "/open", 200)
	sound(t, os.Chmod(path, 0o600))
	s.reaches(t, "a")
	s.get(t, "/closed", 200)
	fake.Kill()
	sound(t, fake.Restart())
	sound(t, os.Chmod(path, 0))
	fake.SetDoor(rogue.Shut) // for who came before
	s.get(t, "/open", 200)
	if o.Total() != 3 {
		t.Errorf("%d requests came to the origin, want 3", o.Total())
	}
}
