package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// inherited is the variable that tells a child what it was given: descriptor 3 is the pipe to its parent, those
// after it are sockets, whose addresses are the words after the first one. The first one says why it was started.
const inherited = "SENTINEL_INHERITED"

// Why a process was started by another one.
const (
	asDaemon      = "daemon"  // it replaces its parent, which waits for it and ends
	asReplacement = "upgrade" // it takes over from its parent, which drains
)

const (
	pipeFD    = 3
	readyWord = "ready\n"
	maxReport = 4 << 10 // bytes of a child's last words
)

// ChildError is why a child did not become ready.
type ChildError struct {
	Text string // what it said, else how it ended
	Code int    // its exit code; -1: it was killed
}

func (e *ChildError) Error() string { return e.Text }

// start starts a program with the sockets and a pipe, and waits until it says that it is ready. When it says
// anything else, ends, or is silent for limit or until cancel is closed, it is killed, and the error says why.
func (l *launch) start(limit time.Duration, cancel <-chan struct{}) (pid int, err error) {
	report, child, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", l.program, err)
	}
	defer func() { _ = report.Close() }()
	pid, err = l.fork(child)
	_ = child.Close()
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", l.program, err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", l.program, err)
	}
	_ = report.SetReadDeadline(time.Now().Add(limit))
	heard := make(chan struct{})
	defer close(heard)
	go func() {
		select {
		case <-cancel:
			_ = report.SetReadDeadline(time.Unix(1, 0))
		case <-heard:
		}
	}()
	text, err := io.ReadAll(io.LimitReader(report, maxReport))
	if err == nil && string(text) == readyWord {
		go func() { _, _ = p.Wait() }() // no zombie while we drain
		return pid, nil
	}
	return 0, bury(p, strings.TrimSpace(string(text)), err, limit)
}

// bury ends a child that did not become ready.
func bury(p *os.Process, text string, err error, limit time.Duration) error {
	patience := time.AfterFunc(time.Second, func() { _ = p.Kill() }) // it may be ending by itself
	if err != nil {
		_ = p.Kill()
	}
	state, waited := p.Wait()
	patience.Stop()
	failed := &ChildError{Text: text, Code: -1}
	if waited == nil {
		failed.Code = state.ExitCode()
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		failed.Text = fmt.Sprintf("the new process was not ready within %v", limit)
	case err != nil:
		failed.Text = err.Error()
	case text == "" && waited == nil:
		failed.Text = "the new process ended before it was ready: " + state.String()
	}
	return failed
}

// launch is a child to start.
type launch struct {
	why, program, dir string
	args              []string
	sockets           *sockets
	detached          bool // in a session of its own, without our standard streams
}

// fork starts the child. It does not go through os/exec: asking an os.File for its descriptor makes the socket
// block, for us too, and a blocked accept cannot be ended.
func (l *launch) fork(pipe *os.File) (pid int, err error) {
	c, err := l.sockets.copy()
	if err != nil {
		return 0, err
	}
	defer c.close()
	files := []uintptr{0, 1, 2}
	if l.detached {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return 0, err //nolint:wrapcheck // it names the file
		}
		defer func() { _ = null.Close() }()
		files = []uintptr{null.Fd(), null.Fd(), null.Fd()}
	}
	files = append(files, pipe.Fd())
	for _, fd := range c.fds {
		files = append(files, uintptr(fd))
	}
	env := environment(inherited + "=" + strings.Join(append([]string{l.why}, c.addresses...), " "))
	//nolint:gosec // G204: it is our own command line
	return syscall.ForkExec(l.program, l.args, &syscall.ProcAttr{ //nolint:wrapcheck // the caller says what was started
		Dir: l.dir, Env: env, Files: files, Sys: &syscall.SysProcAttr{Setsid: l.detached},
	})
}

// environment is ours without what is about this process, and with one more variable.
func environment(added string) (env []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name != "WATCHDOG_PID" && name != inherited {
			env = append(env, v)
		}
	}
	return append(env, added)
}

// parent is the process that started this one and waits for what it says. nil: nobody does.
type parent struct {
	why  string
	pipe *os.File
}

// inherit takes over what the variable describes, and clears it.
func inherit(s *sockets) (*parent, error) {
	words := strings.Fields(os.Getenv(inherited))
	_ = os.Unsetenv(inherited)
	if len(words) == 0 {
		return nil, nil //nolint:nilnil // nobody started us
	}
	p := &parent{why: words[0], pipe: os.NewFile(pipeFD, "parent")}
	info, err := p.pipe.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return nil, fmt.Errorf("%s is set, and descriptor %d is no pipe: it is for processes that Sentinel itself starts", inherited, pipeFD)
	}
	syscall.CloseOnExec(pipeFD)
	for i, address := range words[1:] {
		fd := pipeFD + 1 + i
		syscall.CloseOnExec(fd)
		if err := s.adopt(os.NewFile(uintptr(fd), address), address, ""); err != nil {
			return p, err
		}
	}
	return p, nil
}

// say tells the parent how it went, once.
func (p *parent) say(text string) error {
	if p == nil || p.pipe == nil {
		return nil
	}
	_, err := io.WriteString(p.pipe, text[:min(len(text), maxReport)])
	_ = p.pipe.Close()
	p.pipe = nil
	if err != nil {
		return fmt.Errorf("the process that started this one has ended: %w", err)
	}
	return nil
}
