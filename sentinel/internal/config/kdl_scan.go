package config

import (
	"bytes"
	"slices"
	"strconv"
)

// done reports whether there is nothing more to read.
func (p *kdlParser) done() bool { return p.stopped || p.off >= len(p.text) }

// peek returns the next byte, 0 at the end. A NUL in the text is a problem of its own.
func (p *kdlParser) peek() byte {
	if p.done() {
		return 0
	}
	return p.text[p.off]
}

func (p *kdlParser) has(prefix string) bool {
	return !p.done() && bytes.HasPrefix(p.text[p.off:], []byte(prefix))
}

// atNodeEnd reports whether a node ends here.
func (p *kdlParser) atNodeEnd() bool {
	return p.done() || p.peek() == ';' || p.peek() == '}' || newlineSize(p.text[p.off:]) > 0
}

// atEntryEnd reports whether no name or value can start here.
func (p *kdlParser) atEntryEnd() bool { return p.atNodeEnd() || p.peek() == '{' }

// emits reports whether what is being read belongs to the result.
func (p *kdlParser) emits() bool { return p.muted == 0 && len(p.faults) == 0 }

// token reads a name or a value. It always takes at least one byte.
func (p *kdlParser) token() kdlToken {
	switch c := p.peek(); c {
	case '"':
		return p.quoted()
	case '[':
		return p.array()
	case '(', ')', ']', '=':
		p.report(p.off, "found '"+string(c)+"'", "expected a name or a value; text with '"+string(c)+"' needs quotes")
		p.off++
		return kdlToken{badToken, p.off - 1, p.off, nil}
	}
	if hashes, ok := p.rawStart(); ok {
		return p.raw(hashes)
	}
	return p.word()
}

// array reports "[ … ]" as one problem and skips it, if it ends within reach.
func (p *kdlParser) array() kdlToken {
	const reach = 64 << 10
	start := p.off
	p.report(start, "found '['", `KDL has no arrays; list the values as arguments: name "a" "b"`)
	inString := false
	for i, c := range p.text[start:min(len(p.text), start+reach)] {
		switch {
		case c == '"':
			inString = !inString
		case c == ']' && !inString:
			p.off = start + i + 1
			return kdlToken{badToken, start, p.off, nil}
		}
		if !inString && bytes.IndexByte([]byte("{};"), c) >= 0 {
			break
		}
	}
	p.skipLine()
	return kdlToken{badToken, start, p.off, nil}
}

// skipSpace moves over white space, comments and line continuations, with lines also over newlines. It
// reports whether there was any.
func (p *kdlParser) skipSpace(lines bool) bool {
	start := p.off
	for {
		p.skipInline()
		switch {
		case p.has("//"):
			p.skipLine()
		case p.peek() == '\\':
			p.continuation()
		case lines && !p.done() && newlineSize(p.text[p.off:]) > 0:
			p.off += newlineSize(p.text[p.off:])
		default:
			return p.off > start
		}
	}
}

// skipInline moves over white space and /* … */ comments.
func (p *kdlParser) skipInline() {
	for !p.done() {
		if n := spaceSize(p.text[p.off:]); n > 0 {
			p.off += n
		} else if p.has("/*") {
			p.comment()
		} else {
			return
		}
	}
}

// comment moves over a /* … */ comment, which may contain others.
func (p *kdlParser) comment() {
	depth := 0
	for i := p.off; i+1 < len(p.text); i++ {
		switch {
		case p.text[i] == '/' && p.text[i+1] == '*':
			depth++
			i++
		case p.text[i] == '*' && p.text[i+1] == '/':
			depth--
			i++
		}
		if depth == 0 {
			p.off = i + 1
			return
		}
	}
	p.report(p.off, "found a comment that is not closed", `expected a closing */; a pattern or path with /* needs quotes`)
	p.off = len(p.text)
}

