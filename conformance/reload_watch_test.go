package conformance

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAutoReload changes files in the ways in which people and programs do it. The proxy notices each.
func TestAutoReload(t *testing.T) {
	t.Parallel()
	watched := strings.Replace(reloadFrame, "system {", "system { auto-reload true;", 1)
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir, text string)
	}{
		{"renamed over", func(t *testing.T, dir, text string) {
			put(t, filepath.Join(dir, "next"), text)
			move(t, filepath.Join(dir, "next"), filepath.Join(dir, "sentinel.kdl"))
		}},
		{"written in place, in two pieces", func(t *testing.T, dir, text string) {
			put(t, filepath.Join(dir, "sentinel.kdl"), text[:len(text)/2])
			put(t, filepath.Join(dir, "sentinel.kdl"), text)
		}},
		{"removed and back", func(t *testing.T, dir, text string) {
			if err := os.Remove(filepath.Join(dir, "sentinel.kdl")); err != nil {
				t.Error(err)
			}
			put(t, filepath.Join(dir, "sentinel.kdl"), text)
		}},
		{"its directory removed and back", func(t *testing.T, dir, text string) {
			move(t, dir, dir+".gone")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Error(err)
			}
			put(t, filepath.Join(dir, "sentinel.kdl"), text)
		}},
		{"a new file that include finds", func(t *testing.T, dir, text string) {
			put(t, filepath.Join(dir, "more.d", "b.kdl"), strings.TrimPrefix(text, watched))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := answering(t, "o")
			s := openReloadSite(t, "")
			dir := filepath.Dir(s.file)
			if err := os.Mkdir(filepath.Join(dir, "more.d"), 0o700); err != nil {
				t.Fatal(err)
			}
			include := "include \"more.d/*.kdl\"\n"
			s.writeRaw(t, watched+include)
			if _, err := s.p.Reload(bounded(t), "test"); err != nil {
				t.Fatal(err)
			}
			text := watched + through("b", o.addr())
			test.change(t, dir, text)
			eventually(t, "the new route", func() bool { return s.ask(asked{method: "GET", path: "/b"}).status() == 200 })
			eventually(t, "the word of it", func() bool { // a reload is told of when it is over
				last := s.p.Status().LastReload
				return last.Trigger == "auto-reload" && last.OK
			})
		})
	}
}

