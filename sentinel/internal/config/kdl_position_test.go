package config

import (
	"fmt"
	"strings"
	"testing"
)

// places writes where every node, argument and property of a tree stands, in order.
func places(nodes []*node) string {
	var parts []string
	for _, n := range nodes {
		parts = append(parts, n.name+"@"+place(n.pos))
		for _, a := range n.args {
			parts = append(parts, a.text+"@"+place(a.pos))
		}
		for _, p := range n.props {
			parts = append(parts, p.key+"="+p.text+"@"+place(p.pos))
		}
		if len(n.children) > 0 {
			parts = append(parts, places(n.children))
		}
	}
	return strings.Join(parts, " ")
}

func place(p Pos) string { return fmt.Sprintf("%d:%d", p.Line, p.Col) }

func TestPositions(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"one line", "a 1 k=2 { b; c 3 }; d", "a@1:1 1@1:3 k=2@1:5 b@1:11 c@1:14 3@1:16 d@1:21"},
		{"tabs count one", "a {\n\t\tb\t1\n}", "a@1:1 b@2:3 1@2:5"},
		{"characters, not bytes", "ä \"é😀\" 1 // ü\nb", "ä@1:1 \"é😀\"@1:3 1@1:8 b@2:1"},
		{"CRLF", "a 1\r\n\r\n  b \"x\"\r\n", "a@1:1 1@1:3 b@3:3 \"x\"@3:5"},
		{"byte order mark", "\uFEFFa 1\nb", "a@1:1 1@1:3 b@2:1"},
		{"continuation", "a 1 \\ // one\n  2 \\\n\n b", "a@1:1 1@1:3 2@2:3 b@4:2"},
		{"comments", "/* x\n y */ a /* z\n*/ 1\n// c\nb", "a@2:7 1@3:4 b@5:1"},
		{"after hidden parts", "/-x { y 1 }\na /-1 2 /-k=3 l=4", "a@2:1 2@2:7 l=4@2:15"},
		{"hidden block", "a /-{\n b 1\n} { c 2 }", "a@1:1 c@3:5 2@3:7"},
		{"types", "(t)a (u8)5 k=(u8)6", "a@1:4 5@1:10 k=6@1:12"},
		{"strings over lines", "a \"b\nc\" 1\nd \"\"\"\n  e\n  \"\"\" 2\nf", "a@1:1 \"b…@1:3 1@2:4 d@3:1 \"\"\"…@3:3 2@5:7 f@6:1"},
		{"joined string", "a \"b\\\n   c\" 1", "a@1:1 \"b\\…@1:3 1@2:7"},
		{"other newlines", "a\rb\fc\u0085d\u2028e\u2029f", "a@1:1 b@2:1 c@3:1 d@4:1 e@5:1 f@6:1"},
		{"arguments before properties", "a k=1 2 l=3 4", "a@1:1 2@1:7 4@1:13 k=1@1:3 l=3@1:9"},
		{"last value in the first slot", "a k=1 l=2 k=3", "a@1:1 k=3@1:11 l=2@1:7"},
		{"spellings that grow or shrink", "a 0xFF r#\"b\"# true word 1_0 #inf \"\\u{41}\" 9", "a@1:1 0xFF@1:3 r#\"b\"#@1:8 true@1:15 word@1:20 1_0@1:25 #inf@1:29 \"\\u{41}\"@1:34 9@1:43"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := places(nodesOf(t, c.text)); got != c.want {
				t.Errorf("places of %q\n got %s\nwant %s", c.text, got, c.want)
			}
		})
	}
}

func TestValueTextIsCut(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"64 bytes are kept", `"` + strings.Repeat("x", 62) + `"`, `"` + strings.Repeat("x", 62) + `"`},
		{"65 bytes are cut", `"` + strings.Repeat("x", 63) + `"`, `"` + strings.Repeat("x", 60) + "…"},
		{"at a character", `"x` + strings.Repeat("é", 40) + `"`, `"x` + strings.Repeat("é", 29) + "…"},
		{"at the end of the line", "\"x\ny\"", "\"x…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := nodesOf(t, "a "+c.text)[0].args[0].text; got != c.want {
				t.Errorf("got %d bytes %q, want %q", len(got), got, c.want)
			}
		})
	}
}
