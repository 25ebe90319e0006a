package config

import (
	"strings"
	"testing"
)

// checkProblems compares the problems of a text with want: "line:col: found; expected" each.
func checkProblems(t *testing.T, text string, want ...string) {
	t.Helper()
	nodes, problems := parseKDL("test.kdl", []byte(text))
	var got []string
	for _, p := range problems {
		got = append(got, strings.TrimPrefix(p.String(), "test.kdl:"))
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("problems of\n%s\n got:\n%s\nwant:\n%s", text, g, w)
	}
	if len(problems) > 0 && nodes != nil {
		t.Error("got nodes besides problems")
	}
}

func TestSyntaxProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"stray brace", "a\n}\nb", "2:1: found '}' without an open block; remove it, or look above for a block that is closed too early"},
		{"block not closed", "a {\n b {\n }\n", "1:3: found a block that is not closed; expected a closing '}'"},
		{"block without a node", "a\n{\n b\n}", "2:1: found '{' in place of a node name; put the '{' on the line of its node: name {"},
		{"node after a block", "a { } b", "1:7: found b after a block; expected the end of the line, or ';'"},
		{"argument after a hidden block", "a /-{ } 1", "1:9: found 1 after a block; expected the end of the line, or ';'"},
		{"two blocks", "a { } { b }", "1:7: found a second block of one node; expected one { … }, or a node name before this one"},
		{"slash-dash before nothing", "a\n/-", "2:3: found the end of the file in place of a node name; expected a node after it"},
		{"slash-dash before a brace", "a { /- }", "1:8: found '}' in place of a node name; expected a node after it"},
		{"slash-dash before no argument", "a 1 /-", "1:7: found the end of the file in place of a value; expected a value, or a property: key=value"},
		{"keyword as a name", "true 1", `1:1: found true in place of a node name; write "true" in quotes`},
		{"infinity as a name", "#inf", `1:1: found #inf in place of a node name; write "#inf" in quotes`},
		{"assignment", "port = 80", "1:6: found '=' after the node name port; expected a space: port value"},
		{"glued assignment", "port=80", "1:5: found '=' after the node name port; expected a space: port value"},
		{"no value after =", "a k=\nb", "1:5: found the end of the line after '='; expected a value"},
		{"block after =", "a k={ }", "1:5: found '{' after '='; expected a value"},
		{"two =", "a k==1", "1:5: found '='; expected a name or a value; text with '=' needs quotes"},
		{"number as a key", "a 5=1", `1:3: found 5 as a key; write "5" in quotes`},
		{"keyword as a key", "a true=1", `1:3: found true as a key; write "true" in quotes`},
		{"typed key", "a (t)k=1", "1:6: found a type annotation before a key; write it before the value: key=(type)value"},
		{"type without a value", "a (u8)", "1:7: found the end of the file in place of a value; expected a value, or a property: key=value"},
		{"empty type", "a ()5", "1:3: found a type annotation without a type; expected (type)"},
		{"number as a type", "a (5)5", "1:4: found 5 as a type annotation; expected a name: (type)"},
		{"type not closed", "a (u8\nb", "1:3: found '(' that is not closed; expected a type annotation: (type); text with parentheses needs quotes"},
		{"closing parenthesis", "a )", "1:3: found ')'; expected a name or a value; text with ')' needs quotes"},
		{"strings without a space", `a "b""c"`, "1:6: found a string without a space before it; expected a space between values"},
		{"name and value without a space", `a"b"`, "1:2: found a string without a space before it; expected a space between values"},
		{"word after a string", `a "b"c`, "1:6: found c without a space before it; expected a space between values"},
		{"backslash inside a line", `a C:\x`, `1:5: found '\' inside a line; expected the end of the line, which a '\' joins to the next; text with a '\' needs quotes`},
		{"comment not closed", "a\n /* b /* */ \nc", "2:2: found a comment that is not closed; expected a closing */; a pattern or path with /* needs quotes"},
	} {
		t.Run(c.name, func(t *testing.T) { checkProblems(t, c.text, c.want) })
	}
}

