package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// testTimeout ends tests that a mutant made hang. Those of the unchanged code need a few seconds.
const testTimeout = 60 * time.Second

// patience is how long a vector waits for something that must happen. Many mutants make it wait in vain.
const patience = 4 * time.Second

// workshop builds and runs tests. Any number of goroutines may use it.
type workshop struct {
	root string // of the module
	temp string // everything that is written goes here
}

func newWorkshop(ctx context.Context) (*workshop, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the module: %w", err)
	}
	temp, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return nil, fmt.Errorf("making a directory for test binaries: %w", err)
	}
	return &workshop{root: filepath.Dir(strings.TrimSpace(string(mod))), temp: temp}, nil
}

func (w *workshop) close() error { return os.RemoveAll(w.temp) }

// apply returns the mutated text.
func (m *mutant) apply(source string) (string, error) {
	if n := strings.Count(source, m.Old); n != 1 {
		return "", fmt.Errorf("%s has the text to replace %d times, want once: %q", m.File, n, m.Old)
	}
	return strings.Replace(source, m.Old, m.New, 1), nil
}

// overlay writes a mutant and the file that tells go where it belongs.
func (w *workshop) overlay(m *mutant) (path string, err error) {
	original := filepath.Join(w.root, filepath.FromSlash(m.File))
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	text, err := m.apply(string(source))
	if err != nil {
		return "", err
	}
	dir := w.dir(m)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	changed := filepath.Join(dir, filepath.Base(m.File))
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, replace, 0o600)
}

// dir is where the files of one mutant are.
func (w *workshop) dir(m *mutant) string { return filepath.Join(w.temp, filepath.FromSlash(m.Name)) }

// build makes the test binary of a package, with an overlay unless it is empty.
func (w *workshop) build(ctx context.Context, pkg, overlay string) (binary string, err error) {
	dir := w.temp
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w"} // vetting and debug data would only cost time
	if overlay != "" {
		dir = filepath.Dir(overlay)
		args = append(args, "-overlay="+overlay)
	}
	binary = filepath.Join(dir, filepath.Base(pkg)+".test")
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", binary, pkg)...) //nolint:gosec // the arguments are written in this package
	cmd.Dir = w.root
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the tests of %s: %w\n%s", pkg, err, output)
	}
	return binary, nil
}

// run runs tests as go test does, in the directory of their package. failure is the output of tests that
// failed, empty when they passed.
func (w *workshop) run(ctx context.Context, binary string, t tests) (failure string, err error) {
	args := []string{"-test.run=" + t.Run, "-test.failfast", "-test.timeout=" + testTimeout.String()}
	if t.Package == conformance {
		args = append(args, "-patience="+patience.String())
	}
	cmd := exec.CommandContext(ctx, binary, args...) //nolint:gosec // built above
	cmd.Dir = filepath.Join(w.root, filepath.FromSlash(t.Package))
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &exit):
		return "exit: " + exit.Error() + "\n" + string(output), nil
	case err != nil:
		return "", fmt.Errorf("running the tests of %s: %w", t.Package, err)
	case strings.Contains(string(output), "no tests to run"):
		return "", fmt.Errorf("%s has no tests that match %q", t.Package, t.Run)
	}
	return "", nil
}
