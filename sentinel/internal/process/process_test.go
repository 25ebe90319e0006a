package process

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSameAddress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		bound, asked string
		want         bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.1:81", false},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"[::]:80", "0.0.0.0:80", true},
		{"[::]:80", "[::]:80", true},
		{"[::]:80", "127.0.0.1:80", false},
		{"0.0.0.0:80", "[::]:80", false},
		{"0.0.0.0:80", "0.0.0.0:80", true},
		{"[::ffff:127.0.0.1]:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "nonsense", false},
	} {
		bound, err := net.ResolveTCPAddr("tcp", test.bound)
		if err != nil {
			t.Fatal(err)
		}
		if got := sameAddress(bound, test.asked); got != test.want {
			t.Errorf("a socket at %s serves %s: %t", test.bound, test.asked, got)
		}
	}
}

// TestCloseReallyCloses shows that a socket that was passed on and then closed does not go on listening in a copy, and
// that it is not passed on again.
func TestCloseReallyCloses(t *testing.T) {
	t.Parallel()
	var s sockets
	first, err := s.listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	c, err := s.copy()
	if err != nil || len(c.fds) != 2 || c.addresses[0] != "127.0.0.1:0" {
		t.Fatalf("%+v, %v", c, err)
	}
	c.close()
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if nc, err := net.Dial("tcp", first.Addr().String()); err == nil {
		_ = nc.Close()
		t.Error("a closed socket accepts connections")
	}
	if c, err = s.copy(); err != nil || len(c.fds) != 1 {
		t.Errorf("%d sockets are passed on, %v", len(c.fds), err)
	}
	c.close()
}

// TestReserve shows that what was opened in advance is what is asked for later, that a failure is kept for whoever asks,
// and that the rest is closed.
func TestReserve(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	var s sockets
	s.reserve(t.Context(), []string{"127.0.0.1:0", taken.Addr().String(), "[::1]:0"})
	if len(s.spare) < 1 {
		t.Fatal("nothing is open")
	}
	reserved := s.spare[0].Addr().String()
	nl, err := s.listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil || nl.Addr().String() != reserved {
		t.Errorf("asked for 127.0.0.1:0: %v, %v; %s was reserved", nl, err, reserved)
	}
	_ = nl.Close()
	if _, err := s.listen(t.Context(), "tcp", taken.Addr().String()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("an address in use: %v", err)
	}
	s.settle()
	if len(s.spare) > 0 {
		t.Error("spare sockets are left")
	}
}

func TestInheritedFile(t *testing.T) {
	t.Parallel()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	var s sockets
	if err := s.adopt(f, "", "web"); err == nil || !strings.Contains(err.Error(), `inherited socket "web"`) {
		t.Errorf("a file that is no socket: %v", err)
	}
}

// TestEnvironment shows that what a process was started with is not passed on.
func TestEnvironment(t *testing.T) {
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		t.Setenv(name, "7")
	}
	t.Setenv("WATCHDOG_PID", "7")
	h, err := Begin()
	if err != nil || len(h.sockets.spare) != 0 {
		t.Fatalf("%d sockets, %v; they are for process 7", len(h.sockets.spare), err)
	}
	for _, v := range environment("X=1") {
		if strings.HasPrefix(v, "LISTEN_") || strings.HasPrefix(v, "WATCHDOG_PID=") {
			t.Errorf("a child gets %s", v)
		}
	}
	t.Setenv(inherited, "upgrade 127.0.0.1:1")
	if _, err := Begin(); err == nil || !strings.Contains(err.Error(), inherited) {
		t.Errorf("a variable without its pipe: %v", err)
	}
	if _, set := os.LookupEnv(inherited); set {
		t.Error("the variable is still there")
	}
}

func TestPIDFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pid")
	first, err := writePID(path)
	if err != nil {
		t.Fatal(err)
	}
	if there, err := readPID(path); there.pid != os.Getpid() || !there.lives || err != nil {
		t.Errorf("%+v, %v", there, err)
	}
	second, err := writePID(path)
	if err != nil {
		t.Fatal(err)
	}
	first.remove()
	if there, err := readPID(path); !there.lives || err != nil {
		t.Errorf("the first one's end took the second one's file: %+v, %v", there, err)
	}
	second.remove()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	if _, err := writePID(filepath.Join(path, "pid")); err == nil || !strings.Contains(err.Error(), "pid-file "+path) {
		t.Errorf("in no directory: %v", err)
	}
}

func TestReadPID(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pid")
	for text, ok := range map[string]bool{"4711\n": true, " 4711": true, "": false, "x": false, "-1": false, "0": false, "1": false, strings.Repeat("9", 100): false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if there, err := readPID(path); (err == nil) != ok || there.lives || ok && there.pid != 4711 {
			t.Errorf("%.40q: %+v, %v", text, there, err)
		}
	}
}

