package soak

import (
	"context"
	"encoding/json"
	"fmt"
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

	"github.com/sentinel-proxy/sentinel-go/loadgen/proc"
)

// proxy is the real binary.
type proxy struct {
	cmd    *exec.Cmd
	dir    string
	text   string // its configuration, without what reloads change
	addr   string
	admin  *http.Client
	exited chan error
}

// binary builds the proxy, unless the command line names one.
func binary(t *testing.T) string {
	t.Helper()
	if *program != "" {
		return *program
	}
	file := filepath.Join(t.TempDir(), "sentinel")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, "../sentinel/cmd/sentinel").CombinedOutput(); err != nil {
		t.Fatalf("building the proxy: %v\n%s", err, out)
	}
	return file
}

func startProxy(t *testing.T, w *world) *proxy {
	t.Helper()
	p := &proxy{dir: t.TempDir(), exited: make(chan error, 1)}
	socket := filepath.Join(p.dir, "admin")
	p.text = w.configuration(socket)
	p.admin = &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, // the proxy's descriptors are counted
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	if err := os.WriteFile(p.file("sentinel.kdl"), []byte(p.version(0)), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := os.Create(p.file("output"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = output.Close() }()
	p.cmd = exec.Command(binary(t), "-c", p.file("sentinel.kdl"))
	p.cmd.Stdout, p.cmd.Stderr = output, output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // it does not outlive us, even if we are killed
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	t.Cleanup(func() { p.stop(t) })
	var last error
	serves := func() bool { last = p.findAddress(); return last == nil }
	await(t, "the proxy serves", serves, func() string { return last.Error() })
	return p
}

func (p *proxy) file(name string) string { return filepath.Join(p.dir, name) }

// stop asks the proxy to end, which it has to do well.
func (p *proxy) stop(t *testing.T) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.exited:
		if err != nil {
			t.Errorf("the proxy ended: %v", err)
		}
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		t.Errorf("the proxy did not end on SIGTERM: %v", <-p.exited)
	}
	if text, err := os.ReadFile(p.file("output")); err == nil && t.Failed() {
		t.Logf("the proxy said, at last:\n%s", text[max(0, len(text)-4096):])
	}
}

// configuration is the part that stays. Idle connections end soon, so that what is left at the end is a leak.
func (w *world) configuration(socket string) string {
	text := fmt.Sprintf(`
system { admin-socket %q; graceful-shutdown-timeout-secs 5 }
listener "main" { address "127.0.0.1:0"; keepalive-timeout-secs 3600 }
limits { max-connections-per-client 10000; max-connections-per-route 10000 }
observability { logging { access-log { file "/dev/null" }; error-log { file "/dev/null"; level "warn" }; audit-log { file "/dev/null" } } }
agents { agent "guard" type="guard" { unix-socket %q; failure-mode "open"; pool { idle-timeout-ms 1000 } } }
filters { filter "guard" { type "agent"; agent "guard"; timeout-ms 200 } }
`, socket, w.agent.Path())
	const blown, never = "timeout-seconds 1", "failure-threshold 1000000"
	targets := map[string][]string{
		"well": {never, w.well.Addr()}, "asked": {never, w.well.Addr()}, "plain": {never, w.plainRelay.Addr()}, "fused": {blown, w.fusedRelay.Addr()},
		"process": {never, w.process.Addr()}, "pair": {never, w.plainRelay.Addr(), w.fusedRelay.Addr()},
	}
	more := map[string]string{"asked": `; filters "guard"`, "pair": `; retry-policy { max-attempts 2; backoff-base-ms 1; retry-on "connection_error" "timeout" }`}
	for _, lane := range lanes {
		text += fmt.Sprintf("upstream %q { circuit-breaker { %s }; timeouts { connect-secs 1; request-secs 1; read-secs 1; write-secs 1 }\n"+
			" connection-pool { max-connections 5000; idle-timeout-secs 1 }; target \"%[3]s\" }\n"+
			"route %[1]q { matches { path \"/%[1]s\" }; upstream %[1]q%[4]s }\n",
			lane, targets[lane][0], strings.Join(targets[lane][1:], `"; target "`), more[lane])
	}
	return text
}

// version is the nth configuration: a route and an upstream that serves are others each time.
func (p *proxy) version(n int) string {
	changed := strings.ReplaceAll(p.text, "max-connections 5000", fmt.Sprint("max-connections ", 5000+n%2))
	return changed + fmt.Sprintf("route \"changing\" { matches { path \"/changing\" }; priority %d; upstream \"well\" }\n", n%100)
}

// reload has the proxy read its nth configuration; every other one is broken, and has to be refused.
func (p *proxy) reload(n int) error {
	text, want := p.version(n/2), http.StatusOK
	if n%2 == 1 {
		text, want = text+"route {", http.StatusUnprocessableEntity
	}
	if err := os.WriteFile(p.file("next"), []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Rename(p.file("next"), p.file("sentinel.kdl")); err != nil {
		return err
	}
	answer, err := p.admin.Post("http://sentinel/reload?wait=true", "", nil)
	if err != nil {
		return fmt.Errorf("reload %d: %w", n, err)
	}
	said, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if answer.StatusCode != want {
		return fmt.Errorf("reload %d: %s, want %d: %s", n, answer.Status, want, said)
	}
	return nil
}

func (p *proxy) get(path string) ([]byte, error) {
	answer, err := p.admin.Get("http://sentinel" + path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	return io.ReadAll(answer.Body)
}

func (p *proxy) findAddress() error {
	text, err := p.get("/status")
	if err != nil {
		return err
	}
	var status struct {
		State     string
		Listeners []struct{ Address string }
	}
	if err := json.Unmarshal(text, &status); err != nil {
		return err
	}
	if status.State != "serving" || len(status.Listeners) != 1 {
		return fmt.Errorf("not serving: %s", text)
	}
	p.addr = status.Listeners[0].Address
	return nil
}

// sample is what the proxy holds at a time. The questions for it are in it, each time the same.
type sample struct {
	at                      time.Time
	resident                int64 // bytes; of pages shared with other processes its part
	goroutines, descriptors int
}

func (p *proxy) sample() (s sample, err error) {
	s.at = time.Now()
	profile, err := p.get("/pprof/goroutine?debug=1")
	if err != nil {
		return s, err
	}
	if _, err = fmt.Sscanf(string(profile), "goroutine profile: total %d", &s.goroutines); err != nil {
		return s, fmt.Errorf("the profile of goroutines: %w", err)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		return s, err
	}
	s.descriptors = len(open)
	s.resident, err = proc.Memory(p.cmd.Process.Pid)
	return s, err
}

// await waits for something that must happen, and otherwise says what there is.
func await(t *testing.T, what string, holds func() bool, is func() string) {
	t.Helper()
	limit, again := time.After(patience), time.NewTicker(100*time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("waited in vain: %s: %s", what, is())
		}
	}
}
