package lua

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

const (
	maxCaptures = 32
	maxMatching = 200 // nested calls
	positionCap = -2  // length of a position capture
	openCap     = -1  // length of one that has not ended
)

// matcher matches one Lua pattern. The interpreter's own takes exponential time for hostile patterns and
// subjects, with nothing to stop it; this one pays for every step.
type matcher struct {
	l        *lua.LState
	budget   *budget
	src, pat string
	level    int // captures
	depth    int
	captures [maxCaptures]struct{ start, length int }
}

// match matches the pattern from p at s and returns where the match ends, or -1.
func (m *matcher) match(s, p int) int {
	if m.depth++; m.depth > maxMatching {
		m.l.RaiseError("pattern too complex")
	}
	defer func() { m.depth-- }()
	for {
		m.budget.pay(m.l, 1)
		switch c := m.at(p); {
		case p >= len(m.pat):
			return s
		case c == '(' || c == ')':
			return m.parenthesis(s, p)
		case c == '$' && p+1 == len(m.pat):
			if s == len(m.src) {
				return s
			}
			return -1
		case c == '%' && (isDigit(m.at(p+1)) || m.at(p+1) == 'b' || m.at(p+1) == 'f'):
			if s, p = m.special(s, p+1); s < 0 {
				return -1
			}
		default:
			end := m.classEnd(p)
			again, next := m.item(s, p, end)
			if !again {
				return next
			}
			s, p = next, end
		}
	}
}

func (m *matcher) parenthesis(s, p int) int {
	switch {
	case m.at(p) == ')':
		return m.close(s, p+1)
	case m.at(p+1) == ')':
		return m.open(s, p+2, positionCap)
	}
	return m.open(s, p+1, openCap)
}

// special matches what a % begins that is no single character, and returns where both go on.
func (m *matcher) special(s, p int) (nextS, nextP int) {
	switch m.at(p) {
	case 'b':
		return m.balance(s, p+1), p + 3
	case 'f':
		end := m.frontier(s, p+1)
		if end < 0 {
			return -1, p
		}
		return s, end
	}
	return m.backReference(s, m.at(p)), p + 1
}

// item matches a single character and what repeats it. again: go on behind the item at next.
func (m *matcher) item(s, p, end int) (again bool, next int) {
	switch m.at(end) {
	case '?':
		if m.single(s, p, end) {
			if next := m.match(s+1, end+1); next >= 0 {
				return false, next
			}
		}
		return false, m.match(s, end+1)
	case '+':
		if !m.single(s, p, end) {
			return false, -1
		}
		return false, m.most(s+1, p, end)
	case '*':
		return false, m.most(s, p, end)
	case '-':
		return false, m.fewest(s, p, end)
	}
	if !m.single(s, p, end) {
		return false, -1
	}
	return true, s + 1
}

func (m *matcher) most(s, p, end int) int {
	n := 0
	for m.single(s+n, p, end) {
		n++
	}
	for ; n >= 0; n-- {
		if next := m.match(s+n, end+1); next >= 0 {
			return next
		}
	}
	return -1
}

func (m *matcher) fewest(s, p, end int) int {
	for {
		if next := m.match(s, end+1); next >= 0 {
			return next
		}
		if !m.single(s, p, end) {
			return -1
		}
		s++
	}
}

func (m *matcher) open(s, p, length int) int {
	if m.level >= maxCaptures {
		m.l.RaiseError("too many captures")
	}
	m.captures[m.level].start, m.captures[m.level].length = s, length
	m.level++
	end := m.match(s, p)
	if end < 0 {
		m.level--
	}
	return end
}

func (m *matcher) close(s, p int) int {
	for i := m.level - 1; i >= 0; i-- {
		if c := &m.captures[i]; c.length == openCap {
			c.length = s - c.start
			end := m.match(s, p)
			if end < 0 {
				c.length = openCap
			}
			return end
		}
	}
	m.l.RaiseError("invalid pattern capture")
	return -1
}

