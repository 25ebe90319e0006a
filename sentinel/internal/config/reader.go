package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// reader turns the nodes of a whole configuration into a Config. It never stops at a problem: every
// read has a result to go on with.
type reader struct {
	options  Options
	expanded int // bytes that ${NAME} has put into values so far
	guessed  int // work spent on "did you mean"
	program  int // instructions of the regular expressions so far
	problems Problems
	count    [2]int // problems by severity
	settings []Setting
	names    names
	needed   []resource
	// addresses are the ones that listeners have taken.
	addresses map[netip.AddrPort]Listener
}

// report adds a problem, up to maxProblems of each severity: warnings must not crowd out an error.
func (r *reader) report(p Problem) {
	if r.count[p.Severity] == maxProblems {
		return
	}
	r.count[p.Severity]++
	p.Found, p.Expected = shorten(p.Found, maxPhrase), shorten(p.Expected, maxPhrase)
	r.problems = append(r.problems, p)
}

// open starts reading a node as a block of settings. args is how many arguments of its own it may have.
func (r *reader) open(n *node, path string, args int) *block {
	return &block{r: r, node: n, path: path, args: args}
}

// absent returns the block of a node that is not in the file: every setting has its default. Its
// problems are reported at pos.
func (r *reader) absent(pos Pos, path string) *block {
	return r.open(&node{pos: pos}, path, 0)
}

// use is what a child node turned out to be.
type use uint8

const (
	usedAsScalar use = iota + 1 // one value; more is surplus
	usedAsList                  // every argument is a value
	usedAsBlock                 // read by a block of its own
)

// block reads the settings of one node. done reports what nobody asked for.
type block struct {
	r      *reader
	node   *node
	path   string
	args   int               // own arguments that are spoken for
	strict bool              // an unknown setting is an error
	known  []string          // names asked for
	used   map[*node]use     // children asked for
	taken  map[*value]bool   // arguments of children that belong to a run-on setting
	places map[string]Pos    // where the settings asked for are written
	env    map[string]string // setting -> environment variable that overrides it
}

// The maps are made when something is written to them: most blocks of a configuration are not in its files.

func (b *block) use(c *node, as use) {
	if b.used == nil {
		b.used = map[*node]use{}
	}
	b.used[c] = as
}

func (b *block) take(name, v *value) {
	if b.taken == nil {
		b.taken = map[*value]bool{}
	}
	b.taken[name], b.taken[v] = true, true
}

func (b *block) place(name string, pos Pos) {
	if b.places == nil {
		b.places = map[string]Pos{}
	}
	b.places[name] = pos
}

// fail reports an error at a setting of the block, or at the block itself for the name "".
func (b *block) fail(name, found, expected string) {
	b.r.report(Problem{Pos: b.at(name), Path: b.pathOf(name), Found: found, Expected: expected})
}

// warn is fail for what does not keep the configuration from being used.
func (b *block) warn(name, found, expected string) {
	b.r.report(Problem{Pos: b.at(name), Severity: Warning, Path: b.pathOf(name), Found: found, Expected: expected})
}

// at returns where a setting's value is written, or the block's place when it is not.
func (b *block) at(name string) Pos {
	if pos, ok := b.places[name]; ok {
		return pos
	}
	return b.node.pos
}

func (b *block) written(name string) bool {
	_, ok := b.places[name]
	return ok
}

func (b *block) pathOf(name string) string {
	if name == "" {
		return b.path
	}
	return b.path + "." + name
}

// lookup finds the one value of a setting, in whichever shape it is written: a child with an argument,
// a child with a property, a property of the block, or a run-on of another child. A value from the
// environment comes before all of them.
func (b *block) lookup(name string, aliases ...string) (v value, ok bool) {
	all := b.everyValue(name, nil)
	for _, alias := range aliases {
		all = b.everyValue(alias, all)
	}
	if v, ok := b.r.environment(b.env[name]); ok {
		b.place(name, v.pos)
		return v, true
	}
	if len(all) == 0 {
		return value{}, false
	}
	slices.SortStableFunc(all, func(a, b value) int { return a.pos.compare(b.pos) })
	b.place(name, all[0].pos)
	b.duplicates(name, all)
	return all[0], true
}

func (b *block) duplicates(name string, all []value) {
	for _, v := range all[1:] {
		b.r.report(Problem{
			Pos: v.pos, Path: b.pathOf(name), Found: "duplicate setting " + strconv.Quote(name),
			Expected: "it is already set at " + all[0].pos.String(),
		})
	}
}

