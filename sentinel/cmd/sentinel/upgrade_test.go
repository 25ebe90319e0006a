package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// site is a directory with a program, a configuration and a pid-file. The program is a link to the test binary; what
// its successors do is decided by files beside it.
type site struct {
	dir, config, program, pidFile string
}

// What a successor does instead of serving, as the content of the file "fate".
const (
	fateExit = "exit"
	fateHang = "hang"
)

// fated ends or hangs the process if its program has such a fate.
func fated() {
	fate, err := os.ReadFile(filepath.Join(filepath.Dir(os.Args[0]), "fate"))
	switch {
	case err != nil:
	case string(fate) == fateExit:
		os.Exit(3)
	case string(fate) == fateHang:
		time.Sleep(3 * patience) // it is killed before
	}
}

// newSite makes a site whose configuration has text in its system block.
func newSite(t *testing.T, system string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{dir, filepath.Join(dir, "sentinel.kdl"), filepath.Join(dir, "sentinel"), filepath.Join(dir, "pid")}
	if err := os.Symlink(os.Args[0], s.program); err != nil {
		t.Fatal(err)
	}
	origin := answering(t)
	s.configure(t, strings.NewReplacer("system { }", `system { pid-file "`+s.pidFile+`"; `+system+" }", "ORIGIN", origin).Replace(goodConfig))
	return s
}

func (s *site) configure(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *site) fate(t *testing.T, word string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "fate"), []byte(word), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pid reads the pid-file; 0: there is none.
func (s *site) pid() int {
	text, _ := os.ReadFile(s.pidFile)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// start runs the site's program in the foreground.
func (s *site) start(t *testing.T, env ...string) *program {
	t.Helper()
	p := startProgram(t, s.program, env, "-c", s.config)
	t.Cleanup(func() { s.kill(t) })
	return p
}

// kill ends whom the pid-file names: a successor is nobody's child.
func (s *site) kill(t *testing.T) {
	t.Helper()
	pid := s.pid()
	if pid == 0 {
		return
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, "its end", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) })
}

// zombie reports whether a process has ended and only its parent has not noticed.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err != nil || strings.HasPrefix(rest, "Z")
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	within(t, patience, what, is)
}

func within(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.After(limit); !is(); {
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("still not: %s", what)
		}
	}
}

// answering is an origin that answers every request.
func answering(t *testing.T) (address string) {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	go func() { _ = server.Serve(nl) }()
	t.Cleanup(func() { _ = server.Close() })
	return nl.Addr().String()
}

// request does one request on a connection and reports whether the connection goes on.
func request(c net.Conn, r *bufio.Reader) (keep bool, err error) {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET /api HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return false, err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(body) != "ok") {
		err = fmt.Errorf("status %d, body %q", resp.StatusCode, body)
	}
	return !resp.Close, err
}

// load sends requests without ever repeating one: some clients keep their connections until they are told to close,
// others open one for each request. done returns how many were answered, when all clients have ended.
func load(t *testing.T, addr string, clients int) (answered *atomic.Int64, done func()) {
	t.Helper()
	answered = new(atomic.Int64)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				r := bufio.NewReader(c)
				for keep := true; keep; {
					select {
					case <-stop:
						_ = c.Close()
						return
					default:
					}
					if keep, err = request(c, r); err != nil {
						t.Errorf("client %d, after %d answers: %v", i, answered.Load(), err)
						return
					}
					answered.Add(1)
					keep = keep && i%2 == 0
				}
				_ = c.Close()
			}
		})
	}
	done = sync.OnceFunc(func() { close(stop); all.Wait() })
	t.Cleanup(done)
	return answered, done
}

// more waits for some more answers.
func more(t *testing.T, answered *atomic.Int64) {
	t.Helper()
	goal := answered.Load() + 200
	eventually(t, "more answers", func() bool { return answered.Load() > goal || t.Failed() })
}

