package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// One tree written in the spelling of KDL 1 and in that of KDL 2 is read as the same tree, whatever
// comments, continuations and hidden parts stand between.
func TestDialectsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := drawNodes(t, 3)
		want := sketch(tree)
		for version := 1; version <= 2; version++ {
			w := dialect{t: t, version: version}
			text := w.nodes(tree)
			nodes, problems := parseKDL("test.kdl", []byte(text))
			if len(problems) > 0 {
				t.Fatalf("KDL %d: %s\n%s", version, problems[0].String(), text)
			}
			if got := sketch(nodes); got != want {
				t.Fatalf("KDL %d:\n%s\n got %s\nwant %s", version, text, got, want)
			}
			checkPlaces(t, text, nodes)
		}
	})
}

func drawNodes(t *rapid.T, depth int) (nodes []*node) {
	for range rapid.IntRange(0, 3).Draw(t, "nodes") {
		n := &node{name: drawText(t)}
		for range rapid.IntRange(0, 3).Draw(t, "args") {
			n.args = append(n.args, drawValue(t))
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "props") {
			n.props = append(n.props, prop{fmt.Sprintf("%s%d", drawText(t), i), drawValue(t)})
		}
		if depth > 0 {
			n.children = drawNodes(t, depth-1)
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func drawText(t *rapid.T) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", "a", "true", "null", "inf", "1", "-1x", "#", `"`, `\`, "a b", "${X}", "\n", "\r\n", "\uFFFD", "r", "é", `"#`, `"""`}),
		rapid.StringMatching(`[a-z-]{1,8}`),
		rapid.StringN(0, 12, -1),
	).Draw(t, "text")
}

func drawValue(t *rapid.T) value {
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return value{data: rapid.Int64().Draw(t, "int")}
	case 1:
		return value{data: rapid.Float64().Draw(t, "float") + 0} // no negative zero
	case 2:
		return value{data: rapid.Bool().Draw(t, "bool")}
	case 3:
		return value{}
	}
	if rapid.Bool().Draw(t, "quoted") {
		return value{data: drawText(t), expandable: true}
	}
	// What can stand in a raw string of one line in both versions.
	return value{data: rapid.StringMatching(`[^"#][ -~é]{0,3}("#{0,3}[a-z\\]*)?|"?|`).Filter(isPrintable).Draw(t, "raw")}
}

func isPrintable(s string) bool { return printable([]byte(s)) == s && !strings.ContainsRune(s, '\t') }

// dialect writes trees in one version of KDL, each part in one of the spellings the version has.
type dialect struct {
	t        *rapid.T
	version  int
	nameNext bool // a name or a key is being written, which may be bare too
}

func (w *dialect) pick(spellings ...string) string {
	return rapid.SampledFrom(spellings).Draw(w.t, "spelling")
}

func (w *dialect) nodes(nodes []*node) string {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString(w.pick("", "", "\n", " // c\n", "/* { */ ", "/-x 1 { y; }\n", "(t)"))
		b.WriteString(w.name(n.name))
		for _, a := range n.args {
			b.WriteString(w.gap() + w.pick("", "(t)") + w.value(a))
		}
		for _, p := range n.props {
			b.WriteString(w.gap() + w.name(p.key) + w.equals() + w.pick("", "(t)") + w.value(p.value))
		}
		if len(n.children) > 0 {
			b.WriteString(w.pick(" ", "", "\t/* x */") + "{" + w.pick("", "\n", " ") + w.nodes(n.children) + "}")
		}
		b.WriteString(w.pick("\n", ";", " ;", "\r\n", " // c\n", "// c\n"))
	}
	return b.String()
}

func (w *dialect) gap() string {
	return w.pick(" ", "  ", "\t", " /* x */ ", " \\\n ", " \\ // c\r\n", " /-1 ", " /-k=\"v\" ")
}

func (w *dialect) equals() string {
	if w.version == 1 {
		return "="
	}
	return w.pick("=", " = ", "= ", " =")
}

func (w *dialect) name(s string) string {
	w.nameNext = true
	defer func() { w.nameNext = false }()
	return w.text(s, true)
}

// text writes text that is expandable, a name or a key (quoted), or else raw or bare.
func (w *dialect) text(s string, quoted bool) string {
	forms := []string{quote(s)}
	if !quoted {
		forms = w.raw(s)
	}
	if w.version == 2 && isSimple(s) && s[0] != '-' && !isPlainKeyword([]byte(s)) && (!quoted || w.nameNext) {
		forms = append(forms, s)
	}
	if w.version == 2 && quoted && s != "" && isPrintable(quote(s)) && blankSize([]byte(s)) == 0 {
		forms = append(forms, "\"\"\"\n\t"+quote(s)[1:len(quote(s))-1]+"\n\t\"\"\"")
	}
	return w.pick(forms...)
}

// quote escapes what must not stand in a file, and what would end the string.
func quote(s string) string {
	var b strings.Builder
	for _, c := range s {
		if found, _ := forbidden(c, 0, 0); found != "" || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\u{%x}`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return `"` + b.String() + `"`
}

func (w *dialect) raw(s string) (forms []string) {
	const hashes = "####"
	if w.version == 1 {
		return []string{"r" + hashes + `"` + s + `"` + hashes}
	}
	if blankSize([]byte(s)) == 0 && s != "" {
		forms = append(forms, hashes+"\"\"\"\n  "+s+"\n  \"\"\""+hashes)
	}
	if !strings.HasPrefix(s, `"`) { // three quotes in a row would start a string of several lines
		forms = append(forms, hashes+`"`+s+`"`+hashes)
	}
	return forms
}

func (w *dialect) value(v value) string {
	switch d := v.data.(type) {
	case string:
		return w.text(d, v.expandable)
	case int64:
		return w.pick(strconv.FormatInt(d, 10), w.based(d))
	case float64:
		return w.float(d)
	case bool:
		return w.keyword(strconv.FormatBool(d))
	}
	return w.keyword("null")
}

func (w *dialect) keyword(s string) string {
	if w.version == 1 {
		return s
	}
	return "#" + s
}

func (w *dialect) based(d int64) string {
	sign, digits := "", strconv.FormatInt(d, 16)
	if d < 0 {
		sign, digits = "-", digits[1:]
	}
	return sign + "0x" + digits
}

func (w *dialect) float(f float64) string {
	switch {
	case math.IsNaN(f):
		return "#nan"
	case math.IsInf(f, 1):
		return "#inf"
	case math.IsInf(f, -1):
		return "#-inf"
	}
	return strconv.FormatFloat(f, 'e', -1, 64)
}

// checkPlaces looks every node and value up in the text, at the place it is said to have.
func checkPlaces(t *rapid.T, text string, nodes []*node) {
	for _, n := range nodes {
		for _, a := range n.args {
			if rest := textAt(text, a.pos); !strings.HasPrefix(rest, strings.TrimSuffix(a.text, "…")) {
				t.Fatalf("%s is not at %v of\n%s", a.text, a.pos, text)
			}
		}
		if rest := textAt(text, n.pos); rest == "" || strings.ContainsAny(rest[:1], " \n;{}=(/") {
			t.Fatalf("no name at %v of\n%s", n.pos, text)
		}
		checkPlaces(t, text, n.children)
	}
}

// textAt returns the text from a place on.
func textAt(text string, pos Pos) string {
	line, col := 1, 1
	for text != "" && (line != pos.Line || col != pos.Col) {
		if n := newlineSize([]byte(text)); n > 0 {
			text = text[n:]
			line, col = line+1, 1
			continue
		}
		_, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		col++
	}
	return text
}
