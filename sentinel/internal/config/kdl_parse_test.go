package config

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// sketch writes nodes on one line, so that a test can say what it expects. Text in which ${NAME} is
// expanded is "quoted", other text is r"quoted", a float has a point or an exponent.
func sketch(nodes []*node) string {
	var parts []string
	for _, n := range nodes {
		s := strconv.Quote(n.name)
		if isSimple(n.name) {
			s = n.name
		}
		for _, a := range n.args {
			s += " " + sketchValue(a)
		}
		for _, p := range n.props {
			s += " " + p.key + "=" + sketchValue(p.value)
		}
		if len(n.children) > 0 {
			s += " { " + sketch(n.children) + " }"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

func isSimple(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") == ""
}

func sketchValue(v value) string {
	switch d := v.data.(type) {
	case string:
		if v.expandable {
			return strconv.Quote(d)
		}
		return "r" + strconv.Quote(d)
	case float64:
		return fmt.Sprintf("float(%v)", d)
	case nil:
		return "null"
	}
	return fmt.Sprint(v.data)
}

// nodesOf is the nodes of a text that must be valid.
func nodesOf(t *testing.T, text string) []*node {
	t.Helper()
	nodes, problems := parseKDL("test.kdl", []byte(text))
	for _, p := range problems {
		t.Errorf("problem: %s\n%s", p.String(), p.Excerpt())
	}
	if t.Failed() {
		t.Fatalf("in the text:\n%s", text)
	}
	return nodes
}

func TestParseKDL(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"empty", "", ""},
		{"only space and comments", " \t\n// a\n/* b */\n", ""},
		{"two nodes by newline", "a\nb\n", "a; b"},
		{"two nodes by semicolon", "a;b", "a; b"},
		{"stray semicolons", ";a;;b;", "a; b"},
		{"no newline at the end", "a 1", "a 1"},
		{"block on one line", "a { b 1 }", "a { b 1 }"},
		{"block without spaces", "a{b 1}", "a { b 1 }"},
		{"block with semicolons", "a { b 1; c 2; }; d", "a { b 1; c 2 }; d"},
		{"nested blocks", "a {\n b {\n c\n }\n}\nd", "a { b { c } }; d"},
		{"empty block", "a { }\nb {}", "a; b"},
		{"quoted name", `"X-Request-Id" "v"`, `"X-Request-Id" "v"`},
		{"raw name", `r"a b" 1; #"c"d"# 2`, `"a b" 1; "c\"d" 2`},
		{"empty name", `"" 1`, `"" 1`},
		{"list items", `- "a"; - "b"; -- 1`, `- "a"; - "b"; -- 1`},
		{"number names", "404 { a }\n0x10\n-1", `"404" { a }; "0x10"; "-1"`},
		{"keyword in quotes as a name", `"true" 1`, "true 1"},
		{"keyword prefix", "trueish nullable info nan-x", `trueish r"nullable" r"info" r"nan-x"`},
		{"bare words", "priority critical a.b:c *.example.com <x> ~@!$%^&*|?+ é", `priority r"critical" r"a.b:c" r"*.example.com" r"<x>" r"~@!$%^&*|?+" r"é"`},
		{"signs are words", "a - -- -x +y +", `a r"-" r"--" r"-x" r"+y" r"+"`},
		{"run-on line is arguments", `path "/health" expected-status 200`, `path "/health" r"expected-status" 200`},
		{"properties", `a k=1 "q k"="v" r"raw"=#true`, `a k=1 q k="v" raw=true`},
		{"property with spaces", "a k = 1 l= 2 m =3", "a k=1 l=2 m=3"},
		{"property among arguments", "a 1 k=2 3", "a 1 3 k=2"},
		{"last of a repeated key", "a k=1 l=2 k=3", "a k=3 l=2"},
		{"word value of a property", "a k=word", `a k=r"word"`},
		{"types", `(t)a (u8)5 ("x y")"s" k=(i8)-1 ( t ) 6`, `a 5 "s" 6 k=-1`},
		{"substitutions are left alone", `a "${X}" "$${X}" r"${X}"`, `a "${X}" "$${X}" r"${X}"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := sketch(nodesOf(t, c.text)); got != c.want {
				t.Errorf("parseKDL(%q)\n got %s\nwant %s", c.text, got, c.want)
			}
		})
	}
}

func TestParseKDLValues(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"KDL 1 keywords", "true false null", "true false null"},
		{"KDL 2 keywords", "#true #false #null", "true false null"},
		{"KDL 2 floats", "#inf #-inf #nan", "float(+Inf) float(-Inf) float(NaN)"},
		{"decimal", "0 7 -7 +7 007 1_000_000 1_", "0 7 -7 7 7 1000000 1"},
		{"hexadecimal", "0xFf 0xdead_beef -0x10 +0x1", "255 3735928559 -16 1"},
		{"octal and binary", "0o755 0b1010_0101 -0b1", "493 165 -1"},
		{"float", "1.5 -0.25 1e3 1E-2 1_0.2_5e+1 0.0", "float(1.5) float(-0.25) float(1000) float(0.01) float(102.5) float(0)"},
		{"int64", "9223372036854775807 -9223372036854775808", "9223372036854775807 -9223372036854775808"},
		{"over int64", "9223372036854775808 0xFFFFFFFFFFFFFFFF", "float(9.223372036854776e+18) float(1.8446744073709552e+19)"},
		{"huge and tiny", "1e308 1e-400 5e-324", "float(1e+308) float(0) float(5e-324)"},
		{"number before a block or a comment", "1{}", "1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := sketch(nodesOf(t, "a "+c.text)); got != "a "+c.want {
				t.Errorf("parseKDL(a %s)\n got %s\nwant a %s", c.text, got, c.want)
			}
		})
	}
}

func TestParseKDLStrings(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"empty", `""`, `""`},
		{"escapes", `"\" \\ \/ \n \r \t \b \f \s"`, `"\" \\ / \n \r \t \b \f  "`},
		{"unicode escapes", `"\u{41}\u{1F600}\u{10ffff}\u{0}"`, `"A😀\U0010ffff\x00"`},
		{"white space escape", "\"a\\   \n\t  b\"", `"ab"`},
		{"replacement character", "\"\uFFFD\"", `"�"`},
		{"KDL 1 string over lines", "\"a\n  b\"", `"a\n  b"`},
		{"KDL 1 raw", `r"\d" r#"a"b"# r##"a"#b"##`, `r"\\d" r"a\"b" r"a\"#b"`},
		{"KDL 1 raw over lines", "r\"a\nb\"", `r"a\nb"`},
		{"KDL 1 raw with three quotes", `r#"""x"""#`, `r"\"\"x\"\""`},
		{"KDL 2 raw", `#"\d"# ##"a"#b"## #""#`, `r"\\d" r"a\"#b" r""`},
		{"word that starts with r", `r rr r-x`, `r"r" r"rr" r"r-x"`},
		{"multi-line", "\"\"\"\n  a\n    b\n\n  c\n  \"\"\"", `"a\n  b\n\nc"`},
		{"multi-line empty", "\"\"\"\n\"\"\"", `""`},
		{"multi-line of one blank line", "\"\"\"\n   \n  \"\"\"", `""`},
		{"multi-line of blank lines", "\"\"\"\n   \n\n  \"\"\"", `"\n"`},
		{"multi-line with CRLF", "\"\"\"\r\n  a\r\n  b\r\n  \"\"\"", `"a\nb"`},
		{"multi-line with escapes", "\"\"\"\n  a\\n\\\"\\\"\\\"\n  \"\"\"", `"a\n\"\"\""`},
		{"multi-line with quotes", "\"\"\"\n  \"a\" \"\"b\n  \"\"\"", `"\"a\" \"\"b"`},
		{"multi-line with a joined line", "\"\"\"\n  a \\\n      b\n  c\n  \"\"\"", `"a b\nc"`},
		{"multi-line indented by tabs", "\"\"\"\n\ta\n\t \tb\n\t\"\"\"", `"a\n \tb"`},
		{"multi-line raw", "#\"\"\"\n  \\d \"\"\"\n  x\n  \"\"\"#", `r"\\d \"\"\"\nx"`},
		{"string before a block", `"x"{}`, `"x"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := sketch(nodesOf(t, "a "+c.text)); got != "a "+c.want {
				t.Errorf("parseKDL(a %s)\n got %s\nwant a %s", c.text, got, c.want)
			}
		})
	}
}

func TestParseKDLComments(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"line", "a 1 // 2\nb//c\n", "a 1; b"},
		{"line at the end of the file", "a // x", "a"},
		{"block", "a /* 1 */ 2 /**/ 3", "a 2 3"},
		{"nested", "a /* x /* y */ z */ 1", "a 1"},
		{"over lines joins them", "a /* \n */ 1", "a 1"},
		{"inside a word", "a 1/* x */ 2", "a 1 2"},
		{"continuation", "a \\\n 1 \\ // why\n\t2", "a 1 2"},
		{"continuation at the end of the file", "a 1 \\", "a 1"},
		{"continuation with a comment", "a \\ /* x */ \n1", "a 1"},
		{"slash-dash on a node", "/-a 1 { b }\nc; /- d; e", "c; e"},
		{"slash-dash on the next line's node", "/-\n a\nb", "b"},
		{"slash-dash on an argument", "a /-1 2 /- 3", "a 2"},
		{"slash-dash on a property", "a /-k=1 l=2 /- m=(t)3", "a l=2"},
		{"slash-dash on a block", "a /-{ b } { c } /- { d }", "a { c }"},
		{"slash-dash inside slash-dash", "/-a { /-b 1; c /-2 }\nd", "d"},
		{"slash-dash inside a block", "a { /-b; c }", "a { c }"},
		{"version marker", "/- kdl-version 2\na #true", "a true"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := sketch(nodesOf(t, c.text)); got != c.want {
				t.Errorf("parseKDL(%q)\n got %s\nwant %s", c.text, got, c.want)
			}
		})
	}
}

func TestParseKDLNewlines(t *testing.T) {
	for _, newline := range []string{"\n", "\r\n", "\r", "\v", "\f", "\u0085", "\u2028", "\u2029"} {
		t.Run(strconv.QuoteToASCII(newline), func(t *testing.T) {
			nodes := nodesOf(t, "a 1 \\"+newline+"2 // x"+newline+newline+"b {"+newline+"c"+newline+"}")
			if got, want := sketch(nodes), "a 1 2; b { c }"; got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
			if got := nodes[1].children[0].pos.Line; got != 5 {
				t.Errorf("c is on line %d, want 5", got)
			}
		})
	}
}

func TestParseKDLSpaces(t *testing.T) {
	for _, space := range []string{" ", "\t", "\u00A0", "\u1680", "\u2000", "\u200A", "\u202F", "\u205F", "\u3000"} {
		text := "a" + space + "1" + space + "k" + space + "=" + space + "2"
		if got, want := sketch(nodesOf(t, text)), "a 1 k=2"; got != want {
			t.Errorf("with %U: got %s, want %s", []rune(space), got, want)
		}
	}
}
