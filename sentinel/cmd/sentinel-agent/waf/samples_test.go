package waf

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// sample is one request of testdata. README.md there has the format.
type sample struct {
	name    string
	request *agent.Request
	body    string
}

// defaults are fields that blocks leave out.
var defaults = map[string]string{
	"host":       "www.example.com",
	"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
	"accept":     "*/*",
}

// samples reads the files that match a pattern below testdata.
func samples(t *testing.T, pattern string) map[string][]sample {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	all := map[string][]sample{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, blocks, found := strings.Cut("\n"+string(text), "\n=== ")
		if !found || !strings.HasPrefix(head, "\n#") {
			t.Fatalf("%s: no block, or no comment before it", file)
		}
		seen := map[string]bool{}
		for block := range strings.SplitSeq(blocks, "\n=== ") {
			s := parseSample(t, file, block)
			if seen[s.name] {
				t.Fatalf("%s: two blocks %q", file, s.name)
			}
			seen[s.name] = true
			all[filepath.Base(file)] = append(all[filepath.Base(file)], s)
		}
	}
	return all
}

func parseSample(t *testing.T, file, block string) sample {
	t.Helper()
	name, rest, _ := strings.Cut(block, "\n")
	head, body, _ := strings.Cut(rest, "\n\n")
	lines := strings.Split(strings.TrimRight(head, "\n"), "\n")
	line := strings.Fields(lines[0])
	if len(line) != 3 {
		t.Fatalf("%s: %s: request line %q", file, name, lines[0])
	}
	r := &agent.Request{
		Metadata: agent.Metadata{CorrelationID: file + "/" + name, ClientIP: "192.0.2.7", ClientPort: 40001, Protocol: line[2]},
		Method:   line[0], URI: line[1], Headers: agent.Headers{},
	}
	for _, field := range lines[1:] {
		name, value, found := strings.Cut(field, ":")
		if !found {
			t.Fatalf("%s: %s: field %q", file, block, field)
		}
		name = strings.ToLower(name)
		r.Headers[name] = append(r.Headers[name], strings.TrimSpace(value))
	}
	for name, value := range defaults {
		if _, has := r.Headers[name]; !has {
			r.Headers[name] = []string{value}
		}
	}
	body = strings.TrimRight(body, "\n")
	if strings.HasPrefix(r.Headers.Get("content-type"), "multipart/") {
		body = strings.ReplaceAll(body, "\n", "\r\n") + "\r\n"
	}
	if body != "" && r.Headers.Get("content-length") == "" {
		r.Headers["content-length"] = []string{strconv.Itoa(len(body))}
	}
	r.HasBody = body != ""
	return sample{name, r, body}
}

// ask shows a handler a request: its head and then its body, in parts of at most size bytes; 0: in one. It
// returns the first verdict that does not let the request go on, or the last.
func ask(t *testing.T, h agent.Handler, s sample, size int) *agent.Verdict {
	t.Helper()
	v := h.RequestHeaders(t.Context(), s.request)
	if s.body == "" || v == nil || v.Decision != agent.Allowed {
		return v
	}
	if size == 0 {
		size = len(s.body)
	}
	for at, i := 0, 0; at < len(s.body); at, i = at+size, i+1 {
		end := min(at+size, len(s.body))
		v = h.RequestBody(t.Context(), s.request, &agent.Chunk{
			Data: []byte(s.body[at:end]), Index: i, Last: end == len(s.body), Total: int64(len(s.body)), Sent: int64(end),
		})
		if v == nil || v.Decision != agent.Allowed || !v.NeedsMore {
			return v
		}
	}
	return v
}
