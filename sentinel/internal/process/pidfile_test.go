package process

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestReadPIDStrange shows that only a regular file is read: neither what a link points at nor a FIFO, which would hold
// up whoever reads it.
func TestReadPIDStrange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret, link, fifo := filepath.Join(dir, "secret"), filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	err := errors.Join(os.WriteFile(secret, []byte("4711\n"), 0o600), os.Symlink(secret, link), syscall.Mkfifo(fifo, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readPID(link); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link: %v", err)
	}
	if _, err := readPID(fifo); !errors.Is(err, errNoFile) {
		t.Errorf("a FIFO: %v", err)
	}
	if _, err := readPID(dir); !errors.Is(err, errNoFile) {
		t.Errorf("a directory: %v", err)
	}
}

// TestSignalOwner shows that a process is only signalled if it runs as the owner of the file that names it.
func TestSignalOwner(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pid")
	p, err := writePID(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.remove()
	there, err := readPID(path)
	if err != nil {
		t.Fatal(err)
	}
	const nothing = syscall.Signal(0) // is checked, and not delivered
	if err := there.signal(nothing); err != nil {
		t.Error(err)
	}
	there.owner++
	if err := there.signal(nothing); !errors.Is(err, errNotOwner) {
		t.Errorf("a process of another user: %v", err)
	}
}

func TestRunsAs(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]bool{
		"Name:\tx\nUid:\t990\t990\t990\t990\nGid:\t1\t1\t1\t1\n": true,
		"Name:\tx\nUid:\t990\t0\t990\t990\n":                     false, // it has root's rights
		"Name:\tx\nUid:\t0\t0\t0\t0\n":                           false,
		"Name:\tUid:\t990\n":                                     false,
		"":                                                       false,
	} {
		if got := runsAs(status, 990); got != want {
			t.Errorf("%q: %t", status, got)
		}
	}
}
