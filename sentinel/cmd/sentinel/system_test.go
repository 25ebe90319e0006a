package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is the receiving end of sd_notify.
type manager struct {
	c    *net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &manager{c, path}
}

func (m *manager) env() string { return "NOTIFY_SOCKET=" + m.path }

// next returns the states of the next message that is no life sign.
func (m *manager) next(t *testing.T) []string {
	t.Helper()
	b := make([]byte, 4096)
	for {
		_ = m.c.SetReadDeadline(time.Now().Add(patience))
		n, err := m.c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if states := strings.Split(string(b[:n]), "\n"); states[0] != "WATCHDOG=1" {
			return states
		}
	}
}

func (m *manager) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := m.next(t); !slices.Equal(got, want) {
		t.Errorf("the service manager was told %q, want %q", got, want)
	}
}

// expectLast reads up to a message, which is the last one of a process that ends.
func (m *manager) expectLast(t *testing.T, want ...string) {
	t.Helper()
	for !slices.Equal(m.next(t), want) {
	}
}

// TestServiceManager follows what the service manager is told over a life.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	p := startProgram(t, os.Args[0], []string{m.env(), "WATCHDOG_USEC=500000"}, "-c", write(t, goodConfig))
	m.expect(t, "READY=1", "STATUS=serving")
	b := make([]byte, 100)
	_ = m.c.SetReadDeadline(time.Now().Add(patience))
	if n, err := m.c.Read(b); err != nil || string(b[:n]) != "WATCHDOG=1" {
		t.Errorf("the watchdog got %q, %v", b[:n], err)
	}
	p.signal(t, syscall.SIGHUP)
	got := m.next(t)
	if len(got) < 2 || got[0] != "RELOADING=1" {
		t.Fatalf("a reload begins with %q", got)
	}
	micros, err := strconv.ParseInt(strings.TrimPrefix(got[1], "MONOTONIC_USEC="), 10, 64)
	if err != nil || micros <= 0 {
		t.Errorf("the reload begins at %q", got[1])
	}
	if got := m.next(t); got[0] != "READY=1" {
		t.Errorf("a reload ends with %q", got)
	}
	for range 100 {
		p.signal(t, syscall.SIGHUP)
	}
	for i := range 2 { // at least; each ends before the next begins
		if got := m.next(t); got[0] != "RELOADING=1" {
			t.Errorf("reload %d of many begins with %q", i, got)
		}
		if got := m.next(t); got[0] != "READY=1" {
			t.Errorf("reload %d of many ends with %q", i, got)
		}
		p.signal(t, syscall.SIGHUP)
	}
	p.signal(t, syscall.SIGTERM)
	m.expectLast(t, "STOPPING=1", "STATUS=draining")
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	_ = m.c.SetReadDeadline(time.Now())
	if n, err := m.c.Read(b); err == nil && string(b[:n]) != "WATCHDOG=1" {
		t.Errorf("a process that is ending says %q", b[:n])
	}
}