func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.pat) {
		m.l.RaiseError("unbalanced pattern")
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return -1
	}
	depth := 1
	for i := s + 1; i < len(m.src); i++ {
		m.budget.pay(m.l, 1)
		switch m.src[i] {
		case m.pat[p+1]:
			if depth--; depth == 0 {
				return i + 1
			}
		case m.pat[p]:
			depth++
		}
	}
	return -1
}

// frontier matches %f[set] and returns where the set ends.
func (m *matcher) frontier(s, p int) int {
	if m.at(p) != '[' {
		m.l.RaiseError("%s", "missing '[' after '%f' in pattern")
	}
	end := m.classEnd(p)
	var before, after byte
	if s > 0 {
		before = m.src[s-1]
	}
	if s < len(m.src) {
		after = m.src[s]
	}
	if m.inSet(before, p, end-1) || !m.inSet(after, p, end-1) {
		return -1
	}
	return end
}

func (m *matcher) backReference(s int, digit byte) int {
	i := int(digit - '1')
	if i < 0 || i >= m.level || m.captures[i].length < 0 {
		m.l.RaiseError("invalid capture index")
	}
	text := m.src[m.captures[i].start:][:m.captures[i].length]
	m.budget.pay(m.l, len(text)/64)
	if !strings.HasPrefix(m.src[s:], text) {
		return -1
	}
	return s + len(text)
}

// at returns a byte of the pattern, 0 behind its end.
func (m *matcher) at(p int) byte {
	if p < len(m.pat) {
		return m.pat[p]
	}
	return 0
}

// classEnd returns where the single character at p ends.
func (m *matcher) classEnd(p int) int {
	c := m.pat[p]
	p++
	if c == '%' {
		if p >= len(m.pat) {
			m.l.RaiseError("%s", "malformed pattern (ends with '%')")
		}
		return p + 1
	}
	if c != '[' {
		return p
	}
	if m.at(p) == '^' {
		p++
	}
	for first := true; first || m.at(p) != ']'; first = false {
		if p >= len(m.pat) {
			m.l.RaiseError("malformed pattern (missing ']')")
		}
		if m.pat[p] == '%' {
			p++
		}
		p++
	}
	return p + 1
}

// single reports whether the character at s is that of the pattern at p.
func (m *matcher) single(s, p, end int) bool {
	m.budget.pay(m.l, 1)
	if s >= len(m.src) {
		return false
	}
	switch c := m.src[s]; m.pat[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.pat[p+1])
	case '[':
		return m.inSet(c, p, end-1)
	default:
		return m.pat[p] == c
	}
}

// inSet reports whether c is in the set from p, its [, to end, its ].
func (m *matcher) inSet(c byte, p, end int) bool {
	p++
	in := true
	if m.pat[p] == '^' {
		in = false
		p++
	}
	m.budget.pay(m.l, (end-p)/16)
	for ; p < end; p++ {
		switch {
		case m.pat[p] == '%' && p+1 < end:
			p++
			if inClass(c, m.pat[p]) {
				return in
			}
		case p+2 < end && m.pat[p+1] == '-':
			if m.pat[p] <= c && c <= m.pat[p+2] {
				return in
			}
			p += 2
		case m.pat[p] == c:
			return in
		}
	}
	return !in
}

// classes are the character classes by their lower-case letter.
var classes = map[byte]func(c byte) bool{
	'a': isLetter,
	'c': func(c byte) bool { return c < 0x20 || c == 0x7f },
	'd': isDigit,
	'l': func(c byte) bool { return c >= 'a' && c <= 'z' },
	'p': func(c byte) bool { return c > 0x20 && c < 0x7f && !isLetter(c) && !isDigit(c) },
	's': func(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' },
	'u': func(c byte) bool { return c >= 'A' && c <= 'Z' },
	'w': func(c byte) bool { return isLetter(c) || isDigit(c) },
	'x': func(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' },
	'z': func(c byte) bool { return c == 0 },
}

// inClass reports whether c is in the class that a letter stands for; an upper-case one stands for the rest.
// Any other character stands for itself.
func inClass(c, class byte) bool {
	in := classes[class|0x20]
	if in == nil || !isLetter(class) {
		return class == c
	}
	return in(c) == (class >= 'a')
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
