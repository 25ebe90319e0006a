package route

import (
	"slices"
	"testing"
)

func TestExplain(t *testing.T) {
	request := get("GET b.test /api/users?k=w&k=%00", "X-Key: u", "x-key: v\x01", "Other: 1")
	tests := map[string]struct {
		rule Rule
		why  string
	}{
		"method": {Rule{Methods: []string{"POST", "PUT"}}, `method: want "POST" or "PUT", got "GET"`},
		"host":   {Rule{Hosts: []string{"a.test"}}, `host: want "a.test", got "b.test"`},
		"host of any sort": {
			Rule{Hosts: []string{"a.test", "*.b.test"}, HostRegexes: regexes("^c")},
			`host: want "a.test" or "*.b.test" or /^c/, got "b.test"`,
		},
		"path":        {Rule{Paths: []string{"/api"}}, `path: want "/api", got "/api/users"`},
		"path-prefix": {Rule{Prefixes: []string{"/apis", "/b"}}, `path-prefix: want "/apis" or "/b", got "/api/users"`},
		"path-regex":  {Rule{PathRegexes: regexes(`\.css$`)}, `path-regex: want /\.css$/, got "/api/users"`},
		"header": {
			Rule{Headers: []Condition{{"X-Key", []string{"w", "x"}}}}, `header "x-key": want "w" or "x", got "u", "v\x01"`,
		},
		"header presence": {Rule{Headers: []Condition{{Name: "X-No"}}}, `header "x-no": want any value, got none`},
		"second header": {
			Rule{Headers: []Condition{{Name: "X-Key"}, {"Other", []string{"2"}}}}, `header "other": want "2", got "1"`,
		},
		"query-param": {
			Rule{Query: []Condition{{"k", []string{"v"}}}}, `query-param "k": want "v", got query "k=w&k=%00"`,
		},
		"query-param presence": {
			Rule{Query: []Condition{{Name: "j"}}}, `query-param "j": want any value, got query "k=w&k=%00"`,
		},
		"first failing condition": {Rule{Hosts: []string{"b.test"}, Paths: []string{"/x"}}, `path: want "/x", got "/api/users"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Compile([]Rule{tt.rule}).Explain(request)
			if len(got) != 1 || got[0].Outcome != Failed || got[0].Why != tt.why {
				t.Errorf("got  %+v\nwant %s", got, tt.why)
			}
		})
	}
}

func TestExplainOrder(t *testing.T) {
	table := Compile([]Rule{
		{ID: "rest", Priority: 10},
		{ID: "users", Prefixes: []string{"/api/users"}, Priority: 50},
		{ID: "post", Paths: []string{"/api/users"}, Methods: []string{"POST"}, Priority: 50},
	})
	want := []Verdict{
		{2, "post", 50, 10010, Failed, `method: want "POST", got "GET"`},
		{1, "users", 50, 1010, Won, "every condition holds"},
		{0, "rest", 10, 0, NotReached, `"users" comes first`},
	}
	if got := table.Explain(get("GET a.test /api/users")); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestOutcomeString(t *testing.T) {
	for outcome, want := range map[Outcome]string{Failed: "failed", Won: "won", NotReached: "not reached"} {
		if got := outcome.String(); got != want {
			t.Errorf("outcome %d: %q, want %q", outcome, got, want)
		}
	}
}
