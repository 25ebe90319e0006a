package conformance

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	"github.com/sentinel-proxy/sentinel-go/sentinel/cmd/sentinel-agent/waf"
)

// wafSamples is where the firewall's requests are. README.md there has the format.
const wafSamples = "../sentinel/cmd/sentinel-agent/waf/testdata"

// wafSample is one of them.
type wafSample struct {
	file, name, id string
	start          string
	fields         []field
	body           string
}

// readSamples reads those of a directory. The ids are unique among all that the test reads by one prefix.
func readSamples(t *testing.T, dir, prefix string) (all []wafSample) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(wafSamples, dir, "*.txt"))
	sound(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		sound(t, err)
		for i, block := range strings.Split("\n"+string(text), "\n=== ") {
			if i > 0 { // what comes before is a comment
				s := readSample(t, block)
				s.start = strings.Replace(s.start, " HTTP/2", " HTTP/1.1", 1) // as it is on this wire
				s.file, s.id = strings.TrimSuffix(filepath.Base(file), ".txt"), fmt.Sprintf("%s-%d", prefix, len(all))
				all = append(all, s)
			}
		}
	}
	return all
}

func readSample(t *testing.T, block string) (s wafSample) {
	t.Helper()
	name, rest, _ := strings.Cut(block, "\n")
	head, body, _ := strings.Cut(rest, "\n\n")
	lines := strings.Split(strings.TrimRight(head, "\n"), "\n")
	s.name, s.start = name, lines[0]
	for _, line := range lines[1:] {
		name, value, found := strings.Cut(line, ":")
		if !found {
			t.Fatalf("%s: field %q", s.name, line)
		}
		s.fields = append(s.fields, field{name, strings.TrimSpace(value)})
	}
	s.body = strings.TrimRight(body, "\n")
	if kind := values(s.fields, "Content-Type"); len(kind) > 0 && strings.HasPrefix(kind[0], "multipart/") {
		s.body = strings.ReplaceAll(s.body, "\n", "\r\n") + "\r\n"
	}
	s.absent("Host", "www.example.com")
	s.absent("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
	s.absent("Accept", "*/*")
	if coding := values(s.fields, "Content-Encoding"); slices.Equal(coding, []string{"gzip"}) {
		s.body = gzipped(s.body) // the corpus has text in its place
	}
	if s.body != "" {
		s.absent("Content-Length", strconv.Itoa(len(s.body)))
	}
	return s
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // a buffer takes everything
	_ = w.Close()
	return b.String()
}

// absent adds a field that the sample does not have.
func (s *wafSample) absent(name, value string) {
	if len(values(s.fields, name)) == 0 {
		s.fields = append(s.fields, field{name, value})
	}
}

// raw returns the bytes of the request.
func (s *wafSample) raw() string {
	var b strings.Builder
	b.WriteString(s.start + "\r\nX-Trace-Id: " + s.id + "\r\n")
	for _, f := range s.fields {
		b.WriteString(f.name + ": " + f.value + "\r\n")
	}
	return b.String() + "\r\n" + s.body
}

// firewall is the agent as it is by default. Both tests share it: compiling its rules takes a while.
var firewall = sync.OnceValues(func() (agent.Handler, error) { return waf.New(waf.Options{}) })

func newFirewall(t *testing.T, network string) *guarded {
	t.Helper()
	h, err := firewall()
	sound(t, err)
	return newGuarded(t, `type "waf"; timeout-ms 10000; events "request_headers" "request_body"; `+serveAgent(t, network, h))
}

// disarmed are the attacks of which the proxy takes away what makes them one, a field. The rest may pass.
var disarmed = map[string]string{"another method smuggled past method rules": "X-HTTP-Method-Override"}

// TestFirewallAttacks sends every attack of the firewall's corpus through the proxy. None comes to the origin.
// The firewall refuses it with a rule of the attack's class on record, or the proxy before it asks.
func TestFirewallAttacks(t *testing.T) {
	overEach(t, func(t *testing.T, network string) {
		g := newFirewall(t, network)
		all := readSamples(t, "attacks", "attack")
		strict := map[string]int{}
		for i, s := range all {
			m := g.exchange(t, s.raw())
			l := g.nth(t, i)
			if l.Error == "agent_blocked" {
				checkAttack(t, g, &s, m)
				continue
			}
			if name := disarmed[s.name]; name != "" {
				if got := g.got(s.id); got == nil || len(values(got.fields, name)) > 0 {
					t.Errorf("%s/%s: the origin got %+v, want the request without %s", s.file, s.name, got, name)
				}
				continue
			}
			strict[l.Error]++
			if !slices.Contains([]int{400, 405, 501}, m.status()) || strings.HasPrefix(l.Error, "agent_") || l.Error == "" {
				t.Errorf("%s/%s: %q for %q, want the agent to refuse it, or the proxy itself", s.file, s.name, m.start, l.Error)
			}
		}
		if begun, _ := g.o.count(); begun != len(disarmed) {
			t.Errorf("%d attacks came to the origin, want the %d that were disarmed", begun, len(disarmed))
		}
		if n := counted(strict); len(all) < 140 || 2*n > len(all) {
			t.Errorf("of %d attacks the proxy refused %d: that proves little of the firewall", len(all), n)
		}
		t.Logf("%d attacks: %d refused by the agent, by the proxy itself: %v; %d disarmed",
			len(all), len(all)-counted(strict)-len(disarmed), strict, len(disarmed))
	})
}

func counted(all map[string]int) (n int) {
	for _, k := range all {
		n += k
	}
	return n
}

// checkAttack checks what the client and the audit log got of an attack that the agent refused.
func checkAttack(t *testing.T, g *guarded, s *wafSample, m *message) {
	t.Helper()
	if m.status() != 403 && m.status() != 400 { // 400: its body is not what it claims to be
		t.Errorf("%s/%s: the client got %q", s.file, s.name, m.start)
	}
	want := record{"event_type": "agent_decision", "action": "block", "agent_id": "a", "status_code": strconv.Itoa(m.status())}
	got := g.audit.find(t, record{"trace_id": s.id})
	ids := strings.Fields(strings.Trim(got["rule_ids"], "[]"))
	ofClass := func(id string) bool { return len(id) == 6 && id[:3] == s.file[:3] }
	if !got.has(want) || !slices.ContainsFunc(ids, ofClass) {
		t.Errorf("%s/%s: the audit entry is %v, want %v and a rule of the class", s.file, s.name, got, want)
	}
}

// TestFirewallCleanRequests sends every innocent request of the corpus through the proxy. Each comes to the
// origin as the client sent it, but for the fields that the proxy answers for.
func TestFirewallCleanRequests(t *testing.T) {
	overEach(t, func(t *testing.T, network string) {
		g := newFirewall(t, network)
		all := readSamples(t, "clean", "clean")
		bodies := 0
		for _, s := range all {
			m := g.exchange(t, s.raw())
			got := g.got(s.id)
			if m.status() != 200 || got == nil {
				t.Errorf("%s/%s: the client got %q: %+v", s.file, s.name, m.start, g.traced(t, s.id))
				continue
			}
			checkUnchanged(t, &s, got)
			bodies += min(len(s.body), 1)
		}
		if len(all) < 200 || bodies < 40 {
			t.Errorf("%d clean requests, %d of them with a body", len(all), bodies)
		}
		if begun, _ := g.o.count(); begun != len(all) {
			t.Errorf("%d requests came to the origin, want %d", begun, len(all))
		}
		t.Logf("%d clean requests, %d of them with a body", len(all), bodies)
	})
}

// checkUnchanged compares what the origin got with what the client sent.
func checkUnchanged(t *testing.T, s *wafSample, got *message) {
	t.Helper()
	start := strings.TrimSuffix(s.start, "HTTP/1.0")
	if !strings.HasPrefix(got.start, start) || string(got.body) != s.body {
		t.Errorf("%s/%s: the origin got %q %q, want %q %q", s.file, s.name, got.start, clip(got.body), s.start, clip([]byte(s.body)))
	}
	for _, f := range s.fields {
		if !slices.Contains(values(got.fields, f.name), f.value) && !slices.Contains(ours, strings.ToLower(f.name)) {
			t.Errorf("%s/%s: the origin got %s %q, want %q in it", s.file, s.name, f.name, values(got.fields, f.name), f.value)
		}
	}
}

// ours are the fields that a proxy answers for.
var ours = []string{"connection", "keep-alive", "upgrade", "te", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded"}

// TestFirewallCompressedBodies sends bodies in gzip. The firewall judges what is in them, and what is innocent
// comes to the origin as it was sent.
func TestFirewallCompressedBodies(t *testing.T) {
	overEach(t, func(t *testing.T, network string) {
		g := newFirewall(t, network)
		for name, c := range map[string]struct {
			body   string
			status int
		}{
			"innocent": {`{"name":"Anna","rooms":[1,2]}`, 200},
			"attack":   {`{"name":"' OR 1=1 UNION SELECT password FROM users -- "}`, 403},
		} {
			body := gzipped(c.body)
			m := g.exchange(t, fmt.Sprintf("POST /guests HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"+
				"X-Trace-Id: %s\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", name, len(body), body))
			if m.status() != c.status {
				t.Errorf("%s: the client got %q, want %d: %+v, %v", name, m.start, c.status, g.traced(t, name), g.audit.those(record{"trace_id": name}))
			}
			if got := g.got(name); (got != nil) != (c.status == 200) || got != nil && string(got.body) != body {
				t.Errorf("%s: the origin got %+v", name, got)
			}
		}
	})
}
