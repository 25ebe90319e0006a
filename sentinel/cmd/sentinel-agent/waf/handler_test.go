package waf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// form returns a request with a form as its body.
func form(id string) *agent.Request {
	return &agent.Request{
		Metadata: agent.Metadata{CorrelationID: id, ClientIP: "192.0.2.7", Protocol: "HTTP/1.1"},
		Method:   "POST", URI: "/form", HasBody: true,
		Headers: agent.Headers{
			"host": {"www.example.com"}, "user-agent": {"curl/8"}, "accept": {"*/*"},
			"content-type": {"application/x-www-form-urlencoded"}, "transfer-encoding": {"chunked"},
		},
	}
}

func chunk(index int, last bool, data string) *agent.Chunk {
	return &agent.Chunk{Data: []byte(data), Index: index, Last: last, Total: -1}
}

// fresh returns an agent of its own.
func fresh(t *testing.T, o Options) *handler {
	t.Helper()
	h, err := newHandler(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil || h.pending.len() != 0 {
			t.Errorf("Close: %v; %d bodies are kept", err, h.pending.len())
		}
	})
	return h
}

// TestPartsAreJudgedTogether shows every attack that has a body in parts, down to single bytes.
func TestPartsAreJudgedTogether(t *testing.T) {
	t.Parallel()
	h := waf(t)
	for file, attacks := range samples(t, "attacks/*.txt") {
		for _, s := range attacks {
			for _, size := range []int{1, 7, 100} {
				s.request.CorrelationID = fmt.Sprint(t.Name(), file, s.name, size)
				if v := ask(t, h, s, size); v == nil || v.Decision != agent.Blocked {
					t.Errorf("%s/%s in parts of %d: %+v", file, s.name, size, v)
				}
			}
		}
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	const undecided = agent.Undecided
	for _, c := range []struct {
		name  string
		parts []*agent.Chunk
		want  agent.Decision
	}{
		{"one part", []*agent.Chunk{chunk(0, true, "a=1")}, agent.Allowed},
		{"an empty last part", []*agent.Chunk{chunk(0, false, "a=1"), chunk(1, true, "")}, agent.Allowed},
		{"nothing at all", []*agent.Chunk{chunk(0, true, "")}, agent.Allowed},
		{"an attack over three parts", []*agent.Chunk{chunk(0, false, "a=1+UNION+SELE"), chunk(1, false, "CT+passw"), chunk(2, true, "ord+FROM+users")}, agent.Blocked},
		{"the first part is missing", []*agent.Chunk{chunk(1, true, "CT+password+FROM+users")}, undecided},
		{"a part is missing", []*agent.Chunk{chunk(0, false, "a=1"), chunk(2, true, "b=2")}, undecided},
		{"a part comes twice", []*agent.Chunk{chunk(0, false, "a=1"), chunk(1, false, "b=2"), chunk(1, true, "b=2")}, undecided},
		{"it begins again", []*agent.Chunk{chunk(0, false, "a=1+UNION+SELECT+1"), chunk(0, true, "a=1")}, agent.Allowed},
		{"a part after the end", []*agent.Chunk{chunk(0, true, "a=1"), chunk(1, true, "b=2")}, undecided},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, r := waf(t), form(t.Name())
			var v *agent.Verdict
			for i, part := range c.parts {
				v = h.RequestBody(t.Context(), r, part)
				if i < len(c.parts)-1 && (v == nil || v.Decision != agent.Allowed || v.NeedsMore == part.Last) {
					t.Fatalf("part %d: %+v", i, v)
				}
			}
			got := undecided
			if v != nil {
				got = v.Decision
			}
			if got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			if h.pending.take(r.CorrelationID) != nil {
				t.Error("still kept")
			}
		})
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	const limit = 100
	body := func(n int) string { return "a=" + strings.Repeat("x", n-2) }
	prevent, detect := fresh(t, Options{MaxBody: limit}), fresh(t, Options{MaxBody: limit, Mode: Detection})
	for _, c := range []struct {
		name  string
		h     *handler
		parts []*agent.Chunk
		want  int // status; 0: allowed
	}{
		{"exactly", prevent, []*agent.Chunk{chunk(0, true, body(limit))}, 0},
		{"exactly, in two", prevent, []*agent.Chunk{chunk(0, false, body(limit-1)), chunk(1, true, "x")}, 0},
		{"one more", prevent, []*agent.Chunk{chunk(0, true, body(limit+1))}, 413},
		{"one more, in two", prevent, []*agent.Chunk{chunk(0, false, body(limit)), chunk(1, false, "x")}, 413},
		{"one more, detection", detect, []*agent.Chunk{chunk(0, false, body(limit+1))}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := form(c.name)
			var v *agent.Verdict
			for _, part := range c.parts {
				v = c.h.RequestBody(t.Context(), r, part)
			}
			if v == nil || v.NeedsMore || v.Status != c.want || (v.Decision == agent.Blocked) != (c.want != 0) {
				t.Fatalf("%+v, want status %d", v, c.want)
			}
			if over := slices.Contains(v.Audit.ReasonCodes, "body_over_limit"); over != strings.HasPrefix(c.name, "one more") {
				t.Errorf("reasons %v", v.Audit.ReasonCodes)
			}
		})
	}
}