func put(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func move(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestAutoReloadMounted swaps the link that a mounted ConfigMap consists of: sentinel.kdl leads to ..data, and ..data
// to the directory of one version. A broken version changes nothing, and the next good one is taken.
func TestAutoReloadMounted(t *testing.T) {
	t.Parallel()
	o := answering(t, "o")
	s := openReloadSite(t, "")
	dir := filepath.Dir(s.file)
	version := func(name, text string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, name, "sentinel.kdl"), text)
		link(t, name, filepath.Join(dir, "..tmp"))
		move(t, filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data"))
	}
	watched := strings.Replace(reloadFrame, "system {", "system { auto-reload true;", 1)
	version("..1", watched)
	link(t, filepath.Join("..data", "sentinel.kdl"), filepath.Join(dir, "link"))
	move(t, filepath.Join(dir, "link"), s.file)
	if _, err := s.p.Reload(bounded(t), "test"); err != nil {
		t.Fatal(err)
	}
	version("..2", watched+"route {")
	eventually(t, "the refusal", func() bool { return s.p.Status().ReloadsFailed == 1 })
	version("..3", watched+through("b", o.addr()))
	eventually(t, "the new route", func() bool { return s.ask(asked{method: "GET", path: "/b"}).status() == 200 })
}

func link(t testing.TB, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// TestAutoReloadRelease swaps a link to the directory of a release, as deployments do. Only the file's full name leads
// through the link.
func TestAutoReloadRelease(t *testing.T) {
	t.Parallel()
	o := answering(t, "o")
	top := t.TempDir()
	watched := strings.Replace(reloadFrame, "system {", "system { auto-reload true;", 1)
	for name, text := range map[string]string{"one": watched, "two": watched + through("b", o.addr())} {
		if err := os.Mkdir(filepath.Join(top, name), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(top, name, "sentinel.kdl"), text)
	}
	link(t, "one", filepath.Join(top, "current"))
	s := startFile(t, filepath.Join(top, "current", "sentinel.kdl"))
	link(t, "two", filepath.Join(top, "next"))
	move(t, filepath.Join(top, "next"), filepath.Join(top, "current"))
	eventually(t, "the reload", func() bool { return s.p.Status().ReloadsOK == 1 })
}

// TestAutoReloadLateFile names a certificate that comes after the configuration: when it is there, it is taken.
func TestAutoReloadLateFile(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue(t, "one.example")
	dir := t.TempDir()
	watched := strings.Replace(reloadFrame, "system {", "system { auto-reload true;", 1)
	s := openReloadSite(t, "")
	s.writeRaw(t, watched)
	if _, err := s.p.Reload(bounded(t), "test"); err != nil {
		t.Fatal(err)
	}
	s.writeRaw(t, watched+fmt.Sprintf("listener \"tls\" { address \"127.0.0.1:0\"; protocol \"https\"; tls { cert-file %q; key-file %q } }\n",
		filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")))
	eventually(t, "the refusal", func() bool { return s.p.Status().ReloadsFailed > 0 })
	move(t, a.path("one.example.key"), filepath.Join(dir, "k.pem"))
	move(t, a.path("one.example.pem"), filepath.Join(dir, "c.pem"))
	eventually(t, "the listener", func() bool { return s.p.Addr("tls") != nil })
}

// TestAutoReloadCertificate replaces a certificate: who connects next gets the new one, whoever is connected is not
// disturbed.
func TestAutoReloadCertificate(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue(t, "one.example")
	o := answering(t, "o")
	s := openReloadSite(t, "")
	config := strings.Replace(reloadFrame, "system {", "system { auto-reload true;", 1) + through("a", o.addr()) + fmt.Sprintf(
		"listener \"tls\" { address \"127.0.0.1:0\"; protocol \"https\"; tls { cert-file %q; key-file %q } }\n",
		a.path("one.example.pem"), a.path("one.example.key"))
	s.writeRaw(t, config)
	if _, err := s.p.Reload(bounded(t), "test"); err != nil {
		t.Fatal(err)
	}
	addr := s.p.Addr("tls").String()
	served := func() *x509.Certificate {
		c, err := dialTLS(t, addr, &tls.Config{RootCAs: a.pool(), ServerName: "one.example"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.ConnectionState().PeerCertificates[0]
	}
	before := served()
	a.issue(t, "one.example")
	eventually(t, "the new certificate", func() bool { return !served().Equal(before) })
	s.audit.find(t, record{"event_type": "cert_reload"})
}

// TestReloadLogs changes the level and the file of logs. Lines go to the new file from then on, and rotation comes
// with every reload.
func TestReloadLogs(t *testing.T) {
	t.Parallel()
	o := answering(t, "o")
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	config := func(file string) string {
		return `listener "main" { address "127.0.0.1:0" }
observability { logging { access-log { file "` + file + `"; buffer-size 1 } } }
` + through("a", o.addr())
	}
	file := filepath.Join(dir, "sentinel.kdl")
	put(t, file, config(one))
	s := startFile(t, file)
	lines := func(file string) int {
		text, _ := os.ReadFile(file) // it may not be there yet
		return strings.Count(string(text), "\n")
	}
	ask := func() {
		c := dial(t, s.addr, whole)
		c.send(get("/a"))
		wantStatus(t, c, 200)
	}
	ask()
	eventually(t, "a line in the first file", func() bool { return lines(one) == 1 })
	move(t, one, one+".rotated")
	if _, err := s.p.Reload(bounded(t), "test"); err != nil {
		t.Fatal(err)
	}
	ask()
	eventually(t, "a line in the file after the rotation", func() bool { return lines(one) == 1 })
	put(t, file, config(two))
	if _, err := s.p.Reload(bounded(t), "test"); err != nil {
		t.Fatal(err)
	}
	ask()
	eventually(t, "a line in the second file", func() bool { return lines(two) == 1 })
	if lines(one) != 1 || lines(one+".rotated") != 1 {
		t.Errorf("%d and %d lines in the old files, want 1 each", lines(one), lines(one+".rotated"))
	}
}

// TestReloadLogComesBack shows that a log that could not be opened is a warning at each reload until it can be.
func TestReloadLogComesBack(t *testing.T) {
	t.Parallel()
	o := answering(t, "o")
	dir := t.TempDir()
	access, fault, audit := filepath.Join(dir, "access"), filepath.Join(dir, "error"), filepath.Join(dir, "audit")
	file := filepath.Join(dir, "sentinel.kdl")
	config := func(rate string) string {
		return `system { }
listener "main" { address "127.0.0.1:0" }
observability { logging { access-log { file "` + access + `"; buffer-size 1; sample-rate ` + rate + ` }
error-log { file "` + fault + `" }; audit-log { file "` + audit + `" } } }
` + through("a", o.addr())
	}
	put(t, file, config("1.0"))
	inTheWay := func() {
		t.Helper()
		if err := os.Mkdir(access, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	inTheWay()
	s := startFile(t, file)
	reload := func(warning string) {
		t.Helper()
		r, err := s.p.Reload(bounded(t), "test")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.Warnings, "; "); (got == "") != (warning == "") || !strings.Contains(got, warning) {
			t.Errorf("warnings %q, want %q", got, warning)
		}
	}
	reload("the access log cannot be opened") // nothing has changed
	put(t, file, config("0.5"))
	reload("the access log cannot be opened") // the block has
	put(t, file, config("1.0"))
	if err := os.Remove(access); err != nil {
		t.Fatal(err)
	}
	reload("")
	c := dial(t, s.addr, whole)
	c.send(get("/a"))
	wantStatus(t, c, 200)
	eventually(t, "a line in the access log", func() bool {
		text, _ := os.ReadFile(access)
		return strings.Count(string(text), "\n") == 1
	})
	reload("")
	if err := os.Remove(access); err != nil {
		t.Fatal(err)
	}
	inTheWay()
	move(t, audit, audit+".rotated")
	reload("a log cannot be reopened") // but those after it are
	eventually(t, "the audit log after its rotation", func() bool {
		_, err := os.Stat(audit)
		return err == nil
	})
}
