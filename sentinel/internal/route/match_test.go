package route

import (
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// get is a request as the tests write it: method, host and target in one line, then field lines.
func get(line string, fields ...string) *Request {
	words := strings.SplitN(line, " ", 3)
	path, query, _ := strings.Cut(words[2], "?")
	q := &Request{Method: []byte(words[0]), Host: []byte(words[1]), Path: []byte(path), Query: []byte(query)}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		q.Fields = append(q.Fields, wire.Field{Name: []byte(name), Value: []byte(value)})
	}
	return q
}

func regexes(patterns ...string) []*regexp.Regexp {
	var compiled []*regexp.Regexp
	for _, p := range patterns {
		compiled = append(compiled, regexp.MustCompile(p))
	}
	return compiled
}

// expectation is a request and whether the one rule of the test holds for it.
type expectation struct {
	request *Request
	holds   bool
}

func yes(line string, fields ...string) expectation { return expectation{get(line, fields...), true} }

func no(line string, fields ...string) expectation { return expectation{get(line, fields...), false} }

// checkRule tries one rule alone, and again among rules that hold for nothing the tests send, so that
// it has to be found in every part of the index.
func checkRule(t *testing.T, rule Rule, cases []expectation) {
	t.Helper()
	never := []string{"NEVER"}
	crowd := []Rule{
		{Paths: rule.Paths, Priority: 99, Methods: never},
		{Prefixes: []string{"/", "/a", "/api/", "/api/users/list"}, Priority: 99, Methods: never},
		{Hosts: []string{"a.test", "*.a.test", "*.test"}, Priority: 99, Methods: never},
		rule,
		{Priority: -1, Methods: never},
	}
	alone, among := Compile([]Rule{rule}), Compile(crowd)
	for _, c := range cases {
		name := string(c.request.Method) + " " + string(c.request.Host) + string(c.request.Path) + "?" + string(c.request.Query)
		if got := alone.Match(c.request) == 0; got != c.holds {
			t.Errorf("%s: alone, holds = %v, want %v", name, got, c.holds)
		}
		if got := among.Match(c.request) == 3; got != c.holds {
			t.Errorf("%s: among others, holds = %v, want %v", name, got, c.holds)
		}
	}
}