// everyValue appends the values of one name, in whichever shape they are written.
func (b *block) everyValue(name string, vs []value) []value {
	b.asked(name)
	for _, c := range b.node.children {
		if c.name == name {
			vs = append(vs, b.scalar(c))
		}
	}
	return b.runOnValues(name, b.propValues(name, vs))
}

// asked notes a name that may stand in the block. Nothing can be unknown in one without content, which most are.
func (b *block) asked(name string) {
	if len(b.node.children)+len(b.node.props) > 0 {
		b.known = append(b.known, name)
	}
}

// scalar returns the one value of a child: its first argument, or its first property.
func (b *block) scalar(c *node) value {
	b.use(c, usedAsScalar)
	switch {
	case len(c.args) > 0:
		return c.args[0]
	case len(c.props) > 0:
		return c.props[0].value
	}
	return value{pos: c.pos, data: noValue}
}

func (b *block) propValues(name string, vs []value) []value {
	for _, p := range b.node.props {
		if p.key == name {
			vs = append(vs, p.value)
		}
	}
	return vs
}

// runOnValues finds `name value` among the surplus arguments of the block's children:
// `{ path "/health" expected-status 200 }` means two settings. Only a bare word after a value that is
// none can be a name, so that lists of bare words stay lists.
func (b *block) runOnValues(name string, vs []value) []value {
	for _, c := range b.node.children {
		if b.used[c] == usedAsList {
			continue
		}
		for i := 1; i+1 < len(c.args); i += 2 {
			if c.args[i].isBare(name) && !c.args[i-1].isAnyBare() {
				b.take(&c.args[i], &c.args[i+1])
				vs = append(vs, c.args[i+1])
			}
		}
	}
	return vs
}

func (v value) isAnyBare() bool {
	s, ok := v.data.(string)
	return ok && !v.expandable && v.text == s
}

func (v value) isBare(word string) bool { return v.isAnyBare() && v.data == word }

// maxListed bounds the values of one list: some lists are searched for each of their values.
const maxListed = 10_000

// values returns every value of a list: all arguments of all children of the name, of their `-`
// children, and a property of the block.
func (b *block) values(name string, aliases ...string) (vs []value) {
	vs = b.everyListed(name, nil)
	for _, alias := range aliases {
		vs = b.everyListed(alias, vs)
	}
	if len(vs) > 0 {
		b.place(name, vs[0].pos)
	}
	if len(vs) > maxListed {
		b.fail(name, "found "+strconv.Itoa(len(vs))+" values", "expected at most "+strconv.Itoa(maxListed))
		return nil
	}
	return vs
}

func (b *block) everyListed(name string, vs []value) []value {
	b.asked(name)
	for _, c := range b.node.children {
		if c.name == name {
			vs = append(vs, b.listValues(c)...)
		}
	}
	return b.runOnValues(name, b.propValues(name, vs))
}

func (b *block) listValues(c *node) (vs []value) {
	b.use(c, usedAsList)
	for i := range c.args {
		if !b.taken[&c.args[i]] {
			vs = append(vs, c.args[i])
		}
	}
	for _, p := range c.props {
		vs = append(vs, p.value)
	}
	for _, item := range c.children {
		if item.name != "-" {
			b.r.report(Problem{
				Pos: item.pos, Path: b.pathOf(c.name), Found: "found the node " + strconv.Quote(item.name),
				Expected: `expected list items, each written as - "value"`,
			})
			continue
		}
		vs = append(vs, item.args...)
	}
	if len(vs)+len(c.children) == 0 {
		vs = append(vs, value{pos: c.pos, data: noValue})
	}
	return vs
}

// one returns the one child node of a name, or nil. A second one is an error.
func (b *block) one(name string) *node {
	all := b.all(name)
	if len(all) == 0 {
		return nil
	}
	for _, c := range all[1:] {
		b.r.report(Problem{
			Pos: c.pos, Path: b.pathOf(name), Found: "duplicate block " + strconv.Quote(name),
			Expected: "it is already written at " + all[0].pos.String(),
		})
	}
	return all[0]
}

