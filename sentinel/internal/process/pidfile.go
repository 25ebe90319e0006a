package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
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

// readPID returns the process that a file names and whether it lives.
func readPID(path string) (pid int, lives bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false, fmt.Errorf("pid-file: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0, false, fmt.Errorf("pid-file: %w", err)
	}
	pid, err = strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || pid < 2 {
		return 0, false, fmt.Errorf("pid-file %s holds no process id: %.32q", path, text)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	return pid, errors.Is(err, syscall.EWOULDBLOCK), nil
}
