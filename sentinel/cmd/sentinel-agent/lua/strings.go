package lua

import (
	"regexp"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// directive is what string.format takes: as in Lua's manual, widths of two digits at most.
var directive = regexp.MustCompile(`%(?:%|[-+ #0]*[0-9]{0,2}(?:\.[0-9]{0,2})?[cdiouxXeEfgGqs])`)

// rep is string.rep.
func (c *call) rep(l *lua.LState) int {
	s, n := l.CheckString(1), max(0, l.CheckInt(2))
	if len(s) > 0 && n > maxString/len(s) {
		n = maxString/len(s) + 1 // too much, and no overflow
	}
	c.budget.payBytes(l, len(s)*n)
	l.Push(lua.LString(strings.Repeat(s, n)))
	return 1
}

// format is string.format: the interpreter's, given no directive that it would hand to Go as it is.
func (c *call) format(l *lua.LState) int {
	text := l.CheckString(1)
	size, directives := len(text), directive.FindAllString(text, -1)
	if strings.Contains(directive.ReplaceAllLiteralString(text, ""), "%") {
		l.RaiseError("invalid option in format")
	}
	size += 100 * len(directives)
	for i := 2; i <= l.GetTop(); i++ {
		if s, ok := l.Get(i).(lua.LString); ok {
			size += 4 * len(s) // %q
		}
	}
	c.budget.payBytes(l, size)
	return library.strings["format"](l)
}

// concat is the operator .. .
func (c *call) concat(l *lua.LState) int {
	a, b := l.Get(1), l.Get(2)
	if lua.LVCanConvToString(a) && lua.LVCanConvToString(b) {
		c.budget.payBytes(l, len(lua.LVAsString(a))+len(lua.LVAsString(b)))
		l.Push(lua.LString(lua.LVAsString(a) + lua.LVAsString(b)))
		return 1
	}
	handler := l.GetMetaField(a, "__concat")
	if handler == lua.LNil {
		handler = l.GetMetaField(b, "__concat")
	}
	if handler == lua.LNil {
		l.RaiseError("attempt to concatenate a %s and a %s value", a.Type(), b.Type())
	}
	l.Push(handler)
	l.Push(a)
	l.Push(b)
	l.Call(2, 1)
	return 1
}

// subject begins the match of a pattern at an argument's position, counting from 0.
func (c *call) subject(l *lua.LState, init int) (m *matcher, start int) {
	m = &matcher{l: l, budget: c.budget, src: l.CheckString(1), pat: l.CheckString(2)}
	if init < 0 {
		init = max(0, len(m.src)+init)
	} else {
		init = max(0, init-1)
	}
	return m, min(init, len(m.src))
}

// next finds the first match from s on.
func (m *matcher) next(s int) (start, end int, ok bool) {
	pattern, anchored := strings.CutPrefix(m.pat, "^")
	whole := m.pat
	m.pat = pattern
	defer func() { m.pat = whole }()
	for ; s <= len(m.src); s++ {
		m.level = 0
		if end := m.match(s, 0); end >= 0 {
			return s, end, true
		}
		if anchored {
			break
		}
	}
	return 0, 0, false
}

// capture returns the i-th capture; the 0th of a pattern without captures is the match.
func (m *matcher) capture(i, start, end int) lua.LValue {
	if i >= m.level {
		if i != 0 {
			m.l.RaiseError("invalid capture index")
		}
		return lua.LString(m.src[start:end])
	}
	switch c := m.captures[i]; c.length {
	case positionCap:
		return lua.LNumber(c.start + 1)
	case openCap:
		m.l.RaiseError("unfinished capture")
		return nil
	default:
		return lua.LString(m.src[c.start : c.start+c.length])
	}
}

// push pushes all captures, or the match if there are none and whole is set.
func (m *matcher) push(start, end int, whole bool) int {
	n := m.level
	if n == 0 && whole {
		n = 1
	}
	for i := range n {
		m.l.Push(m.capture(i, start, end))
	}
	return n
}

// find is string.find.
func (c *call) find(l *lua.LState) int {
	m, from := c.subject(l, l.OptInt(3, 1))
	if l.ToBool(4) {
		c.budget.pay(l, len(m.src)/16)
		at := strings.Index(m.src[from:], m.pat)
		if at < 0 {
			l.Push(lua.LNil)
			return 1
		}
		l.Push(lua.LNumber(from + at + 1))
		l.Push(lua.LNumber(from + at + len(m.pat)))
		return 2
	}
	start, end, ok := m.next(from)
	if !ok {
		l.Push(lua.LNil)
		return 1
	}
	l.Push(lua.LNumber(start + 1))
	l.Push(lua.LNumber(end))
	return 2 + m.push(start, end, false)
}

// match is string.match.
func (c *call) match(l *lua.LState) int {
	m, from := c.subject(l, l.OptInt(3, 1))
	start, end, ok := m.next(from)
	if !ok {
		l.Push(lua.LNil)
		return 1
	}
	return m.push(start, end, true)
}

// gmatch is string.gmatch.
func (c *call) gmatch(l *lua.LState) int {
	m, from := c.subject(l, 1)
	l.Push(l.NewFunction(func(l *lua.LState) int {
		m.l = l
		if from > len(m.src) {
			return 0
		}
		start, end, ok := m.next(from)
		if !ok {
			from = len(m.src) + 1
			return 0
		}
		if from = end; end == start {
			from++
		}
		return m.push(start, end, true)
	}))
	return 1
}

// gsub is string.gsub.
func (c *call) gsub(l *lua.LState) int {
	m, _ := c.subject(l, 1)
	replacement := l.CheckAny(3)
	limit := l.OptInt(4, len(m.src)+1)
	var out []byte
	add := func(s string) {
		if len(out)+len(s) > maxString {
			l.RaiseError("a string of more than %d bytes", maxString)
		}
		c.budget.pay(l, len(s)/64)
		out = append(out, s...)
	}
	at, count := 0, 0
	for count < limit && at <= len(m.src) {
		start, end, ok := m.next(at)
		if !ok {
			break
		}
		count++
		add(m.src[at:start])
		add(m.replace(replacement, start, end))
		if at = end; start == end {
			add(m.src[at:min(at+1, len(m.src))])
			at++
		}
		if m.pat != "" && m.pat[0] == '^' {
			break
		}
	}
	add(m.src[min(at, len(m.src)):])
	c.budget.payBytes(l, len(out))
	l.Push(lua.LString(out))
	l.Push(lua.LNumber(count))
	return 2
}

// replace returns what a match becomes.
func (m *matcher) replace(by lua.LValue, start, end int) string {
	var value lua.LValue
	switch r := by.(type) {
	case lua.LString, lua.LNumber:
		return m.expand(lua.LVAsString(r), start, end)
	case *lua.LTable:
		value = m.l.GetTable(r, m.capture(0, start, end))
	case *lua.LFunction:
		m.l.Push(r)
		m.l.Call(m.push(start, end, true), 1)
		value = m.l.Get(-1)
		m.l.Pop(1)
	default:
		m.l.ArgError(3, "string, function or table expected")
	}
	if lua.LVIsFalse(value) {
		return m.src[start:end]
	}
	if !lua.LVCanConvToString(value) {
		m.l.RaiseError("invalid replacement value (a %s)", value.Type())
	}
	return lua.LVAsString(value)
}

// expand fills captures into a replacement.
func (m *matcher) expand(text string, start, end int) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch d := text[i]; {
		case d == '0':
			b.WriteString(m.src[start:end])
		case isDigit(d):
			b.WriteString(lua.LVAsString(m.capture(int(d-'1'), start, end)))
		default:
			b.WriteByte(d)
		}
		if b.Len() > maxString {
			m.l.RaiseError("a string of more than %s bytes", strconv.Itoa(maxString))
		}
	}
	return b.String()
}
