package sentinel

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// numbered writes a configuration of routes, each in the version that it has.
func numbered(t *testing.T, file string, versions []int) {
	t.Helper()
	var text strings.Builder
	text.WriteString("system { reload-drain-secs 1 }\nlistener \"main\" { address \"127.0.0.1:0\" }\nupstream \"u\" { target \"127.0.0.1:1\" }\nroutes {\n")
	for i, v := range versions {
		fmt.Fprintf(&text, "\troute \"r%[1]d\" { matches { path-prefix \"/api/%[1]d/v%[2]d\"; path-regex \"^/x%[1]d/[a-z0-9]+$\" }; upstream \"u\" }\n", i, v)
	}
	text.WriteString("}\n")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReloadMemory changes one route after the other. A route that goes on must not keep the rest of the configuration
// that it came from. It is not parallel, since the heap is everybody's.
func TestReloadMemory(t *testing.T) {
	versions := make([]int, 200)
	file := filepath.Join(t.TempDir(), "sentinel.kdl")
	numbered(t, file, versions)
	p, err := New(Options{Path: file, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	stop := serving(t, p)
	heap := func() uint64 {
		for p.Status().GenerationsLive > 1 {
			time.Sleep(tickLength) // a retirement is over after some ticks, and nobody tells
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	step := func(route int) {
		versions[route]++
		numbered(t, file, versions)
		if _, err := p.Reload(t.Context(), "test"); err != nil {
			t.Fatal(err)
		}
	}
	step(0)
	before := heap()
	const reloads = 20
	for n := range reloads {
		step(n)
	}
	after := heap()
	stop()
	// 200 routes are some 500 KiB.
	if after > before+reloads*200<<10 {
		t.Errorf("the heap has grown from %d to %d KiB", before>>10, after>>10)
	}
}

// TestAutoReloadDuringReading changes a file that has just been read, while a reload is at work on another: the change
// is not taken for what was read.
func TestAutoReloadDuringReading(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "sentinel.kdl")
	text := strings.Replace(clockConfig, "system { }", "system { auto-reload true }", 1) + "include \"conf.d/*.kdl\"\n"
	put := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(file, text)
	armed := make(chan struct{}, 1)
	p, err := New(Options{Path: file, Log: slog.New(slog.DiscardHandler), LookupEnv: func(string) (string, bool) {
		select {
		case <-armed: // the file has been read
			put(file, "route {")
		default:
		}
		return "", false
	}})
	if err != nil {
		t.Fatal(err)
	}
	serving(t, p)
	armed <- struct{}{}
	put(filepath.Join(dir, "conf.d", "new.kdl"), "// nothing\n")
	for limit := time.Now().Add(10 * time.Second); p.Status().ReloadsFailed == 0; {
		if time.Now().After(limit) {
			t.Fatalf("the change was never read: %+v", p.Status())
		}
		time.Sleep(time.Millisecond) // nothing announces it
	}
}
