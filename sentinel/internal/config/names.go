package config

import (
	"slices"
	"strconv"
	"strings"
)

// kind is what an id names.
type kind string

const (
	aListener  kind = "listener"
	aRoute     kind = "route"
	anUpstream kind = "upstream"
	aFilter    kind = "filter"
	anAgent    kind = "agent"
)

// names collects what the configuration defines and what it refers to. References are checked after
// everything is read, so the order of blocks and files does not matter.
type names struct {
	defined    map[kind]map[string]Pos
	used       map[kind]map[string]bool
	order      []definition
	references []reference
}

func newNames() names {
	n := names{defined: map[kind]map[string]Pos{}, used: map[kind]map[string]bool{}}
	for _, k := range kinds {
		n.defined[k], n.used[k] = map[string]Pos{}, map[string]bool{}
	}
	return n
}

type definition struct {
	kind kind
	id   string
	pos  Pos
}

// reference is one setting that names a definition.
type reference struct {
	kind kind
	id   string
	pos  Pos
	path string
}

// define opens a node that defines a thing: its first argument is the id, unique among its kind.
func (r *reader) define(k kind, n *node) (id string, b *block) {
	path := string(k) + "s." + string(k)
	if len(n.args) == 0 {
		r.report(Problem{
			Pos: n.pos, Path: path, Found: "found no id",
			Expected: "expected " + string(k) + ` "id" { … }`,
		})
		return "", r.open(n, path, 0)
	}
	b = r.open(n, path, 1)
	id, ok := b.textOf("", n.args[0])
	if !ok {
		return "", b
	}
	b.path += " " + kdlQuote(cut(id))
	if problem := badID(id); problem != "" {
		b.r.report(Problem{Pos: n.args[0].pos, Path: b.path, Found: problem, Expected: "expected up to 128 printable characters"})
	}
	r.addName(definition{k, id, n.args[0].pos}, b.path)
	return id, b
}

func badID(id string) string {
	switch {
	case len(id) > 128:
		return "found an id of " + strconv.Itoa(len(id)) + " bytes"
	case strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\uFFFD' }):
		return "found an id with a control character"
	}
	return ""
}

func (r *reader) addName(d definition, path string) {
	ids := r.names.defined[d.kind]
	if first, ok := ids[d.id]; ok {
		r.report(Problem{
			Pos: d.pos, Path: path, Found: "duplicate " + string(d.kind) + " id " + strconv.Quote(cut(d.id)),
			Expected: "it is already defined at " + first.String(),
		})
		return
	}
	ids[d.id] = d.pos
	r.names.order = append(r.names.order, d)
}

// refer reads an optional setting that names one definition.
func (b *block) refer(name string, k kind) string {
	id := b.text(name, "")
	if id != "" {
		b.r.addReference(reference{k, id, b.at(name), b.pathOf(name)})
	}
	return id
}

// referAll reads a list of names of definitions.
func (b *block) referAll(name string, k kind) (ids []string) {
	for _, v := range b.values(name) {
		if id, ok := b.textOf(name, v); ok {
			b.r.addReference(reference{k, id, v.pos, b.pathOf(name)})
			ids = append(ids, id)
		}
	}
	b.noteList(name, ids)
	return ids
}

func (r *reader) addReference(ref reference) {
	r.names.references = append(r.names.references, ref)
	r.names.used[ref.kind][ref.id] = true
}

// noteList records a list that was read value by value.
func (b *block) noteList(name string, list []string) {
	if !b.r.options.Settings {
		return // the words for it are not free
	}
	source := "default"
	if b.written(name) {
		source = value{pos: b.at(name)}.source()
	}
	b.note(name, kdlTexts(list), source)
}

// checkReferences reports every name that nothing defines.
func (r *reader) checkReferences() {
	for _, ref := range r.names.references {
		if r.count[Error] == maxProblems { // listing what is defined is dear
			return
		}
		if _, ok := r.names.defined[ref.kind][ref.id]; ok {
			continue
		}
		known := r.ids(ref.kind)
		r.report(Problem{
			Pos: ref.pos, Path: ref.path,
			Found:      "unknown " + string(ref.kind) + " " + strconv.Quote(cut(ref.id)),
			Expected:   "defined " + string(ref.kind) + "s: " + listOf(known),
			DidYouMean: r.nearest(ref.id, known),
		})
	}
}

// checkUnused warns of definitions nothing refers to.
func (r *reader) checkUnused(k kind) {
	for _, d := range r.names.order {
		if d.kind == k && !r.names.used[k][d.id] {
			r.report(Problem{
				Pos: d.pos, Severity: Warning, Path: string(k) + "s." + string(k) + " " + kdlQuote(cut(d.id)),
				Found: "nothing refers to this " + string(k),
			})
		}
	}
}

func (r *reader) ids(k kind) (ids []string) {
	for _, d := range r.names.order {
		if d.kind == k {
			ids = append(ids, d.id)
		}
	}
	return ids
}

// listOf names at most 20 ids for a message, sorted.
func listOf(ids []string) string {
	const most = 20
	if len(ids) == 0 {
		return "none"
	}
	ids = slices.Sorted(slices.Values(ids))
	if len(ids) > most {
		return strings.Join(ids[:most], ", ") + ", and " + strconv.Itoa(len(ids)-most) + " more"
	}
	return strings.Join(ids, ", ")
}