// first returns the first child node of a name, or nil, without reading it.
func (b *block) first(name string) *node {
	for _, c := range b.node.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// all returns the child nodes of a name, to be read as blocks.
func (b *block) all(name string) (ns []*node) {
	b.asked(name)
	for _, c := range b.node.children {
		if c.name == name {
			b.use(c, usedAsBlock)
			ns = append(ns, c)
		}
	}
	if len(ns) > 0 {
		b.place(name, ns[0].pos)
	}
	return ns
}

// block opens the one child block of a name; ok is false, and every setting a default, when there is none.
func (b *block) block(name string) (c *block, ok bool) {
	n := b.one(name)
	if n == nil {
		return b.r.absent(b.node.pos, b.pathOf(name)), false
	}
	return b.r.open(n, b.pathOf(name), 0), true
}

// lift puts the children and properties of a child with an argument beside it:
// `type "http" { path "/" }` becomes `type "http"; path "/"`. It comes before the first read.
func (b *block) lift(name string) {
	merged := *b.node
	merged.children = nil
	merged.props = slices.Clone(b.node.props)
	for _, c := range b.node.children {
		if c.name != name || len(c.args) == 0 {
			merged.children = append(merged.children, c)
			continue
		}
		merged.children = append(merged.children, &node{name: c.name, pos: c.pos, args: c.args})
		merged.children = append(merged.children, c.children...)
		merged.props = append(merged.props, c.props...)
	}
	b.node = &merged
}

// hasProp reports whether a setting is written as a property of the block.
func (b *block) hasProp(name string) bool {
	return slices.ContainsFunc(b.node.props, func(p prop) bool { return p.key == name })
}

// unsupported accepts nodes this build has no code for: each is a warning, never an error.
func (b *block) unsupported(names ...string) {
	for _, name := range names {
		for _, c := range b.all(name) {
			b.r.report(unsupportedAt(c.pos, b.pathOf(name)))
		}
		for _, p := range b.node.props {
			if p.key == name {
				b.r.report(unsupportedAt(p.pos, b.pathOf(name)))
			}
		}
	}
}

func unsupportedAt(pos Pos, path string) Problem {
	return Problem{Pos: pos, Severity: Warning, Path: path, Found: "not supported in this build, ignored"}
}

// ignored accepts a setting that means nothing here, and says why.
func (b *block) ignored(name, why string) {
	if _, ok := b.lookup(name); ok {
		b.warn(name, "has no effect: "+why, "")
	}
}

// done reports what the file says and nobody asked for. It comes after the last read of a block.
func (b *block) done() {
	for i := b.args; i < len(b.node.args); i++ {
		b.surplus(b.node.args[i], "argument")
	}
	for _, p := range b.node.props {
		b.unknown(p.key, p.pos)
	}
	for _, c := range b.node.children {
		if b.used[c] == usedAsScalar {
			b.scalarSurplus(c)
		} else {
			b.unknown(c.name, c.pos)
		}
	}
}

func (b *block) scalarSurplus(c *node) {
	for i := 1; i < len(c.args); i++ {
		if !b.taken[&c.args[i]] {
			b.surplus(c.args[i], "argument of "+strconv.Quote(c.name))
		}
	}
	first := 0
	if len(c.args) == 0 {
		first = 1
	}
	for _, p := range c.props[min(first, len(c.props)):] {
		b.surplus(p.value, "property "+strconv.Quote(p.key)+" of "+strconv.Quote(c.name))
	}
	for _, child := range c.children {
		b.surplus(value{pos: child.pos, text: child.name}, "block of "+strconv.Quote(c.name))
	}
}

func (b *block) surplus(v value, what string) {
	b.r.report(Problem{
		Pos: v.pos, Severity: Warning, Path: b.path, Found: "surplus " + what + ": " + v.text,
		Expected: "ignored",
	})
}

func (b *block) unknown(name string, pos Pos) {
	for _, k := range b.known {
		if k == name {
			return
		}
	}
	p := Problem{Pos: pos, Path: b.path, Found: "unknown setting " + strconv.Quote(cut(name))}
	if !b.strict {
		p.Severity = Warning
		p.Found += " (ignored)"
	}
	if p.DidYouMean = b.r.nearest(name, b.known); p.DidYouMean == "" && len(b.known) > 0 {
		p.Expected = "expected one of " + strings.Join(b.known, ", ")
	}
	b.r.report(p)
}

// maxPhrase bounds each part of a message, in bytes: a file may hold strings of megabytes.
const maxPhrase = 1000

// cut shortens what a message repeats from a file.
func cut(s string) string { return shorten(s, 64) }

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
