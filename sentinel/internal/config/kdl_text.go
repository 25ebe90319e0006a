package config

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// newlineSize returns how many bytes the KDL newline at the start of b takes, 0 if there is none.
// The list is KDL 2's: CR LF, CR, LF, VT, FF, NEL, LS and PS.
func newlineSize(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '\n', '\v', '\f':
		return 1
	case '\r':
		if len(b) > 1 && b[1] == '\n' {
			return 2
		}
		return 1
	case 0xC2:
		if len(b) > 1 && b[1] == 0x85 { // NEL
			return 2
		}
	case 0xE2:
		if len(b) > 2 && b[1] == 0x80 && (b[2] == 0xA8 || b[2] == 0xA9) { // LS, PS
			return 3
		}
	}
	return 0
}

// spaceSize returns how many bytes the KDL whitespace character at the start of b takes, 0 if there is
// none. A byte order mark counts as one; checkCharacters refuses it where it does not belong.
func spaceSize(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	if b[0] < utf8.RuneSelf {
		if b[0] == ' ' || b[0] == '\t' {
			return 1
		}
		return 0
	}
	c, size := utf8.DecodeRune(b)
	switch {
	case c == 0xA0, c == 0x1680, c >= 0x2000 && c <= 0x200A, c == 0x202F, c == 0x205F, c == 0x3000, c == byteOrderMark:
		return size
	}
	return 0
}

const byteOrderMark = '\uFEFF'

// cursor walks a text forwards and knows the line and the column it is at. Both count from 1, the
// column in characters; a byte order mark at the start of the file takes no column.
type cursor struct {
	file      string
	text      []byte
	off       int
	lineStart int
	line, col int
}

func newCursor(file string, text []byte) *cursor {
	c := &cursor{file: file, text: text, line: 1, col: 1}
	if bytes.HasPrefix(text, []byte(string(byteOrderMark))) {
		c.off = len(string(byteOrderMark))
		c.lineStart = c.off
	}
	return c
}

// moveTo returns the place of the byte at off. The offsets asked for must not decrease: going only
// forwards is what keeps positions linear in the size of the file.
func (c *cursor) moveTo(off int) Pos {
	for c.off < off {
		b := c.text[c.off:]
		if n := newlineSize(b); n > 0 {
			c.off += n
			c.lineStart = c.off
			c.line++
			c.col = 1
			continue
		}
		_, size := utf8.DecodeRune(b)
		c.off += size
		c.col++
	}
	return Pos{c.file, c.line, c.col}
}

// checkCharacters reports bytes that are not UTF-8 and characters that KDL forbids everywhere, strings
// and comments included: control characters, and those that change the direction of text, with which
// a file can be made to look different from what it says.
func (p *kdlParser) checkCharacters() {
	if bytes.HasPrefix(p.text, []byte{0xFF, 0xFE}) || bytes.HasPrefix(p.text, []byte{0xFE, 0xFF}) {
		p.fatal(0, "found a file in UTF-16", "save the file as UTF-8")
		return
	}
	for off := p.off; off < len(p.text) && !p.stopped; {
		if c := p.text[off]; c >= ' ' && c < 0x7F {
			off++
			continue
		}
		if n := newlineSize(p.text[off:]); n > 0 {
			off += n
			continue
		}
		c, size := utf8.DecodeRune(p.text[off:])
		if found, expected := forbidden(c, size, p.text[off]); found != "" {
			p.report(off, found, expected)
		}
		off += size
	}
}

func forbidden(c rune, size int, first byte) (found, expected string) {
	switch {
	case c == utf8.RuneError && size == 1:
		return fmt.Sprintf("found the byte 0x%02X, which is not UTF-8", first), "save the file as UTF-8"
	case c == byteOrderMark:
		return "found a byte order mark (U+FEFF) inside the file", "remove it; it may only be the first character"
	case c < ' ' && c != '\t', c == 0x7F:
		return fmt.Sprintf("found the control character U+%04X", c), fmt.Sprintf(`remove it, or write \u{%x} in a quoted string`, c)
	case c == 0x200E, c == 0x200F, c >= 0x202A && c <= 0x202E, c >= 0x2066 && c <= 0x2069:
		return fmt.Sprintf("found the invisible direction character U+%04X", c),
			fmt.Sprintf(`remove it, or write \u{%x} in a quoted string`, c)
	}
	return "", ""
}

// printable replaces what a terminal must not be given and what would break a message's line.
func printable(s []byte) string {
	plain := true
	for _, c := range s {
		plain = plain && c >= ' ' && c < 0x7F
	}
	if plain {
		return string(s)
	}
	return string(bytes.Map(func(c rune) rune {
		found, _ := forbidden(c, 0, 0)
		if found != "" || newlineSize(utf8.AppendRune(nil, c)) > 0 {
			return utf8.RuneError
		}
		return c
	}, s))
}

// clip shortens s to at most limit bytes, at the end of a character and of its first line; "…" marks
// the cut.
func clip(s []byte, limit int) string {
	const mark = "…"
	end := 0
	for end < min(len(s), limit+1) && newlineSize(s[end:]) == 0 {
		end++
	}
	if end == len(s) && end <= limit {
		return printable(s)
	}
	end = min(end, limit-len(mark))
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return printable(s[:end]) + mark
}
