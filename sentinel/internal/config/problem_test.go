package config

import (
	"strings"
	"testing"
)

func TestProblemString(t *testing.T) {
	at := Pos{"s.kdl", 3, 7}
	tests := []struct {
		name string
		p    Problem
		want string
	}{
		{name: "all", p: Problem{Pos: at, Path: "limits.x", Found: "found 0", Expected: "expected 1", DidYouMean: "y"}, want: `s.kdl:3:7: limits.x: found 0; expected 1; did you mean "y"`},
		{name: "least", p: Problem{Pos: at, Found: "found 0"}, want: "s.kdl:3:7: found 0"},
		{name: "no line", p: Problem{Pos: Pos{File: "env X"}, Found: "found 0"}, want: "env X: found 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.p.String(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestProblemExcerpt(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{name: "spaces", text: "system {\n  daemon 5\n}\n" + listenerPart, want: "  daemon 5\n         ^\n"},
		{name: "tabs stay tabs", text: "system {\n\tdaemon 5\n}\n" + listenerPart, want: "\tdaemon 5\n\t       ^\n"},
		{name: "wide characters", text: "system { /* ä€ */ daemon 5; }\n" + listenerPart, want: "system { /* ä€ */ daemon 5; }\n                         ^\n"},
		{name: "carriage return", text: "system {\r\n  daemon 5\r\n}\r\n" + listenerPart, want: "  daemon 5\n         ^\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, problems := Parse("s.kdl", []byte(test.text), Options{})
			if len(problems) != 1 || problems[0].Excerpt() != test.want {
				t.Errorf("problems %v\nexcerpt\n%s\nwant\n%s", problems, problems[0].Excerpt(), test.want)
			}
		})
	}
	if got := (Problem{Found: "x"}).Excerpt(); got != "" {
		t.Errorf("excerpt %q of a problem without a line", got)
	}
}

func TestProblemsAreOrderedAndBounded(t *testing.T) {
	text := withTop("limits {\n" + strings.Repeat("max-header-count 0 0\n", 3000) + "}")
	_, problems := Parse("s.kdl", []byte(text), Options{})
	if len(problems) != 2*maxProblems || !problems.HasErrors() {
		t.Fatalf("%d problems, want %d errors and as many warnings", len(problems), maxProblems)
	}
	for i, p := range problems[1:] {
		if before := problems[i]; before.compare(p.Pos) > 0 || before == p {
			t.Errorf("problem %d %v stands after %v", i+1, p, before)
		}
	}
	twice := Problems{{Pos: Pos{"b", 1, 1}}, {Pos: Pos{"a", 1, 1}}, {Pos: Pos{"b", 1, 1}}, {Pos: Pos{File: "env X"}}}
	if got := twice.sorted([]string{"b", "a"}); len(got) != 3 || got[0].File != "env X" || got[1].File != "b" || got[2].File != "a" {
		t.Errorf("sorted: %v, want what is outside the files first, then b, a, each once", got)
	}
}

func TestNearest(t *testing.T) {
	settings := []string{"worker-threads", "max-connections", "timeout-secs", "timeouts", "high", "main", "path", "path-prefix"}
	tests := []struct{ name, want string }{
		{"worker_threads", "worker-threads"},
		{"workers", "worker-threads"},
		{"max-conections", "max-connections"},
		{"hihg", "high"},
		{"mian", "main"},
		{"timeout", "timeouts"},
		{"Timeout-Secs", "timeout-secs"},
		{"pathprefix", "path-prefix"},
		{"zzz", ""},
		{"", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := nearest(test.name, settings); got != test.want {
				t.Errorf("nearest(%q) = %q, want %q", test.name, got, test.want)
			}
		})
	}
}

func TestWarningsDoNotHideErrors(t *testing.T) {
	text := withTop("limits {\n" + lines(2*maxProblems, "nonsense-%d 1") + "max-header-count 0\n}")
	if c, problems := Parse("s.kdl", []byte(text), Options{}); c != nil || !problems.HasErrors() {
		t.Errorf("an error behind %d warnings is lost", 2*maxProblems)
	}
}
