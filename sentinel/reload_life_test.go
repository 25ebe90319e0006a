package sentinel

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fromFile makes a proxy from a configuration file, whose log is log.
func fromFile(t *testing.T, log *bytes.Buffer) *Proxy {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sentinel.kdl")
	if err := os.WriteFile(file, []byte(clockConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := New(Options{Path: file, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ended waits for the end of a reload.
func ended(t *testing.T, a *attempt) error {
	t.Helper()
	select {
	case <-a.done:
		return a.err
	case <-time.After(10 * time.Second):
		t.Fatal("the reload does not end")
		return nil
	}
}

// TestReloadBeforeRun shows that a reload that is asked for before the proxy serves takes place when it does, and that
// one that is asked for when it has ended is told of.
func TestReloadBeforeRun(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := fromFile(t, &log)
	early := p.joinReload("SIGHUP")
	if again := p.joinReload("SIGHUP"); again != early {
		t.Error("two reloads before Run are not one")
	}
	stop := serving(t, p)
	if err := ended(t, early); err != nil || p.Status().Generation != 2 {
		t.Errorf("the reload: %v, generation %d", err, p.Status().Generation)
	}
	stop()
	result, err := p.Reload(context.Background(), "late")
	if !errors.Is(err, errNotServing) || result == nil || result.OK || result.Trigger != "late" {
		t.Errorf("a reload after the end: %+v, %v", result, err)
	}
	if st := p.Status(); st.ReloadsOK != 1 || st.ReloadsFailed != 1 || st.LastReload != result {
		t.Errorf("the status has %d and %d, last %+v", st.ReloadsOK, st.ReloadsFailed, st.LastReload)
	}
	if !strings.Contains(log.String(), "trigger=late") {
		t.Errorf("nothing about it in %s", log.String())
	}
}

// TestReloadWithoutRun shows that nobody waits for a reload of a proxy that is given up.
func TestReloadWithoutRun(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := fromFile(t, &log)
	early := p.joinReload("SIGHUP")
	p.Close()
	if err := ended(t, early); !errors.Is(err, errNotServing) || !strings.Contains(log.String(), "reload failed") {
		t.Errorf("%v\n%s", err, log.String())
	}
	if err := ended(t, p.joinReload("late")); !errors.Is(err, errNotServing) {
		t.Error(err)
	}
}

// TestReloadBug shows that a bug while a snapshot is built leaves the lock free and the books right, so that the next
// reload succeeds.
func TestReloadBug(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := fromFile(t, &log)
	stop := serving(t, p)
	old := p.snapshot.Load()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the bug was not met")
			}
		}()
		_ = p.swap(old.cfg, old, func() {
			if p.lifecycle.TryLock() {
				if !p.preparing {
					t.Error("a snapshot is being built, and nobody knows")
				}
				p.lifecycle.Unlock()
			} else {
				t.Error("the lock is held while a snapshot is built")
			}
			panic("a bug")
		})
	}()
	if !p.lifecycle.TryLock() {
		t.Fatal("the lock is held after a bug")
	}
	if p.preparing {
		t.Error("a snapshot is still said to be built")
	}
	p.lifecycle.Unlock()
	if _, err := p.Reload(t.Context(), "next"); err != nil || p.Status().Generation != old.generation+1 {
		t.Errorf("the next reload: %v, generation %d", err, p.Status().Generation)
	}
	stop()
}
