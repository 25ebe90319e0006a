package route

import (
	"net/url"
	"testing"

	"pgregory.net/rapid"
)

func TestMatchQuery(t *testing.T) {
	value := func(name string, values ...string) Rule {
		return Rule{Query: []Condition{{Name: name, Values: values}}}
	}
	tests := map[string]struct {
		rule  Rule
		cases []expectation
	}{
		"presence": {value("k"), []expectation{
			yes("GET a.test /?k"), yes("GET a.test /?k="), yes("GET a.test /?k=v"), yes("GET a.test /?a=1&k&b"),
			yes("GET a.test /?%6b"), yes("GET a.test /?&&k&"),
			no("GET a.test /"), no("GET a.test /?K"), no("GET a.test /?kk"), no("GET a.test /?a=k"), no("GET a.test /k"),
		}},
		"value": {value("k", "v"), []expectation{
			yes("GET a.test /?k=v"), yes("GET a.test /?k=x&k=v"), yes("GET a.test /?k=v&k=x"), yes("GET a.test /?%6B=%76"),
			no("GET a.test /?k"), no("GET a.test /?k=vv"), no("GET a.test /?k=V"), no("GET a.test /?v=k"), no("GET a.test /?k=v=v"),
		}},
		"escapes decode once": {value("k", "A"), []expectation{
			yes("GET a.test /?k=%41"), no("GET a.test /?k=%2541"), no("GET a.test /?k=%61"),
		}},
		"plus is a space": {value("a b", "c d"), []expectation{
			yes("GET a.test /?a+b=c+d"), yes("GET a.test /?a%20b=c%20d"), no("GET a.test /?a%2Bb=c+d"),
		}},
		"escaped plus is a plus": {value("k", "a+b"), []expectation{
			yes("GET a.test /?k=a%2Bb"), yes("GET a.test /?k=a%2bb"), no("GET a.test /?k=a+b"),
		}},
		"escaped separators are data": {value("k", "a&b=c"), []expectation{
			yes("GET a.test /?k=a%26b%3Dc"), yes("GET a.test /?k=a%26b=c"), no("GET a.test /?k=a&b=c"),
		}},
		"what is no escape stays": {value("k", "100%", "%zz"), []expectation{
			yes("GET a.test /?k=100%"), yes("GET a.test /?k=%zz"), yes("GET a.test /?k=100%25"), no("GET a.test /?k=100%2"),
		}},
		"empty value": {value("k", ""), []expectation{
			yes("GET a.test /?k"), yes("GET a.test /?k="), yes("GET a.test /?k=v&k"), no("GET a.test /?k=v"), no("GET a.test /"),
		}},
		"semicolon separates nothing": {value("k", "v"), []expectation{
			no("GET a.test /?k=v;x=1"), no("GET a.test /?x=1;k=v"),
		}},
		"different names are all asked": {Rule{Query: []Condition{{Name: "a"}, {Name: "b", Values: []string{"1"}}}}, []expectation{
			yes("GET a.test /?b=1&a"), no("GET a.test /?b=1"), no("GET a.test /?a&b"),
		}},
		"one name is alternatives": {
			Rule{Query: []Condition{{Name: "a", Values: []string{"1"}}, {Name: "a", Values: []string{"2"}}}}, []expectation{
				yes("GET a.test /?a=1"), yes("GET a.test /?a=2"), no("GET a.test /?a=3"),
			},
		},
		"names are case-sensitive": {Rule{Query: []Condition{{Name: "a"}, {Name: "A"}}}, []expectation{
			yes("GET a.test /?a&A"), no("GET a.test /?a"), no("GET a.test /?A"),
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { checkRule(t, tt.rule, tt.cases) })
	}
}

// TestQueryAgreesWithURLPackage takes the standard library as a second opinion on the queries that it
// accepts.
func TestQueryAgreesWithURLPackage(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune("kv=&%+24610 Bb")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		query, name, value := text.Draw(t, "query"), text.Draw(t, "name"), text.Draw(t, "value")
		if rapid.Bool().Draw(t, "contains it") {
			query += "&" + url.QueryEscape(name) + "=" + url.QueryEscape(value)
		}
		parsed, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		got := (&condition{name: name, values: []string{value}}).heldByQuery([]byte(query))
		want := false
		for _, v := range parsed[name] {
			want = want || v == value
		}
		if got != want {
			t.Fatalf("query %q, name %q, value %q: held = %v, want %v", query, name, value, got, want)
		}
	})
}
