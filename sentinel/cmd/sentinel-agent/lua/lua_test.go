package lua

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// write puts a script into a file.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// script returns an agent for a script's text.
func script(t testing.TB, text string, change ...func(o *Options)) *Script {
	t.Helper()
	o := Options{Script: filepath.Join(t.TempDir(), "s.lua"), Timeout: 5 * time.Second, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	write(t, o.Script, text)
	s, err := newScript(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// body returns a script whose on_request_headers has this body.
func body(text string) string { return "function on_request_headers(request)\n" + text + "\nend" }

func request() *agent.Request {
	return &agent.Request{
		Metadata: agent.Metadata{ClientIP: "192.0.2.1", RouteID: "api", Protocol: "HTTP/1.1"},
		Method:   "GET", URI: "/a/b?c=d",
		Headers: agent.Headers{"host": {"example.test"}, "accept": {"text/html", "*/*"}},
	}
}

// show writes a verdict in one line.
func show(v *agent.Verdict) string {
	var b strings.Builder
	fmt.Fprint(&b, v.Decision)
	if v.Decision != agent.Allowed && v.Decision != agent.Undecided {
		fmt.Fprintf(&b, " %d %s%s%s%v", v.Status, v.Body, v.URL, v.Kind, v.Params)
	}
	for _, op := range v.RequestOps {
		fmt.Fprintf(&b, " q%d:%s=%s", op.Kind, op.Name, op.Value)
	}
	for _, op := range v.ResponseOps {
		fmt.Fprintf(&b, " p%d:%s=%s", op.Kind, op.Name, op.Value)
	}
	if len(v.Audit.Tags) > 0 {
		fmt.Fprint(&b, " ", v.Audit.Tags)
	}
	return b.String()
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body, want string }{
		{"nothing", ``, "allow"},
		{"true", `return true`, "allow"},
		{"allow", `return allow()`, "allow"},
		{"block", `return block(451, "no")`, "block 451 nomap[]"},
		{"block without a status", `block()`, "block 403 map[]"},
		{"redirect", `redirect(307, "https://example.test/x")`, "redirect 307 https://example.test/xmap[]"},
		{"challenge", `challenge("captcha", {level = 2, site = "a"})`, "challenge 0 captchamap[level:2 site:a]"},
		{
			"headers", `set_request_header("X-A", "1") add_request_header("X-B", "2") remove_request_header("X-C")
			set_response_header("X-D", "3") add_response_header("X-E", "4") remove_response_header("X-F")`,
			"allow q1:X-A=1 q2:X-B=2 q0:X-C= p1:X-D=3 p2:X-E=4 p0:X-F=",
		},
		{"tags before and after the decision", `tag("a", "b") block(400) tag("c")`, "block 400 map[] [a b c]"},
		{
			"what the request is", `return block(400, request.method .. request.uri .. "|" .. request.path .. "|" .. request.query ..
			"|" .. request.client_ip .. "|" .. request.route .. "|" .. request.protocol .. "|" .. #request.tls_version)`,
			"block 400 GET/a/b?c=d|/a/b|c=d|192.0.2.1|api|HTTP/1.1|0map[]",
		},
		{
			"headers of the request", `return block(400, request.headers.host .. tostring(request.headers.none) .. request.headers.accept ..
			table.concat(request.header_values("Accept"), ";") .. #request.header_values("none"))`,
			"block 400 example.testniltext/htmltext/html;*/*0map[]",
		},
		{"an error that is caught", `local ok, e = pcall(error, "x", 0) return block(400, tostring(ok) .. e)`, "block 400 falsexmap[]"},

		{"false", `return false`, "undecided"},
		{"a string", `return "allow"`, "undecided"},
		{"two decisions", `block(403) allow()`, "undecided"},
		{"status 100", `block(100)`, "undecided"},
		{"status 600", `block(600)`, "undecided"},
		{"a redirect with 200", `redirect(200, "/")`, "undecided"},
		{"a redirect to nowhere", `redirect(302, "")`, "undecided"},
		{"a redirect with a line break", `redirect(302, "/\r\nX: y")`, "undecided"},
		{"a challenge with a space", `challenge("a b")`, "undecided"},
		{"a challenge with a table inside", `challenge("a", {b = {}})`, "undecided"},
		{"a header value with a line break", `set_request_header("X-A", "1\r\nX-B: 2")`, "undecided"},
		{"a header name with a colon", `set_response_header("X:", "1")`, "undecided"},
		{"a header without a value", `set_response_header("X")`, "undecided"},
		{"too many headers", `for i = 1, 65 do add_request_header("X", "1") end`, "undecided"},
		{"too many tags", `for i = 1, 17 do tag("x") end`, "undecided"},
		{"a long tag", `tag(string.rep("x", 129))`, "undecided"},
		{"an error", `error("no")`, "undecided"},
		{"an error that is a table", `error({})`, "undecided"},
		{"an error that is nil", `error(nil)`, "undecided"},
		{"no such function", `nosuch()`, "undecided"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := script(t, body(c.body))
			if got := show(s.RequestHeaders(t.Context(), request())); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if failed := s.Failures() == 1; failed != (c.want == "undecided") {
				t.Errorf("%d failures", s.Failures())
			}
		})
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body, want string }{
		{"nothing", ``, "allow"},
		{
			"what it is", `set_response_header("X", response.status .. response.headers.server .. request.method .. #response.header_values("Server"))`,
			"allow p1:X=404aGET2",
		},
		{"a block", `block(403)`, "undecided"},
		{"allow", `remove_response_header("Server") allow()`, "allow p0:Server="},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := script(t, "function on_response_headers(request, response)\n"+c.body+"\nend")
			resp := &agent.Response{Status: 404, Headers: agent.Headers{"server": {"a", "b"}}}
			if got := show(s.ResponseHeaders(t.Context(), request(), resp)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if got := show(s.RequestHeaders(t.Context(), request())); got != "allow" {
				t.Errorf("%s for the request, which the script is not asked about", got)
			}
		})
	}
}

