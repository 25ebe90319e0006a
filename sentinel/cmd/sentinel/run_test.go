package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// goodConfig has no warnings of its own kind and refers to nothing that a test has to start.
const goodConfig = `
system { }
listeners { listener "main" { address "127.0.0.1:0" } }
routes {
    route "api" {
        matches { path-prefix "/api" }
        upstream "o"
    }
    route "health" {
        matches { path "/health" }
        builtin-handler "health"
    }
}
upstreams { upstream "o" { target "ORIGIN" } }
`

const badConfig = `
system { }
listeners { listener "main" { address "nowhere" } }
routes { route "api" { matches { path-prefix "/api" }; upstream "missing" } }
`

// write makes a configuration file in which ORIGIN stands for a listening address.
func write(t *testing.T, text string) (file string) {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nl.Close() })
	file = filepath.Join(t.TempDir(), "sentinel.kdl")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "ORIGIN", nl.Addr().String())), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// outcome is what one command line did.
type outcome struct {
	code           int
	stdout, stderr string
}

func execute(t *testing.T, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// expect compares the exit code, and stdout and stderr with patterns; an empty pattern wants nothing.
func (o outcome) expect(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d", o.code, code)
	}
	for _, stream := range []struct{ name, got, want string }{{"stdout", o.stdout, stdout}, {"stderr", o.stderr, stderr}} {
		if stream.want == "" && stream.got != "" || !regexp.MustCompile(stream.want).MatchString(stream.got) {
			t.Errorf("%s is %.1000q, want %q", stream.name, stream.got, stream.want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	good, bad := write(t, goodConfig), write(t, badConfig)
	missing := filepath.Join(t.TempDir(), "missing.kdl")
	for _, test := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"test", []string{"test", "-c", good}, 0, `^sentinel: configuration file .*sentinel\.kdl test is successful\n$`, `listeners: 1, routes: 2, upstreams: 1, filters: 0, agents: 0`},
		{"-t", []string{"-t", "-c", good}, 0, `test is successful\n$`, `listeners: 1`},
		{"-t of the default", []string{"-t"}, 0, `^sentinel: configuration file embedded default test is successful\n$`, `listeners: 2`},
		{"-t bad", []string{"-t", "-c", bad}, 1, ``, `sentinel\.kdl:3:\d+: .*address`},
		{"run bad", []string{"run", "-c", bad}, 1, ``, `sentinel\.kdl:3:\d+: `},
		{"missing file", []string{"-t", "-c", missing}, 1, ``, `missing\.kdl`},
		{"run missing file", []string{"-c", missing}, 1, ``, `missing\.kdl`},
		{"--version", []string{"--version"}, 0, `^sentinel \d+\.\d+\.\d+ \(release \d\d\.\d\d, commit \w+\)\n$`, ``},
		{"-V", []string{"-V"}, 0, `^sentinel \d`, ``},
		{"version", []string{"version"}, 0, `^sentinel \d+\.\d+\.\d+ \(release \d\d\.\d\d, commit \w+\)\n$`, ``},
		{"--help", []string{"--help"}, 0, `(?s)Usage:.*validate.*--config`, ``},
		{"unknown flag", []string{"--frobnicate"}, 1, ``, `unknown flag: --frobnicate`},
		{"unknown command", []string{"frobnicate"}, 1, ``, `frobnicate`},
		{"surplus argument", []string{"run", "now"}, 1, ``, `now`},
		{"--upgrade without a pid-file", []string{"--upgrade", "-c", good}, 2, ``, `no pid-file: send SIGUSR2`},
		{"--upgrade bad", []string{"--upgrade", "-c", bad}, 1, ``, `sentinel\.kdl:3:\d+: `},
		{"completion", []string{"completion", "bash"}, 0, `__start_sentinel`, ``},
		{"validate", []string{"validate", "-c", good}, 0, `(?s)^✓ Configuration schema valid\nChecking certificates...\nChecking agents...\nChecking upstream connectivity...\n.*✓ All validation checks passed\n$`, ``},
		{"validate less", []string{"validate", "--skip-network", "--skip-agents", "--skip-certs", "-c", good}, 0, `✓ All validation checks passed\n$`, ``},
		{"validate bad", []string{"validate", "-c", bad}, 1, ``, `sentinel\.kdl:3:\d+: `},
		{"lint", []string{"lint", "-c", good}, 0, `(?s)^⚠  Configuration has \d+ best practice warnings:\n  - .*`, ``},
		{"lint bad", []string{"lint", "-c", bad}, 1, ``, `sentinel\.kdl:3:\d+: `},
		{"config show bad", []string{"config", "show", "-c", bad}, 1, ``, `sentinel\.kdl:3:\d+: `},
		{"route-test", []string{"route-test", "-c", good, "GET", "http://a.test/api/x"}, 0, `(?s)^route "api" \(upstream o\) for GET a\.test/api/x on listener "main"\n  .*won: route "api"`, ``},
		{"route-test of a builtin", []string{"route-test", "-c", good, "GET", "/health"}, 0, `^route "health" \(builtin health\)`, ``},
		{"route-test without a route", []string{"route-test", "-c", good, "GET", "/nowhere"}, 0, `^no route for GET localhost/nowhere on listener "main": the answer is 404 \(no_route\)\n`, ``},
		{"route-test of no request", []string{"route-test", "-c", good, "GET", "http://a.test/a b"}, 1, ``, `refuses|URL`},
		{"route-test on no listener", []string{"route-test", "-c", good, "--listener", "x", "GET", "/"}, 1, ``, `no listener "x"; there are: main`},
		{"route-test without a URL", []string{"route-test", "-c", good, "GET"}, 1, ``, `arg`},
	} {
		t.Run(test.name, func(t *testing.T) {
			execute(t, test.args...).expect(t, test.code, test.stdout, test.stderr)
		})
	}
}

// TestConfigFromEnvironment shows who names the configuration: the flag, else SENTINEL_CONFIG.
func TestConfigFromEnvironment(t *testing.T) {
	good, bad := write(t, goodConfig), write(t, badConfig)
	t.Setenv("SENTINEL_CONFIG", bad)
	execute(t, "-t").expect(t, 1, "", `sentinel\.kdl:3:`)
	execute(t, "-t", "-c", good).expect(t, 0, `successful`, `listeners`)
}

// TestPortInUse shows that what the system refuses is another kind of failure than a bad configuration.
func TestPortInUse(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nl.Close() }()
	file := write(t, strings.Replace(goodConfig, "127.0.0.1:0", nl.Addr().String(), 1))
	execute(t, "-c", file).expect(t, 2, "", `listener "main": .*address already in use`)
	execute(t, "-t", "-c", file).expect(t, 0, "successful", "listeners")
}

