package config

import (
	"fmt"
	"strings"
	"testing"
)

// lines repeats a line n times; %d in it is the number.
func lines(n int, format string) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, format+"\n", i)
	}
	return out.String()
}

// TestBounds shows that what a file can ask for is bounded, beyond the bytes of the file itself.
func TestBounds(t *testing.T) {
	tests := []struct{ name, text, problem string }{
		{name: "regular expressions", text: withMatches(`path-regex "(` + strings.Repeat("a", 1001) + `){1000}"`), problem: "all expressions together compile to more than 1,000,000 instructions"},
		{name: "conditions", text: withMatches(lines(maxListed+1, `header "X-%d"`)), problem: "found 10001 conditions; expected at most 10000"},
		{name: "list", text: withMatches(lines(maxListed+1, `path "/%d"`)), problem: "found 10001 values; expected at most 10000"},
		{name: "agents", text: withTop(lines(maxAgents+1, `agent "%d" { unix-socket "/a" }`)), problem: "found 257 agents; expected at most 256"},
		{name: "id", text: withTop(`upstream "` + strings.Repeat("u", 129) + `" { target "h:1" }`), problem: "found an id of 129 bytes; expected up to 128 printable characters"},
		{name: "id of controls", text: withTop(`upstream "a\nb" { target "h:1" }`), problem: "found an id with a control character"},
		{name: "depth", text: withTop("cache " + strings.Repeat("{ a ", 100) + strings.Repeat("}", 100)), problem: "64"},
		{name: "messages", text: withTop(`"` + strings.Repeat("n", 1<<20) + `" 1`), problem: `unknown top-level node "nnnn`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, problems := Parse("test.kdl", []byte(test.text), Options{Resources: ResourcesOff})
			if text := problems.Error(); !problems.HasErrors() || !strings.Contains(text, test.problem) || len(text) > 10_000 {
				t.Errorf("problems %.500q of %d bytes, want a short one with %q", text, len(text), test.problem)
			}
		})
	}
}

// TestGuessesAreBounded shows that thousands of wrong references are not each compared with thousands
// of names.
func TestGuessesAreBounded(t *testing.T) {
	text := withTop(lines(3000, `upstream "an-upstream-of-some-length-%d" { target "h:1" }`) +
		lines(900, `route "%[1]d" { matches { path "/%[1]d" }; upstream "an-upstraem-of-some-length-%[1]d" }`))
	r := &reader{options: Options{}}
	_, problems := Parse("test.kdl", []byte(text), Options{})
	guesses := 0
	for _, p := range problems {
		if p.DidYouMean != "" {
			guesses++
		}
	}
	if guesses == 0 || guesses == len(problems) {
		t.Errorf("%d guesses for %d problems, want some and not all", guesses, len(problems))
	}
	r.guessed = maxGuessed
	if got := r.nearest("mian", []string{"main"}); got != "" {
		t.Errorf("nearest = %q beyond the bound", got)
	}
}
