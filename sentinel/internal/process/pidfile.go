package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	errNoFile   = errors.New("not a regular file")
	errNotOwner = errors.New("it runs as another user than the pid-file says")
)

// pidFile is a file with the process's id. The process holds a lock on it while it lives, so that a file left behind
// by one that was killed cannot be taken for a sign of life: the id may be another's by now.
type pidFile struct {
	path string
	file *os.File
}

// writePID makes the file in one step: whoever reads it reads all of it. What was there is replaced.
func writePID(path string) (*pidFile, error) {
	f, err := replaceFile(path, strconv.Itoa(os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("pid-file %s: %w", path, err)
	}
	return &pidFile{path, f}, nil
}

// replaceFile makes a file of one line in one step. It is locked as long as it is open.
func replaceFile(path, line string) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return nil, err //nolint:wrapcheck // the callers name the file
	}
	_, err = f.WriteString(line + "\n")
	err = errors.Join(err, f.Chmod(0o644), syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// ours reports whether the file of that name is still the one we wrote.
func (p *pidFile) ours() bool {
	own, err := p.file.Stat()
	there, err2 := os.Stat(p.path)
	return err == nil && err2 == nil && os.SameFile(own, there)
}

// remove takes the file away unless another process has replaced it.
func (p *pidFile) remove() {
	if p.ours() {
		_ = os.Remove(p.path)
	}
	_ = p.file.Close()
}

// named is the process that a pid-file names.
type named struct {
	pid   int
	owner uint32 // of the file
	lives bool
}

// readPID returns the process that a file names.
func readPID(path string) (n named, err error) {
	text, f, err := readSmall(path, 32)
	if err != nil {
		return n, fmt.Errorf("pid-file: %w", err)
	}
	defer func() { _ = f.Close() }()
	n.pid, err = strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || n.pid < 2 {
		return n, fmt.Errorf("pid-file %s holds no process id: %.32q", path, text)
	}
	var info unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &info); err != nil {
		return n, fmt.Errorf("pid-file: %w", err)
	}
	n.owner = info.Uid
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	n.lives = errors.Is(err, syscall.EWOULDBLOCK)
	return n, nil
}

// readSmall reads the first bytes of a file. Root reads files here in a directory that may belong to the proxy's
// account, which could have put anything there: a link to a file that only root may read, a FIFO that nobody writes to.
func readSmall(path string, limit int64) ([]byte, *os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // it names the file
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", path, errNoFile)
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, limit))
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return text, f, nil
}

// signal sends a signal to the process that the file names, if it runs as the file's owner and as nobody else: who may
// write the file could name any process otherwise, and have root signal it. The program that it runs says less: after
// an installation it has been replaced, or is another version's in another directory.
func (n named) signal(s syscall.Signal) error {
	p, err := os.FindProcess(n.pid) // holds on to the process: its id cannot become another's from here on
	if err != nil {
		return err //nolint:wrapcheck // the caller names the process
	}
	defer func() { _ = p.Release() }()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.pid))
	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	if !runsAs(string(status), n.owner) {
		return fmt.Errorf("%w: the file belongs to user %d", errNotOwner, n.owner)
	}
	return p.Signal(s) //nolint:wrapcheck // the caller names the process
}

// runsAs reports whether all four user ids in a process's status, proc_pid_status(5), are uid. The owner of its
// directory in /proc is no sign: that is root once a process has changed its account.
func runsAs(status string, uid uint32) bool {
	for line := range strings.Lines(status) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			want := strconv.FormatUint(uint64(uid), 10)
			return slices.Equal(strings.Fields(ids), []string{want, want, want, want})
		}
	}
	return false
}