func TestFieldLimit(t *testing.T) {
	t.Parallel()
	const limit = 100
	attack := "a=1+UNION+SELECT+password+FROM+users&b="
	file := "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\n" + strings.Repeat("x", 1000) + "\r\n--b--\r\n"
	prevent, detect := fresh(t, Options{MaxFields: limit}), fresh(t, Options{MaxFields: limit, Mode: Detection})
	for _, c := range []struct {
		name, kind, body string
		want             int // status; 0: allowed
		rules            []string
	}{
		{"a form", "application/x-www-form-urlencoded", "a=" + strings.Repeat("x", limit-1), 0, nil},
		{"a longer form", "application/x-www-form-urlencoded", attack + strings.Repeat("x", limit), 413, []string{"900230"}},
		{"longer json", "application/json", `{"a":"` + strings.Repeat("x", limit) + `"}`, 413, []string{"900230"}},
		{"longer xml", "text/xml", "<a>" + strings.Repeat("x", limit) + "</a>", 413, nil},
		{"a file", "multipart/form-data; boundary=b", file, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := form(c.name)
			r.Headers["content-type"] = []string{c.kind}
			v := prevent.RequestBody(t.Context(), r, chunk(0, true, c.body))
			if v.Status != c.want || !slices.Equal(v.Audit.RuleIDs, c.rules) {
				t.Errorf("%+v, want %d by %v", v, c.want, c.rules)
			}
			v = detect.RequestBody(t.Context(), r, chunk(0, true, c.body))
			if v.Decision != agent.Allowed || !slices.Equal(v.Audit.RuleIDs, c.rules) {
				t.Errorf("detection: %+v, want %v", v, c.rules)
			}
		})
	}
}

func TestDetectionModeReports(t *testing.T) {
	t.Parallel()
	h := fresh(t, Options{Mode: Detection})
	for _, s := range samples(t, "attacks/942-*.txt")["942-sqli.txt"] {
		v := ask(t, h, s, 0)
		if v == nil || v.Decision != agent.Allowed {
			t.Fatalf("%s: %+v", s.name, v)
		}
	}
	r := form("x")
	r.URI = "/?id=1+UNION+SELECT+password+FROM+users"
	v := h.RequestHeaders(t.Context(), r)
	score, _ := strconv.Atoi(string(v.Audit.Custom["anomaly_score"]))
	if !slices.Equal(v.Audit.Tags, []string{"waf", "attack-sqli"}) || !slices.Contains(v.Audit.RuleIDs, "942100") || score < 5 {
		t.Errorf("audit %+v", v.Audit)
	}
}