// TestHostile has scripts that try to take all time or memory there is. Each ends by a limit, in time.
func TestHostile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body, err string }{
		{"an endless loop", `while true do end`, errSteps.Error()},
		{"an endless loop inside pcall", `while true do pcall(function() while true do end end) end`, errSteps.Error()},
		{"a loop that ends by pcall", `pcall(function() while true do end end)`, errSteps.Error()},
		{"an endless error handler", `xpcall(function() error("x") end, function() while true do end end)`, errSteps.Error()},
		{"an endless comparison", `local t = {} for i = 1, 1000 do t[i] = i end table.sort(t, function() while true do end end)`, errSteps.Error()},
		{"an endless replacement", `("x"):rep(100):gsub("x", function() while true do end end)`, errSteps.Error()},
		{"an endless metamethod", `local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x`, "stack overflow"},
		{"a metatable that is its own index", `local t = {} t.__index = t setmetatable(t, t) return t.x`, "too many recursions"},
		{"recursion", `local function f() return 1 + f() end f()`, "stack overflow"},
		{"endless tail calls", `local function f() return f() end f()`, errSteps.Error()},
		{"recursion through pcall", `local function f() pcall(f) pcall(f) end f()`, "the script took too"},
		{"a string that doubles", `local s = "x" while true do s = s .. s end`, "a string of more than"},
		{"many strings", `local t = {} for i = 1, 1000 do t[i] = ("x"):rep(100000) .. i end`, errBytes.Error()},
		{"many strings inside pcall", `local t = {} while true do pcall(function() for i = 1, 1000 do t[#t + 1] = ("x"):rep(100000) .. i end end) end`, errBytes.Error()},
		{"rep", `("x"):rep(2^40)`, "a string of more than"},
		{"rep beyond all numbers", `("xx"):rep(2^62)`, "a string of more than"},
		{"a wide number", `string.format("%999999999d", 1)`, "invalid option"},
		{"a width from an argument", `string.format("%*d", 1, 2)`, "invalid option"},
		{"Go's own verbs", `string.format("%#v", request)`, "invalid option"},
		{"Go's argument numbers", `string.format("%[1]d", 1)`, "invalid option"},
		{"a pattern that tries everything", `("a"):rep(10000):find((".-"):rep(20) .. "b")`, errSteps.Error()},
		{"a pattern with many stars", `("a"):rep(1000):match(("a*"):rep(30) .. "b")`, errSteps.Error()},
		{"nested captures", `("a"):match(("("):rep(40))`, "too many captures"},
		{"a deep pattern", `("a"):rep(500):match(("a?"):rep(300))`, "pattern too complex"},
		{"a replacement that grows", `("x"):rep(100000):gsub("x", ("y"):rep(100000))`, "a string of more than"},
		{"captures that grow", `("x"):rep(2000):gsub(".+", ("%0"):rep(1000))`, "a string of more than"},
		{"an element far away", `local t = {} for i = 1, 200 do t[i * 2^40] = 1 end while true do end`, errSteps.Error()},
		{"a hundred thousand elements", `local t = {} for i = 1, 1e9 do t[i] = i end`, errSteps.Error()},
		{"concat of one long string", `local t = {} for i = 1, 1000 do t[i] = ("x"):rep(1000) end table.concat(t)`, "a string of more than"},
		{"concat of a giant range", `table.concat({}, "", 1, 2^50)`, "invalid value"},
		{"unpack of a giant range", `unpack({}, 1, 2^40)`, "registry overflow"},
		{"all bytes of a string", `string.byte(("x"):rep(200000), 1, -1)`, "registry overflow"},
		{"a metatable for strings", `setmetatable("", {__index = {}})`, "table expected"},
		{"the metatable of strings", `getmetatable("").__index = nil`, "attempt to index"},
		{"an error with a __tostring", `error(setmetatable({}, {__tostring = function() while true do end end}))`, "an error that is a table"},
		{"a name that loops", `log(setmetatable({}, {__tostring = function() while true do end end}))`, errSteps.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := script(t, body(c.body))
			call := s.newCall(t.Context(), onRequest, s.say)
			begin := time.Now()
			v, err := call.run(s.program.Load(), request(), nil)
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, %v, want an error about %q", v, err, c.err)
			}
			if took := time.Since(begin); took > 6*time.Second { // a few ms on a quiet machine, 5 s by the clock at most
				t.Errorf("took %v", took)
			}
			if d := s.RequestHeaders(t.Context(), request()).Decision; d != agent.Undecided {
				t.Errorf("%v, want none", d)
			}
		})
	}
}