// TestServiceManagerEveryReload shows that the service manager is told of reloads that no signal asked for, and how each
// went, before whoever waits for it is.
func TestServiceManagerEveryReload(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	file, socket := adminConfig(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	file = write(t, strings.Replace(string(text), "system {", "system { auto-reload #true;", 1))
	p := startProgram(t, os.Args[0], []string{m.env()}, "-c", file)
	m.expect(t, "READY=1", "STATUS=serving")
	reloaded := func(how, status string) {
		t.Helper()
		if got := m.next(t); len(got) < 2 || got[0] != "RELOADING=1" || !strings.HasPrefix(got[1], "MONOTONIC_USEC=") {
			t.Errorf("a reload %s begins with %q", how, got)
		}
		if got := m.next(t); len(got) != 2 || got[0] != "READY=1" || !strings.HasPrefix(got[1], status) {
			t.Errorf("a reload %s ends with %q, want %q", how, got, status)
		}
	}
	execute(t, "reload", "--wait", "--socket", socket).expect(t, 0, `^reload done`, "")
	reloaded("by command", "STATUS=serving")
	if err := os.WriteFile(file, []byte("route {"), 0o600); err != nil {
		t.Fatal(err)
	}
	reloaded("by itself", "STATUS=serving; the last reload failed: ")
	p.signal(t, syscall.SIGTERM)
	m.expectLast(t, "STOPPING=1", "STATUS=draining")
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestSocketActivation gives the program sockets as systemd does: one found by its address, one by its name, one that
// no listener wants, which is closed.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	var files []*os.File
	var at []string
	for range 3 {
		nl, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := nl.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		at, files = append(at, nl.Addr().String()), append(files, f)
		_ = nl.Close()
		t.Cleanup(func() { _ = f.Close() })
	}
	text := strings.Replace(goodConfig, `listener "main" { address "127.0.0.1:0" }`, `listener "main" { address "`+at[0]+`" }
		listener "named" { address "127.0.0.1:1" }`, 1)
	p := prepare(os.Args[0], "-c", write(t, text))
	p.Env = append(p.Env, "LISTEN_FDS=3", "LISTEN_FDNAMES=web:named:other")
	p.ExtraFiles = files
	p.begin(t)
	if !slices.ContainsFunc(p.seen, func(line string) bool {
		return strings.Contains(line, "belongs to no listener") && strings.Contains(line, at[2])
	}) {
		t.Errorf("nothing is said about the socket that no listener wants: %q", p.seen)
	}
	for _, f := range files {
		_ = f.Close() // now only the program has them
	}
	get(t, at[0])
	get(t, at[1])
	closed(t, at[2])
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	closed(t, at[0])
}

// TestDaemon shows that the program goes into the background when it serves, in a session of its own and in the
// working directory, and that a failure reaches whoever started it.
func TestDaemon(t *testing.T) {
	t.Parallel()
	s := newSite(t, "daemon #true")
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := nl.Addr().String()
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.configure(t, strings.NewReplacer("127.0.0.1:0", addr, "daemon #true", `daemon #true; working-directory "`+s.dir+`"`, s.pidFile, "pid").Replace(string(text)))
	out, err := s.command(t, "-c", s.config)
	if code := exitCode(err); code != 2 || !strings.Contains(out, "address already in use") || s.pid() != 0 {
		t.Errorf("with its port in use: exit code %d, %q, pid-file %d", code, out, s.pid())
	}
	_ = nl.Close()
	if out, err := s.command(t, "-c", s.config); err != nil || out != "" && !strings.Contains(out, "WARN") {
		t.Fatalf("%v, %q", err, out)
	}
	t.Cleanup(func() { s.kill(t) })
	get(t, addr)
	pid := s.pid()
	if session, err := sessionOf(pid); err != nil || session != pid {
		t.Errorf("process %d is in session %d, %v", pid, session, err)
	}
	for fd := range 3 {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); to != os.DevNull {
			t.Errorf("descriptor %d is %s, %v", fd, to, err)
		}
	}
	if to, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); to != s.dir {
		t.Errorf("the working directory is %s, %v", to, err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	eventually(t, "its end", func() bool { return zombie(pid) })
	if _, err := os.Stat(s.pidFile); err == nil {
		t.Error("the pid-file is still there")
	}
}

func exitCode(err error) int {
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as exec returns it
		return e.ExitCode()
	}
	return 0
}

// sessionOf reads field 6 of proc_pid_stat(5).
func sessionOf(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strconv.Atoi(strings.Fields(rest)[3])
}

// TestRelativeNames shows that the configuration is found from where the program was started, and what it names from
// its working directory, also after an upgrade.
func TestRelativeNames(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	if err := os.Mkdir(filepath.Join(s.dir, "work"), 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.configure(t, strings.Replace(string(text), `pid-file "`+s.pidFile+`"`, `pid-file "pid"; working-directory "`+s.dir+`/work"`, 1)+
		`observability { logging { access-log { file "access.log" } } }`)
	s.pidFile = filepath.Join(s.dir, "work", "pid")
	p := prepare("./sentinel", "-c", "sentinel.kdl")
	p.Dir = s.dir
	p.begin(t)
	t.Cleanup(func() { s.kill(t) })
	get(t, p.addr)
	p.signal(t, syscall.SIGUSR2)
	eventually(t, "another process", func() bool { return s.pid() != 0 && s.pid() != p.Process.Pid })
	get(t, p.addr)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "work", "access.log")); err != nil {
		t.Error(err)
	}
}

