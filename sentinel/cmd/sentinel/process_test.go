package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// asProgram makes the test binary be the program: the tests start it again with this in its environment.
const asProgram = "SENTINEL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		fated()
		if os.Getenv("LISTEN_FDS") != "" {
			// systemd does this between fork and exec, which os/exec cannot.
			_ = os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		}
		main()
	}
	os.Exit(m.Run())
}

// program is a running one.
type program struct {
	*exec.Cmd
	lines chan string // of standard error
	seen  []string    // the lines that were waited for or passed over
	addr  string      // of the listener "main"
	ended chan error
}

// start runs the program and waits until its listener is bound.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	return startProgram(t, os.Args[0], nil, args...)
}

// startProgram is start for a link to the program and with more environment.
func startProgram(t *testing.T, file string, env []string, args ...string) *program {
	t.Helper()
	p := prepare(file, args...)
	p.Env = append(p.Env, env...)
	p.begin(t)
	return p
}

func prepare(file string, args ...string) *program {
	p := &program{Cmd: exec.Command(file, args...), lines: make(chan string, 1000), ended: make(chan error, 1)}
	p.Env = append(os.Environ(), asProgram+"=1")
	return p
}

// begin starts the program and waits until its listener is bound.
func (p *program) begin(t *testing.T) {
	t.Helper()
	out, in, err := os.Pipe() // ours: a successor writes to it too, when the first process has ended
	if err != nil {
		t.Fatal(err)
	}
	p.Stderr = in
	err = p.Start()
	_ = in.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.Wait() }()
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		for range p.lines { // until the end of the last one
		}
		_ = out.Close()
	})
	p.await(t, "the listener", func(line string) bool {
		var e struct{ Msg, Listener, Address string }
		if json.Unmarshal([]byte(line), &e) == nil && e.Msg == "listening" && e.Listener == "main" {
			p.addr = e.Address
		}
		return p.addr != ""
	})
}

// closed waits until nobody listens at an address.
func closed(t *testing.T, addr string) {
	t.Helper()
	eventually(t, "nobody listens at "+addr, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
}

// await reads standard error up to a line.
func (p *program) await(t *testing.T, what string, is func(string) bool) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case line, open := <-p.lines:
			if !open {
				t.Fatalf("ended before %s: %q", what, p.seen)
			}
			p.seen = append(p.seen, line)
			if is(line) {
				return
			}
		case <-limit:
			t.Fatalf("no line about %s: %q", what, p.seen)
		}
	}
}

func (p *program) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the end and returns the exit code, -1 for a signal.
func (p *program) exit(t *testing.T) int {
	t.Helper()
	select {
	case err := <-p.ended:
		var status *exec.ExitError
		if err != nil && !errors.As(err, &status) {
			t.Fatal(err)
		}
		return p.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatal("the program does not end")
		return 0
	}
}

// holding is an origin that holds a request until it is told to answer.
func holding(t *testing.T) (address string, asked <-chan struct{}, release chan<- struct{}) {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nl.Close() })
	got, answer := make(chan struct{}, 1), make(chan struct{}, 1)
	go func() {
		c, err := nl.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		got <- struct{}{}
		<-answer
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}()
	return nl.Addr().String(), got, answer
}

// inFlight starts the program with one request that the origin holds.
func inFlight(t *testing.T) (p *program, client net.Conn, release chan<- struct{}) {
	t.Helper()
	origin, asked, release := holding(t)
	p = start(t, "-c", write(t, strings.ReplaceAll(goodConfig, "ORIGIN", origin)))
	client, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	_ = client.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(client, "GET /api HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatal("the request did not reach the origin")
	}
	return p, client, release
}

// TestTermination shows that SIGTERM and SIGINT drain: the request in flight is answered, and the exit code
// is 0.
func TestTermination(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, client, release := inFlight(t)
			p.signal(t, s)
			closed(t, p.addr)
			release <- struct{}{}
			resp, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil || resp.StatusCode != http.StatusOK || !resp.Close {
				t.Errorf("the request in flight got %+v, %v", resp, err)
			}
			if code := p.exit(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// TestSecondSignal shows that a second SIGTERM ends a drain at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p, client, _ := inFlight(t)
	p.signal(t, syscall.SIGTERM)
	again := time.NewTicker(50 * time.Millisecond) // the first is handled in between
	defer again.Stop()
	for {
		select {
		case err := <-p.ended:
			if code := p.ProcessState.ExitCode(); code == 0 {
				t.Errorf("the program ended as if it had drained: %v", err)
			}
			if n, err := client.Read(make([]byte, 1)); err == nil {
				t.Errorf("the client got %d bytes", n)
			}
			return
		case <-again.C:
			_ = p.Process.Signal(syscall.SIGTERM)
		case <-time.After(patience):
			t.Fatal("the program does not end")
		}
	}
}

// TestLogRotation shows that SIGUSR1 makes a new log file.
func TestLogRotation(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access.log")
	p := start(t, "-c", write(t, goodConfig+`observability { logging { access-log { file "`+file+`" } } }`))
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGUSR1)
	eventually(t, "a new file", func() bool {
		_, err := os.Stat(file)
		return err == nil
	})
	get(t, p.addr)
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	old, err := os.ReadFile(file + ".1")
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := os.ReadFile(file)
	if err != nil || len(old) > 0 || !strings.Contains(string(fresh), `"path":"/health"`) {
		t.Errorf("the old file has %q, the new one %q, %v", old, fresh, err)
	}
}

// TestStopBehindStuckLog shows that a stop is heard although a log that is to be reopened takes nothing, and many other
// signals came before.
func TestStopBehindStuckLog(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access.log")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile(file, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	for _ = full.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err == nil; {
		_, err = full.Write(make([]byte, 1<<10))
	}
	p := start(t, "-c", write(t, goodConfig+`observability { logging { access-log { file "`+file+`" } } }`))
	get(t, p.addr)
	for range 50 {
		p.signal(t, syscall.SIGUSR1)
		time.Sleep(time.Millisecond) // those that come at once are one
	}
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestHangup shows that SIGHUP reloads, and that a broken file changes nothing.
func TestHangup(t *testing.T) {
	t.Parallel()
	file := write(t, goodConfig)
	p := start(t, "-c", file)
	p.signal(t, syscall.SIGHUP)
	p.await(t, "the reload", func(line string) bool {
		return strings.Contains(line, "reload done") && strings.Contains(line, `"generation":2`)
	})
	if err := os.WriteFile(file, []byte("route {"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		p.signal(t, syscall.SIGHUP)
	}
	p.await(t, "the refusal", func(line string) bool {
		return strings.Contains(line, "reload failed") && strings.Contains(line, `"generation":2`)
	})
	get(t, p.addr)
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func get(t *testing.T, addr string) {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/health")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}
