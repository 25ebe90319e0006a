package telemetry

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func openWriter(t *testing.T, path string) *Writer {
	t.Helper()
	w, err := OpenWriter(path, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s has %q, want %q (%v)", filepath.Base(path), got, want, err)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenWriterAppends(t *testing.T) {
	for name, c := range map[string]struct{ before, after string }{
		"empty": {"", "new\n"},
		"whole": {"old\n", "old\nnew\n"},
		// A crash left half a line: the next one must not be glued to it.
		"torn": {"old\nhal", "old\nhal\nnew\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "access.log")
			writeFile(t, path, c.before)
			w := openWriter(t, path)
			w.Append([]byte("new\n"))
			closeWriter(t, w)
			wantFile(t, path, c.after)
		})
	}
}

func TestOpenWriterMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	closeWriter(t, openWriter(t, path))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got&^0o640 != 0 || got&0o600 != 0o600 {
		t.Errorf("mode %v, want 0640 less the umask", got)
	}
}

func TestOpenWriterRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"a directory":             dir,
		"a missing directory":     filepath.Join(dir, "none", "access.log"),
		"a pipe nobody reads yet": fifo,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := OpenWriter(path, WriterOptions{}); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestOpenWriterStandardOutput(t *testing.T) {
	w, err := OpenWriter("-", WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err != nil {
		t.Errorf("Reopen: %v", err)
	}
	closeWriter(t, w)
	if _, err := os.Stdout.Stat(); err != nil {
		t.Errorf("standard output was closed: %v", err)
	}
}

func TestReopenChangesToTheFreshFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	w := openWriter(t, path)
	w.Append([]byte("before\n"))
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	w.Append([]byte("after\n"))
	closeWriter(t, w)
	wantFile(t, path+".1", "before\n")
	wantFile(t, path, "after\n")
}

func TestReopenKeepsTheOldFileOnFailure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := openWriter(t, filepath.Join(dir, "access.log"))
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err == nil {
		t.Error("no error")
	}
	w.Append([]byte("kept\n"))
	closeWriter(t, w)
	wantFile(t, filepath.Join(dir+".moved", "access.log"), "kept\n")
}

// The disk filled up within a line, then the log was rotated: the new file starts with a whole line.
func TestReopenDropsATornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	old, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	dropped, lost := counter()
	w := start(drain{sink: newFlaky(7), file: old, path: path}, WriterOptions{Dropped: dropped})
	w.Append([]byte("1234\n5678\n9012\n"))
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "9012\n")
	if lost.Load() != 1 {
		t.Errorf("%d lines counted as dropped, want 1", lost.Load())
	}
	closeWriter(t, w)
}
