package config

// The bounds on one file. A file beyond them is refused with a problem that says so.
const (
	maxTextSize       = 16 << 20
	maxDepth          = 64
	maxNodes          = 1_000_000
	maxValues         = 2_000_000
	maxSyntaxProblems = 100
)

// parseKDL turns the text of one file into its nodes, or into every syntax problem it has. It reads
// KDL 1 and KDL 2 side by side. Values have the place at which they are written; a property has the
// place of its key.
func parseKDL(file string, text []byte) ([]*node, []Problem) {
	return parseGently(file, text, func() {})
}

// parseGently is parseKDL for who has other things to do: rest is called at every node.
func parseGently(file string, text []byte, rest func()) ([]*node, []Problem) {
	p := newKDLParser(file, text)
	p.rest = rest
	if len(text) > maxTextSize {
		p.fatal(p.off, "found a file over 16 MiB", "split it and include the parts")
	}
	p.checkCharacters()
	p.document()
	if len(p.faults) > 0 {
		return nil, p.problems()
	}
	return p.out.tree(file, rest)
}

// kdlParser reads one file from front to back: every method starts at off and moves it behind what it
// has read. Valid parts go to out at once.
type kdlParser struct {
	file    string
	text    []byte
	off     int
	stopped bool // a bound was passed: off is the end of the text
	faults  []syntaxFault
	cursor  *cursor
	out     rewrite
	muted   int // above 0 inside what "/-" comments out
	nodes   int
	values  int
	odd     oddBrace
	rest    func()
}

// tokenKind says how a name or a value is written.
type tokenKind uint8

const (
	badToken     tokenKind = iota // a problem that is reported already
	wordToken                     // bare
	quotedToken                   // "…" or """…"""
	rawToken                      // r"…", #"…"#
	numberToken                   // 1, 0xff, 1.5e3
	keywordToken                  // true, #null, #inf
)

// kdlToken is one name or value: its bytes in the file and what they mean (string, int64, float64, bool
// or nil).
type kdlToken struct {
	kind       tokenKind
	start, end int
	data       any
}

func newKDLParser(file string, text []byte) *kdlParser {
	c := newCursor(file, text)
	return &kdlParser{rest: func() {}, file: file, text: text, off: c.off, cursor: c, out: newRewrite(len(text))}
}
