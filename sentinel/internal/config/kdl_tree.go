package config

import (
	"math"
	"strconv"
	"strings"

	kdldoc "github.com/sblinch/kdl-go/document"
)

// rewrite is a document in the one spelling that kdl-go reads right: KDL 1, every name and text quoted,
// every number decimal, one node per line, all of it in one root node. kdl-go knows no positions, so
// they are kept in the order of the document and joined to the tree afterwards.
type rewrite struct {
	text  []byte // what is in the root node
	depth int
	piece int // that kdl-go reads at once, in bytes, if no node is longer
	ends  []pieceEnd
	nodes []nodeRecord
	args  []value
	props []prop
}

// nodeRecord is what the parser knows of one node; its args and props are the next in the lists.
type nodeRecord struct {
	name        string
	pos         Pos
	depth       int
	args, props int
}

// newRewrite makes room for what a text of so many bytes may become. It is a guess that saves copying, and a small one
// for a long text: that may be one comment.
func newRewrite(size int) rewrite {
	size = min(size, 1<<20)
	return rewrite{
		text: make([]byte, 0, size+size/2), nodes: make([]nodeRecord, 0, size/24), args: make([]value, 0, size/24), piece: pieceSize,
	}
}

func (w *rewrite) node(pos Pos, name string) {
	w.text = append(w.text, kdl1Text(name)...)
	w.nodes = append(w.nodes, nodeRecord{name: name, pos: pos, depth: w.depth})
}

func (w *rewrite) argument(v value) {
	w.text = append(append(w.text, ' '), kdl1Value(v.data)...)
	w.args = append(w.args, v)
	w.nodes[len(w.nodes)-1].args++
}

func (w *rewrite) property(pr prop) {
	w.text = append(append(w.text, ' '), kdl1Text(pr.key)...)
	w.text = append(append(w.text, '='), kdl1Value(pr.data)...)
	w.props = append(w.props, pr)
	w.nodes[len(w.nodes)-1].props++
}

func (w *rewrite) openBlock() {
	w.text = append(w.text, " {\n"...)
	w.depth++
}

func (w *rewrite) closeBlock() {
	w.text = append(w.text, '}')
	w.depth--
}

func (w *rewrite) endNode() {
	w.text = append(w.text, '\n')
	w.endPiece()
}

// kdl1Text quotes text for kdl-go, which takes a U+FFFD in its input for broken UTF-8.
func kdl1Text(s string) string {
	return strings.ReplaceAll(kdlQuote(s), "\uFFFD", `\u{fffd}`)
}

// kdl1Value writes a value so that kdl-go reads the same one. KDL 1 has no infinities: null stands for them.
func kdl1Value(data any) string {
	switch d := data.(type) {
	case string:
		return kdl1Text(d)
	case int64:
		return strconv.FormatInt(d, 10)
	case bool:
		return strconv.FormatBool(d)
	case float64:
		switch {
		case notFinite(d):
			return "null"
		case d == 0:
			return "0.0"
		}
		return strconv.FormatFloat(d, 'e', -1, 64)
	}
	return "null"
}

func notFinite(data any) bool {
	f, ok := data.(float64)
	return ok && (math.IsInf(f, 0) || math.IsNaN(f))
}

// tree lets kdl-go read the rewritten text and joins the positions to what it found. The parser has
// vouched for the text, so any problem here is a bug, reported where it shows.
func (w *rewrite) tree(file string, rest func()) ([]*node, []Problem) {
	root, err := w.read(rest)
	if err != nil {
		return nil, []Problem{internalProblem(Pos{file, 1, 1}, err)}
	}
	j := joiner{left: *w, at: Pos{file, 1, 1}, rest: rest}
	nodes, err := j.siblings(root.Children, 0)
	if err == nil && len(j.left.nodes) > 0 {
		j.at, err = j.left.nodes[0].pos, errDisagree
	}
	if err != nil {
		return nil, []Problem{internalProblem(j.at, err)}
	}
	return nodes, nil
}

func internalProblem(pos Pos, err error) Problem {
	return Problem{
		Pos: pos, Found: "internal error: the KDL library disagrees: " + clip([]byte(err.Error()), 160),
		Expected: "please report this file as a bug",
	}
}

// joiner takes the recorded nodes and values off the front of left while it walks kdl-go's tree.
type joiner struct {
	left rewrite
	at   Pos // the node it is at
	rest func()
}

func (j *joiner) siblings(list []*kdldoc.Node, depth int) ([]*node, error) {
	nodes := make([]*node, 0, len(list))
	for _, n := range list {
		j.rest()
		joined, err := j.node(n, depth)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, joined)
	}
	return nodes, nil
}

func (j *joiner) node(n *kdldoc.Node, depth int) (*node, error) {
	if len(j.left.nodes) == 0 {
		return nil, errDisagree
	}
	rec := j.left.nodes[0]
	j.left.nodes = j.left.nodes[1:]
	j.at = rec.pos
	name, _ := n.Name.Value.(string)
	if name != rec.name || depth != rec.depth || len(n.Arguments) != rec.args {
		return nil, errDisagree
	}
	joined := &node{name: name, pos: rec.pos}
	for _, a := range n.Arguments {
		v, err := joinValue(a, j.left.args[0])
		if err != nil {
			return nil, err
		}
		joined.args = append(joined.args, v)
		j.left.args = j.left.args[1:]
	}
	props, err := j.props(n, rec.props)
	if err != nil {
		return nil, err
	}
	joined.props = props
	joined.children, err = j.siblings(n.Children, depth+1)
	return joined, err
}

// props puts a node's properties, which kdl-go keeps in a map, back into order. The last value of a key
// counts, in the slot of the first.
func (j *joiner) props(n *kdldoc.Node, count int) ([]prop, error) {
	written := j.left.props[:count]
	j.left.props = j.left.props[count:]
	slot := make(map[string]int, count)
	var props []prop
	for _, pr := range written {
		if i, repeated := slot[pr.key]; repeated {
			props[i] = pr
			continue
		}
		slot[pr.key] = len(props)
		props = append(props, pr)
	}
	if n.Properties.Len() != len(props) {
		return nil, errDisagree
	}
	for i, pr := range props {
		v, _ := n.Properties.Get(pr.key)
		joined, err := joinValue(v, pr.value)
		if err != nil {
			return nil, err
		}
		props[i].value = joined
	}
	return props, nil
}

// joinValue returns kdl-go's value with what the parser knows of it, which has to be the same value.
func joinValue(v *kdldoc.Value, rec value) (value, error) {
	switch {
	case v == nil:
		return value{}, errDisagree
	case notFinite(rec.data):
		return rec, nil
	case v.Value != rec.data:
		return value{}, errDisagree
	}
	rec.data = v.Value
	return rec, nil
}
