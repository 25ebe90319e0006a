package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// judge decides by the path, and refuses bodies that are bad.
type judge struct{ agent.Base }

func (judge) RequestHeaders(_ context.Context, r *agent.Request) *agent.Verdict {
	switch path, _, _ := strings.Cut(r.URI, "?"); path {
	case "/admin":
		return agent.Block(403, "not you").SetHeader("Retry-After", "9").WithRule("R1", "R2").WithTag("t").WithReason("why")
	case "/login":
		return agent.Redirect(307, "https://login.test/")
	case "/prove":
		return agent.Challenge("captcha", map[string]string{"site": "s"})
	case "/client":
		return agent.Block(401, r.ClientIP+" "+r.Method+" "+strings.Join(r.Headers["x-a"], "+")+" "+r.Headers.Get("host"))
	case "/nothing":
		return nil
	case "/wild":
		return agent.Block(403, "\x1b[31m\u202e\n"+strings.Repeat("x", 2000)).WithRule("a\nb")
	}
	return agent.Allow().SetRequestHeader("X-Seen", "1").RemoveRequestHeader("Cookie").AddResponseHeader("X-Late", "2")
}

func (judge) RequestBody(_ context.Context, _ *agent.Request, c *agent.Chunk) *agent.Verdict {
	if string(c.Data) == "bad" {
		return agent.Block(422, "bad body")
	}
	return agent.Allow()
}

func (judge) Configure(_ context.Context, config json.RawMessage) error {
	if bytes.Contains(config, []byte("wrong")) {
		return errors.New("no such setting")
	}
	return nil
}

// serveAgent serves the judge until the test ends, over gRPC if the dialect says so, and returns the arguments
// that lead to it.
func serveAgent(t *testing.T, dialect string) []string {
	t.Helper()
	server := &agent.Server{Handler: judge{}, Name: "judge\x1b", Version: "1.2", Log: slog.New(slog.DiscardHandler), DrainTimeout: time.Second}
	if dialect == "g1" || dialect == "g2" {
		l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
		untilEnd(t, func(ctx context.Context) error { return server.ServeGRPC(ctx, l) })
		return []string{"agent-check", l.Addr().String(), "--protocol", "v" + dialect[1:]}
	}
	server.Dialect = agent.Dialect(dialect)
	l := must(agent.ListenUnix(filepath.Join(t.TempDir(), "a")))(t)
	untilEnd(t, func(ctx context.Context) error { return server.Serve(ctx, l) })
	return []string{"agent-check", l.Addr().String()}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// untilEnd lets an agent serve until the test ends.
func untilEnd(t *testing.T, serve func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestAgentCheckTLS asks an agent over TLS, whose certificate is trusted or not.
func TestAgentCheckTLS(t *testing.T) {
	leavesNothing(t)
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	file := writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})))
	l := tls.NewListener(must(net.Listen("tcp", "127.0.0.1:0"))(t), &tls.Config{Certificates: web.TLS.Certificates, NextProtos: []string{"h2"}})
	server := &agent.Server{Handler: judge{}, Log: slog.New(slog.DiscardHandler)}
	untilEnd(t, func(ctx context.Context) error { return server.ServeGRPC(ctx, l) })
	to := []string{"agent-check", "https://" + l.Addr().String() + "/"}
	execute(t, append(to, "--ca-cert", file)...).expect(t, exitOK, `^dialect          g2 over grpc\n(?s:.*)request_headers  allow`, "")
	execute(t, to...).expect(t, exitRuntime, "", `the agent's certificate is not trusted \(.*\); expected one of a known authority; name the authority with --ca-cert`)
}

// leavesNothing fails a test that ends with more goroutines than it began with.
func leavesNothing(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		look := time.NewTicker(5 * time.Millisecond)
		defer look.Stop()
		limit := time.After(patience)
		for runtime.NumGoroutine() > before {
			select {
			case <-look.C:
			case <-limit:
				t.Fatalf("%d goroutines, %d at first", runtime.NumGoroutine(), before)
			}
		}
	})
}

