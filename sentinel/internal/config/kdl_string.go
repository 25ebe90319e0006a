package config

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// quoted reads "…" or, with three quotes, a KDL 2 string of several lines. KDL 1 lets a plain string
// run over lines, so a forgotten quote swallows text up to the next one; when what follows that one
// cannot follow a string, the quote is taken as forgotten and reading goes on at the next line.
func (p *kdlParser) quoted() kdlToken {
	start := p.off
	if p.has(`"""`) {
		return p.multiline(0)
	}
	end, newline := p.closingQuote(start + 1)
	if end < 0 || newline < end && !p.separated(end+1) {
		return p.unclosed(start, "string", `expected a closing '"'`)
	}
	p.off = end + 1
	return kdlToken{quotedToken, start, p.off, p.unescape(p.text[start+1:end], start+1)}
}

// closingQuote returns where the string whose text starts at off ends, -1 if nowhere, and where its
// first line ends.
func (p *kdlParser) closingQuote(off int) (end, newline int) {
	newline = len(p.text)
	for i := off; i < len(p.text); i++ {
		switch p.text[i] {
		case '"':
			return i, newline
		case '\\':
			i++
		}
		if newline == len(p.text) && newlineSize(p.text[min(i, len(p.text)):]) > 0 {
			newline = i
		}
	}
	return -1, newline
}

// unclosed reports a string at its start and goes on after the line the string starts on.
func (p *kdlParser) unclosed(start int, what, expected string) kdlToken {
	p.report(start, "found a "+what+" that is not closed", expected)
	p.skipLine()
	return kdlToken{badToken, start, p.off, nil}
}

// separated reports whether off is a place where a string may have ended.
func (p *kdlParser) separated(off int) bool {
	rest := p.text[off:]
	if len(rest) > 1 && rest[0] == '\\' {
		rest = rest[1:] // a continuation, if the line ends here
	}
	return len(rest) == 0 || blankSize(rest) > 0 || isComment(rest) || bytes.IndexByte([]byte(";{}=)"), rest[0]) >= 0
}

// rawStart recognises r"…" and r#"…"# of KDL 1 and #"…"# of KDL 2 at the place of reading.
func (p *kdlParser) rawStart() (hashes int, ok bool) {
	rest := bytes.TrimPrefix(p.text[p.off:], []byte("r"))
	v1 := len(rest) < len(p.text)-p.off
	for hashes < len(rest) && rest[hashes] == '#' {
		hashes++
	}
	return hashes, hashes < len(rest) && rest[hashes] == '"' && (v1 || hashes > 0)
}

// raw reads a raw string with so many hashes. One of KDL 2 stays on its line unless it has three quotes.
func (p *kdlParser) raw(hashes int) kdlToken {
	start := p.off
	v1 := p.text[start] == 'r'
	open := start + hashes + 1 // behind the quote
	if v1 {
		open++
	} else if bytes.HasPrefix(p.text[open:], []byte(`""`)) {
		return p.multiline(hashes)
	}
	closing := append([]byte{'"'}, bytes.Repeat([]byte{'#'}, hashes)...)
	body, _, found := bytes.Cut(p.text[open:], closing)
	end := open + len(body) + len(closing)
	crosses := found && hasNewline(body)
	if !found || crosses && !p.separated(end) {
		return p.unclosed(start, "raw string", "expected a closing "+clip(closing, 32))
	}
	p.off = end
	if crosses && !v1 {
		p.report(start, "found a raw string over several lines", `expected #"""…"""#, with the quotes on lines of their own`)
	}
	return kdlToken{rawToken, start, end, string(body)}
}

func hasNewline(b []byte) bool {
	for i := range b {
		if newlineSize(b[i:]) > 0 {
			return true
		}
	}
	return false
}

// multiline reads """…""" or, with hashes, #"""…"""#. The text stands on the lines between the quotes;
// the white space before the closing quotes is taken off every line.
func (p *kdlParser) multiline(hashes int) kdlToken {
	start := p.off
	open := start + hashes + 3
	end := p.closingTriple(open, hashes)
	if end < 0 {
		p.report(start, `found a """ string that is not closed`, `expected a closing """ on a line of its own`)
		p.off = len(p.text)
		return kdlToken{badToken, start, p.off, nil}
	}
	p.off = end + 3 + hashes
	tok := kdlToken{rawToken, start, p.off, nil}
	if hashes == 0 {
		tok.kind = quotedToken
	}
	if newlineSize(p.text[open:]) == 0 {
		p.report(start, `found text after the opening """`, `start the text on the next line, or use one '"' for a string on one line`)
		return tok
	}
	before := len(p.faults)
	if hashes == 0 {
		p.unescape(p.text[open:end], open) // reports bad escapes where they stand
	}
	text := p.dedent(open, end, hashes == 0)
	if hashes == 0 && len(p.faults) == before {
		text = []byte(p.unescape(text, open))
	}
	tok.data = string(text)
	return tok
}

