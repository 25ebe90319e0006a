package config

import "bytes"

// document reads the whole file. A '}' that closes nothing does not end it.
func (p *kdlParser) document() {
	for !p.done() {
		p.siblings(0)
		if p.peek() == '}' {
			p.report(p.off, "found '}' without an open block", p.odd.hint("remove it, or look above for a block that is closed too early"))
			p.off++
		}
	}
}

// siblings reads nodes up to the end of their block or of the file.
func (p *kdlParser) siblings(depth int) {
	for {
		p.skipSpace(true)
		switch {
		case p.done() || p.peek() == '}':
			return
		case p.peek() == ';':
			p.off++
		default:
			p.node(depth)
		}
	}
}

// node reads one node up to its end, which stays.
func (p *kdlParser) node(depth int) {
	p.rest()
	indent := p.indentation(p.off)
	hidden := p.slashDash()
	p.muted += hidden
	faults := len(p.faults)
	p.typeAnnotation()
	p.name()
	p.entries(depth, indent, faults)
	if p.emits() {
		p.out.endNode()
	}
	p.muted -= hidden
}

// slashDash reads "/-", which comments out what follows it, and returns how many there were: 0 or 1.
func (p *kdlParser) slashDash() int {
	if !p.has("/-") {
		return 0
	}
	p.off += 2
	p.skipSpace(true)
	return 1
}

// typeAnnotation reads "(type)", which may stand before a node name or a value and means nothing here.
func (p *kdlParser) typeAnnotation() (ok bool) {
	if p.peek() != '(' {
		return false
	}
	open := p.off
	p.off++
	p.skipSpace(false)
	if p.peek() == ')' {
		p.report(open, "found a type annotation without a type", "expected (type)")
	} else if !p.atEntryEnd() {
		if tok := p.token(); tok.kind == numberToken || tok.kind == keywordToken {
			p.report(tok.start, "found "+p.source(tok)+" as a type annotation", "expected a name: (type)")
		}
		p.skipSpace(false)
	}
	if p.peek() != ')' {
		p.report(open, "found '(' that is not closed", "expected a type annotation: (type); text with parentheses needs quotes")
		return true
	}
	p.off++
	p.skipSpace(false)
	return true
}

// name reads the name of a node: text, or a bare number such as a status code.
func (p *kdlParser) name() {
	if p.atEntryEnd() {
		p.report(p.off, "found "+p.found()+" in place of a node name", p.nameHint())
		return
	}
	tok := p.token()
	name, isText := tok.data.(string)
	switch {
	case tok.kind == badToken:
		return
	case tok.kind == numberToken:
		name = string(p.text[tok.start:tok.end])
	case !isText:
		p.report(tok.start, "found "+p.source(tok)+" in place of a node name", `write "`+p.source(tok)+`" in quotes`)
		return
	}
	if p.nodes++; p.nodes > maxNodes {
		p.fatal(tok.start, "found more than 1,000,000 nodes in one file", "split the file")
	}
	if p.emits() {
		p.out.node(p.cursor.moveTo(tok.start), name)
	}
	if p.equals() {
		p.report(p.off, "found '=' after the node name "+p.source(tok), "expected a space: "+p.source(tok)+" value")
		p.off++
	}
}

func (p *kdlParser) nameHint() string {
	if p.peek() == '{' {
		return "put the '{' on the line of its node: name {"
	}
	return "expected a node after it"
}

// entries reads the arguments, properties and blocks of a node, before which there were so many faults.
func (p *kdlParser) entries(depth, indent, faults int) {
	blocks, closed := 0, false
	for {
		// What follows a bad name or entry is often glued to it; that is the same mistake.
		spaced := p.skipSpace(false) || len(p.faults) > faults
		faults = len(p.faults)
		if p.atNodeEnd() {
			return
		}
		start, hidden := p.off, p.slashDash()
		p.muted += hidden
		switch {
		case p.peek() == '{':
			if blocks += 1 - hidden; blocks > 1 {
				p.report(start, "found a second block of one node", "expected one { … }, or a node name before this one")
			}
			p.block(depth, indent)
			closed = true
		case closed:
			p.report(start, "found "+p.found()+" after a block", "expected the end of the line, or ';'")
			p.muted -= hidden
			return
		default:
			p.entry(spaced)
		}
		p.muted -= hidden
	}
}

// entry reads an argument or a property.
func (p *kdlParser) entry(spaced bool) {
	if !spaced && bytes.IndexByte([]byte(",)]="), p.peek()) < 0 {
		p.report(p.off, "found "+p.found()+" without a space before it", "expected a space between values")
	}
	faults := len(p.faults)
	typed := p.typeAnnotation()
	if p.atEntryEnd() {
		if len(p.faults) == faults { // a bad annotation says it all
			p.report(p.off, "found "+p.found()+" in place of a value", "expected a value, or a property: key=value")
		}
		return
	}
	tok := p.token()
	if p.equals() {
		p.property(tok, typed)
		return
	}
	p.countValue(tok)
	if p.emits() {
		p.out.argument(p.value(tok, tok.start))
	}
}

// equals moves to the '=' that makes the last token a key; KDL 2 allows white space before it.
func (p *kdlParser) equals() bool {
	back := p.off
	p.skipSpace(false)
	if p.peek() == '=' {
		return true
	}
	p.off = back
	return false
}

// property reads "=value" after a key.
func (p *kdlParser) property(key kdlToken, typed bool) {
	p.off++
	p.skipSpace(false)
	name, isText := key.data.(string)
	switch {
	case typed:
		p.report(key.start, "found a type annotation before a key", "write it before the value: key=(type)value")
	case key.kind != badToken && !isText:
		p.report(key.start, "found "+p.source(key)+" as a key", `write "`+p.source(key)+`" in quotes`)
	}
	p.typeAnnotation()
	if p.atEntryEnd() {
		p.report(p.off, "found "+p.found()+" after '='", "expected a value")
		return
	}
	tok := p.token()
	p.countValue(tok)
	if p.emits() {
		p.out.property(prop{name, p.value(tok, key.start)})
	}
}

func (p *kdlParser) countValue(tok kdlToken) {
	if p.values++; p.values > maxValues {
		p.fatal(tok.start, "found more than 2,000,000 values in one file", "split the file")
	}
}

// value describes a token that was read as an argument or, with the place of its key, as a property.
func (p *kdlParser) value(tok kdlToken, start int) value {
	return value{
		pos: p.cursor.moveTo(start), data: tok.data, text: p.source(tok),
		expandable: tok.kind == quotedToken,
	}
}

// block reads the children of a node that starts with so much indentation.
func (p *kdlParser) block(depth, indent int) {
	open := p.off
	if depth == maxDepth {
		p.fatal(open, "found blocks nested more than 64 deep", "close some of them first")
		return
	}
	p.off++
	if p.emits() {
		p.out.openBlock()
	}
	p.siblings(depth + 1)
	if p.peek() != '}' {
		p.report(open, "found a block that is not closed", p.odd.hint("expected a closing '}'"))
		return
	}
	p.odd.note(p, indent, open)
	p.off++
	if p.emits() {
		p.out.closeBlock()
	}
}