// TestAgentCheck asks an agent in every dialect about requests of every outcome.
func TestAgentCheck(t *testing.T) {
	leavesNothing(t)
	for _, dialect := range []string{"v1", "v2d", "v2r", "g1", "g2"} {
		to := serveAgent(t, dialect)
		for _, c := range []struct {
			name, stdout string
			args         []string
		}{
			{"allow", `request_headers  allow in [\d.]+ ms\n(  .*\n)*  request        set X-Seen: 1\n(.*\n)*  response       add X-Late: 2\n$`, nil},
			{"remove", `  request        remove Cookie\n`, nil},
			{"block", `request_headers  block 403 in .*\n  body           not you\n  rules          R1 R2\n  tags           t\n  reasons        why\n  header         Retry-After: 9\n$`, []string{"--path", "/admin?a=b"}},
			{"redirect", `request_headers  redirect 307 in .*\n  url            https://login.test/\n$`, []string{"--path", "/login"}},
			{"challenge", `request_headers  challenge in .*\n  challenge      captcha\n  param          site: s\n$`, []string{"--path", "/prove"}},
			{"the request", `  body           192.0.2.7 PUT 1\+2 b.test\n`, []string{
				"--path", "http://b.test/client", "--method", "PUT", "--header", "X-A: 1", "-H", "x-a: 2", "--client-ip", "192.0.2.7",
			}},
			{"a body", `(?s)request_headers  allow .*\nrequest_body     allow in [\d.]+ ms\n$`, []string{"--method", "POST", "--body", "good"}},
			{"a bad body", `(?s)request_headers  allow .*\nrequest_body     block 422 in [\d.]+ ms\n  body           bad body\n$`, []string{"--method", "POST", "--body", "bad"}},
			{"a body that is not asked about", `request_headers  block 403 .*\n(  .*\n)*$`, []string{"--path", "/admin", "--body", "bad"}},
			{"wild words", `  body           \\x1b\[31m\\u202e\\nx{100,504}\n  rules          a\\nb\n$`, []string{"--path", "/wild"}},
		} {
			t.Run(dialect+", "+c.name, func(t *testing.T) {
				execute(t, append(to, c.args...)...).expect(t, exitOK, `^dialect          `+dialect+` over (unix|grpc)\nconnected        in [\d.]+ ms\n(?s:.*)`+c.stdout, "")
			})
		}
		t.Run(dialect+", no decision", func(t *testing.T) {
			o := execute(t, append(to, "--path", "/nothing")...)
			if o.code != exitRuntime || !regexp.MustCompile(`^sentinel: agent-check: .*; expected a verdict; see `).MatchString(o.stderr) || strings.Contains(o.stdout, "allow") {
				t.Errorf("%+v", o)
			}
		})
	}
}

// TestAgentCheckFindsDialect shows that the dialect is found out, and what a handshake tells.
func TestAgentCheckFindsDialect(t *testing.T) {
	leavesNothing(t)
	for _, c := range []struct{ dialect, stdout string }{
		{"v1", `^dialect          v1 over unix\nconnected .*\nrequest_headers `},
		{"v2d", `^dialect          v2d over unix\nconnected .*\nagent            judge\\x1b\ntakes `},
		{"v2r", `^dialect          v2r over unix\nconnected .*\nagent            judge\\x1b 1.2\ntakes `},
		{"g2", `^dialect          g2 over grpc\nconnected .*\nagent            judge\\x1b 1.2\ntakes `},
	} {
		t.Run(c.dialect, func(t *testing.T) {
			execute(t, serveAgent(t, c.dialect)[:2]...).expect(t, exitOK, c.stdout, "")
		})
	}
}

