package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// The bounds on what one configuration may consist of.
const (
	maxBytes = 16 << 20 // of text, over all files
	maxFiles = 10_000
)

var (
	errNotRegular   = errors.New("not a regular file")
	errTooManyFiles = errors.New("the configuration has more than 10,000 files")
	errTooLarge     = errors.New("the configuration has more than 16 MiB")
)

// Resources says what a problem with a file or directory that the configuration names counts as.
type Resources uint8

// The choices. The zero one is the strictest.
const (
	ResourceErrors   Resources = iota // starting and reloading: a missing certificate is an error
	ResourceWarnings                  // testing a file away from the machine it is for
	ResourcesOff                      // do not look at the file system
)

// Options says how to read a configuration. The zero Options reads no environment.
type Options struct {
	LookupEnv func(string) (string, bool) // os.LookupEnv, or a test's; nil: no variable is set
	Resources Resources
	Settings  bool // collect Config.Settings, some 100 bytes for each setting
	// Visit is told of every file that is to be read, whether that succeeds or not, and of every directory that is
	// looked into for files: what may change the result. nil: nobody.
	Visit func(path string)
	// Rest is called again and again: who reads while it serves can let that go first. nil: nobody.
	Rest func()
}

// Load reads the configuration at path: a file, or a directory, which means its sentinel.kdl or, when
// it has none, all its .kdl files. With an error among the problems the Config is nil.
func Load(path string, o Options) (*Config, Problems) {
	l := newLoader(o)
	l.r.options.Visit(path)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		l.r.report(Problem{Pos: Pos{File: path}, Found: "cannot open the configuration: " + reason(err)})
	case !info.IsDir():
		l.file(path, Pos{File: path})
	default:
		l.directory(path)
	}
	return l.finish(path)
}

// Parse reads a configuration from text; name stands for the file in messages. Such a text has no
// place in the file system, so it cannot include files.
func Parse(name string, text []byte, o Options) (*Config, Problems) {
	l := newLoader(o)
	l.fixed = true
	l.text(name, text)
	return l.finish("")
}

// loader gathers the top-level nodes of all files, in the order in which includes splice them.
type loader struct {
	r     *reader
	fixed bool // text without a path
	bytes int
	files []string
	texts map[string][]byte // each file's text, for messages
	real  map[string]Pos    // resolved path -> the include that read it
	chain []string          // resolved paths of the files being read
	nodes []*node
}

func newLoader(o Options) *loader {
	if o.Visit == nil {
		o.Visit = func(string) {}
	}
	if o.Rest == nil {
		o.Rest = func() {}
	}
	if o.LookupEnv == nil {
		o.LookupEnv = func(string) (string, bool) { return "", false }
	}
	r := &reader{options: o, names: newNames(), addresses: map[netip.AddrPort]Listener{}}
	return &loader{r: r, texts: map[string][]byte{}, real: map[string]Pos{}}
}

// directory loads DIR/sentinel.kdl or every .kdl file below DIR, without backups and examples.
func (l *loader) directory(dir string) {
	if entry := filepath.Join(dir, "sentinel.kdl"); isRegular(entry) {
		l.file(entry, Pos{File: dir})
		return
	}
	at := Pos{File: dir}
	files, err := glob(dir, "**/*.kdl", l.r.options.Visit)
	if err != nil {
		l.r.report(Problem{Pos: at, Found: "cannot read the directory: " + reason(err)})
		return
	}
	for _, f := range files {
		if name := filepath.Base(f); !strings.Contains(name, ".example.") && !strings.Contains(name, ".bak") {
			l.file(f, at)
		}
	}
	if len(l.files) == 0 {
		l.r.report(Problem{Pos: at, Found: "found no .kdl file in the directory"})
	}
}

