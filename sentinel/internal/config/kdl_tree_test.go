package config

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// kdl-go must see what our parser saw. Each of these makes the two differ; none may pass, or panic.
func TestDisagreementIsAnInternalError(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(w *rewrite)
		line   int
	}{
		{"text that is not KDL", func(w *rewrite) { w.text = append(w.text, `"a`...) }, 1},
		{"text without the root node", func(w *rewrite) { w.text = []byte(`"other" {`) }, 1},
		{"no root node", func(w *rewrite) { w.text = []byte(`/-"document" {`) }, 1},
		{"another name", func(w *rewrite) { w.nodes[1].name = "x" }, 2},
		{"another depth", func(w *rewrite) { w.nodes[1].depth = 0 }, 2},
		{"a node more", func(w *rewrite) { w.text = append(w.text, "\"x\"\n"...) }, 3},
		{"a node less", func(w *rewrite) { w.nodes = append(w.nodes, nodeRecord{pos: Pos{"test.kdl", 7, 1}}) }, 7},
		{"an argument more", func(w *rewrite) { w.nodes[1].args = 0 }, 2},
		{"another argument", func(w *rewrite) { w.args[0].data = "1" }, 2},
		{"another type of number", func(w *rewrite) { w.args[0].data = 1.0 }, 2},
		{"another key", func(w *rewrite) { w.props[0].key = "x" }, 3},
		{"a property more", func(w *rewrite) { w.nodes[2].props = 0 }, 3},
		{"another value of a property", func(w *rewrite) { w.props[0].data = nil }, 3},
		{"a number that became a null", func(w *rewrite) { w.props[0].data = math.Inf(1); w.props[0].key = "x" }, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newKDLParser("test.kdl", []byte("a {\n b 1\n}; c\\\n k=2"))
			p.document()
			c.damage(&p.out)
			nodes, problems := p.out.tree("test.kdl", func() {})
			if nodes != nil || len(problems) != 1 {
				t.Fatalf("got %d nodes and %d problems", len(nodes), len(problems))
			}
			if got := problems[0]; got.Line != c.line || !strings.HasPrefix(got.Found, "internal error") {
				t.Errorf("got %s, want an internal error on line %d", got.String(), c.line)
			}
		})
	}
}

// A library that panics costs the configuration, not the process.
func TestPanicInTheLibraryIsAProblem(t *testing.T) {
	var w *rewrite // a nil pointer is the panic at hand
	if _, err := w.read(func() {}); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("got %v, want the panic as an error", err)
	}
}

// However many pieces a text is read in, its tree is the same.
func TestPiecesMakeTheWholeTree(t *testing.T) {
	read := func(t *rapid.T, text string, piece int) (nodes []*node, pieces int) {
		p := newKDLParser("test.kdl", []byte(text))
		p.out.piece = piece
		p.document()
		nodes, problems := p.out.tree("test.kdl", func() {})
		if len(p.faults)+len(problems) > 0 {
			t.Fatalf("%q has %d faults, and problems %v", text, len(p.faults), problems)
		}
		return nodes, len(p.out.ends) + 1
	}
	valid := strings.NewReplacer("#nan", "#inf", "/-dropped", "0", "1e309", "1e308", "9223372036854775808", "9", "0xffffffffffffffffff", "0xff")
	rapid.Check(t, func(t *rapid.T) {
		text := valid.Replace(kdlNodes(4).Draw(t, "text"))
		want, one := read(t, text, math.MaxInt)
		got, many := read(t, text, rapid.IntRange(1, 20).Draw(t, "piece"))
		if one != 1 || len(text) > 80 && many < 2 {
			t.Fatalf("read in %d and %d pieces, want 1 and more", one, many)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q in %d pieces has another tree", text, many)
		}
	})
}