// TestAgentCheckConfig shows what becomes of a config in the dialects that have a message for it, and in one
// that has none.
func TestAgentCheckConfig(t *testing.T) {
	good, wrong := writeFile(t, `{"level":1}`), writeFile(t, `{"wrong":1}`)
	for _, c := range []struct {
		name, dialect, file string
		code                int
		stdout, stderr      string
	}{
		{"v1", "v1", good, exitOK, `dialect +v1 over unix(?s:.*)request_headers  allow`, ""},
		{"v2r", "v2r", good, exitOK, `dialect +v2r over unix(?s:.*)request_headers  allow`, ""},
		{"v2d has no message for it", "v2d", good, exitOK, `note +the dialect has no message for the agent's config\nrequest_headers  allow`, ""},
		{"v1 refuses it", "v1", wrong, exitRuntime, "", `agent-check: the agent refused the config \(.*no such setting.*\); expected a config that it takes; `},
		{"v2r refuses it in the handshake", "v2r", wrong, exitRuntime, "", `the agent refused the handshake: .no such setting`},
	} {
		t.Run(c.name, func(t *testing.T) {
			execute(t, append(serveAgent(t, c.dialect), "--agent-config", c.file)...).expect(t, c.code, c.stdout, c.stderr)
		})
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// listen serves connections one after the other until the test ends.
func listen(t *testing.T, network string, serve func(net.Conn)) string {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "a")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func closing(net.Conn) {}

// saying answers what comes first with a text, and waits for the end.
func saying(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<16))
		_, _ = io.WriteString(c, text)
		silent(c)
	}
}

// TestAgentCheckFailures shows what is said of agents that bring no verdict.
func TestAgentCheckFailures(t *testing.T) {
	leavesNothing(t)
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead")
	l, err := net.Listen("unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	const garbage = "HTTP/1.1 400 Bad Request\r\n\r\n"
	const tooLate, noVerdict, isAgent = `no answer within 200ms \(.*\); expected a verdict; see whether`, `the answer is no verdict \(.*\); expected a verdict; see whether`, `; expected the Unix socket of a running agent; `
	for _, c := range []struct{ name, address, protocol, stderr string }{
		{"a directory", dir, "auto", `is a directory` + isAgent},
		{"a file", writeFile(t, ""), "auto", `is no socket` + isAgent},
		{"missing", filepath.Join(dir, "none"), "auto", `there is no .*none` + isAgent + `start`},
		{"below a file", filepath.Join(writeFile(t, ""), "a"), "auto", `cannot look at .*a \(.*not a directory\)` + isAgent},
		{"too long", "/" + strings.Repeat("x", 107), "auto", `the path has 108 bytes, at most 107`},
		{"a socket that nobody serves", dead, "auto", `nothing listens at .*dead \(.*\); expected a running agent; start it`},
		{"silent", listen(t, "unix", silent), "auto", tooLate},
		{"silent, v1", listen(t, "unix", silent), "v1", tooLate},
		{"silent, v2", listen(t, "unix", silent), "v2", tooLate},
		{"silent, gRPC", listen(t, "tcp", silent), "auto", tooLate},
		{"closes", listen(t, "unix", closing), "auto", `the connection brought no verdict \(.*\); expected a verdict; see the agent's own log`},
		{"closes, v2", listen(t, "unix", closing), "v2", `the connection brought no verdict \(`},
		{"closes, gRPC", listen(t, "tcp", closing), "auto", `the connection brought no verdict \(`},
		{"another protocol", listen(t, "unix", saying(garbage)), "auto", noVerdict},
		{"another protocol, v1", listen(t, "unix", saying(garbage)), "v1", noVerdict},
		{"another protocol, gRPC", listen(t, "tcp", saying(garbage)), "auto", `; expected a verdict; see `},
		{"plain text for TLS", "https://" + listen(t, "tcp", saying(garbage)), "auto", `the agent speaks no TLS \(.*\); expected TLS; use http://`},
		{"no decision", listen(t, "unix", saying("\x00\x00\x00\x14"+`{"decision":"maybe"}`)), "v1", noVerdict},
		{"half a verdict", listen(t, "unix", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<16))
			_, _ = io.WriteString(c, "\x00\x00\x00\x14"+`{"decision":`)
		}), "v1", noVerdict},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeout := patience // longer than anything but silence takes
			if strings.HasPrefix(c.name, "silent") {
				timeout = 200 * time.Millisecond
			}
			o := execute(t, "agent-check", c.address, "--protocol", c.protocol, "--timeout", timeout.String())
			o.expect(t, exitRuntime, "", `^sentinel: agent-check: .*`+c.stderr)
			if strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("more than one line: %q", o.stderr)
			}
		})
	}
}