// continuation reads a '\' that joins a line to the next one; a comment may stand between.
func (p *kdlParser) continuation() {
	start := p.off
	p.off++
	p.skipInline()
	if p.has("//") {
		p.skipLine()
	}
	if p.done() {
		return
	}
	if n := newlineSize(p.text[p.off:]); n > 0 {
		p.off += n
		return
	}
	p.report(start, `found '\' inside a line`, `expected the end of the line, which a '\' joins to the next; text with a '\' needs quotes`)
}

// isComment reports whether b starts with a comment.
func isComment(b []byte) bool {
	return len(b) > 1 && b[0] == '/' && (b[1] == '/' || b[1] == '*')
}

// skipLine moves to the end of the line, which stays.
func (p *kdlParser) skipLine() { p.off = p.lineEnd(p.off) }

func (p *kdlParser) lineEnd(off int) int {
	for off < len(p.text) && newlineSize(p.text[off:]) == 0 {
		off++
	}
	return off
}

// source returns a token as it is written, cut to 64 bytes.
func (p *kdlParser) source(tok kdlToken) string { return clip(p.text[tok.start:tok.end], 64) }

// found names what stands at the place of reading, for messages.
func (p *kdlParser) found() string {
	if p.done() {
		return "the end of the file"
	}
	if newlineSize(p.text[p.off:]) > 0 {
		return "the end of the line"
	}
	if _, raw := p.rawStart(); raw || p.peek() == '"' {
		return "a string"
	}
	if end := p.wordEnd(p.off); end > p.off {
		return clip(p.text[p.off:end], 40)
	}
	return "'" + string(p.peek()) + "'"
}

// syntaxFault is a problem whose place is not worked out yet.
type syntaxFault struct {
	off             int
	found, expected string
}

// report notes a problem. Reading stops at the last one that is kept, which also bounds how often text
// is read twice after a problem.
func (p *kdlParser) report(off int, found, expected string) {
	if p.stopped {
		return
	}
	p.faults = append(p.faults, syntaxFault{off, found, expected})
	if len(p.faults) == maxSyntaxProblems {
		p.stopped = true
	}
}

// fatal reports a problem after which reading on makes no sense.
func (p *kdlParser) fatal(off int, found, expected string) {
	p.report(off, found, expected)
	p.stopped = true
}

// problems returns the faults with their places, in the order of the file.
func (p *kdlParser) problems() []Problem {
	slices.SortStableFunc(p.faults, func(a, b syntaxFault) int { return a.off - b.off })
	c := newCursor(p.file, p.text)
	var problems []Problem
	for _, f := range slices.Compact(p.faults) {
		problems = append(problems, Problem{
			Pos: c.moveTo(f.off), Found: f.found, Expected: f.expected,
			Source: lineText(p.text, c.lineStart),
		})
	}
	return problems
}

// lineText returns the line that starts at off, at most 200 bytes of it, fit for a terminal.
func lineText(text []byte, off int) string {
	end := off
	for end < len(text) && end < off+200 && newlineSize(text[end:]) == 0 {
		end++
	}
	return printable(text[off:end])
}

// indentation returns how many blanks stand before the node or '}' at off, -1 if something else does.
func (p *kdlParser) indentation(off int) int {
	i := off
	for i > 0 && (p.text[i-1] == ' ' || p.text[i-1] == '\t') {
		i--
	}
	if i > 0 && p.text[i-1] != '\n' && p.text[i-1] != '\r' {
		return -1
	}
	return off - i
}

// oddBrace is the first '}' that is indented otherwise than the node whose block it closes. When braces
// do not add up, that is most likely where.
type oddBrace struct{ text string }

// note looks at the '}' at the place of reading, which closes the block opened at open.
func (o *oddBrace) note(p *kdlParser, indent, open int) {
	closing := p.indentation(p.off)
	if o.text != "" || indent < 0 || closing < 0 || indent == closing {
		return
	}
	c := newCursor(p.file, p.text)
	first := c.moveTo(open).Line
	o.text = "; the '}' on line " + strconv.Itoa(c.moveTo(p.off).Line) + " closes the '{' on line " + strconv.Itoa(first) +
		" but is indented differently"
}

// hint adds the odd brace to what is expected.
func (o *oddBrace) hint(expected string) string { return expected + o.text }