// TestUpgrade replaces the program twice under load: by a signal, and by the command. No request fails, the old
// processes end with 0, the pid-file names the new one, and the service manager is told who it is.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	manager := newManager(t)
	p := s.start(t, manager.env())
	manager.expect(t, "READY=1", "STATUS=serving")
	answered, done := load(t, p.addr, 8)
	more(t, answered)
	p.signal(t, syscall.SIGUSR2)
	eventually(t, "another process", func() bool { return s.pid() != 0 && s.pid() != p.Process.Pid })
	second := s.pid()
	manager.expect(t, "STATUS=upgrading")
	manager.expect(t, fmt.Sprintf("MAINPID=%d", second), "READY=1", "STATUS=serving")
	more(t, answered)
	if code := p.exit(t); code != 0 {
		t.Errorf("the old process ended with %d", code)
	}
	more(t, answered)
	out, err := s.command(t, "--upgrade", "-c", s.config)
	if third := s.pid(); err != nil || third == second || out != fmt.Sprintf("sentinel: process %d has taken over\n", third) {
		t.Errorf("--upgrade: %v, %q; %d replaces %d", err, out, third, second)
	}
	more(t, answered)
	done()
	eventually(t, "the end of the second process", func() bool { return zombie(second) })
	t.Logf("%d requests", answered.Load())
	third := s.pid()
	if err := syscall.Kill(third, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the third process", func() bool { return zombie(third) })
	if s.pid() != 0 {
		t.Error("the pid-file is still there")
	}
}

// command runs the site's program to its end, which comes soon.
func (s *site) command(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.program, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// TestUpgradeFails shows that a new program that ends, hangs or refuses its configuration leaves the old one
// serving, says why, and that a later upgrade works.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, reason string
		spoil        func(t *testing.T, s *site)
	}{
		{"ends", `before it was ready: exit status 3`, func(t *testing.T, s *site) { s.fate(t, fateExit) }},
		{"hangs", `not ready within 1s`, func(t *testing.T, s *site) { s.fate(t, fateHang) }},
		{"configuration", `sentinel.kdl:1:1: `, func(t *testing.T, s *site) { s.configure(t, "nonsense") }},
		{"is gone", `no such file`, func(t *testing.T, s *site) {
			if err := os.Rename(s.program, s.program+".gone"); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "upgrade-timeout-secs 1")
			p := s.start(t)
			answered, done := load(t, p.addr, 2)
			more(t, answered)
			test.spoil(t, s)
			p.signal(t, syscall.SIGUSR2)
			p.await(t, "the failure", func(line string) bool {
				return strings.Contains(line, "upgrade failed") && strings.Contains(line, test.reason)
			})
			more(t, answered)
			if s.pid() != p.Process.Pid {
				t.Errorf("the pid-file names %d, not %d", s.pid(), p.Process.Pid)
			}
			done()
			p.signal(t, syscall.SIGTERM)
			if code := p.exit(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// TestUpgradeFailsLate shows that a new program that fails when it has the sockets already takes no request and no admin
// socket away.
func TestUpgradeFailsLate(t *testing.T) {
	t.Parallel()
	for name, system := range map[string]string{"at once": "", "with a delay": "shutdown-delay-secs 2; "} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			admin := filepath.Join(t.TempDir(), "admin.sock")
			s := newSite(t, system+`admin-socket "`+admin+`"`)
			p := s.start(t)
			answered, done := load(t, p.addr, 16)
			more(t, answered)
			text, err := os.ReadFile(s.config)
			taken := filepath.Join(s.dir, "taken") // a directory is in the way of the pid-file
			if err = errors.Join(err, os.MkdirAll(filepath.Join(taken, "x"), 0o700)); err != nil {
				t.Fatal(err)
			}
			s.configure(t, strings.Replace(string(text), `"`+s.pidFile+`"`, `"`+taken+`"`, 1))
			p.signal(t, syscall.SIGUSR2)
			p.await(t, "the failure", func(line string) bool { return strings.Contains(line, "upgrade failed") })
			more(t, answered)
			done()
			if left, err := filepath.Glob(filepath.Join(filepath.Dir(admin), "*admin.sock*")); err != nil || len(left) != 1 || left[0] != admin {
				t.Errorf("beside the admin socket there is %q, %v", left, err)
			}
			if out, err := s.command(t, "status", "--socket", admin); err != nil || !strings.Contains(out, strconv.Itoa(p.Process.Pid)) {
				t.Errorf("the old process's admin socket: %v, %q", err, out)
			}
		})
	}
}

