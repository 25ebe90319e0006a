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
		main()
	}
	os.Exit(m.Run())
}

// process is a running program.
type process struct {
	*exec.Cmd
	lines chan string // of standard error
	addr  string      // of the listener "main"
	ended chan error
}

// start runs the program and waits until its listener is bound.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], args...), lines: make(chan string, 1000), ended: make(chan error, 1)}
	p.Env = append(os.Environ(), asProgram+"=1")
	out, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
		p.ended <- p.Wait()
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		for range p.lines { // until its end
		}
	})
	p.await(t, "the listener", func(line string) bool {
		var e struct{ Msg, Listener, Address string }
		if json.Unmarshal([]byte(line), &e) == nil && e.Msg == "listening" && e.Listener == "main" {
			p.addr = e.Address
		}
		return p.addr != ""
	})
	return p
}

// await reads standard error up to a line.
func (p *process) await(t *testing.T, what string, is func(string) bool) {
	t.Helper()
	limit := time.After(patience)
	var seen []string
	for {
		select {
		case line, open := <-p.lines:
			if !open {
				t.Fatalf("ended before %s: %q", what, seen)
			}
			if is(line) {
				return
			}
			seen = append(seen, line)
		case <-limit:
			t.Fatalf("no line about %s: %q", what, seen)
		}
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the end and returns the exit code, -1 for a signal.
func (p *process) exit(t *testing.T) int {
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
func inFlight(t *testing.T) (p *process, client net.Conn, release chan<- struct{}) {
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
			for { // until nothing new is accepted
				c, err := net.Dial("tcp", p.addr)
				if err != nil {
					break
				}
				_ = c.Close()
			}
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
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	limit := time.After(patience)
	for {
		if _, err := os.Stat(file); err == nil {
			break
		}
		select {
		case <-look.C:
		case <-limit:
			t.Fatal("no new file")
		}
	}
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
