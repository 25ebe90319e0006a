package config

import (
	"bytes"
	"math"
	"strings"
	"unicode/utf8"
)

// word reads what is written without quotes: a bare word, a number or a keyword. It takes everything
// up to the next character that no word contains, so that a mistake is one problem, not several.
func (p *kdlParser) word() kdlToken {
	start := p.off
	p.off = p.wordEnd(start)
	tok := kdlToken{wordToken, start, p.off, nil}
	word := p.text[start:p.off]
	if found, expected := p.misplaced(word); found != "" {
		p.report(start, found, expected)
		tok.kind = badToken
		return tok
	}
	switch {
	case startsNumber(word):
		return p.number(tok)
	case word[0] == '#' || isPlainKeyword(word):
		return p.keyword(tok)
	}
	tok.data = string(word)
	return tok
}

// wordEnd returns where the word that starts at off ends. A word that starts like a path goes on to
// the next white space, so that "/api/*" is not taken for the start of a comment.
func (p *kdlParser) wordEnd(off int) int {
	const stops = "\t\n\v\f\r ;{}()[]=\"\\"
	path := p.text[off] == '/'
	i := off
	for i < len(p.text) {
		c := p.text[i]
		switch {
		case c < utf8.RuneSelf && strings.IndexByte(stops, c) >= 0:
			return i
		case c == '/' && !path && isComment(p.text[i:]):
			if p.text[max(i-1, off)] != ':' {
				return i
			}
			path = true // a URL
		case c >= utf8.RuneSelf && (newlineSize(p.text[i:]) > 0 || spaceSize(p.text[i:]) > 0):
			return i
		}
		i++
	}
	return i
}

// misplaced recognises what people write out of habit from other languages.
func (p *kdlParser) misplaced(word []byte) (found, expected string) {
	name := func() string { return clip(word, 40) }
	next := byte(0)
	if p.off < len(p.text) {
		next = p.text[p.off]
	}
	first, _ := utf8.DecodeRune(word)
	switch {
	case word[0] == '#': // keyword knows better
		return "", ""
	case next == '(' && !startsNumber(word):
		p.skipParentheses()
		return "found the function " + name() + "(…)", `expected a value; KDL has no functions, write "${NAME:-default}" for an environment variable`
	case next == '{' && word[len(word)-1] == '$':
		p.skipLine()
		return "found ${…} outside quotes", `write "${NAME}" in quotes`
	case strings.ContainsRune("'`‘’“”", first):
		return "found the quote " + string(first), `expected '"'; KDL writes text as "text"`
	case bytes.ContainsRune(word, '/'):
		return "found " + name() + " without quotes", `write "` + name() + `"`
	case word[0] == ',' || word[len(word)-1] == ',':
		return "found ','", "expected a space; KDL separates values by spaces"
	case bytes.IndexByte(word[1:], '#') >= 0:
		return "found '#' inside the word " + name(), `write "` + name() + `" in quotes`
	}
	return "", ""
}

// skipParentheses moves behind the ')' that closes the '(' at the place of reading, or to the end of
// the line.
func (p *kdlParser) skipParentheses() {
	line := p.text[p.off:p.lineEnd(p.off)]
	depth, inString := 0, false
	for i, c := range line {
		switch {
		case c == '"':
			inString = !inString
		case c == '(' && !inString:
			depth++
		case c == ')' && !inString:
			if depth--; depth == 0 {
				p.off += i + 1
				return
			}
		}
	}
	p.off += len(line)
}

// isPlainKeyword reports the words that are values in KDL 1, or that KDL 2 refuses because they look
// like its keywords.
func isPlainKeyword(word []byte) bool {
	switch string(word) {
	case "true", "false", "null", "inf", "-inf", "nan":
		return true
	}
	return false
}

// keyword reads true, false and null of KDL 1 and the # words of KDL 2.
func (p *kdlParser) keyword(tok kdlToken) kdlToken {
	word := string(p.text[tok.start:tok.end])
	tok.kind = keywordToken
	switch word {
	case "true", "#true":
		tok.data = true
	case "false", "#false":
		tok.data = false
	case "null", "#null":
	case "#inf":
		tok.data = math.Inf(1)
	case "#-inf":
		tok.data = math.Inf(-1)
	case "#nan":
		tok.data = math.NaN()
	case "inf", "-inf", "nan":
		p.report(tok.start, "found the word "+word, "write #"+word+` for the number or "`+word+`" for the text`)
		tok.kind = badToken
	default:
		p.badKeyword(tok)
		tok.kind = badToken
	}
	return tok
}

// badKeyword reports a word that starts with '#'; most are comments in the manner of the shell.
func (p *kdlParser) badKeyword(tok kdlToken) {
	name := clip(p.text[tok.start:tok.end], 40)
	if lower := strings.ToLower(name); lower != name && isKeyword(lower) {
		p.report(tok.start, "found "+name, "write "+lower)
		return
	}
	p.report(tok.start, "found '#'", `expected a comment that starts with "//", a keyword such as #true, or text in quotes`)
	p.skipLine()
}

func isKeyword(word string) bool {
	switch word {
	case "#true", "#false", "#null", "#inf", "#-inf", "#nan":
		return true
	}
	return false
}
