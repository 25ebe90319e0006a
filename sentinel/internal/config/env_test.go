package config

import (
	"strings"
	"testing"
)

func lookupIn(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

func TestExpansion(t *testing.T) {
	vars := map[string]string{"HOST": "h.example", "EMPTY": "", "_1": "x", "INJECT": "a\"\nroute \"evil\" {", "NESTED": "${HOST}"}
	tests := []struct{ name, written, want, problem string }{
		{name: "whole", written: `"${HOST}"`, want: "h.example"},
		{name: "inside", written: `"a-${HOST}-${_1}"`, want: "a-h.example-x"},
		{name: "default", written: `"${NONE:-d}"`, want: "d"},
		{name: "default unused", written: `"${HOST:-d}"`, want: "h.example"},
		{name: "default of empty", written: `"${EMPTY:-d}"`, want: "d"},
		{name: "empty part", written: `"x${EMPTY}"`, want: "x"},
		{name: "escape", written: `"$${HOST}"`, want: "${HOST}"},
		{name: "escape and value", written: `"$${a}${HOST}"`, want: "${a}h.example"},
		{name: "dollar", written: `"$HOST $"`, want: "$HOST $"},
		{name: "raw", written: `r"${HOST}"`, want: "${HOST}"},
		{name: "raw 2", written: `#"${HOST}"#`, want: "${HOST}"},
		{name: "value is no code", written: `"${INJECT}"`, want: "a\"\nroute \"evil\" {"},
		{name: "once", written: `"${NESTED}"`, want: "${HOST}"},
		{name: "unset", written: `"${NONE}"`, problem: "environment variable NONE is not set; set it, or write ${NONE:-default}"},
		{name: "no name", written: `"${}"`, problem: "found ${ without NAME}"},
		{name: "bad name", written: `"${1A}"`, problem: "found ${ without NAME}"},
		{name: "open", written: `"${HOST"`, problem: "found ${ without NAME}"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := withAgent("", "unix-socket \"/a\"\nconfig { v "+test.written+" }")
			c, problems := Parse("test.kdl", []byte(text), Options{Resources: ResourcesOff, LookupEnv: lookupIn(vars)})
			if test.problem != "" {
				if !strings.Contains(problems.Error(), test.problem) || len(problems) != 1 || problems[0].Line == 0 {
					t.Fatalf("problems %v, want one with %q and its place", problems, test.problem)
				}
				return
			}
			if c == nil {
				t.Fatal(problems)
			}
			if got, want := string(c.Agents[0].Config), `{"v":`+jsonText(t, test.want)+`}`; got != want {
				t.Errorf("config %s, want %s", got, want)
			}
		})
	}
}

func TestExpansionInIgnoredParts(t *testing.T) {
	_, problems := Parse("test.kdl", []byte(withTop("waf { ruleset \"${NONE}\" }\ncache { key \"${NONE}\" }")), Options{})
	checkWarnings(t, problems, []string{"waf.ruleset: not supported in this build, ignored", "cache: not supported"})
}

func TestExpansionIsBounded(t *testing.T) {
	vars := map[string]string{"BIG": strings.Repeat("x", 1<<20)}
	text := withAgent("", "unix-socket \"/a\"\nconfig { v \""+strings.Repeat("${BIG}", 17)+"\" }")
	_, problems := Parse("test.kdl", []byte(text), Options{LookupEnv: lookupIn(vars), Resources: ResourcesOff})
	if !strings.Contains(problems.Error(), "environment variables expand to more than 16 MiB") {
		t.Errorf("problems %v, want the bound", problems)
	}
}

// A message repeats a value as it was written: what a variable holds may be a secret.
func TestMessagesHideVariables(t *testing.T) {
	vars := map[string]string{"SECRET": "hunter2"}
	_, problems := Parse("test.kdl", []byte(withListener(`address "${SECRET}"`)), Options{LookupEnv: lookupIn(vars)})
	if text := problems.Error(); !strings.Contains(text, "${SECRET}") || strings.Contains(text, "hunter2") {
		t.Errorf("problems %q, want the variable's name and not its value", text)
	}
}

func TestEnvironmentOverFile(t *testing.T) {
	text := withSystem("worker-threads 1; max-connections 2") + "observability { logging { level \"error\"; format \"json\" } }\n"
	tests := []struct {
		name          string
		vars          map[string]string
		workers, most int
		level, format string
	}{
		{name: "none", workers: 1, most: 2, level: "error", format: "json"},
		{name: "all", vars: map[string]string{"SENTINEL_WORKERS": "3", "SENTINEL_MAX_CONNECTIONS": "4", "SENTINEL_LOG": "debug", "SENTINEL_LOG_FORMAT": "pretty"}, workers: 3, most: 4, level: "debug", format: "pretty"},
		{name: "empty", vars: map[string]string{"SENTINEL_WORKERS": "", "SENTINEL_LOG": ""}, workers: 1, most: 2, level: "error", format: "json"},
		{name: "alias", vars: map[string]string{"RUST_LOG": "WARN"}, workers: 1, most: 2, level: "warn", format: "json"},
		{name: "alias loses", vars: map[string]string{"RUST_LOG": "warn", "SENTINEL_LOG": "trace"}, workers: 1, most: 2, level: "trace", format: "json"},
		{name: "filter of modules", vars: map[string]string{"RUST_LOG": "hyper=warn"}, workers: 1, most: 2, level: "error", format: "json"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, problems := Parse("test.kdl", []byte(text), Options{LookupEnv: lookupIn(test.vars)})
			if c == nil {
				t.Fatal(problems)
			}
			l := c.Observability.Logging
			if c.System.WorkerThreads != test.workers || c.System.MaxConnections != test.most || l.Level != test.level || l.Format != test.format {
				t.Errorf("got %d %d %s %s, want %+v", c.System.WorkerThreads, c.System.MaxConnections, l.Level, l.Format, test)
			}
		})
	}
}

func TestEnvironmentIsChecked(t *testing.T) {
	vars := map[string]string{"SENTINEL_WORKERS": "many", "SENTINEL_LOG": "loud"}
	_, problems := Parse("test.kdl", []byte(withTop("")), Options{LookupEnv: lookupIn(vars)})
	want := "error: env SENTINEL_LOG: observability.logging.level: found the string \"loud\"; expected one of trace, debug, info, warn, error\n" +
		"error: env SENTINEL_WORKERS: system.worker-threads: found the string \"many\"; expected an integer from 0 to 1024"
	if got := problems.Error(); got != want {
		t.Errorf("problems:\n%s\nwant:\n%s", got, want)
	}
}
