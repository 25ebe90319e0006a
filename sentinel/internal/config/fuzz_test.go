package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad looks for texts that make the reader panic, report a problem without a place, or return a
// Config that breaks what types.go promises.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/broken/*.kdl")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add(Default())
	f.Add([]byte(tidy))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, problems := Parse("fuzz.kdl", text, Options{Resources: ResourcesOff, Settings: true, LookupEnv: func(name string) (string, bool) {
			return name, len(name)%2 == 0
		}})
		if (c == nil) != problems.HasErrors() {
			t.Fatalf("Config: %v with problems %v", c != nil, problems)
		}
		for _, p := range problems {
			if p.File == "" || p.Line < 1 && !strings.HasPrefix(p.File, "env ") || p.Found == "" || strings.ContainsRune(p.String(), '\n') {
				t.Errorf("problem without its place, text or line: %q", p.String())
			}
		}
		if c != nil {
			checkPromises(t, c)
			_ = Problems(Lint(c)).Error()
		}
	})
}

func checkPromises(t *testing.T, c *Config) {
	t.Helper()
	if len(c.Listeners) == 0 {
		t.Error("no listener")
	}
	for _, r := range c.Routes {
		if r.Upstream == "" && r.Builtin == "" && r.StaticFiles == nil {
			t.Errorf("route %q has no handler", r.ID)
		}
	}
	for _, u := range c.Upstreams {
		if len(u.Targets) == 0 || u.Timeouts.Connect <= 0 || u.Timeouts.Read <= 0 || u.Timeouts.Write <= 0 || u.Timeouts.Request <= 0 {
			t.Errorf("upstream %q: %d targets, timeouts %v", u.ID, len(u.Targets), u.Timeouts)
		}
	}
	for _, a := range c.Agents {
		if a.Transport == "" || a.Timeout <= 0 || a.MaxRequestBody <= 0 {
			t.Errorf("agent %q: %+v", a.ID, a)
		}
	}
}