func TestMatchPath(t *testing.T) {
	tests := map[string]struct {
		rule  Rule
		cases []expectation
	}{
		"exact, trailing slash significant": {Rule{Paths: []string{"/api"}}, []expectation{
			yes("GET a.test /api"), yes("GET a.test /api?x=1"),
			no("GET a.test /api/"), no("GET a.test /apiv2"), no("GET a.test /"), no("GET a.test /API"),
		}},
		"exact with trailing slash": {Rule{Paths: []string{"/api/"}}, []expectation{
			yes("GET a.test /api/"), no("GET a.test /api"), no("GET a.test /api/x"),
		}},
		"exact, any of": {Rule{Paths: []string{"/health", "/ready"}}, []expectation{
			yes("GET a.test /health"), yes("GET a.test /ready"), no("GET a.test /live"),
		}},
		"prefix ends at a segment": {Rule{Prefixes: []string{"/api"}}, []expectation{
			yes("GET a.test /api"), yes("GET a.test /api/"), yes("GET a.test /api/users"),
			no("GET a.test /apiv2"), no("GET a.test /apiv2/users"), no("GET a.test /ap"), no("GET a.test /x/api"),
		}},
		"prefix with trailing slash": {Rule{Prefixes: []string{"/api/"}}, []expectation{
			yes("GET a.test /api/"), yes("GET a.test /api/users"),
			no("GET a.test /api"), no("GET a.test /apiv2/"),
		}},
		"root prefix is everything": {Rule{Prefixes: []string{"/"}}, []expectation{
			yes("GET a.test /"), yes("GET a.test /x"), yes("GET b.test /x/y/"),
		}},
		"prefix, any of": {Rule{Prefixes: []string{"/v1", "/v2/x", "/long/er/one"}}, []expectation{
			yes("GET a.test /v1/x"), yes("GET a.test /v2/x"), yes("GET a.test /long/er/one/x"),
			no("GET a.test /v2"), no("GET a.test /v2/xy"), no("GET a.test /long/er"),
		}},
		"escaped slash is no segment end": {Rule{Prefixes: []string{"/api"}}, []expectation{
			no("GET a.test /api%2Fusers"), yes("GET a.test /api/%2Fusers"),
		}},
		"regex is a search": {Rule{PathRegexes: regexes(`/v\d+/`, `\.php$`)}, []expectation{
			yes("GET a.test /x/v2/y"), yes("GET a.test /index.php"), no("GET a.test /v2"), no("GET a.test /x.php/y"),
		}},
		"path and prefix are both asked": {Rule{Paths: []string{"/api/a", "/b"}, Prefixes: []string{"/api"}}, []expectation{
			yes("GET a.test /api/a"), no("GET a.test /b"), no("GET a.test /api"), no("GET a.test /api/c"),
		}},
		"prefix and regex are both asked": {Rule{Prefixes: []string{"/static"}, PathRegexes: regexes(`\.css$`)}, []expectation{
			yes("GET a.test /static/a.css"), no("GET a.test /static/a.js"), no("GET a.test /a.css"),
		}},
		"no condition": {Rule{}, []expectation{
			yes("GET a.test /"), yes("POST localhost /x?y", "Z: 1"),
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { checkRule(t, tt.rule, tt.cases) })
	}
}

func TestMatchHost(t *testing.T) {
	tests := map[string]struct {
		rule  Rule
		cases []expectation
	}{
		"exact": {Rule{Hosts: []string{"a.test"}}, []expectation{
			yes("GET a.test /"), no("GET b.test /"), no("GET x.a.test /"), no("GET test /"),
		}},
		"wildcard is one label and never the apex": {Rule{Hosts: []string{"*.a.test"}}, []expectation{
			yes("GET x.a.test /"), yes("GET -.a.test /"),
			no("GET a.test /"), no("GET y.x.a.test /"), no("GET .a.test /"), no("GET xa.test /"), no("GET x.b.test /"),
		}},
		"wildcard of one label": {Rule{Hosts: []string{"*.test"}}, []expectation{
			yes("GET a.test /"), no("GET test /"), no("GET x.a.test /"), no("GET localhost /"),
		}},
		"literal address": {Rule{Hosts: []string{"[::1]", "127.0.0.1"}}, []expectation{
			yes("GET [::1] /"), yes("GET 127.0.0.1 /"), no("GET [::2] /"), no("GET 127.0.0.2 /"),
		}},
		"any of, all forms": {Rule{Hosts: []string{"a.test", "*.b.test"}, HostRegexes: regexes(`^c\d\.`)}, []expectation{
			yes("GET a.test /"), yes("GET x.b.test /"), yes("GET c1.test /"),
			no("GET b.test /"), no("GET cx.test /"), no("GET y.x.b.test /"),
		}},
		"regex is a search": {Rule{HostRegexes: regexes(`shop`)}, []expectation{
			yes("GET my-shop.test /"), no("GET a.test /"),
		}},
		"host and path are both asked": {Rule{Hosts: []string{"a.test"}, Prefixes: []string{"/x"}}, []expectation{
			yes("GET a.test /x/y"), no("GET a.test /y"), no("GET b.test /x/y"),
		}},
		"empty host": {Rule{Hosts: []string{"a.test", "*.test"}}, []expectation{no("GET  /")}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { checkRule(t, tt.rule, tt.cases) })
	}
}

func TestMatchMethodAndHeader(t *testing.T) {
	tests := map[string]struct {
		rule  Rule
		cases []expectation
	}{
		"method, any of": {Rule{Methods: []string{"GET", "POST"}}, []expectation{
			yes("GET a.test /"), yes("POST a.test /"), no("PUT a.test /"), no("get a.test /"), no("GETS a.test /"),
		}},
		"header presence": {Rule{Headers: []Condition{{Name: "X-Key"}}}, []expectation{
			yes("GET a.test /", "x-key: v"), yes("GET a.test /", "X-KEY: "), no("GET a.test /"), no("GET a.test /", "X-Keys: v"),
		}},
		"header value": {Rule{Headers: []Condition{{Name: "x-key", Values: []string{"v", "w"}}}}, []expectation{
			yes("GET a.test /", "X-Key: v"), yes("GET a.test /", "X-Key: z", "x-kEY: w"),
			no("GET a.test /", "X-Key: V"), no("GET a.test /", "X-Key: v, w"), no("GET a.test /", "Other: v"),
		}},
		"asterisk is literal": {Rule{Headers: []Condition{{Name: "Authorization", Values: []string{"Bearer *"}}}}, []expectation{
			yes("GET a.test /", "Authorization: Bearer *"), no("GET a.test /", "Authorization: Bearer x"),
		}},
		"headers of different names are all asked": {
			Rule{Headers: []Condition{{Name: "A", Values: []string{"1"}}, {Name: "B"}}}, []expectation{
				yes("GET a.test /", "A: 1", "B: 2"), no("GET a.test /", "A: 1"), no("GET a.test /", "B: 1", "A: 2"),
			},
		},
		"headers of one name are alternatives": {
			Rule{Headers: []Condition{{Name: "A", Values: []string{"1"}}, {Name: "a", Values: []string{"2"}}}}, []expectation{
				yes("GET a.test /", "A: 1"), yes("GET a.test /", "A: 2"), no("GET a.test /", "A: 3"),
			},
		},
		"presence and value of one name": {
			Rule{Headers: []Condition{{Name: "A", Values: []string{"1"}}, {Name: "A"}}}, []expectation{
				yes("GET a.test /", "A: 3"), no("GET a.test /"),
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { checkRule(t, tt.rule, tt.cases) })
	}
}

func TestMatchNothing(t *testing.T) {
	if got := Compile(nil).Match(get("GET a.test /")); got != -1 {
		t.Errorf("empty table: Match = %d, want -1", got)
	}
}

func TestMatchIsConcurrent(t *testing.T) {
	table := benchTable(100)
	requests := benchRequests("mix", 100)[:200]
	want := make([]int, len(requests))
	for i := range requests {
		want[i] = table.Match(&requests[i])
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range requests {
				if got := table.Match(&requests[i]); got != want[i] {
					t.Errorf("request %d: Match = %d, want %d", i, got, want[i])
				}
			}
		})
	}
	all.Wait()
}

// TestMatchAllocatesNothing leaves regular expressions out: package regexp keeps its machines in a
// sync.Pool, which forgets some of them, on purpose and at random under the race detector.
func TestMatchAllocatesNothing(t *testing.T) {
	rules := []Rule{{
		Hosts: []string{"*.a.test", "shop.test"}, Prefixes: []string{"/app"}, Methods: []string{"GET"},
		Headers: []Condition{{Name: "X-Key", Values: []string{"v"}}}, Query: []Condition{{Name: "k", Values: []string{"a b"}}},
	}}
	for i := range 50 {
		rules = append(rules, benchRule(i))
	}
	table := Compile(append(rules, wideRule(100)))
	requests := append(benchRequests("mix", 50)[:100],
		*get("GET www.a.test /app/x/index.html?j=1&%6B=a%20b", "X-Key: v"),
		*get("GET shop.test /app/x/index.html?k=a+b", "x-key: u", "x-key: v"),
		*get("GET shop.test /app/x/index.html?k=%zz&k", "x-key: v"),
		*get("GET h7.test /p99"))
	allocations := testing.AllocsPerRun(100, func() {
		for i := range requests {
			table.Match(&requests[i])
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations for %d requests, want 0", allocations, len(requests))
	}
}
