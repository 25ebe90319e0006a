package route

import (
	"fmt"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
	"pgregory.net/rapid"
)

// The alphabets are small, so that rules meet each other and the requests.
var (
	somePaths    = []string{"/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/a/b/c", "/a/bc", "/b", "/b/a/b", "/a%2Fb", "/a/b.css"}
	someHosts    = []string{"a.test", "b.test", "x.a.test", "y.a.test", "y.x.a.test", "test", ".a.test", "[::1]", ""}
	somePatterns = []string{"a.test", "b.test", "x.a.test", "*.a.test", "*.test", "*.x.a.test", "*.b.test", "test", "[::1]"}
	someMethods  = []string{"GET", "POST", "PUT"}
	someNames    = []string{"X-A", "x-a", "X-B", "x-Ab"}
	someValues   = []string{"", "v", "V", "w", "a b"}
	someKeys     = []string{"", "k", "K", "j", "%zz", "a b"}
	someDecoded  = []string{"", "v", "a b", "a+b", "%", "%7", "=v", "v;k=w", "%zz"}
	someQuery    = []string{
		"", "k", "k=", "k=v", "%6b=v", "k=%76", "K=v", "k=a+b", "k=a%20b", "j=a%2Bb", "j", "=v", "%zz=v", "k=%",
		"k=%7", "k==v", "j=v;k=w", "a+b=v", "a%20b", "%", "k=%zz", "k=%25zz",
	}
)

func someOf(max int, from []string) *rapid.Generator[[]string] {
	return rapid.Custom(func(t *rapid.T) []string {
		if rapid.Bool().Draw(t, "none of this kind") {
			return nil
		}
		return rapid.SliceOfN(rapid.SampledFrom(from), 1, max).Draw(t, "values")
	})
}

func someConditions(names, values []string) *rapid.Generator[[]Condition] {
	condition := rapid.Custom(func(t *rapid.T) Condition {
		return Condition{
			Name:   rapid.SampledFrom(names).Draw(t, "name"),
			Values: someOf(2, values).Draw(t, "values"),
		}
	})
	return rapid.Custom(func(t *rapid.T) []Condition {
		if rapid.IntRange(0, 3).Draw(t, "none of this kind") > 0 {
			return nil
		}
		return rapid.SliceOfN(condition, 1, 3).Draw(t, "conditions")
	})
}

var someRule = rapid.Custom(func(t *rapid.T) Rule {
	r := Rule{
		Priority: rapid.SampledFrom([]int{50, 50, 50, 100, -1}).Draw(t, "priority"),
		Paths:    someOf(3, somePaths).Draw(t, "paths"),
		Prefixes: someOf(3, somePaths).Draw(t, "prefixes"),
		Hosts:    someOf(3, somePatterns).Draw(t, "hosts"),
		Headers:  someConditions(someNames, someValues).Draw(t, "headers"),
		Query:    someConditions(someKeys, someDecoded).Draw(t, "query"),
	}
	if rapid.IntRange(0, 3).Draw(t, "methods?") == 0 {
		r.Methods = someOf(2, someMethods).Draw(t, "methods")
	}
	if rapid.IntRange(0, 4).Draw(t, "path regexes?") == 0 {
		r.PathRegexes = regexes(someOf(2, []string{"^/a", "b$", `\.css`, "c"}).Draw(t, "path regexes")...)
	}
	if rapid.IntRange(0, 4).Draw(t, "host regexes?") == 0 {
		r.HostRegexes = regexes(someOf(2, []string{"^a", "x", "^$"}).Draw(t, "host regexes")...)
	}
	return r
})

var someField = rapid.Custom(func(t *rapid.T) wire.Field {
	return wire.Field{
		Name:  []byte(rapid.SampledFrom(someNames).Draw(t, "name")),
		Value: []byte(rapid.SampledFrom(someValues).Draw(t, "value")),
	}
})

var someRequest = rapid.Custom(func(t *rapid.T) *Request {
	q := &Request{
		Host:   []byte(rapid.SampledFrom(someHosts).Draw(t, "host")),
		Path:   []byte(rapid.SampledFrom(somePaths).Draw(t, "path")),
		Method: []byte(rapid.SampledFrom(someMethods).Draw(t, "method")),
		Fields: rapid.SliceOfN(someField, 0, 4).Draw(t, "fields"),
	}
	for _, parameter := range rapid.SliceOfN(rapid.SampledFrom(someQuery), 0, 4).Draw(t, "query") {
		q.Query = append(append(q.Query, '&'), parameter...)
	}
	return q
})

func drawRules(t *rapid.T) []Rule {
	rules := rapid.SliceOfN(someRule, 0, rapid.SampledFrom([]int{3, 12, 40}).Draw(t, "at most")).Draw(t, "rules")
	for i := range rules {
		rules[i].ID = fmt.Sprint(i)
	}
	return rules
}

func TestMatchAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules(t)
		table := Compile(rules)
		for range 20 {
			q := someRequest.Draw(t, "request")
			if got, want := table.Match(q), modelMatch(rules, q); got != want {
				t.Fatalf("Match = %d, the model says %d, for %s %q %q?%q", got, want, q.Method, q.Host, q.Path, q.Query)
			}
		}
	})
}

func TestExplainAgreesWithMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules(t)
		table := Compile(rules)
		q := someRequest.Draw(t, "request")
		won, match, order := -1, table.Match(q), modelOrder(rules)
		for rank, v := range table.Explain(q) {
			r := rules[order[rank]]
			if v.Rule != order[rank] || v.ID != r.ID || v.Specificity != modelScore(r) || v.Priority != r.Priority {
				t.Fatalf("rank %d: %+v, the model has rule %d", rank, v, order[rank])
			}
			want := Failed
			switch {
			case won >= 0:
				want = NotReached
			case v.Rule == match:
				want, won = Won, v.Rule
			}
			if v.Outcome != want || v.Why == "" {
				t.Fatalf("rank %d: %+v, want %s", rank, v, want)
			}
		}
		if won != match {
			t.Fatalf("Explain has winner %d, Match %d", won, match)
		}
	})
}
