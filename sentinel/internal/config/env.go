package config

import (
	"strconv"
	"strings"
)

// defect is the data of a value that cannot be used. It is reported where the value is read, so that a
// part of the file nobody reads cannot fail.
type defect struct{ found, expected string }

// noValue stands for a setting that is only named.
var noValue = defect{found: "found no value"}

// maxExpanded bounds the bytes that variables put into a configuration.
const maxExpanded = maxBytes

// environment returns the value of an environment variable that comes before the file. An empty
// variable does not count, and neither does an empty name.
func (r *reader) environment(name string) (value, bool) {
	if name == "" {
		return value{}, false
	}
	s, ok := r.options.LookupEnv(name)
	if !ok || s == "" {
		return value{}, false
	}
	v := value{pos: Pos{File: "env " + name}, data: s, text: strconv.Quote(cut(s))}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		v.data = n
	}
	return v, true
}

// expandAll expands ${NAME} in every quoted string below nodes. It runs on the tree, after parsing, so
// that a variable can change values and nothing else.
func (r *reader) expandAll(nodes []*node) {
	for _, n := range nodes {
		r.options.Rest()
		for i := range n.args {
			r.expand(&n.args[i])
		}
		for i := range n.props {
			r.expand(&n.props[i].value)
		}
		r.expandAll(n.children)
	}
}

func (r *reader) expand(v *value) {
	s, ok := v.data.(string)
	if !ok || !v.expandable || !strings.Contains(s, "${") {
		return
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		if !found {
			out.WriteString(s)
			v.data = out.String()
			return
		}
		if strings.HasSuffix(before, "$") { // $${ is a literal ${
			out.WriteString(before[:len(before)-1] + "${")
			s = rest
			continue
		}
		out.WriteString(before)
		text, tail, bad := r.variable(rest)
		if bad != nil {
			v.data = *bad
			return
		}
		out.WriteString(text)
		s = tail
	}
}

// variable reads `NAME}` or `NAME:-default}` at the start of s.
func (r *reader) variable(s string) (text, rest string, bad *defect) {
	inside, rest, closed := strings.Cut(s, "}")
	name, fallback, hasDefault := strings.Cut(inside, ":-")
	if !closed || !isVariableName(name) {
		return "", "", &defect{"found ${ without NAME} or NAME:-default}", "write $${ for a literal ${"}
	}
	text, ok := r.options.LookupEnv(name)
	switch {
	case hasDefault && text == "":
		text = fallback
	case !ok:
		return "", "", &defect{"environment variable " + name + " is not set", "set it, or write ${" + name + ":-default}"}
	}
	if r.expanded += len(text); r.expanded > maxExpanded {
		return "", "", &defect{"environment variables expand to more than 16 MiB", ""}
	}
	return text, rest, nil
}

func isVariableName(s string) bool {
	for i, c := range s {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