func TestThresholdAndParanoia(t *testing.T) {
	t.Parallel()
	attack := form("x")
	attack.Method, attack.URI = "GET", "/?id=1%27+OR+%271%27=%271"
	delete(attack.Headers, "transfer-encoding")
	delete(attack.Headers, "content-type")
	odd := form("y") // level 1 does not mind two encodings
	odd.Method, odd.URI = "GET", "/?q=%2527a"
	delete(odd.Headers, "transfer-encoding")
	delete(odd.Headers, "content-type")
	for _, c := range []struct {
		name string
		o    Options
		r    *agent.Request
		want agent.Decision
	}{
		{"an attack", Options{}, attack, agent.Blocked},
		{"an attack under the threshold", Options{Threshold: 1000}, attack, agent.Allowed},
		{"encoded twice, level 1", Options{}, odd, agent.Allowed},
		{"encoded twice, level 4", Options{Paranoia: 4, Threshold: 3}, odd, agent.Blocked},
	} {
		t.Run(c.name, func(t *testing.T) {
			if v := fresh(t, c.o).RequestHeaders(t.Context(), c.r); v.Decision != c.want {
				t.Errorf("%+v, want %v", v, c.want)
			}
		})
	}
}

func TestRulesFile(t *testing.T) {
	t.Parallel()
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "rules.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	h := fresh(t, Options{RulesFile: file(`
SecRule REQUEST_URI "@beginsWith /secret" "id:1001,phase:1,deny,status:404,msg:'Hidden'"
SecRule REQUEST_URI "@beginsWith /moved" "id:1002,phase:1,redirect:https://www.example.com/"
SecAction "id:1003,phase:1,pass,nolog,setvar:'tx.allowed_methods=GET POST PURGE'"
`)})
	for uri, want := range map[string]int{"/secret/a": 404, "/moved": 403, "/": 0} {
		r := form(uri)
		r.Method, r.URI = "PURGE", uri
		v := h.RequestHeaders(t.Context(), r)
		if v.Status != want {
			t.Errorf("%s: %+v, want %d", uri, v, want)
		}
		if body := h.RequestBody(t.Context(), r, chunk(0, true, "a=1")); body.Status != want {
			t.Errorf("%s with its body: %+v, want %d", uri, body, want)
		}
	}
	for name, path := range map[string]string{
		"not there":  filepath.Join(t.TempDir(), "none.conf"),
		"no rules":   file("SecRule without an operator"),
		"two of one": file(`SecAction "id:900200,phase:1,pass"`),
		"too long":   file(strings.Repeat("#\n", maxRules)),
	} {
		if _, err := New(Options{RulesFile: path}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestAnyRequestGetsAVerdict holds that whatever is asked, in whatever parts, is decided.
func TestAnyRequestGetsAVerdict(t *testing.T) {
	t.Parallel()
	h := waf(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringN(0, 40, 80), rapid.StringMatching(`[ -~\r\n\x00]{0,60}`))
		r := form(rapid.StringMatching(`any[0-9]{20}`).Draw(t, "id"))
		r.Method, r.Protocol = text.Draw(t, "method"), text.Draw(t, "protocol")
		r.URI, r.ClientIP = text.Draw(t, "uri"), text.Draw(t, "ip")
		r.Headers[text.Draw(t, "name")] = rapid.SliceOfN(text, 0, 3).Draw(t, "values")
		r.Headers["cookie"] = []string{text.Draw(t, "cookie")}
		r.Headers["content-type"] = []string{rapid.OneOf(text, rapid.SampledFrom([]string{
			"application/json", "text/xml", "multipart/form-data; boundary=b", "multipart/form-data", "application/x-www-form-urlencoded",
		})).Draw(t, "type")}
		if v := h.RequestHeaders(t.Context(), r); v == nil || v.Decision != agent.Allowed && v.Decision != agent.Blocked {
			t.Fatalf("the head: %+v", v)
		}
		h.RequestBody(t.Context(), r, chunk(0, false, text.Draw(t, "first")))
		if v := h.RequestBody(t.Context(), r, chunk(1, true, text.Draw(t, "second"))); v != nil && v.NeedsMore {
			t.Fatalf("the last part: %+v", v)
		}
		if h.pending.take(r.CorrelationID) != nil {
			t.Fatal("still kept")
		}
	})
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	h := fresh(t, Options{MaxPending: 8}) // less than are under way: some fail, none is judged on a part
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := range 10 {
				r := form(fmt.Sprint(worker, "/", i))
				h.RequestHeaders(t.Context(), r)
				h.RequestBody(t.Context(), r, chunk(0, false, "a=1+UNION+SELE"))
				v := h.RequestBody(t.Context(), r, chunk(1, true, "CT+password+FROM+users"))
				if v != nil && v.Decision != agent.Blocked {
					t.Errorf("an attack in two parts: %+v", v)
				}
				h.Complete(t.Context(), r, &agent.Complete{})
			}
		})
	}
	wg.Go(func() {
		for _, level := range []string{"2", "1"} {
			if err := h.Configure(t.Context(), []byte(`{"paranoia-level":`+level+`}`)); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if n := h.pending.len(); n != 0 {
		t.Errorf("%d bodies are kept", n)
	}
}

func TestOldestMakesRoom(t *testing.T) {
	t.Parallel()
	h := fresh(t, Options{MaxPending: 3})
	for i := range 5 {
		h.RequestBody(t.Context(), form(strconv.Itoa(i)), chunk(0, false, "a="+strconv.Itoa(i)))
	}
	for i := range 5 {
		v := h.RequestBody(t.Context(), form(strconv.Itoa(i)), chunk(1, true, ""))
		if (v != nil) != (i >= 2) {
			t.Errorf("request %d: %+v", i, v)
		}
	}
}

func TestIdleOnesMakeRoom(t *testing.T) {
	t.Parallel()
	h := waf(t)
	synctest.Test(t, func(t *testing.T) {
		p := newPending(10)
		in := func() *inspection { return h.engine.Load().inspect(form("x")) }
		p.put("old", in())
		time.Sleep(maxIdle / 2)
		p.put("young", in())
		time.Sleep(maxIdle / 2)
		p.put("new", in())
		if p.take("old") != nil || p.len() != 2 {
			t.Errorf("%d are kept, want 2, the old one not among them", p.len())
		}
		p.close()
	})
}

// TestNothingIsLeft has 10,000 requests begin a body: some end, some are given up, some are never heard of again.
func TestNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	h := fresh(t, Options{MaxPending: 16})
	data := bytes.Repeat([]byte("x"), 4<<10)
	var early, late runtime.MemStats
	for i := range 10_000 {
		r := form(strconv.Itoa(i))
		h.RequestBody(t.Context(), r, &agent.Chunk{Data: data, Total: -1})
		switch {
		case i%100 == 0:
			upload(t, h, i)
			h.RequestBody(t.Context(), r, chunk(1, true, ""))
		case i%2 == 0:
			h.Complete(t.Context(), r, &agent.Complete{})
		}
		if i == 1000 {
			runtime.GC()
			runtime.ReadMemStats(&early)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&late)
	if n := h.pending.len(); n > 16 {
		t.Errorf("%d bodies are kept, want 16 at most", n)
	}
	if grown := int64(late.HeapAlloc) - int64(early.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("%d files are left: %v", len(files), err)
	}
}

// upload sends a file, which is on disk while it is judged.
func upload(t *testing.T, h *handler, i int) {
	t.Helper()
	r := form(fmt.Sprint("upload", i))
	r.Headers["content-type"] = []string{"multipart/form-data; boundary=b"}
	v := h.RequestBody(t.Context(), r, chunk(0, true,
		"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n"))
	if v == nil || v.Decision != agent.Allowed {
		t.Fatalf("an upload: %+v", v)
	}
}
