package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// ErrDetached ends a process whose place in the background has been taken by another one, which is ready.
var ErrDetached = errors.New("running in the background")

// Settings are what a configuration asks of the process.
type Settings struct {
	Log              *slog.Logger
	Daemon           bool
	PIDFile          string // relative to the working directory; empty: none
	User, Group      string
	WorkingDirectory string            // absolute, or empty: stay
	UpgradeTimeout   time.Duration     // until a child must be ready
	StopTimeout      time.Duration     // until a drain is over
	Listeners        map[string]string // id: address
	Addresses        []string          // that will be listened at, in that order
}

// Host is this process. Begin makes it; then Prepare, Ready, and Close at the end, from one goroutine. The other
// methods may be called from any.
type Host struct {
	settings Settings // set by Prepare
	sockets  sockets
	parent   *parent
	program  string   // what a new process runs
	args     []string // the command line that we were started with
	dir      string   // the directory that we were started in

	mu    sync.Mutex
	pid   *pidFile // nil: none
	state state
	halt  chan struct{} // closed when the process is to end: no child is waited for
}

// state is how far the process is from its end.
type state uint8

const (
	serving state = iota
	upgrading
	replaced // another process has taken over
	stopping
)

// Begin takes over what the process was started with. Sockets that cannot be used are errors.
func Begin() (*Host, error) {
	h := &Host{args: os.Args, halt: make(chan struct{})}
	h.dir, _ = os.Getwd() // without one, a child starts where we are
	h.program = programFile(os.Args[0])
	var err error
	if h.parent, err = inherit(&h.sockets); err != nil {
		return h, err
	}
	return h, h.sockets.activated()
}

// programFile is the absolute name of the program that a command line starts with: not the file that runs, since
// an upgrade may be a symbolic link that points elsewhere by then.
func programFile(arg string) string {
	if path, err := exec.LookPath(arg); err == nil {
		if path, err = filepath.Abs(path); err == nil {
			return path
		}
	}
	path, _ := os.Executable() // starting it says what is wrong
	return path
}

func (h *Host) log() *slog.Logger {
	if h.settings.Log == nil {
		return slog.Default()
	}
	return h.settings.Log
}

// Listen returns an inherited socket or a new one. It has the form that sentinel.Options wants.
func (h *Host) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return h.sockets.listen(ctx, network, address)
}

// Prepare does what the configuration asks for, before anything is opened: it moves to the background, into the
// working directory and, once it has the sockets, to another account. ErrDetached says that another process has
// taken over in the background; a *ChildError, that it could not.
func (h *Host) Prepare(s Settings) error {
	h.settings, h.sockets.names = s, s.Listeners
	if s.Daemon && h.parent == nil {
		return h.detach()
	}
	if s.WorkingDirectory != "" {
		if err := os.Chdir(s.WorkingDirectory); err != nil {
			return fmt.Errorf("working directory: %w", err)
		}
	}
	if err := h.alone(); err != nil {
		return err
	}
	return h.become()
}

// detach lets a child in a session of its own take over.
func (h *Host) detach() error {
	l := h.launch(asDaemon)
	l.detached = true
	if _, err := l.start(h.settings.UpgradeTimeout, h.halt); err != nil {
		return err
	}
	return ErrDetached
}

func (h *Host) launch(why string) *launch {
	return &launch{why: why, program: h.program, dir: h.dir, args: h.args, sockets: &h.sockets}
}

// alone refuses a second process beside the one that the pid-file names.
func (h *Host) alone() error {
	path := h.settings.PIDFile
	if path == "" || h.replacing() {
		return nil
	}
	if there, err := readPID(path); err == nil && there.lives {
		return fmt.Errorf("pid-file %s: process %d is running", path, there.pid)
	}
	return nil
}

// replacing reports whether the process was started to take over from another one.
func (h *Host) replacing() bool { return h.parent != nil && h.parent.why == asReplacement }

// become opens the sockets and leaves root's rights behind.
func (h *Host) become() error {
	s := &h.settings
	if s.User == "" && s.Group == "" {
		return nil
	}
	a, err := lookup(s.User, s.Group)
	if err != nil {
		return err
	}
	h.sockets.reserve(context.Background(), s.Addresses)
	return a.assume()
}

// Ready is called when all listeners are bound: it writes the pid-file, closes sockets that nobody wanted, and
// says so to whoever waits for it.
func (h *Host) Ready() error {
	for _, address := range h.sockets.settle() {
		h.log().Warn("an inherited socket belongs to no listener, it is closed", "address", address)
	}
	if err := h.claim(); err != nil {
		return err
	}
	replacing := h.replacing()
	if err := h.parent.say(readyWord); err != nil {
		return err
	}
	if !replacing { // the old process is still the one that the service manager listens to, and tells it
		h.notify("READY=1", "STATUS=serving")
	}
	return nil
}

// claim writes the pid-file, if there is to be one.
func (h *Host) claim() error {
	if h.settings.PIDFile == "" {
		return nil
	}
	path, err := filepath.Abs(h.settings.PIDFile)
	if err != nil {
		return fmt.Errorf("pid-file: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pid != nil {
		_ = h.pid.file.Close()
	}
	h.pid, err = writePID(path)
	return err
}

// Failed tells whoever waits for this process why it is ending.
func (h *Host) Failed(text string) { _ = h.parent.say(text) } // it has ended then, and does not care

// Stopping says that the process begins to end. It reports whether it was ending already.
func (h *Host) Stopping() (before bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state == stopping || h.state == replaced {
		return true
	}
	h.state = stopping
	close(h.halt)
	h.notify("STOPPING=1", "STATUS=draining")
	return false
}

// Close removes the pid-file if it is still ours.
func (h *Host) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pid != nil {
		h.pid.remove()
		h.pid = nil
	}
}

// HardStop calls end when a drain, which begins with ctx's end, has taken longer than limit says then. It returns when
// done is closed.
func (h *Host) HardStop(ctx context.Context, limit func() time.Duration, done <-chan struct{}, end func()) {
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	t := time.NewTimer(limit())
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		h.log().Error("the drain does not end, ending without it")
		end()
	}
}