func TestHabitProblems(t *testing.T) {
	const number = "expected a number such as 10, -1.5, 1e3, 0xff; text that starts with a digit needs quotes: "
	const keyword = `expected a comment that starts with "//", a keyword such as #true, or text in quotes`
	for _, c := range []struct{ name, text, want string }{
		{"array", `a [ "b", "c" ]`, `1:3: found '['; KDL has no arrays; list the values as arguments: name "a" "b"`},
		{"array over lines", "a [\n \"b]\",\n]\nb", `1:3: found '['; KDL has no arrays; list the values as arguments: name "a" "b"`},
		{"array not closed", "a [ 1\nb { }", `1:3: found '['; KDL has no arrays; list the values as arguments: name "a" "b"`},
		{"closing bracket", "a ]", "1:3: found ']'; expected a name or a value; text with ']' needs quotes"},
		{"env function", `a env("X","d)") 1`, `1:3: found the function env(…); expected a value; KDL has no functions, write "${NAME:-default}" for an environment variable`},
		{"file function", `a k=file("x"`, `1:5: found the function file(…); expected a value; KDL has no functions, write "${NAME:-default}" for an environment variable`},
		{"variable without quotes", "a ${FOO}", "1:3: found ${…} outside quotes; write \"${NAME}\" in quotes"},
		{"comma between values", `a "b", "c"`, "1:6: found ','; expected a space; KDL separates values by spaces"},
		{"comma after a word", "a b, c", "1:3: found ','; expected a space; KDL separates values by spaces"},
		{"single quotes", "a 'b'", `1:3: found the quote '; expected '"'; KDL writes text as "text"`},
		{"typographic quotes", "a “b”", `1:3: found the quote “; expected '"'; KDL writes text as "text"`},
		{"path without quotes", "path /api/*", `1:6: found /api/* without quotes; write "/api/*"`},
		{"relative path without quotes", "root ./www", `1:6: found ./www without quotes; write "./www"`},
		{"URL without quotes", "a http://x/y 1", `1:3: found http://x/y without quotes; write "http://x/y"`},
		{"address without quotes", "address 127.0.0.1:80", `1:9: found 127.0.0.1:80, which is not a number; ` + number + `"127.0.0.1:80"`},
		{"number with a unit", "a 10s", `1:3: found 10s, which is not a number; ` + number + `"10s"`},
		{"number without a digit before the point", "a -.5", `1:3: found -.5, which is not a number; ` + number + `"-.5"`},
		{"number without a digit after the point", "a 1.", `1:3: found 1., which is not a number; ` + number + `"1."`},
		{"number without an exponent", "a 1e", `1:3: found 1e, which is not a number; ` + number + `"1e"`},
		{"number without a digit after 0x", "a 0x_f", `1:3: found 0x_f, which is not a number; ` + number + `"0x_f"`},
		{"digit of another base", "a 0b12", `1:3: found 0b12, which is not a number; ` + number + `"0b12"`},
		{"number too large", "a 1e309", "1:3: found the number 1e309, which is too large; expected at most 1.7e308"},
		{"long number too large", "a 0x1" + strings.Repeat("0", 2000), "1:3: found the number 0x1" + strings.Repeat("0", 34) + "…, which is too large; expected at most 1.7e308"},
		{"shell comment", "# it's [a] comment\nb", "1:1: found '#'; " + keyword},
		{"shell comment after a value", "a 1 # b(c", "1:5: found '#'; " + keyword},
		{"hash inside a word", "a b#c", `1:3: found '#' inside the word b#c; write "b#c" in quotes`},
		{"number of hexadecimal digits too large", "a 0x1" + strings.Repeat("0", 300), "1:3: found the number 0x1" + strings.Repeat("0", 34) + "…, which is too large; expected at most 1.7e308"},
		{"unknown keyword", "a #Yes", "1:3: found '#'; " + keyword},
		{"keyword in capitals", "a #True", "1:3: found #True; write #true"},
		{"infinity without #", "a -inf", `1:3: found the word -inf; write #-inf for the number or "-inf" for the text`},
	} {
		t.Run(c.name, func(t *testing.T) { checkProblems(t, c.text, c.want) })
	}
}