func (p *kdlParser) closingTriple(off, hashes int) int {
	closing := append([]byte(`"""`), bytes.Repeat([]byte{'#'}, hashes)...)
	if hashes > 0 {
		if i := bytes.Index(p.text[off:], closing); i >= 0 {
			return off + i
		}
		return -1
	}
	for i := off; i < len(p.text); i++ {
		if p.text[i] == '\\' {
			i++
		} else if p.text[i] == '"' && bytes.HasPrefix(p.text[i:], closing) {
			return i
		}
	}
	return -1
}

// dedent joins the lines between open and end with LF, each without the indentation of the last one,
// which holds the closing quotes. KDL 2 resolves white space escapes before this and the others after.
func (p *kdlParser) dedent(open, end int, escapes bool) []byte {
	body := p.text[open:end]
	var indent []byte
	last := -1
	eachLine(body, escapes, func(_ int, line []byte) {
		indent = append(indent[:0], line...)
		last++
	})
	if blankSize(indent) < len(indent) {
		p.report(end, `found text before the closing """`, `put the closing """ on a line of its own`)
		return nil
	}
	var out []byte
	n := 0
	eachLine(body, escapes, func(at int, line []byte) {
		if n > 1 && n < last {
			out = append(out, '\n')
		}
		n++
		if blankSize(line) == len(line) {
			return
		}
		text, ok := bytes.CutPrefix(line, indent)
		if !ok {
			p.report(open+at, `found a line that is indented less than its closing """`, "indent it at least as much, with the same tabs and spaces")
		}
		out = append(out, text...)
	})
	return out
}

// eachLine hands every line of a string and its offset to use. A backslash before white space takes
// that white space away, ends of lines included, so such a line goes on. The slices are reused.
func eachLine(body []byte, escapes bool, use func(at int, line []byte)) {
	start, line := 0, []byte(nil)
	for i := 0; i < len(body); {
		if n := newlineSize(body[i:]); n > 0 {
			use(start, line)
			i += n
			start, line = i, line[:0]
			continue
		}
		size := 1
		if escapes && body[i] == '\\' {
			if n := blankSize(body[i+1:]); n > 0 {
				i += 1 + n
				continue
			}
			size = 2
		}
		line = append(line, body[i:i+size]...)
		i += size
	}
	use(start, line)
}

// blankSize returns how many bytes of white space and newlines b starts with.
func blankSize(b []byte) (n int) {
	for {
		size := max(spaceSize(b[n:]), newlineSize(b[n:]))
		if size == 0 {
			return n
		}
		n += size
	}
}

// unescape replaces the escapes of both dialects. body starts at offset base of the file, which is
// where a bad escape is reported.
func (p *kdlParser) unescape(body []byte, base int) string {
	var out []byte
	for i := 0; i < len(body); {
		n := bytes.IndexByte(body[i:], '\\')
		if n < 0 {
			n = len(body) - i
		}
		out = append(out, body[i:i+n]...)
		if i += n; i == len(body) {
			break
		}
		text, size := escape(body[i:])
		if size == 0 {
			_, size = utf8.DecodeRune(body[i+1:])
			size++
			p.badEscape(base+i, body[i:i+size])
		}
		out = append(out, text...)
		i += size
	}
	return string(out)
}

func (p *kdlParser) badEscape(off int, escape []byte) {
	name := clip(escape, 8)
	if name == `\u` {
		p.report(off, `found a bad \u escape`, `expected \u{…} with the 1 to 6 hex digits of a Unicode character`)
		return
	}
	p.report(off, "found the unknown escape "+name,
		`write \`+name+` for a backslash, or use a raw string such as #"\d+"#`)
}

var escapes = map[byte]string{
	'"': `"`, '\\': `\`, '/': "/", 'n': "\n", 'r': "\r", 't': "\t", 'b': "\b", 'f': "\f", 's': " ",
}

// escape returns what the escape at the start of b stands for and its length, 0 if it is none.
func escape(b []byte) (text string, size int) {
	if n := blankSize(b[1:]); n > 0 {
		return "", 1 + n
	}
	if len(b) > 1 && escapes[b[1]] != "" {
		return escapes[b[1]], 2
	}
	return unicodeEscape(b)
}

func unicodeEscape(b []byte) (text string, size int) {
	const most = len(`\u{10FFFF}`)
	end := bytes.IndexByte(b[:min(len(b), most)], '}')
	if end < len(`\u{0`) || string(b[:3]) != `\u{` {
		return "", 0
	}
	c, err := strconv.ParseUint(string(b[3:end]), 16, 32)
	if err != nil || !utf8.ValidRune(rune(c)) {
		return "", 0
	}
	return string(rune(c)), end + 1
}
