package config

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// matches reads a route's conditions. An unknown one is an error: without it the route would match
// more than it was meant to.
func (r *reader) matches(b *block) Matches {
	b.strict = true
	m := Matches{
		Paths:        b.paths("path"),
		PathPrefixes: b.paths("path-prefix"),
		PathRegexes:  b.regexes("path-regex"),
		Hosts:        b.hosts("host"),
		HostRegexes:  b.regexes("host-regex"),
		Methods:      b.methods("method"),
		Headers:      b.conditions("header", conditionField),
		Query:        b.conditions("query-param", conditionParam),
	}
	b.done()
	return m
}

// paths reads literal paths and brings them into the one form that requests are brought into too.
func (b *block) paths(name string) (list []string) {
	for _, v := range b.values(name) {
		s, ok := b.textOf(name, v)
		if !ok {
			continue
		}
		path, _, fault := wire.CanonicalPath(nil, []byte(s))
		if fault != wire.None {
			b.wrong(name, v, `expected an absolute path as a request has it: it starts with "/", has no "?" or "#", and other bytes are escaped as %XX`)
			continue
		}
		if strings.HasSuffix(s, "*") {
			b.r.report(Problem{
				Pos: v.pos, Severity: Warning, Path: b.pathOf(name), Found: "the * in " + v.text + " matches only itself",
				Expected: "for everything below a path write path-prefix without it",
			})
		}
		list = append(list, string(path))
	}
	b.noteList(name, list)
	return list
}

func (b *block) regexes(name string) (list []*regexp.Regexp) {
	var sources []string
	for _, v := range b.values(name) {
		s, ok := b.textOf(name, v)
		if !ok {
			continue
		}
		re, err := b.r.compile(s)
		if err != nil {
			b.r.report(Problem{Pos: v.pos, Path: b.pathOf(name), Found: "invalid regular expression: " + regexFault(err), Expected: "expected RE2 syntax"})
			continue
		}
		list, sources = append(list, re), append(sources, s)
	}
	b.noteList(name, sources)
	return list
}

// maxProgram bounds the instructions of all regular expressions together, some 40 bytes each: a few
// letters such as (.{100}){10} make thousands.
const maxProgram = 1_000_000

var errProgramTooLarge = errors.New("all expressions together compile to more than 1,000,000 instructions")

func (r *reader) compile(s string) (*regexp.Regexp, error) {
	parsed, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if r.program += len(program.Inst); r.program > maxProgram {
		return nil, errProgramTooLarge
	}
	return regexp.Compile(s)
}

func (b *block) hosts(name string) (list []string) {
	for _, v := range b.values(name) {
		if host, ok := b.hostOf(name, v, 1); ok {
			list = append(list, host)
		}
	}
	b.noteList(name, list)
	return list
}

func (b *block) methods(name string) (list []string) {
	for _, v := range b.values(name) {
		s, ok := b.textOf(name, v)
		switch method := strings.ToUpper(s); {
		case !ok:
		case !isToken(method):
			b.wrong(name, v, "expected an HTTP method, such as GET")
		case !slices.Contains(list, method):
			list = append(list, method)
		}
	}
	b.noteList(name, list)
	return list
}

// conditions reads `header` or `query-param` nodes: a name, then perhaps a value, each an argument or
// a property. Nodes of one name are alternatives.
func (b *block) conditions(setting string, check func(*block, value) (string, bool)) (list []Condition) {
	nodes := b.all(setting)
	if len(nodes) > maxListed {
		b.fail(setting, "found "+strconv.Itoa(len(nodes))+" conditions", "expected at most "+strconv.Itoa(maxListed))
		return nil
	}
	for _, n := range nodes {
		c := b.r.open(n, b.pathOf(setting), min(len(n.args), 2))
		name, hasName := c.argOrProp(0, "name")
		want, hasValue := c.argOrProp(1, "value")
		c.done()
		if !hasName {
			c.fail("", "found no name", "expected "+setting+` "name" or `+setting+` "name" "value"`)
			continue
		}
		key, ok := check(c, name)
		if !ok {
			continue
		}
		text := kdlQuote(key)
		condition := conditionOf(&list, key)
		if hasValue {
			if s, ok := c.textOf("value", want); ok {
				condition.Values = append(condition.Values, s)
				text += " " + kdlQuote(s)
			}
		}
		b.note(setting, text, value{pos: n.pos}.source())
	}
	return list
}

// conditionOf returns the condition on a name, which is appended when there is none yet.
func conditionOf(list *[]Condition, name string) *Condition {
	i := slices.IndexFunc(*list, func(c Condition) bool { return c.Name == name })
	if i < 0 {
		i = len(*list)
		*list = append(*list, Condition{Name: name})
	}
	return &(*list)[i]
}

// argOrProp returns an argument by its place, or the setting it may be written as instead.
func (b *block) argOrProp(i int, name string) (value, bool) {
	if i < len(b.node.args) {
		return b.node.args[i], true
	}
	return b.lookup(name)
}

// conditionField is the name of a header condition, in lower case as names are compared.
func conditionField(b *block, v value) (string, bool) {
	name, ok := b.fieldName("name", v)
	return strings.ToLower(name), ok
}

func conditionParam(b *block, v value) (string, bool) { return b.textOf("name", v) }

// regexFault is what is wrong with a regular expression. The part of it that an error names may hold anything.
func regexFault(err error) string {
	var bad *syntax.Error
	if errors.As(err, &bad) {
		return bad.Code.String() + ": " + strconv.Quote(cut(bad.Expr))
	}
	return err.Error()
}
