package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// The errors of an upgrade that did not take place.
var (
	ErrUpgrading = errors.New("an upgrade is under way")
	ErrDraining  = errors.New("the process is draining")

	errNoPIDFile  = errors.New("the configuration has no pid-file: send SIGUSR2 to the process")
	errNotRunning = errors.New("no process that runs")
)

// Upgrade starts the program anew with our sockets and waits until it is ready, for limit at most. nil: it serves, and this process is
// to drain. Otherwise nothing has changed, and the error, which is logged, says why. A call during another one
// changes nothing.
func (h *Host) Upgrade(limit time.Duration) error {
	if err := h.enter(); err != nil {
		h.log().Warn("no upgrade", "error", err.Error())
		if errors.Is(err, ErrDraining) {
			h.record("failed: " + err.Error())
		}
		return err
	}
	h.log().Info("upgrading", "program", h.program)
	h.notify("STATUS=upgrading")
	pid, err := h.launch(asReplacement).start(limit, h.halt)
	if err = h.leave(pid, err); err != nil {
		h.log().Error("upgrade failed, this process goes on", "error", err.Error())
		h.record("failed: " + err.Error())
		return err
	}
	h.log().Info("upgraded", "pid", pid)
	h.notify("MAINPID="+strconv.Itoa(pid), "READY=1", "STATUS=serving")
	h.record(fmt.Sprintf("upgraded %d", pid))
	return nil
}

// enter begins an upgrade.
func (h *Host) enter() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state == upgrading {
		return ErrUpgrading
	}
	if h.state != serving {
		return ErrDraining
	}
	h.state = upgrading
	return nil
}

// leave ends an upgrade.
func (h *Host) leave(pid int, err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil && h.state == stopping: // both at once: whoever wanted us to stop does not want another one
		_ = syscall.Kill(pid, syscall.SIGTERM)
		return ErrDraining
	case err == nil:
		h.state = replaced
		return nil
	case h.state == upgrading:
		h.state = serving
		h.notify("STATUS=serving; the last upgrade failed: " + oneLine(err.Error()))
	default:
		err = ErrDraining // what the child was killed for
	}
	h.reclaim()
	return err
}

// reclaim writes the pid-file again when a child that failed late had written its own.
func (h *Host) reclaim() {
	if h.pid == nil || h.pid.ours() {
		return
	}
	p, err := writePID(h.pid.path)
	if err != nil {
		h.log().Error("pid-file", "error", err.Error())
		return
	}
	_ = h.pid.file.Close()
	h.pid = p
}

// outcomeSuffix makes the name of the file that says how the last upgrade went out of the pid-file's.
const outcomeSuffix = ".upgrade"

// maxOutcome is how much of that file is read, in bytes: what a child says, and a little more.
const maxOutcome = maxReport + 1<<10

// record writes how an upgrade went for Request to read.
func (h *Host) record(outcome string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pid == nil {
		return
	}
	f, err := replaceFile(h.pid.path+outcomeSuffix, outcome)
	if err != nil {
		h.log().Warn("the outcome of the upgrade cannot be written", "error", err.Error())
		return
	}
	_ = f.Close()
}

// Request has the running process of a configuration upgrade itself, and returns the new process's id.
func Request(s Settings) (pid int, err error) {
	if s.PIDFile == "" {
		return 0, errNoPIDFile
	}
	path := s.PIDFile
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.WorkingDirectory, path)
	}
	old, err := readPID(path)
	switch {
	case err != nil:
		return 0, err
	case !old.lives:
		return 0, fmt.Errorf("pid-file %s names %d: %w", path, old.pid, errNotRunning)
	}
	if err := os.Remove(path + outcomeSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("asking process %d: %w", old.pid, err)
	}
	if err := old.signal(syscall.SIGUSR2); err != nil {
		return 0, fmt.Errorf("asking process %d, which pid-file %s names: %w", old.pid, path, err)
	}
	return awaitOutcome(path, old.pid, s.UpgradeTimeout+10*time.Second)
}

// awaitOutcome waits until process old has written how the upgrade went.
func awaitOutcome(path string, old int, limit time.Duration) (pid int, err error) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		text, f, err := readSmall(path+outcomeSuffix, maxOutcome)
		if err == nil {
			_ = f.Close()
			return readOutcome(string(text))
		}
		if there, err := readPID(path); err == nil && !there.lives {
			return 0, fmt.Errorf("process %d ended: %w", old, errNotRunning)
		}
		select {
		case <-again.C:
		case <-end.C:
			return 0, fmt.Errorf("process %d did not say within %v how the upgrade went", old, limit)
		}
	}
}

func readOutcome(text string) (pid int, err error) {
	text = strings.TrimSpace(text)
	if id, ok := strings.CutPrefix(text, "upgraded "); ok {
		return strconv.Atoi(id) //nolint:wrapcheck // it quotes what it found
	}
	return 0, fmt.Errorf("the running process goes on: %s", printable(strings.TrimPrefix(text, "failed: ")))
}

// printable keeps what another account wrote from doing something to the terminal that shows it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
