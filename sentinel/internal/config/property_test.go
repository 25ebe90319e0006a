package config

import (
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// What kdlQuote writes, the parser reads back: `config show` never prints another configuration.
func TestQuoteRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		nodes, problems := parseKDL("s.kdl", []byte("x "+kdlQuote(s)))
		if !utf8.ValidString(s) || len(problems) > 0 {
			t.Fatalf("%q: %v", s, problems)
		}
		if got := nodes[0].args[0].data; got != s {
			t.Fatalf("%q came back as %q", s, got)
		}
	})
}

// typingErrors is a distance: zero for equal names only, the same both ways, and one for each error.
func TestTypingErrors(t *testing.T) {
	const far = 100
	name := rapid.StringMatching("[a-d-]{0,12}")
	rapid.Check(t, func(t *rapid.T) {
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		d := typingErrors(a, b, far)
		if (d == 0) != (a == b) || d != typingErrors(b, a, far) || d > max(len(a), len(b)) {
			t.Fatalf("%q to %q: %d", a, b, d)
		}
		if limited := typingErrors(a, b, 3); limited != min(d, 3) {
			t.Fatalf("%q to %q: %d with the limit 3, %d without", a, b, limited, d)
		}
		i := rapid.IntRange(0, len(a)).Draw(t, "i")
		if one := typingErrors(a, a[:i]+"x"+a[i:], far); one != 1 {
			t.Fatalf("%q with a letter more: %d", a, one)
		}
		if i+1 < len(a) && a[i] != a[i+1] {
			swapped := a[:i] + string([]byte{a[i+1], a[i]}) + a[i+2:]
			if one := typingErrors(a, swapped, far); one != 1 {
				t.Fatalf("%q to %q: %d", a, swapped, one)
			}
		}
	})
}