// rootsGroup is a group that root has been put into.
const rootsGroup = 54321

// TestAccount shows that root's rights are left behind for good after binding, with logs, pid-file and all threads
// as the account, and that who has none to leave behind is told so.
func TestAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t, `user "nobody"`)
	if os.Getuid() != 0 {
		out, err := s.command(t, "-c", s.config)
		if code := exitCode(err); code != 2 || !strings.Contains(out, "becoming uid") {
			t.Errorf("exit code %d, %q", code, out)
		}
		return
	}
	pub := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(pub), 0o755), os.Chmod(pub, 0o777)); err != nil { // the account writes there
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	old := s.pidFile
	s.pidFile = filepath.Join(pub, "pid")
	s.configure(t, strings.Replace(string(text), old, s.pidFile, 1)+`observability { logging { access-log { file "`+pub+`/access.log" } } }`)
	p := prepare(s.program, "-c", s.config)
	p.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{0, rootsGroup}}}
	p.begin(t)
	t.Cleanup(func() { s.kill(t) })
	get(t, p.addr)
	for _, name := range []string{"pid", "access.log"} {
		info, err := os.Stat(filepath.Join(pub, name))
		if err != nil || info.Sys().(*syscall.Stat_t).Uid == 0 {
			t.Errorf("%s belongs to root, or %v", name, err)
		}
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, file := range threads {
		checkRootless(t, file)
	}
	// Root may ask the account's process for an upgrade. It fails: the account cannot read the configuration.
	if out, err := s.command(t, "-u", "-c", s.config); err == nil || !strings.Contains(out, "the running process goes on") {
		t.Errorf("an upgrade: %v, %q", err, out)
	}
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != 0 || s.pid() != 0 {
		t.Errorf("exit code %d, pid-file %d", code, s.pid())
	}
}

// TestAccountRefused shows that who may not become an account does not serve as another one.
func TestAccountRefused(t *testing.T) {
	t.Parallel()
	pub := t.TempDir()
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	file, config := filepath.Join(pub, "sentinel"), filepath.Join(pub, "sentinel.kdl")
	text := strings.NewReplacer("system { }", `system { user "root" }`, "ORIGIN", "127.0.0.1:1").Replace(goodConfig)
	if err := errors.Join(os.Chmod(filepath.Dir(pub), 0o755), os.Chmod(pub, 0o755),
		os.WriteFile(file, program, 0o755), os.WriteFile(config, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, file, "-c", config)
	cmd.Env, cmd.Dir = append(os.Environ(), asProgram+"=1"), pub
	if os.Getuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	if code := exitCode(err); code != 2 || !strings.Contains(string(out), "becoming uid 0, gid 0: setgroups: operation not permitted") {
		t.Errorf("exit code %d, %v, %q", code, err, out)
	}
}

// checkRootless checks the ids and capabilities of a thread, proc_pid_status(5).
func checkRootless(t *testing.T, file string) {
	t.Helper()
	status, err := fs.ReadFile(os.DirFS("/"), strings.TrimPrefix(file, "/"))
	if err != nil {
		return // the thread has ended
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		switch fields[0] {
		case "Uid:", "Gid:", "Groups:":
			if slices.Contains(fields[1:], "0") || slices.Contains(fields[1:], strconv.Itoa(rootsGroup)) {
				t.Errorf("%s: %s", file, line)
			}
		case "CapPrm:", "CapEff:":
			if strings.Trim(fields[1], "0") != "" {
				t.Errorf("%s: %s", file, line)
			}
		}
	}
}
