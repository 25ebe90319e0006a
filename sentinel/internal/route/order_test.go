package route

import (
	"fmt"
	"testing"
)

func TestSpecificity(t *testing.T) {
	value, presence := Condition{"N", []string{"v"}}, Condition{Name: "N"}
	tests := map[string]struct {
		rule Rule
		want int
	}{
		"nothing":            {Rule{}, 0},
		"path":               {Rule{Paths: []string{"/a"}}, 10000},
		"path regex":         {Rule{PathRegexes: regexes("a")}, 5000},
		"prefix":             {Rule{Prefixes: []string{"/api"}}, 1004},
		"longest prefix":     {Rule{Prefixes: []string{"/", "/api/x", "/b"}}, 1006},
		"best path kind":     {Rule{Prefixes: []string{"/a"}, PathRegexes: regexes("a"), Paths: []string{"/a"}}, 10000},
		"regex and prefix":   {Rule{Prefixes: []string{"/a"}, PathRegexes: regexes("a")}, 5000},
		"host":               {Rule{Hosts: []string{"a.test"}}, 70},
		"host regex":         {Rule{HostRegexes: regexes("a")}, 60},
		"wildcard":           {Rule{Hosts: []string{"*.a.test"}}, 50},
		"best host":          {Rule{Hosts: []string{"*.a.test", "a.test", "*.b.test"}}, 70},
		"wildcard and regex": {Rule{Hosts: []string{"*.a.test"}, HostRegexes: regexes("a")}, 60},
		"header value":       {Rule{Headers: []Condition{value}}, 30},
		"header presence":    {Rule{Headers: []Condition{presence}}, 20},
		"header name once":   {Rule{Headers: []Condition{presence, {"n", []string{"v", "w"}}}}, 30},
		"two headers":        {Rule{Headers: []Condition{presence, {"M", []string{"v"}}}}, 50},
		"query value":        {Rule{Query: []Condition{value}}, 25},
		"query presence":     {Rule{Query: []Condition{presence}}, 15},
		"query names differ": {Rule{Query: []Condition{presence, {"n", []string{"v"}}}}, 40},
		"method":             {Rule{Methods: []string{"GET", "POST"}}, 10},
		"sum": {Rule{
			Prefixes: []string{"/api"}, Hosts: []string{"a.test"}, Methods: []string{"GET"},
			Headers: []Condition{value}, Query: []Condition{presence},
		}, 1004 + 70 + 10 + 30 + 15},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Compile([]Rule{tt.rule}).Explain(get("GET a.test /"))[0].Specificity
			if got != tt.want {
				t.Errorf("specificity = %d, want %d", got, tt.want)
			}
		})
	}
}

// TestOrder gives several rules that all hold; the request goes to one of them.
func TestOrder(t *testing.T) {
	request := "GET x.a.test /api/users?k=v"
	tests := map[string]struct {
		rules []Rule
		want  string
	}{
		"file order breaks ties": {[]Rule{
			{ID: "first", Prefixes: []string{"/api"}}, {ID: "second", Prefixes: []string{"/api"}},
		}, "first"},
		"tie of different kinds": {[]Rule{
			{ID: "host", Hosts: []string{"x.a.test"}}, {ID: "rest", Methods: []string{"GET"}, HostRegexes: regexes("a")},
		}, "host"},
		"priority over specificity": {[]Rule{
			{ID: "exact", Paths: []string{"/api/users"}, Priority: 50}, {ID: "all", Priority: 51},
		}, "all"},
		"negative priority is last": {[]Rule{
			{ID: "exact", Paths: []string{"/api/users"}, Priority: -5}, {ID: "all"},
		}, "all"},
		"exact, regex, prefix": {[]Rule{
			{ID: "prefix", Prefixes: []string{"/api/users"}},
			{ID: "regex", PathRegexes: regexes("^/api")},
			{ID: "exact", Paths: []string{"/api/users"}},
		}, "exact"},
		"regex over prefix": {[]Rule{
			{ID: "prefix", Prefixes: []string{"/api/users"}}, {ID: "regex", PathRegexes: regexes("^/api")},
		}, "regex"},
		"longer prefix": {[]Rule{
			{ID: "root", Prefixes: []string{"/"}},
			{ID: "api", Prefixes: []string{"/api"}},
			{ID: "users", Prefixes: []string{"/api/users"}},
		}, "users"},
		"path of all hosts over prefix of the host": {[]Rule{
			{ID: "host", Hosts: []string{"x.a.test"}, Prefixes: []string{"/api"}}, {ID: "path", Paths: []string{"/api/users"}},
		}, "path"},
		"host, host regex, wildcard": {[]Rule{
			{ID: "wildcard", Hosts: []string{"*.a.test"}},
			{ID: "regex", HostRegexes: regexes("a")},
			{ID: "host", Hosts: []string{"x.a.test"}},
		}, "host"},
		"host regex over wildcard": {[]Rule{
			{ID: "wildcard", Hosts: []string{"*.a.test"}}, {ID: "regex", HostRegexes: regexes("a")},
		}, "regex"},
		"specificity is the rule's, not the match's": {[]Rule{
			{ID: "narrow", Prefixes: []string{"/api/users"}}, {ID: "broad", Prefixes: []string{"/", "/a/very/long/one"}},
		}, "broad"},
		"the next one when the best fails": {[]Rule{
			{ID: "post", Paths: []string{"/api/users"}, Methods: []string{"POST"}},
			{ID: "other", Paths: []string{"/api/users"}, Query: []Condition{{"k", []string{"w"}}}},
			{ID: "prefix", Prefixes: []string{"/api"}},
		}, "prefix"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Compile(tt.rules).Match(get(request))
			if got < 0 || tt.rules[got].ID != tt.want {
				t.Errorf("Match = %d, want %q", got, tt.want)
			}
		})
	}
}

// wideRule has n hosts and n paths.
func wideRule(n int) Rule {
	var r Rule
	for i := range n {
		r.Hosts = append(r.Hosts, fmt.Sprintf("h%d.test", i))
		r.Paths = append(r.Paths, fmt.Sprintf("/p%d", i))
	}
	return r
}

func TestWideRule(t *testing.T) {
	checkRule(t, wideRule(100), []expectation{
		yes("GET h0.test /p99"), yes("GET h99.test /p0"),
		no("GET h100.test /p0"), no("GET h0.test /p100"), no("GET a.test /p0"),
	})
}

// TestIndexIsLinear bounds what a hostile configuration can make of hosts times paths.
func TestIndexIsLinear(t *testing.T) {
	for _, n := range []int{8, 16, 17, 100, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			table := Compile([]Rule{wideRule(n)})
			entries := len(table.common.paths)
			for _, b := range table.hosts.byName {
				entries += len(b.paths)
			}
			if entries < n || entries > maxSpread*2*n {
				t.Errorf("%d hosts and paths: %d entries, want %d to %d", n, entries, n, maxSpread*2*n)
			}
		})
	}
}