func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// file reads one file that is named at from.
func (l *loader) file(path string, from Pos) {
	l.r.options.Visit(path)
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		l.r.report(Problem{Pos: from, Found: "cannot open " + path + ": " + reason(err)})
		return
	}
	if !l.firstVisit(path, real, from) {
		return
	}
	text, err := l.read(path)
	if err != nil {
		l.r.report(Problem{Pos: from, Found: "cannot read " + path + ": " + reason(err)})
		return
	}
	l.chain = append(l.chain, real)
	l.text(path, text)
	l.chain = l.chain[:len(l.chain)-1]
}

// firstVisit refuses a file that is read already: inside itself it is a cycle, elsewhere its
// definitions would all be duplicates.
func (l *loader) firstVisit(path, real string, from Pos) bool {
	first, seen := l.real[real]
	if !seen {
		l.real[real] = from
		return true
	}
	p := Problem{Pos: from, Path: "include", Found: path + " is included twice", Expected: "it is first included at " + first.String()}
	for _, open := range l.chain {
		if open == real {
			p.Found, p.Expected = "circular include: "+path+" is being read already", ""
		}
	}
	l.r.report(p)
	return false
}

// read returns a regular file's text within the bounds. Anything else, a pipe for one, could hang.
func (l *loader) read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errNotRegular
	case len(l.files) >= maxFiles:
		return nil, errTooManyFiles
	case info.Size() > int64(maxBytes-l.bytes):
		return nil, errTooLarge
	}
	return os.ReadFile(path)
}

// text parses one file's text and splices its nodes into the document.
func (l *loader) text(name string, text []byte) {
	l.files = append(l.files, name)
	if l.bytes += len(text); l.bytes > maxBytes {
		l.r.report(Problem{Pos: Pos{name, 1, 1}, Found: errTooLarge.Error()})
		return
	}
	l.texts[name] = text
	nodes, problems := parseGently(name, text, l.r.options.Rest)
	for _, p := range problems {
		l.r.report(p)
	}
	l.r.expandAll(nodes)
	for _, n := range nodes {
		if n.name == "include" {
			l.include(n)
		} else {
			l.nodes = append(l.nodes, n)
		}
	}
}

// include splices the files of an `include "pattern" …` node. Patterns count from the directory of
// the file they stand in.
func (l *loader) include(n *node) {
	if l.fixed {
		l.r.report(Problem{Pos: n.pos, Path: "include", Found: "this text has no place in the file system, so it cannot include files"})
		return
	}
	b := l.r.open(n, "include", len(n.args))
	if len(n.args) == 0 {
		b.fail("", "found no file name", `expected include "pattern"`)
	}
	for _, v := range n.args {
		if pattern, ok := b.textOf("", v); ok {
			l.pattern(pattern, v.pos)
		}
	}
	b.done()
}

func (l *loader) pattern(pattern string, pos Pos) {
	files, err := glob(filepath.Dir(pos.File), pattern, l.r.options.Visit)
	switch {
	case err != nil:
		l.r.report(Problem{Pos: pos, Path: "include", Found: "cannot look for " + pattern + ": " + reason(err)})
	case len(files) == 0:
		l.r.report(Problem{Pos: pos, Severity: Warning, Path: "include", Found: "no file matches " + pattern})
	}
	for _, f := range files {
		l.file(f, pos)
	}
}

// finish turns the nodes into the Config and puts the problems in order. After a syntax error or a
// file that could not be read the document is not whole, and would only seem to lack things.
func (l *loader) finish(path string) (*Config, Problems) {
	var c *Config
	if !l.r.problems.HasErrors() {
		c = l.r.document(l.nodes, Pos{l.files[0], 1, 1})
	}
	problems := l.r.problems.sorted(l.files)
	problems.quote(l.texts)
	if problems.HasErrors() {
		return nil, problems
	}
	c.Path, c.Files, c.Settings = path, l.files, l.r.settings
	return c, problems
}

// reason is what an error says without the path, which the message names already.
func reason(err error) string { return bare(err).Error() }

// bare is an error without the path.
func bare(err error) error {
	if inner := (*os.PathError)(nil); errors.As(err, &inner) {
		return inner.Err
	}
	return err
}
