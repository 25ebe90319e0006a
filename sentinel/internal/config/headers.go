package config

import (
	"slices"
	"strconv"
	"strings"
)

// forbiddenFields belong to one connection or to the framing of a message: the proxy writes them, and
// an edit would desynchronise the peers (RFC 9110 7.6.1, RFC 9112 6).
var forbiddenFields = []string{
	"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
	"proxy-authenticate", "proxy-authorization", "content-length",
}

// pair is one `name "value"` of a block whose names are free.
type pair struct {
	name  string
	pos   Pos // of the name
	value value
}

// pairs returns the entries of every child block of a name: its children and its properties.
func (b *block) pairs(setting string) (list []pair) {
	for _, n := range b.all(setting) {
		c := b.r.open(n, b.pathOf(setting), 0)
		for _, child := range n.children {
			list = append(list, pair{child.name, child.pos, c.scalar(child)})
		}
		for _, p := range n.props {
			list = append(list, pair{p.key, p.pos, p.value})
			c.asked(p.key)
		}
		c.done()
	}
	return list
}

// headerEdits reads rename, set, add and remove.
func (b *block) headerEdits() HeaderEdits {
	e := HeaderEdits{Rename: b.renames(), Set: b.headerValues("set"), Add: b.headerValues("add")}
	for _, v := range b.values("remove") {
		name, ok := b.editableField("remove", v)
		if !ok {
			continue
		}
		if strings.EqualFold(name, "x-correlation-id") {
			b.r.report(Problem{
				Pos: v.pos, Severity: Warning, Path: b.pathOf("remove"), Found: name + " is always sent",
				Expected: "logs of several services are joined by it",
			})
		}
		e.Remove = append(e.Remove, name)
	}
	b.noteList("remove", e.Remove)
	return e
}

func (b *block) renames() (list [][2]string) {
	for _, p := range b.pairs("rename") {
		from, ok1 := b.editableField("rename", p.nameValue())
		to, ok2 := b.editableField("rename", p.value)
		if ok1 && ok2 {
			b.note("rename", kdlQuote(from)+" "+kdlQuote(to), p.value.source())
			list = append(list, [2]string{from, to})
		}
	}
	return list
}

// headerValues reads `set` or `add`. Host is the one name of a request that can only be set.
func (b *block) headerValues(setting string) (list [][2]string) {
	seen := map[string]Pos{}
	for _, p := range b.pairs(setting) {
		name, ok := b.headerName(setting, p.nameValue())
		if ok && setting != "set" && strings.EqualFold(name, "host") {
			b.hostEdit(setting, p.pos)
			continue
		}
		value, valid := b.fieldValueOf(setting, p.value)
		if !ok || !valid {
			continue
		}
		if first, twice := seen[strings.ToLower(name)]; twice && setting == "set" {
			b.r.report(Problem{Pos: p.pos, Path: b.pathOf(setting), Found: "duplicate header " + strconv.Quote(name), Expected: "it is already set at " + first.String()})
		}
		seen[strings.ToLower(name)] = p.pos
		b.note(setting, kdlQuote(name)+" "+kdlQuote(value), p.value.source())
		list = append(list, [2]string{name, value})
	}
	return list
}

func (p pair) nameValue() value {
	return value{pos: p.pos, data: p.name, text: strconv.Quote(cut(p.name))}
}

// editableField is headerName for edits that Host cannot have.
func (b *block) editableField(setting string, v value) (string, bool) {
	name, ok := b.headerName(setting, v)
	if ok && strings.EqualFold(name, "host") {
		b.hostEdit(setting, v.pos)
		return "", false
	}
	return name, ok
}

func (b *block) hostEdit(setting string, pos Pos) {
	b.r.report(Problem{
		Pos: pos, Path: b.pathOf(setting), Found: "Host cannot be changed by " + setting,
		Expected: "a request has exactly one Host: expected it under set",
	})
}

// headerName checks the name of a field that the proxy is told to write or to drop.
func (b *block) headerName(setting string, v value) (string, bool) {
	name, ok := b.fieldName(setting, v)
	if ok && slices.Contains(forbiddenFields, strings.ToLower(name)) {
		b.wrong(setting, v, "expected a field that does not belong to the connection or to message framing")
		return "", false
	}
	return name, ok
}

// fieldName checks the grammar of a field name (RFC 9110 5.1).
func (b *block) fieldName(setting string, v value) (string, bool) {
	s, ok := v.data.(string)
	if !ok || !isToken(s) || len(s) > 256 {
		b.wrong(setting, v, "expected a header name: letters, digits and any of !#$%&'*+-.^_`|~")
		return "", false
	}
	return s, true
}

// fieldValueOf checks the grammar of a field value (RFC 9110 5.5). It may be empty.
func (b *block) fieldValueOf(setting string, v value) (string, bool) {
	s, ok := v.data.(string)
	control := func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }
	if !ok || strings.ContainsFunc(s, control) || s != strings.TrimSpace(s) || len(s) > 8192 {
		b.wrong(setting, v, "expected a header value: a string without control characters and outer spaces")
		return "", false
	}
	return s, true
}

// fieldValue reads a setting that is sent as a field value.
func (b *block) fieldValue(name, def string) string {
	s := b.text(name, def)
	if v := (value{pos: b.at(name), data: s, text: strconv.Quote(cut(s))}); s != "" {
		if _, ok := b.fieldValueOf(name, v); !ok {
			return def
		}
	}
	return s
}

func isToken(s string) bool {
	const others = "!#$%&'*+-.^_`|~"
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.Contains(others, string(rune(c))) {
			return false
		}
	}
	return s != ""
}
