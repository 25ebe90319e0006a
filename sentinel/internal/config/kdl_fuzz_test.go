package config

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Every text yields nodes or problems, never both, never a panic or a hang; the library that builds
// the tree agrees with our parser about every value; every place lies in the text.
func FuzzParseKDL(f *testing.F) {
	for _, text := range fuzzSeeds {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		nodes, problems := parseKDL("fuzz.kdl", text)
		if len(problems) > 0 && nodes != nil || len(problems) > maxSyntaxProblems {
			t.Fatalf("got %d nodes and %d problems", len(nodes), len(problems))
		}
		lines := lineLengths(text)
		for i, p := range problems {
			if strings.Contains(p.Found, "internal error") {
				t.Fatal(p.String())
			}
			checkPos(t, lines, p.Pos)
			if p.Found == "" || p.Expected == "" || strings.ContainsAny(p.String()+p.Source, "\n\x00\x1b") {
				t.Fatalf("problem %q with the line %q", p.String(), p.Source)
			}
			if i > 0 && p == problems[i-1] {
				t.Fatalf("repeated: %s", p.String())
			}
		}
		checkNodes(t, lines, nodes)
	})
}

var fuzzSeeds = []string{
	"/- kdl-version 2\nsystem {\n\tworker-threads 0; log \"${LEVEL:-info}\" #true true\n}\n",
	"a 0xFF -1_0.5e3 0b1 0o7 #inf #-inf #nan null k=(u8)1 \"k\" = #null /-2 /-x=1 /-{ y } { z 1 }",
	"a \"\\u{41}\\s\\\n b\" r#\"c\"d\"# ##\"e\"#f\"## \"\"\"\n  g\\n\n   h \\\n i\n  \"\"\" #\"\"\"\n j\n \"\"\"#",
	"(t)a \\ // b\n 1 /* c /* d */ */ {\r\n-\u00a0\"e\"; 404 {} }\u2028\uFEFF",
	"a [ \"b\", env(\"c\") ] { } d = ${E} 'f' /g/* # h\n}{ \"i\n\x00\xff\u202e\"\\d\" 1.2.3 ///-",
}

// lineLengths returns how many characters each line of a text has.
func lineLengths(text []byte) []int {
	lengths := []int{0}
	c := newCursor("", text)
	for off := c.off; off < len(text); {
		size := newlineSize(text[off:])
		if size > 0 {
			lengths = append(lengths, 0)
		} else {
			_, size = utf8.DecodeRune(text[off:])
			lengths[len(lengths)-1]++
		}
		off += size
	}
	return lengths
}

func checkPos(t *testing.T, lines []int, p Pos) {
	t.Helper()
	if p.Line < 1 || p.Line > len(lines) || p.Col < 1 || p.Col > lines[p.Line-1]+1 {
		t.Fatalf("place %v is outside the text", p)
	}
}

func checkNodes(t *testing.T, lines []int, nodes []*node) {
	for _, n := range nodes {
		checkPos(t, lines, n.pos)
		for _, a := range n.args {
			checkPos(t, lines, a.pos)
		}
		for _, p := range n.props {
			checkPos(t, lines, p.pos)
		}
		checkNodes(t, lines, n.children)
	}
}