// TestHardStop shows that a drain that does not end is ended, and no other.
func TestHardStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &Host{}
		limit := func() time.Duration { return 35 * time.Second }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		ended := make(chan time.Time, 1)
		go h.HardStop(ctx, limit, done, func() { ended <- time.Now() })
		time.Sleep(time.Hour)
		cancel()
		began := time.Now()
		if took := (<-ended).Sub(began); took != 35*time.Second {
			t.Errorf("ended after %v", took)
		}
		go h.HardStop(ctx, limit, done, func() { t.Error("a drain that had ended was ended") })
		time.Sleep(34 * time.Second)
		close(done)
		time.Sleep(time.Minute)
	})
}

// TestStates shows what may follow what.
func TestStates(t *testing.T) {
	t.Parallel()
	h := &Host{halt: make(chan struct{})}
	failed := errors.New("failed")
	if err := h.enter(); err != nil {
		t.Error(err)
	}
	if err := h.enter(); !errors.Is(err, ErrUpgrading) {
		t.Errorf("an upgrade during an upgrade: %v", err)
	}
	if err := h.leave(0, failed); !errors.Is(err, failed) || h.state != serving {
		t.Errorf("after a failed upgrade: %v, state %d", err, h.state)
	}
	if err := errors.Join(h.enter(), h.leave(0, nil)); err != nil || h.state != replaced {
		t.Errorf("after an upgrade: %v, state %d", err, h.state)
	}
	if err := h.enter(); !errors.Is(err, ErrDraining) {
		t.Errorf("an upgrade after an upgrade: %v", err)
	}
	if !h.Stopping() {
		t.Error("a replaced process is not ending")
	}
	h.state = upgrading
	if h.Stopping() {
		t.Error("an upgrading process is ending")
	}
	if err := h.leave(0, failed); !errors.Is(err, ErrDraining) || h.state != stopping {
		t.Errorf("a stop during an upgrade: %v, state %d", err, h.state)
	}
	if !h.Stopping() {
		t.Error("a second stop is the first one")
	}
	if err := h.enter(); !errors.Is(err, ErrDraining) {
		t.Errorf("an upgrade after a stop: %v", err)
	}
}

// TestReloadWhileEnding shows that a reload says nothing to the service manager once it knows that the process ends.
func TestReloadWhileEnding(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	t.Setenv("NOTIFY_SOCKET", name)
	h := &Host{halt: make(chan struct{})}
	h.Reloading()
	h.Stopping()
	h.Reloaded("serving")
	h.Reloading()
	h.notify("END=1")
	for _, want := range []string{"RELOADING=1", "STOPPING=1", "END=1"} {
		b := make([]byte, 1000)
		n, err := c.Read(b)
		if got, _, _ := strings.Cut(string(b[:n]), "\n"); err != nil || got != want {
			t.Errorf("the service manager is told %q, want %q; %v", got, want, err)
		}
	}
}

// TestDeafManager shows that a service manager that does not read holds up nothing for long.
func TestDeafManager(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for range 10_000 { // until its line is full, net.unix.max_dgram_qlen
		if err = tell(name, "WATCHDOG=1"); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the last message: %v", err)
	}
	var log bytes.Buffer
	t.Setenv("NOTIFY_SOCKET", name)
	h := &Host{settings: Settings{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	h.Reloading()
	if !strings.Contains(log.String(), "the service manager cannot be told") {
		t.Errorf("the log has %q", log.String())
	}
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"upgraded 4711\n": "4711", "failed: why\n": "the running process goes on: why", "upgraded x": "invalid syntax",
		"failed: \x1b[2J": "goes on: ?[2J",
	} {
		pid, err := readOutcome(text)
		got := strconv.Itoa(pid)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q is read as %q", text, got)
		}
	}
}

// TestLookup shows whom names stand for. Every machine has the account and the group root.
func TestLookup(t *testing.T) {
	t.Parallel()
	if a, err := lookup("root", ""); err != nil || a.uid != 0 || a.gid != 0 || len(a.groups) == 0 {
		t.Errorf("root is %+v, %v", a, err)
	}
	if a, err := lookup("", "root"); err != nil || a.uid != os.Getuid() || a.gid != 0 {
		t.Errorf("the group root is %+v, %v", a, err)
	}
	for _, names := range [][2]string{{"no-such-user", ""}, {"", "no-such-group"}} {
		if _, err := lookup(names[0], names[1]); err == nil {
			t.Errorf("%q is somebody", names)
		}
	}
}
