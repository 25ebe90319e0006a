package config

import (
	"errors"
	"fmt"
	"strings"

	kdl "github.com/sblinch/kdl-go"
	kdldoc "github.com/sblinch/kdl-go/document"
)

// kdl-go reads a text in one go. To give way to requests between two pieces of a long one, each piece gets its
// own root node and blocks around it, and what is read is put together again.

// pieceSize is about how much text kdl-go reads at once, in bytes: some tenth of a millisecond.
const pieceSize = 2 << 10

// pieceEnd is behind a whole node.
type pieceEnd struct {
	offset int // in the rewritten text
	depth  int // of the node: so many blocks are open there
}

// endPiece ends the piece at the end of a node, if it is long enough.
func (w *rewrite) endPiece() {
	begin := 0
	if n := len(w.ends); n > 0 {
		begin = w.ends[n-1].offset
	}
	if len(w.text)-begin >= w.piece {
		w.ends = append(w.ends, pieceEnd{len(w.text), w.depth})
	}
}

// read lets kdl-go read the rewritten text piece by piece, and returns the root node. The text is hostile, so a panic
// inside is an error like any other.
func (w *rewrite) read(rest func()) (root *kdldoc.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	root = &kdldoc.Node{}
	var begin pieceEnd
	for _, end := range append(w.ends, pieceEnd{offset: len(w.text)}) {
		rest()
		piece, err := unmarshal(around(w.text[begin.offset:end.offset], begin.depth, end.depth))
		if err == nil {
			err = graft(root, piece, begin.depth)
		}
		if err != nil {
			return nil, err
		}
		begin = end
	}
	return root, nil
}

// around returns a piece with the root node and as many open blocks before it as its place has, and with all that is
// open behind it closed. What the blocks are called does not matter: graft drops them.
func around(piece []byte, open, closed int) []byte {
	text := []byte("\"document\" {\n" + strings.Repeat("\"block\" {\n", open))
	return append(append(text, piece...), strings.Repeat("}\n", closed+1)...)
}

// graft adds a piece's nodes to a tree. The piece goes on inside the tree's last nodes, as many levels down as depth
// says.
func graft(tree, piece *kdldoc.Node, depth int) error {
	for range depth {
		if len(tree.Children) == 0 || len(piece.Children) == 0 {
			return errDisagree
		}
		last := tree.Children[len(tree.Children)-1]
		tree.Children = append(tree.Children, piece.Children[1:]...)
		tree, piece = last, piece.Children[0]
	}
	tree.Children = append(tree.Children, piece.Children...)
	return nil
}

// rootNode takes the document over from kdl-go, whose Parse breaks tokens of texts over 64 KiB; its
// Unmarshal does not.
type rootNode struct{ node *kdldoc.Node }

// UnmarshalKDL implements kdl.Unmarshaler.
func (r *rootNode) UnmarshalKDL(n *kdldoc.Node) error {
	r.node = n
	return nil
}

func unmarshal(text []byte) (*kdldoc.Node, error) {
	var doc struct {
		Root rootNode `kdl:"document"`
	}
	if err := kdl.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("reading the rewritten text: %w", err)
	}
	if doc.Root.node == nil {
		return nil, errDisagree
	}
	return doc.Root.node, nil
}

var errDisagree = errors.New("it sees other nodes or values")
