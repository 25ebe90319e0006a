package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// fileInterval is how often files are looked at. It follows links, so that it sees what a container's
// orchestrator does to a mounted secret, which notifications about a file do not.
const fileInterval = 2 * time.Second

// file is a file with keys.
type file struct {
	option string
	path   string
	parse  func([]byte) ([]key, error)
	keys   atomic.Pointer[[]key]
	seen   os.FileInfo // what was last looked at; nil: it was not there
}

// open reads the file for the first time.
func (f *file) open() error {
	err := f.load()
	if err == nil && len(*f.keys.Load()) == 0 {
		err = errors.New("no key that verifies signatures")
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", f.option, f.path, err)
	}
	return nil
}

// load reads the file unless it is the one that was seen last. When it cannot be used, the keys stay.
func (f *file) load() error {
	seen := f.seen
	f.seen = nil
	info, err := os.Stat(f.path)
	switch {
	case err != nil && seen == nil && f.keys.Load() != nil:
		return nil // still missing: that was told
	case err != nil:
		return fmt.Errorf("looking at it: %w", err)
	}
	f.seen = info
	switch {
	case seen != nil && os.SameFile(info, seen) && info.ModTime().Equal(seen.ModTime()) && info.Size() == seen.Size():
		return nil
	case !info.Mode().IsRegular():
		return errors.New("not a regular file") // reading it could wait for ever
	}
	text, err := readBounded(f.path)
	if err != nil {
		return err
	}
	keys, err := f.parse(text)
	if err != nil {
		return err
	}
	f.keys.Store(&keys)
	slog.Info("keys read", "file", f.path, "keys", len(keys))
	return nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening it: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	return readLimit(f)
}

// readLimit reads all of a text with keys, unless it is too long.
func readLimit(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxKeyText+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading: %w", err)
	case len(text) > maxKeyText:
		return nil, fmt.Errorf("more than %d bytes", maxKeyText)
	}
	return text, nil
}

// watchFiles reads files again when they change, until ctx ends.
func watchFiles(ctx context.Context, files []*file) {
	tick := time.NewTicker(fileInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, f := range files {
			if err := f.load(); err != nil {
				slog.WarnContext(ctx, "keys stay as they are", "file", f.path, "error", err)
			}
		}
	}
}
