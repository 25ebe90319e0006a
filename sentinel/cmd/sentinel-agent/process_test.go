package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// asProgram makes the test binary be the program: the tests start it again with this in its environment.
const asProgram = "SENTINEL_AGENT_TEST_AS_PROGRAM"

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
	ended chan error
}

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
	return p
}

// serving waits until the program serves on a network, and returns the address.
func (p *process) serving(t *testing.T, network string) string {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line, open := <-p.lines:
			if !open {
				t.Fatal("the program has ended")
			}
			var entry struct{ Msg, Network, Address string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" && entry.Network == network {
				return entry.Address
			}
		case <-deadline:
			t.Fatalf("nothing is served on %s", network)
		}
	}
}

// exit waits for the end and returns the exit code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case err := <-p.ended:
		var failed *exec.ExitError
		if err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		return p.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatal("the program goes on")
		return 0
	}
}

// secretFile has a secret that nobody has signed with.
func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(strings.Repeat("s", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// askV1 sends a request's head without a token, in the oldest dialect, and returns the answer.
func askV1(t *testing.T, socket string) string {
	t.Helper()
	c, err := net.DialTimeout("unix", socket, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	event := `{"version":1,"event_type":"request_headers","payload":{"metadata":{"correlation_id":"c1","request_id":"r1",` +
		`"client_ip":"192.0.2.7","client_port":9,"protocol":"HTTP/1.1","timestamp":"2025-12-29T08:00:00Z"},"method":"GET",` +
		`"uri":"/","headers":{"host":["h"]}}}`
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(event))), event...)); err != nil {
		t.Fatal(err)
	}
	var length [4]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, min(binary.BigEndian.Uint32(length[:]), 1<<20))
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// TestServesUntilSignal asks the program over its socket, and ends it by each signal that drains.
func TestServesUntilSignal(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			socket := filepath.Join(t.TempDir(), "a.sock")
			p := start(t, "auth", "--secret-file", secretFile(t), "--socket", socket)
			if got := p.serving(t, "unix"); got != socket {
				t.Errorf("serves on %s", got)
			}
			if got := askV1(t, socket); !strings.Contains(got, `"status":401`) || !strings.Contains(got, "missing_token") {
				t.Errorf("answered %s", got)
			}
			if err := p.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if code := p.exit(t); code != exitOK {
				t.Errorf("exit code %d", code)
			}
			if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket stays: %v", err)
			}
		})
	}
}

// TestServesBoth serves gRPC, on the loopback address that it makes of a bare port, beside a socket.
func TestServesBoth(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "a.sock")
	p := start(t, "auth", "--secret-file", secretFile(t), "--socket", socket, "--grpc", ":0", "--log-level", "debug")
	p.serving(t, "unix")
	address := p.serving(t, "tcp")
	if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
		t.Errorf("serves on %s: %v", address, err)
	}
	c, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	c.Connect()
	for state := c.GetState(); state != connectivity.Ready; state = c.GetState() {
		if state == connectivity.TransientFailure || !c.WaitForStateChange(t.Context(), state) {
			t.Fatalf("gRPC is %v", state)
		}
	}
	if got := askV1(t, socket); !strings.Contains(got, `"status":401`) {
		t.Errorf("answered %s", got)
	}
}

// TestOneFailsAllEnd has one address that fails: the other one drains, and the error is told.
func TestOneFailsAllEnd(t *testing.T) {
	t.Parallel()
	errBroken := errors.New("broken")
	bind := func(serve func(*agent.Server, context.Context, net.Listener) error) listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return listener{l, serve}
	}
	drained := false
	err := serveAll(t.Context(), &agent.Server{Handler: agent.Base{}}, []listener{
		bind(func(_ *agent.Server, ctx context.Context, _ net.Listener) error {
			<-ctx.Done()
			drained = true
			return nil
		}),
		bind(func(*agent.Server, context.Context, net.Listener) error { return errBroken }),
	})
	if !errors.Is(err, errBroken) || !drained {
		t.Errorf("error %v, drained %v", err, drained)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	secret := secretFile(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"version", []string{"--version"}, exitOK, ""},
		{"help", []string{"auth", "--help"}, exitOK, ""},
		{"unknown agent", []string{"oracle"}, exitConfig, "unknown command"},
		{"unknown flag", []string{"auth", "--sockets", "x"}, exitConfig, "unknown flag"},
		{"bad level", []string{"auth", "--log-level", "loud"}, exitConfig, "log-level"},
		{"no keys", []string{"auth"}, exitConfig, "no keys"},
		{"missing key file", []string{"auth", "--jwks-file", file + "s"}, exitConfig, "no such file"},
		{"directory missing", []string{"auth", "--secret-file", secret, "--socket", file + "s/a.sock"}, exitRuntime, "--socket"},
		{"file in the way", []string{"auth", "--secret-file", secret, "--socket", file}, exitRuntime, "--socket"},
		{"no address", []string{"auth", "--secret-file", secret, "--grpc", "nonsense"}, exitRuntime, "--grpc"},
		{
			"second address taken",
			[]string{"auth", "--secret-file", secret, "--socket", filepath.Join(t.TempDir(), "a.sock"), "--grpc", "127.0.0.1:x"},
			exitRuntime, "--grpc",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out, errs strings.Builder
			if code := run(t.Context(), c.args, &out, &errs); code != c.code || !strings.Contains(errs.String(), c.says) {
				t.Errorf("exit code %d, want %d; standard error %q", code, c.code, errs.String())
			}
		})
	}
}

// TestAgents knows every subcommand by the name that its socket has.
func TestAgents(t *testing.T) {
	t.Parallel()
	for _, constructor := range agents {
		name := constructor(nil).Name()
		var out strings.Builder
		if code := run(t.Context(), []string{name, "--help"}, &out, &out); code != exitOK || !strings.Contains(out.String(), "--socket") {
			t.Errorf("%s: exit code %d, %s", name, code, out.String())
		}
	}
}
