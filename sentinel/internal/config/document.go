package config

import (
	"fmt"
	"strconv"
	"strings"
)

// document is the merged top level of all files.
type document struct {
	definitions map[kind][]*node
	blocks      map[string]*node // by canonical name
	versions    []*node
}

var (
	kinds = []kind{aListener, aRoute, anUpstream, aFilter, anAgent}
	// blockNames are the top-level blocks that stand once, with their other spellings.
	blockNames = oneOf("system server", "limits", "observability", "rate-limits", "waf")
	// notBuilt are the top-level nodes this build accepts and has no code for.
	notBuilt = oneOf("cache", "namespace", "metadata")
)

// document reads the merged nodes of all files. entry is where something missing is reported.
func (r *reader) document(nodes []*node, entry Pos) *Config {
	d := document{definitions: map[kind][]*node{}, blocks: map[string]*node{}}
	for _, n := range nodes {
		r.topLevel(&d, n)
	}
	r.schemaVersion(d.versions)
	c := &Config{}
	c.System = r.system(r.topBlock(&d, "system", entry))
	c.Limits = r.limits(r.topBlock(&d, "limits", entry))
	c.Listeners = each(r, &d, aListener, r.listener)
	c.Routes = each(r, &d, aRoute, r.route)
	c.Upstreams = each(r, &d, anUpstream, func(n *node) Upstream { return r.upstream(n, &c.Limits) })
	c.Filters = each(r, &d, aFilter, r.filter)
	if n := d.blocks["waf"]; n != nil {
		c.WAF = r.waf(n, &c.Limits)
	}
	c.Agents = each(r, &d, anAgent, func(n *node) Agent { return r.agent(n, &c.Limits, c.WAF) })
	c.Observability = r.observability(r.topBlock(&d, "observability", entry))
	if n := d.blocks["rate-limits"]; n != nil {
		c.RateLimits = r.rateLimits(r.open(n, "rate-limits", 0))
	}
	if d.blocks["system"] == nil {
		r.report(Problem{Pos: entry, Severity: Warning, Path: "system", Found: "no system block", Expected: "every setting of it has its default"})
	}
	r.validate(c, entry)
	return c
}

func each[T any](r *reader, d *document, k kind, read func(*node) T) (list []T) {
	if nodes := d.definitions[k]; len(nodes) > 0 {
		list = make([]T, len(nodes))
		for i, n := range nodes {
			r.options.Rest()
			list[i] = read(n)
		}
	}
	return list
}

// topBlock opens a top-level block; without one, every setting has its default.
func (r *reader) topBlock(d *document, name string, entry Pos) *block {
	if n := d.blocks[name]; n != nil {
		return r.open(n, name, 0)
	}
	return r.absent(entry, name)
}

// topLevel files one top-level node under what it is.
func (r *reader) topLevel(d *document, n *node) {
	for _, k := range kinds {
		switch n.name {
		case string(k):
			d.definitions[k] = append(d.definitions[k], n)
			return
		case string(k) + "s":
			r.definitions(d, k, n)
			return
		}
	}
	if n.name == "schema-version" || n.name == "version" {
		d.versions = append(d.versions, n)
		return
	}
	if name, ok := blockNames.find(n.name); ok && n.name == spelling(n.name) {
		r.topOnce(d, name, n)
		return
	}
	if _, ok := notBuilt.find(n.name); ok {
		r.report(unsupportedAt(n.pos, n.name))
		return
	}
	r.unknownTopLevel(n)
}

// definitions opens a block like `routes`, which holds `route` nodes and nothing else: a misspelt one
// must not be lost.
func (r *reader) definitions(d *document, k kind, n *node) {
	b := r.open(n, n.name, 0)
	b.strict = true
	d.definitions[k] = append(d.definitions[k], b.all(string(k))...)
	b.done()
}

// topOnce keeps the one block of its name. A second system block replaces the first, so that an
// included file can hold the settings of one machine; a second one of the others is a mistake.
func (r *reader) topOnce(d *document, name string, n *node) {
	first := d.blocks[name]
	if first == nil {
		d.blocks[name] = n
		return
	}
	p := Problem{Pos: n.pos, Path: name, Found: "duplicate block " + strconv.Quote(n.name), Expected: "it is already written at " + first.pos.String()}
	if name == "system" {
		d.blocks[name] = n
		p.Severity = Warning
		p.Expected = "it replaces the one at " + first.pos.String()
	}
	r.report(p)
}

func (r *reader) unknownTopLevel(n *node) {
	valid := []string{"schema-version", "system", "limits", "observability", "rate-limits", "waf", "include"}
	for _, k := range kinds {
		valid = append(valid, string(k)+"s", string(k))
	}
	p := Problem{Pos: n.pos, Found: "unknown top-level node " + strconv.Quote(cut(n.name))}
	if p.DidYouMean = r.nearest(n.name, valid); p.DidYouMean == "" {
		p.Expected = "expected one of " + strings.Join(valid, ", ")
	}
	r.report(p)
}

// The schema version this build reads. Its minor number grows with new settings, its major number
// when old ones change their meaning.
const schemaMajor, schemaMinor = 1, 0

// schemaVersion checks the version a file declares. The first one counts; others must be equal.
func (r *reader) schemaVersion(nodes []*node) {
	first := ""
	for _, n := range nodes {
		b := r.open(n, n.name, 1)
		b.done()
		v := value{pos: n.pos, data: noValue}
		if len(n.args) > 0 {
			v = n.args[0]
		}
		s, ok := b.textOf("", v)
		switch {
		case !ok:
		case first == "":
			first = s
			r.checkVersion(s, v.pos)
		case s != first:
			r.report(Problem{Pos: v.pos, Path: n.name, Found: "found " + strconv.Quote(cut(s)), Expected: "another file declares " + strconv.Quote(first)})
		}
	}
}

func (r *reader) checkVersion(s string, pos Pos) {
	p := Problem{Pos: pos, Path: "schema-version"}
	major, minor, ok := parseVersion(s)
	switch {
	case !ok:
		p.Found, p.Expected = "found "+strconv.Quote(cut(s)), `expected major.minor, such as "1.0"`
	case major < schemaMajor:
		p.Found = fmt.Sprintf("schema version %s is older than %d.%d, the oldest this build reads", s, schemaMajor, schemaMinor)
	case major > schemaMajor || minor > schemaMinor:
		p.Severity = Warning
		p.Found = fmt.Sprintf("schema version %s is newer than %d.%d; some settings may not work", s, schemaMajor, schemaMinor)
	default:
		return
	}
	r.report(p)
}

func parseVersion(s string) (major, minor uint64, ok bool) {
	left, right, ok := strings.Cut(s, ".")
	major, err1 := strconv.ParseUint(left, 10, 16)
	minor, err2 := strconv.ParseUint(right, 10, 16)
	return major, minor, ok && err1 == nil && err2 == nil
}