func TestStringProblems(t *testing.T) {
	const escape = `; write \\d for a backslash, or use a raw string such as #"\d+"#`
	const unicode = `: found a bad \u escape; expected \u{…} with the 1 to 6 hex digits of a Unicode character`
	for _, c := range []struct{ name, text, want string }{
		{"not closed", "a \"b\nc\n", `1:3: found a string that is not closed; expected a closing '"'`},
		{"not closed before another string", "a \"b\nc \"d\"\n", `1:3: found a string that is not closed; expected a closing '"'`},
		{"not closed after a backslash", "a \"b\\\nc \"d\"\n", `1:3: found a string that is not closed; expected a closing '"'`},
		{"not closed at the end of the file", `a "b`, `1:3: found a string that is not closed; expected a closing '"'`},
		{"backslash at the end of the file", `a "b\`, `1:3: found a string that is not closed; expected a closing '"'`},
		{"unknown escape", `a "x\d"`, "1:5: found the unknown escape \\d" + escape},
		{"short \\u", `a "\u12"`, "1:4" + unicode},
		{"empty \\u", `a "\u{}"`, "1:4" + unicode},
		{"surrogate", `a "\u{d800}"`, "1:4" + unicode},
		{"over Unicode", `a "\u{110000}"`, "1:4" + unicode},
		{"seven digits", `a "\u{0000041}"`, "1:4" + unicode},
		{"\\u that is not closed", `a "\u{41"`, "1:4" + unicode},
		{"raw of KDL 1", "a r#\"b\nc\n", `1:3: found a raw string that is not closed; expected a closing "#`},
		{"raw of KDL 2", "a #\"b\nc \"d\"", `1:3: found a raw string that is not closed; expected a closing "#`},
		{"raw of KDL 2 over lines", "a #\"b\nc\"#\nd", `1:3: found a raw string over several lines; expected #"""…"""#, with the quotes on lines of their own`},
		{"multi-line", "a\nb \"\"\"\n c\n", `2:3: found a """ string that is not closed; expected a closing """ on a line of its own`},
		{"multi-line raw", "a\nb #\"\"\"\n c\n \"\"\"\n", `2:3: found a """ string that is not closed; expected a closing """ on a line of its own`},
		{"multi-line on one line", `a """b"""`, `1:3: found text after the opening """; start the text on the next line, or use one '"' for a string on one line`},
		{"multi-line closed after text", "a \"\"\"\n b\"\"\"", `2:3: found text before the closing """; put the closing """ on a line of its own`},
		{"multi-line with a joined last line", "a \"\"\"\n b \\\n \"\"\"", `3:2: found text before the closing """; put the closing """ on a line of its own`},
		{"multi-line indented too little", "a \"\"\"\n  b\n c\n  \"\"\"", `3:1: found a line that is indented less than its closing """; indent it at least as much, with the same tabs and spaces`},
		{"multi-line with an unknown escape", "a \"\"\"\n  b \\d\n  \"\"\"", "2:5: found the unknown escape \\d" + escape},
	} {
		t.Run(c.name, func(t *testing.T) { checkProblems(t, c.text, c.want) })
	}
}

func TestCharacterProblems(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"broken UTF-8", "a \"\xff\"", "1:4: found the byte 0xFF, which is not UTF-8; save the file as UTF-8"},
		{"encoded surrogate", "// \xed\xa0\x80", "1:4: found the byte 0xED, which is not UTF-8; save the file as UTF-8\n" +
			"1:5: found the byte 0xA0, which is not UTF-8; save the file as UTF-8\n" +
			"1:6: found the byte 0x80, which is not UTF-8; save the file as UTF-8"},
		{"NUL", "a\x00b", `1:2: found the control character U+0000; remove it, or write \u{0} in a quoted string`},
		{"escape in a comment", "// \x1b[2J", `1:4: found the control character U+001B; remove it, or write \u{1b} in a quoted string`},
		{"delete", "a \x7f", `1:3: found the control character U+007F; remove it, or write \u{7f} in a quoted string`},
		{"right-to-left override", "a \"\u202e\"", `1:4: found the invisible direction character U+202E; remove it, or write \u{202e} in a quoted string`},
		{"byte order mark inside", "a \uFEFF1", "1:3: found a byte order mark (U+FEFF) inside the file; remove it; it may only be the first character"},
		{"UTF-16", "\xff\xfea\x00", "1:1: found a file in UTF-16; save the file as UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) { checkProblems(t, c.text, c.want) })
	}
}

// One run has to name every mistake, each once.
func TestAllProblemsAtOnce(t *testing.T) {
	checkProblems(t, `listeners {
    listener "a" {
        address 0.0.0.0:80
        protocol = "http"
        cipher-suites [ "A", "B" ]
        default-route "a
        path "\d" k=
    }
}
}
routes { "x" } y
`,
		`3:17: found 0.0.0.0:80, which is not a number; expected a number such as 10, -1.5, 1e3, 0xff; text that starts with a digit needs quotes: "0.0.0.0:80"`,
		"4:18: found '=' after the node name protocol; expected a space: protocol value",
		`5:23: found '['; KDL has no arrays; list the values as arguments: name "a" "b"`,
		`6:23: found a string that is not closed; expected a closing '"'`,
		`7:15: found the unknown escape \d; write \\d for a backslash, or use a raw string such as #"\d+"#`,
		"7:21: found the end of the line after '='; expected a value",
		"10:1: found '}' without an open block; remove it, or look above for a block that is closed too early",
		"11:16: found y after a block; expected the end of the line, or ';'",
	)
}

// A brace too few or too many shows at the end of the file; the indentation tells where it is.
func TestOddBraces(t *testing.T) {
	checkProblems(t, "a {\n    b {\n        c\n}\nd {\n}\n",
		"1:3: found a block that is not closed; expected a closing '}'; the '}' on line 4 closes the '{' on line 2 but is indented differently")
	checkProblems(t, "a {\n    b {\n    }\n    }\n    c\n}\n",
		"6:1: found '}' without an open block; remove it, or look above for a block that is closed too early; the '}' on line 4 closes the '{' on line 1 but is indented differently")
}

func TestExcerpt(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"tab and wide characters", "\tä \"é\" 1x", "\tä \"é\" 1x\n\t      ^\n"},
		{"second line with CRLF", "a\r\nb 1x\r\nc", "b 1x\n  ^\n"},
		{"end of the line", "a k=\nb", "a k=\n    ^\n"},
		{"control character", "a \x1b", "a \uFFFD\n  ^\n"},
		{"byte order mark", "\uFEFFa 1x", "a 1x\n  ^\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := parseKDL("test.kdl", []byte(c.text))
			if len(problems) != 1 {
				t.Fatalf("got %d problems, want 1", len(problems))
			}
			if got := problems[0].Excerpt(); got != c.want {
				t.Errorf("got\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}