// TestAgentCheckCommandLine shows that what cannot be asked is no failure of the agent's.
func TestAgentCheckCommandLine(t *testing.T) {
	to := serveAgent(t, "v1")[1]
	for _, c := range []struct {
		name   string
		args   []string
		stderr string
	}{
		{"no address", nil, `accepts 1 arg`},
		{"an empty address", []string{""}, `no address`},
		{"no port", []string{"http://127.0.0.1"}, `address "127.0.0.1", expected host:port`},
		{"no host", []string{":50051"}, `address ":50051", expected host:port`},
		{"a protocol", []string{to, "--protocol", "v3"}, `protocol "v3", expected v1, v2 or auto`},
		{"a timeout", []string{to, "--timeout", "0s"}, `timeout 0s, expected 1ms to 1h`},
		{"a header", []string{to, "--header", "nothing"}, `the proxy refuses this request: `},
		{"a path", []string{to, "--path", "/<>"}, `the proxy refuses this request: bad_target`},
		{"a body of another length", []string{to, "--header", "Content-Length: 7", "--body", "four"}, `the proxy refuses this request: `},
		{"a client", []string{to, "--client-ip", "nobody"}, `client address: .*nobody`},
		{"a config that is missing", []string{to, "--agent-config", filepath.Join(t.TempDir(), "none")}, `--agent-config: .*none`},
		{"a config that is no JSON", []string{to, "--agent-config", writeFile(t, "level 1")}, `the agent's config is no JSON`},
		{"a config that is too long", []string{to, "--agent-config", writeFile(t, strings.Repeat(" ", maxAgentConfig+1))}, `over 1048576 bytes`},
		{"a CA without TLS", []string{to, "--ca-cert", "x.pem"}, `a CA certificate without https://`},
		{"a CA that is missing", []string{"https://127.0.0.1:1", "--ca-cert", "/nonexistent/x.pem"}, `x\.pem`},
	} {
		t.Run(c.name, func(t *testing.T) {
			execute(t, append([]string{"agent-check"}, c.args...)...).expect(t, exitConfig, "", c.stderr)
		})
	}
}

// TestAgentCheckInterrupted shows that the check ends when its caller does not want it any more.
func TestAgentCheckInterrupted(t *testing.T) {
	leavesNothing(t)
	asked := make(chan struct{}, 1)
	address := listen(t, "unix", func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		asked <- struct{}{}
		silent(c)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"agent-check", address, "--protocol", "v1", "--timeout", "1h"}, &stdout, &stderr)
	outcome{code, stdout.String(), stderr.String()}.expect(t, exitRuntime, "", `the check was interrupted`)
}

// TestAgentCheckJSON shows that --json has all of it, in ASCII.
func TestAgentCheckJSON(t *testing.T) {
	type verdict struct {
		Event, Decision, Body string
		Status                int
		Rules                 []string `json:"rule_ids"`
		Millis                float64  `json:"round_trip_ms"`
	}
	var got struct {
		Address, Transport, Dialect, Name, Version string
		Verdicts                                   []verdict
		Failure                                    *struct{ Kind, Problem, Expected, Fix string }
	}
	to := serveAgent(t, "v2r")
	o := execute(t, append(to, "--json", "--path", "/wild")...)
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || o.code != exitOK || o.stderr != "" {
		t.Fatalf("%v, %+v", err, o)
	}
	if got.Address != to[1] || got.Transport != "unix" || got.Dialect != "v2r" || got.Name != `judge\x1b` || got.Version != "1.2" || got.Failure != nil || len(got.Verdicts) != 1 {
		t.Errorf("%+v", got)
	}
	if v := got.Verdicts[0]; v.Event != "request_headers" || v.Decision != "block" || v.Status != 403 || len(v.Body) > 600 ||
		!strings.HasPrefix(v.Body, `\x1b[31m\u202e\nxxx`) || v.Rules[0] != `a\nb` || v.Millis <= 0 {
		t.Errorf("%+v", v)
	}
	o = execute(t, "agent-check", "--json", t.TempDir())
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || o.code != exitRuntime || o.stderr != "" {
		t.Fatalf("%v, %+v", err, o)
	}
	if f := got.Failure; f == nil || f.Kind != "unavailable" || !strings.Contains(f.Problem, "is a directory") || f.Expected == "" || f.Fix == "" || got.Dialect != "unknown" || len(got.Verdicts) != 0 {
		t.Errorf("%+v", got)
	}
}
