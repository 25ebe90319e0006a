package config

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// kdl-go's Parse reads through a buffer of 64 KiB and breaks tokens that lie across its end, so valid
// texts over that size fail or not by where their tokens happen to lie. This pins that the way taken here
// does not: it moves the tokens on byte by byte.
func TestTextsOver64KiB(t *testing.T) {
	for _, c := range []struct{ kib, times int }{{63, 50}, {65, 50}, {130, 50}, {2048, 10}} {
		t.Run(fmt.Sprintf("%d KiB", c.kib), func(t *testing.T) {
			for shift := range c.times {
				text, want := manyRoutes(c.kib<<10, shift)
				nodes, problems := parseKDL("test.kdl", text)
				if len(problems) > 0 {
					t.Fatal(problems[0].String())
				}
				checkRoutes(t, nodes, want)
			}
		})
	}
}

// manyRoutes returns a text of at least size bytes, whose routes start shift bytes later than they would
// have to, and how many routes it holds.
func manyRoutes(size, shift int) (text []byte, routes int) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "routes %q {\n", strings.Repeat("x", shift))
	for ; b.Len() < size; routes++ {
		fmt.Fprintf(&b, "\troute \"route-%d\" weight=%d {\n\t\tpath-prefix \"/é/%d/\"; enabled #true\n\t}\n", routes, routes, routes)
	}
	b.WriteString("}\n")
	return b.Bytes(), routes
}

func checkRoutes(t *testing.T, nodes []*node, want int) {
	t.Helper()
	if len(nodes) != 1 || len(nodes[0].children) != want {
		t.Fatalf("got %d nodes, want 1 with %d routes", len(nodes), want)
	}
	for i, n := range nodes[0].children {
		id, path := fmt.Sprintf("route-%d", i), fmt.Sprintf("/é/%d/", i)
		if n.args[0].data != id || n.props[0].data != int64(i) || n.children[0].args[0].data != path {
			t.Fatalf("route %d reads %s", i, sketch([]*node{n}))
		}
		if n.pos.Line != 2+3*i || n.children[1].pos.Line != 3+3*i {
			t.Fatalf("route %d is at line %d", i, n.pos.Line)
		}
	}
}

func TestLimits(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("a { ", n) + strings.Repeat("}", n) }
	for _, c := range []struct{ name, text, want string }{
		{"depth of 64", deep(64), ""},
		{"depth of 65", deep(65), "1:259: found blocks nested more than 64 deep; close some of them first"},
		{"hidden depth of 65", "/- " + deep(65), "1:262: found blocks nested more than 64 deep; close some of them first"},
		{"a million nodes", strings.Repeat("a\n", 1_000_000), ""},
		{"a million nodes and one", strings.Repeat("a\n", 1_000_001), "1000001:1: found more than 1,000,000 nodes in one file; split the file"},
		{"hidden nodes count", strings.Repeat("/-a\n", 1_000_001), "1000001:3: found more than 1,000,000 nodes in one file; split the file"},
		{"two million values and one", "a" + strings.Repeat(" 1", 2_000_001), "1:4000003: found more than 2,000,000 values in one file; split the file"},
		{"16 MiB", strings.Repeat(" ", 16<<20), ""},
		{"16 MiB and a byte", strings.Repeat(" ", 16<<20+1), "1:1: found a file over 16 MiB; split it and include the parts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := parseKDL("test.kdl", []byte(c.text))
			got := ""
			if len(problems) > 0 {
				got = strings.TrimPrefix(problems[0].String(), "test.kdl:")
			}
			if got != c.want || len(problems) > 1 {
				t.Errorf("got %d problems, first %q, want %q", len(problems), got, c.want)
			}
		})
	}
}

func TestAtMost100Problems(t *testing.T) {
	_, problems := parseKDL("test.kdl", []byte(strings.Repeat("a 1x\n", 1000)))
	if len(problems) != maxSyntaxProblems {
		t.Fatalf("got %d problems, want %d", len(problems), maxSyntaxProblems)
	}
	if last := problems[len(problems)-1].Line; last != 100 {
		t.Errorf("the last problem is on line %d, want 100", last)
	}
}

// Each of these repeats what makes a careless parser start over, or look ahead to the end, again and
// again. A parser whose work grows with the square of 1 MiB takes minutes for one of them.
func TestHostileTextsTakeLinearTime(t *testing.T) {
	for _, piece := range []string{
		"{", "}", "a{", "\"", "\"\"\"", "\"x\n", "\"x\n\\\"\n", "\"\\\"", "/*", "/* */", "//", "/-", "/- ", "\\", "\\\n",
		"(", "a (b\n", "a b(\n", "[", "a [\n", "#", "#\"", "a #\"x\"# ", "a r\"x\" ", "##\"\n#\"\n", "r#", "r#\"\n", "#\"\"\"\n", "\"\"\"\n\\\n",
		"=", "a=", "a 1=", "a k=1\n", ",", ";", "$", "${", "0", "9", "0x1", "1e", "é", "\xff", "\uFEFF", "\u2028", "a /*\n*/\n",
	} {
		t.Run(piece, func(t *testing.T) {
			nodes, problems := parseKDL("test.kdl", bytes.Repeat([]byte(piece), 1<<20/len(piece)))
			if len(problems) > maxSyntaxProblems || len(problems) > 0 && nodes != nil {
				t.Errorf("got %d problems and %d nodes", len(problems), len(nodes))
			}
		})
	}
}