// TestUpgradeCommandFails shows that --upgrade says why nothing changed, and works once the reason is gone.
func TestUpgradeCommandFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	if out, err := s.command(t, "-u", "-c", s.config); err == nil || !strings.Contains(out, "no such file") {
		t.Errorf("without a process: %v, %q", err, out)
	}
	if err := os.WriteFile(s.pidFile, []byte("4194304\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.command(t, "-u", "-c", s.config); err == nil || !strings.Contains(out, "no process that runs") {
		t.Errorf("with a stale pid-file: %v, %q", err, out)
	}
	p := s.start(t)
	if out, err := s.command(t, "-c", s.config); err == nil || !strings.Contains(out, fmt.Sprintf("process %d is running", p.Process.Pid)) {
		t.Errorf("a second process: %v, %q", err, out)
	}
	for range 20 { // a burst is one upgrade, which takes place
		p.signal(t, syscall.SIGUSR2)
	}
	eventually(t, "another process", func() bool { return s.pid() != p.Process.Pid })
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestUpgradeDuringDrain shows that a process that is ending does not start another one.
func TestUpgradeDuringDrain(t *testing.T) {
	t.Parallel()
	p, _, release := inFlight(t)
	p.signal(t, syscall.SIGTERM)
	closed(t, p.addr)
	p.signal(t, syscall.SIGUSR2)
	p.await(t, "the refusal", func(line string) bool { return strings.Contains(line, "the process is draining") })
	release <- struct{}{}
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestStopDuringUpgrade shows that a stop ends an upgrade, and the program that was to take over with it.
func TestStopDuringUpgrade(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	p := s.start(t)
	s.fate(t, fateHang)
	p.signal(t, syscall.SIGUSR2)
	p.await(t, "the upgrade", func(line string) bool { return strings.Contains(line, "upgrading") })
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for limit := time.After(patience); ; {
		select {
		case _, open := <-p.lines:
			if !open {
				return // nobody writes any more
			}
		case <-limit:
			t.Fatal("the new process is still there")
		}
	}
}

// TestUpgradeMetrics shows that the metrics endpoint is handed over too, although the configuration gives it no port.
func TestUpgradeMetrics(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.configure(t, string(text)+`observability { metrics { address "127.0.0.1:0" } }`)
	p := s.start(t)
	at := ""
	p.await(t, "the metrics", func(line string) bool {
		var e struct{ Msg, Metrics string }
		if json.Unmarshal([]byte(line), &e) == nil && e.Msg == "listening" {
			at = e.Metrics
		}
		return at != ""
	})
	if out, err := s.command(t, "-u", "-c", s.config); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	resp, err := http.Get("http://" + at + "/metrics")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", resp, err)
	}
	get(t, p.addr)
}

// TestUpgradeAfterReload shows that a listener that a reload has removed stays closed, and one that it has added is
// handed over.
func TestUpgradeAfterReload(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	extra := nl.Addr().String()
	_ = nl.Close()
	with := string(text) + `listener "extra" { address "` + extra + `" }`
	s.configure(t, with)
	p := s.start(t)
	get(t, extra)
	s.configure(t, string(text))
	p.signal(t, syscall.SIGHUP)
	closed(t, extra)
	if out, err := s.command(t, "-u", "-c", s.config); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	closed(t, extra)
	s.configure(t, with)
	if err := syscall.Kill(s.pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the listener is back", func() bool {
		c, err := net.Dial("tcp", extra)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	second := s.pid()
	if out, err := s.command(t, "-u", "-c", s.config); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "the end of the second process", func() bool { return zombie(second) })
	get(t, extra)
	get(t, p.addr)
}
