package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sentinel-proxy/sentinel-go/loadgen/proc"
)

const (
	startTimeout = 10 * time.Second
	stopTimeout  = 5 * time.Second
)

// process is a running proxy or origin.
type process struct {
	subject
	setup
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
	pids   []int         // the started process and its workers
	asks   *process      // the agent that a proxy asks; nil: none
}

// start runs the subject and returns when it answers requests for probe.
func start(ctx context.Context, s subject, st setup, probe string) (*process, error) {
	file, err := s.prepare(st)
	if err != nil {
		return nil, err
	}
	return launch(ctx, s, st, file, func(ctx context.Context) error { return ask(ctx, st.url(probe)) })
}

// launch runs the subject with one more argument, in the directory of its setup, and returns when it is ready.
func launch(ctx context.Context, s subject, st setup, argument string, ready func(context.Context) error) (*process, error) {
	output, err := os.OpenFile(outputFile(st), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.name, err)
	}
	defer output.Close() //nolint:errcheck // The child has its own descriptor; nothing was written through this one.
	program, err := find(s.program)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.name, err)
	}
	cmd := exec.Command(program, append(s.args, argument)...) //nolint:gosec,noctx // Our own arguments; stop ends it.
	cmd.Dir = st.Dir
	cmd.Env = append(append(os.Environ(), "HOME="+st.Dir, "XDG_CONFIG_HOME="+st.Dir, "XDG_DATA_HOME="+st.Dir), s.env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // nothing outlives us, even if we are killed
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.name, err)
	}
	p := &process{subject: s, setup: st, cmd: cmd, exited: make(chan struct{})}
	go p.reap()
	if err := p.settle(ctx, ready); err != nil {
		p.stop()
		return nil, fmt.Errorf("starting %s: %w\n%s", s.name, err, p.output())
	}
	return p, nil
}

// find returns an absolute name, because the process runs in a directory of its own.
func find(program string) (string, error) {
	file, err := exec.LookPath(program)
	if err != nil {
		return "", err
	}
	return filepath.Abs(file)
}

func (p *process) reap() {
	_ = p.cmd.Wait() // how it ended does not matter: it is asked to end, or the measurement fails for want of answers
	close(p.exited)
}

// settle waits until the process is ready, then looks which processes there are.
func (p *process) settle(ctx context.Context, ready func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if err = ready(ctx); err == nil {
			break
		}
		select {
		case <-p.exited:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	p.pids, err = proc.Tree(p.cmd.Process.Pid)
	return err
}

func ask(ctx context.Context, url string) error {
	answer, err := get(ctx, url)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // Only the status is of interest.
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, answer.Status)
	}
	return nil
}

// get uses a connection of its own, which leaves no idle one behind.
func get(ctx context.Context, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	return http.DefaultClient.Do(request)
}

// stop asks the process to end, makes it end if it does not, and returns when it has.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.exited:
		return
	case <-time.After(stopTimeout):
	}
	for _, pid := range p.pids { // a worker would survive its killed master
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// output returns the last 4 KiB of what the process has printed.
func (p *process) output() string {
	text, err := os.ReadFile(outputFile(p.setup))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4096):])
}

func outputFile(st setup) string { return filepath.Join(st.Dir, "output.log") }

// freePort returns a loopback address nobody listens on. Another process may take it before it is used; then the
// start fails and says so.
func freePort(ctx context.Context) (netip.AddrPort, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("looking for a free port: %w", err)
	}
	address := l.Addr().(*net.TCPAddr).AddrPort()
	if err := l.Close(); err != nil {
		return netip.AddrPort{}, fmt.Errorf("looking for a free port: %w", err)
	}
	return address, nil
}
