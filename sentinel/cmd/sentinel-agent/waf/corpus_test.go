package waf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// minimum sizes of the corpus.
const (
	minAttacks = 10 // of each class
	minClean   = 200
)

// classes are the files of CRS with rules about requests.
var classes = []string{
	"911-method-enforcement", "913-scanner-detection", "920-protocol-enforcement", "921-protocol-attack",
	"922-multipart-attack", "930-lfi", "931-rfi", "932-rce", "933-php-injection", "934-generic-injection", "941-xss",
	"942-sqli", "943-session-fixation", "944-java",
}

// preventive returns the agent as it is by default. All tests share it, as compiling the rules takes a while.
var preventive = sync.OnceValues(func() (*handler, error) { return newHandler(Options{}) })

func waf(t testing.TB) *handler {
	t.Helper()
	h, err := preventive()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAttacksAreRefused(t *testing.T) {
	t.Parallel()
	h := waf(t)
	attacks := samples(t, "attacks/*.txt")
	if len(attacks) != len(classes) {
		t.Errorf("%d files of attacks, want %d", len(attacks), len(classes))
	}
	for _, class := range classes {
		if n := len(attacks[class+".txt"]); n < minAttacks {
			t.Errorf("%s has %d attacks, want %d", class, n, minAttacks)
		}
		for _, s := range attacks[class+".txt"] {
			t.Run(class+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				v := ask(t, h, s, 0)
				if v == nil || v.Decision != agent.Blocked || v.Status != 403 && v.Status != 400 {
					t.Fatalf("not refused: %+v", v)
				}
				ofClass := func(id string) bool { return len(id) == 6 && strings.HasPrefix(id, class[:3]) }
				if !slices.ContainsFunc(v.Audit.RuleIDs, ofClass) {
					t.Errorf("matched %v, none of the class", v.Audit.RuleIDs)
				}
			})
		}
	}
}

func TestCleanRequestsPass(t *testing.T) {
	t.Parallel()
	h := waf(t)
	total := 0
	for file, clean := range samples(t, "clean/*.txt") {
		total += len(clean)
		for _, s := range clean {
			t.Run(strings.TrimSuffix(file, ".txt")+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				if v := ask(t, h, s, 0); v == nil || v.Decision != agent.Allowed || v.NeedsMore {
					t.Errorf("refused: %+v", v)
				}
			})
		}
	}
	if total < minClean {
		t.Errorf("%d clean requests, want %d", total, minClean)
	}
}

// TestKnownFalsePositives holds what the documentation says of innocent requests that are refused. One that
// passes, after an update of CRS, belongs to the clean ones.
func TestKnownFalsePositives(t *testing.T) {
	t.Parallel()
	h := waf(t)
	for _, s := range samples(t, "known/*.txt")["false-positives.txt"] {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if v := ask(t, h, s, 0); v == nil || v.Decision != agent.Blocked {
				t.Errorf("passes now: %+v", v)
			}
		})
	}
}

// TestVerdictSaysNothingOfTheRequest holds that no byte that a client chose is in an answer or in audit data.
func TestVerdictSaysNothingOfTheRequest(t *testing.T) {
	t.Parallel()
	const secret = "Zq9vKx"
	h := waf(t)
	for file, attacks := range samples(t, "attacks/*.txt") {
		for _, s := range attacks {
			s.request.URI += "#" + secret
			s.request.Headers["x-secret"] = []string{secret}
			s.body += secret
			if v := ask(t, h, s, 0); v == nil || v.Body != "" || strings.Contains(fmt.Sprintf("%+v", v), secret) {
				t.Errorf("%s/%s: %+v", file, s.name, v)
			}
		}
	}
}

func BenchmarkHead(b *testing.B) {
	h := waf(b)
	r := &agent.Request{
		Metadata: agent.Metadata{ClientIP: "192.0.2.7", Protocol: "HTTP/1.1"}, Method: "GET", URI: "/search?q=garden+chairs&page=2",
		Headers: agent.Headers{
			"host": {"www.example.com"}, "user-agent": {defaults["user-agent"]}, "accept": {"*/*"},
			"cookie": {"session=7d1f0c; lang=en"},
		},
	}
	b.ReportAllocs()
	for b.Loop() {
		if v := h.RequestHeaders(b.Context(), r); v.Decision != agent.Allowed {
			b.Fatal(v)
		}
	}
}

func BenchmarkJSONBody(b *testing.B) {
	h := waf(b)
	body := []byte(`{"customer":{"id":8812,"name":"Anna"},"items":[{"sku":"MUG","qty":2,"price":12.5},{"sku":"TEE","qty":1}]}`)
	r := &agent.Request{
		Metadata: agent.Metadata{ClientIP: "192.0.2.7", Protocol: "HTTP/1.1"}, Method: "POST", URI: "/orders", HasBody: true,
		Headers: agent.Headers{
			"host": {"www.example.com"}, "user-agent": {"curl/8"}, "accept": {"*/*"}, "content-type": {"application/json"},
			"content-length": {strconv.Itoa(len(body))},
		},
	}
	b.ReportAllocs()
	for b.Loop() {
		if v := h.RequestBody(b.Context(), r, &agent.Chunk{Data: body, Last: true}); v.Decision != agent.Allowed {
			b.Fatal(v)
		}
	}
}