func TestJSON(t *testing.T) {
	good, bad := write(t, goodConfig), write(t, badConfig)
	t.Run("problems", func(t *testing.T) {
		o := execute(t, "-t", "--json", "-c", bad)
		var problems []struct {
			File, Severity, Message string
			Line, Col               int
		}
		if err := json.Unmarshal([]byte(o.stderr), &problems); err != nil || o.code != 1 || len(problems) < 2 {
			t.Fatalf("exit code %d, %d problems, %v in %s", o.code, len(problems), err, o.stderr)
		}
		for _, p := range problems {
			if p.File != bad || p.Line == 0 || p.Col == 0 || p.Message == "" || p.Severity != "error" && p.Severity != "warning" {
				t.Errorf("%+v", p)
			}
		}
	})
	t.Run("lint", func(t *testing.T) {
		var found []string
		if o := execute(t, "lint", "--json", "-c", good); json.Unmarshal([]byte(o.stdout), &found) != nil || len(found) == 0 || o.code != 0 {
			t.Errorf("exit code %d, %s", o.code, o.stdout)
		}
	})
	t.Run("route-test", func(t *testing.T) {
		var got struct {
			Request, Listener, Route, Handler string
			Steps                             []string
		}
		o := execute(t, "route-test", "--json", "-c", good, "GET", "http://a.test/api")
		if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || got.Route != "api" || got.Handler != "upstream o" || len(got.Steps) == 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestConfigShow shows that every value is printed with where it comes from.
func TestConfigShow(t *testing.T) {
	t.Setenv("SENTINEL_WORKERS", "3")
	file := write(t, strings.Replace(goodConfig, `"127.0.0.1:0"`, `"127.0.0.1:0"; request-timeout-secs 7`, 1))
	o := execute(t, "config", "show", "-c", file)
	o.expect(t, 0, `(?m)^listeners\.listener "main"\.keepalive-timeout-secs 75  // default$`, "")
	o.expect(t, 0, fmt.Sprintf(`(?m)^listeners\.listener "main"\.request-timeout-secs 7  // %s:3$`, regexp.QuoteMeta(file)), "")
	o.expect(t, 0, `(?m)^system\.worker-threads 3  // env SENTINEL_WORKERS$`, "")
	line := regexp.MustCompile(`^\S.* \S.*  // (default|env \w+|.+:\d+)$`)
	for text := range strings.Lines(o.stdout) {
		if !line.MatchString(strings.TrimSuffix(text, "\n")) {
			t.Errorf("a line without a source: %q", text)
		}
	}
	var settings []struct{ Path, Value, Source string }
	o = execute(t, "config", "show", "--json", "-c", file)
	if err := json.Unmarshal([]byte(o.stdout), &settings); err != nil || len(settings) < 20 {
		t.Errorf("%d settings, %v", len(settings), err)
	}
}

// TestValidateFinds shows what validate reports beyond the text of the configuration.
func TestValidateFinds(t *testing.T) {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nl.Close()
	file := write(t, strings.ReplaceAll(goodConfig, "ORIGIN", nl.Addr().String()))
	execute(t, "validate", "-c", file).expect(t, 1, `(?s)Errors:\n  - upstream "o": target .* refused the connection\n.*✗ Validation failed\n$`, "")
	execute(t, "validate", "--skip-network", "-c", file).expect(t, 0, `passed`, "")
}
