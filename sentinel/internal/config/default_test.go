package config

import (
	"slices"
	"testing"
)

func TestDefault(t *testing.T) {
	vars := map[string]string{"SENTINEL_DEMO_UPSTREAM": "127.0.0.1:4711"}
	c, problems := Parse("default.kdl", Default(), Options{LookupEnv: lookupIn(vars)})
	if c == nil || len(problems) > 0 {
		t.Fatalf("the default configuration has problems: %v", problems)
	}
	for _, l := range c.Listeners {
		if !l.Address.Addr().IsLoopback() {
			t.Errorf("listener %q is reachable from other machines at %v", l.ID, l.Address)
		}
	}
	builtins := map[string]bool{}
	for _, r := range c.Routes {
		want := []string{"admin"}
		if r.ID == "demo" {
			want = []string{"main"}
		}
		if !slices.Equal(r.Listeners, want) {
			t.Errorf("route %q answers on %q, want %q", r.ID, r.Listeners, want)
		}
		builtins[r.Builtin] = true
	}
	for _, name := range []string{"health", "ready", "status", "version", "metrics", "config", "upstreams", "agents"} {
		if !builtins[name] {
			t.Errorf("no route to the builtin handler %q", name)
		}
	}
	if got := c.Upstreams[0].Targets[0].Address; got != "127.0.0.1:4711" {
		t.Errorf("demo upstream at %s, want the caller's", got)
	}
	if c.Limits.MaxBodySize != 1<<20 || c.Observability.Logging.Access.File != "-" {
		t.Errorf("body limit %d, access log %q; want 1 MiB and standard output", c.Limits.MaxBodySize, c.Observability.Logging.Access.File)
	}
	if _, problems := Parse("default.kdl", Default(), Options{}); !problems.HasErrors() {
		t.Error("the default configuration loads without its demo upstream")
	}
}