// TestNoWayOut looks for everything that a script must not have.
func TestNoWayOut(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"os", "io", "package", "debug", "channel", "coroutine", "require", "module", "dofile", "loadfile", "load",
		"loadstring", "print", "collectgarbage", "getfenv", "setfenv", "newproxy", "_printregs", "_G",
		"string.dump", "string.gfind", "math.randomseed", "_GOPHER_LUA_VERSION",
	} {
		s := script(t, body(fmt.Sprintf("if %s ~= nil then block(403) end", name)))
		if got := show(s.RequestHeaders(t.Context(), request())); got != "allow" {
			t.Errorf("%s is there: %s", name, got)
		}
	}
}

// TestNothingStays has a script that leaves traces wherever it can, and looks for them in the next call.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	s := script(t, `local upvalue = 0
		function on_request_headers(request)
			upvalue = upvalue + 1
			count = (count or 0) + 1
			string.seen = (string.seen or 0) + 1
			table.seen = (table.seen or 0) + 1
			rawset(math, "seen", (math.seen or 0) + 1)
			request.seen = (request.seen or 0) + 1
			request.headers.seen = (request.headers.seen or 0) + 1
			return block(400, upvalue .. count .. string.seen .. table.seen .. math.seen .. request.seen .. request.headers.seen .. ("x"):upper())
		end`)
	r := request()
	for range 3 {
		if got := show(s.RequestHeaders(t.Context(), r)); got != "block 400 1111111Xmap[]" {
			t.Errorf("%s, want every count to be 1", got)
		}
	}
}

// TestInstructionsAreCounted pins what the limit rests on: the interpreter asks its context once for each
// instruction, whatever kind.
func TestInstructionsAreCounted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body  string
		least, most int
	}{
		{"an empty loop", `for i = 1, 10000 do end`, 10_000, 10_100},
		{"two instructions each", `local a for i = 1, 10000 do a = i end`, 20_000, 20_100},
		{"calls", `local function f() end for i = 1, 10000 do f() end`, 40_000, 40_100},
	} {
		s := script(t, body(c.body))
		call := s.newCall(t.Context(), onRequest, s.say)
		if _, err := call.run(s.program.Load(), request(), nil); err != nil {
			t.Fatal(err)
		}
		if used := s.options.Instructions - call.budget.left; used < c.least || used > c.most {
			t.Errorf("%s: %d instructions, want %d to %d", c.name, used, c.least, c.most)
		}
	}
}

// TestTimeLimit has enough instructions for minutes.
func TestTimeLimit(t *testing.T) {
	for _, loop := range []string{
		`while true do end`, `while true do local t = {} t[32000] = 1 end`,
		`local s = ("x"):rep(200000) local u = s .. "" while true do local a = s < u end`,
	} {
		s := script(t, body(loop), func(o *Options) { o.Instructions, o.Timeout = 100_000_000, 10*time.Millisecond })
		call := s.newCall(t.Context(), onRequest, s.say)
		begin := time.Now()
		_, err := call.run(s.program.Load(), request(), nil)
		took := time.Since(begin)
		t.Logf("%s: ended after %v", loop, took)
		if err != errTime || took < 10*time.Millisecond || took > time.Second { //nolint:errorlint // the very value
			t.Errorf("%s: %v after %v", loop, err, took)
		}
	}
}

func TestTheCallerLeaves(t *testing.T) {
	t.Parallel()
	s := script(t, body(`while true do end`), func(o *Options) { o.Instructions, o.Timeout = 100_000_000, 10*time.Second })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if got := show(s.RequestHeaders(ctx, request())); got != "undecided" {
		t.Error(got)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestTurns has more callers than scripts may run: nobody waits past the bound, or past its own end.
func TestTurns(t *testing.T) {
	t.Parallel()
	s := script(t, body(``), func(o *Options) { o.States = 1 })
	s.turns <- struct{}{} // a script that runs
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := show(s.RequestHeaders(ctx, request())); got != "undecided" {
		t.Errorf("%s while another one runs, want none", got)
	}
	<-s.turns
	if got := show(s.RequestHeaders(t.Context(), request())); got != "allow" {
		t.Errorf("%s afterwards", got)
	}
}

func TestMany(t *testing.T) {
	t.Parallel()
	s := script(t, body(`seen = request.client_ip for i = 1, 100 do seen = seen .. "" end return block(400, seen)`))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				r := request()
				r.ClientIP = fmt.Sprint(g, ".", i)
				if v := s.RequestHeaders(t.Context(), r); v.Body != r.ClientIP {
					t.Errorf("%q, want %q", v.Body, r.ClientIP)
				}
			}
		})
	}
	wg.Wait()
}

func TestScriptsThatCannotStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"a syntax error", "local a = 1\nfunction (", "s.lua:2:"},
		{"an end that is missing", "function on_request_headers()\n", "s.lua: at its end"},
		{"a goto to nowhere", "function on_request_headers()\ngoto nowhere\nend", "s.lua:"},
		{"an error at the top level", "local a = 1\nerror('no')", "s.lua:2: no"},
		{"an endless top level", "while true do end", "too many instructions"},
		{"no function", "local a = 1", "defines neither"},
		{"a handler that is a table", "on_request_headers = {}", "on_request_headers is a table"},
		{"too long", strings.Repeat("-", maxScript+1), "want at most"},
		{"nothing but bytes", "\x00\x1bLua\xff", "s.lua:1:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := Options{Script: filepath.Join(t.TempDir(), "s.lua"), Timeout: time.Second}
			write(t, o.Script, c.text)
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error about %q", err, c.want)
			}
		})
	}
	for name, o := range map[string]Options{
		"no script": {}, "no such file": {Script: "/nonexistent"}, "a negative time": {Script: "x", Timeout: -1},
		"too many instructions": {Script: "x", Instructions: 1 << 30}, "too many states": {Script: "x", States: 1001},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	s := script(t, body(``))
	for config, ok := range map[string]bool{"": true, "null": true, "{}": true, `{"script": "/x"}`: false, `[]`: false, `{`: false} {
		if err := s.Configure(t.Context(), []byte(config)); (err == nil) != ok {
			t.Errorf("%q: %v", config, err)
		}
	}
}

// TestCommand serves a script, and reads it again at a signal: a broken one changes nothing.
func TestCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.lua")
	write(t, path, body(`block(401)`))
	read := make(chan string, 10)
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(writer(func(p []byte) { read <- string(p) }), nil)))
	defer slog.SetDefault(before)
	cmd := Command(func(ctx context.Context, h agent.Handler) error {
		s := h.(*Script)
		status := func() int { return s.RequestHeaders(ctx, request()).Status }
		for _, step := range []struct {
			text, log string
			want      int
		}{{body(`block(402)`), "was read again", 402}, {"broken(", "stays as it was", 402}} {
			write(t, path, step.text)
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				return err
			}
			if line := <-read; !strings.Contains(line, step.log) {
				t.Errorf("logged %q, want %q", line, step.log)
			}
			if got := status(); got != step.want {
				t.Errorf("status %d, want %d", got, step.want)
			}
		}
		return nil
	})
	cmd.SetArgs([]string{path, "--script-timeout", "1s"})
	cmd.SetOut(&bytes.Buffer{})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Error(err)
	}
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

func BenchmarkCall(b *testing.B) {
	s := script(b, body(`if request.headers["user-agent"] == "x" then return block(403) end set_request_header("X-A", request.method .. request.path)`))
	r := request()
	b.ReportAllocs()
	for b.Loop() {
		s.RequestHeaders(b.Context(), r)
	}
}
