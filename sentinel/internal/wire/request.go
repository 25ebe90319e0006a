package wire

import "bytes"

// maxMethod is longer than any registered method; a request line without a space by then has none.
const maxMethod = 32

// Request is one parsed request head. Reset it before its first use. Its slices are valid until the buffer
// it was parsed from changes.
type Request struct {
	head
	Method []byte
	Path   []byte // canonical (CanonicalPath); "*" for an OPTIONS on the server itself
	Query  []byte // as sent, without "?"; HasQuery tells an empty one from none
	// Authority is host and optional port as sent but in lower case, from an absolute target or else
	// from Host (RFC 9112 3.2.2): the one authority for routing, logs and the upstream. Host is its
	// host alone, without a trailing dot.
	Authority, Host []byte
	RawTarget       []byte // the request target as sent, but for the case of an Authority it holds
	Minor           int    // HTTP/1.Minor
	HasQuery        bool
	EscapedSlash    bool // the path had %2F or %5C as sent
	Continue        bool // Expect: 100-continue, and the client waits for it
	UnknownExpect   bool // an expectation nobody can meet (RFC 9110 10.1.1: 417)
	MaxForwards     int  // of OPTIONS and TRACE; -1: none

	hosts   int
	host    []byte // value of the Host field
	pathBuf []byte
}

// Reset forgets everything but the memory it holds.
func (r *Request) Reset() {
	fields, pathBuf := r.Fields, r.pathBuf
	*r = Request{MaxForwards: -1, pathBuf: pathBuf[:0]}
	r.Fields = fields[:0]
}

// Parse reads a request head from the start of buf. It returns its length once it is complete, and 0
// while bytes are missing: call it again with the same buffer, longer, after Reset if buf moved. After
// a fault the connection cannot be used any further. A complete head needs a Reset before the next one.
func (r *Request) Parse(buf []byte, lim *Limits) (n int, fault Fault) {
	if !r.started {
		if ok, fault := r.startLine(buf, lim); !ok {
			return 0, fault
		}
	}
	done, fault := r.fields(buf, lim, r.see)
	if !done {
		return 0, fault
	}
	return r.line, r.finish()
}

// startLine reads `method SP request-target SP HTTP-version` after at most one empty line (RFC 9112 2.2, 3).
func (r *Request) startLine(buf []byte, lim *Limits) (ok bool, fault Fault) {
	if r.line == 0 {
		if len(buf) >= 2 && buf[0] == '\r' && buf[1] == '\n' {
			r.line, r.scanned = 2, 2
		} else if len(buf) == 1 && buf[0] == '\r' {
			return false, None
		}
	}
	rest := buf[r.line:]
	if len(rest) == 0 {
		return false, None
	}
	// The method is checked before its line is complete: a TLS hello or other noise has no line end.
	i := span(rest[:min(len(rest), maxMethod+1)], isMethod)
	if i > maxMethod || i < len(rest) && (i == 0 || rest[i] != ' ') {
		return false, BadRequestLine
	}
	line, ok, fault := r.next(buf, lim.Line, TargetTooLong)
	if !ok {
		if fault == BadHeader {
			fault = BadRequestLine
		}
		return false, fault
	}
	r.Method = line[:i]
	if fault := r.targetAndVersion(line[i+1:]); fault != None {
		return false, fault
	}
	r.started, r.section = true, r.line
	return true, None
}

func (r *Request) targetAndVersion(b []byte) Fault {
	i := bytes.IndexByte(b, ' ')
	if i <= 0 {
		return BadRequestLine
	}
	minor, fault := parseVersion(b[i+1:])
	if fault == BadStatusLine {
		return BadRequestLine
	}
	if fault != None {
		return fault
	}
	r.Minor, r.RawTarget = minor, b[:i]
	return r.target(r.RawTarget)
}

// parseVersion accepts exactly HTTP/1.0 and HTTP/1.1; another well-formed version is BadVersion,
// anything else BadStatusLine.
func parseVersion(b []byte) (minor int, fault Fault) {
	if len(b) != len("HTTP/1.1") || string(b[:5]) != "HTTP/" || b[6] != '.' || class[b[5]]&class[b[7]]&isDigit == 0 {
		return 0, BadStatusLine
	}
	if b[5] != '1' || b[7] > '1' {
		return 0, BadVersion
	}
	return int(b[7] - '0'), None
}

// see applies the rule of one known field.
func (r *Request) see(f *Field) Fault {
	switch f.ID {
	case Host:
		r.hosts++
		r.host = f.Value
	case ContentLength:
		return r.contentLength(f.Value)
	case TransferEncoding:
		return r.transferEncoding(f.Value)
	case Connection:
		return r.connection(f.Value)
	case Expect:
		if EqualName(f.Value, "100-continue") {
			r.Continue = true
		} else {
			r.UnknownExpect = true
		}
	case MaxForwards:
		return r.maxForwards(f.Value)
	}
	return None
}

// maxForwards reads Max-Forwards, which means something for OPTIONS and TRACE only (RFC 9110 7.6.2).
func (r *Request) maxForwards(value []byte) Fault {
	if string(r.Method) != "OPTIONS" && string(r.Method) != "TRACE" {
		return None
	}
	n, ok := parseLength(value)
	if !ok || r.MaxForwards >= 0 {
		return BadHeader
	}
	r.MaxForwards = int(min(n, 1<<16))
	return None
}

// finish applies the rules that need the whole head.
func (r *Request) finish() Fault {
	if fault := r.settle(r.Minor); fault != None {
		return fault
	}
	if fault := r.authority(); fault != None {
		return fault
	}
	if r.nominates {
		r.dropNominated()
	}
	if r.Minor == 0 || r.framing == NoBody { // RFC 9110 10.1.1: no expectation from 1.0, none without a body
		r.Continue = false
	}
	if r.Minor == 0 {
		r.UnknownExpect, r.sawUpgrade = false, false // RFC 9110 7.8: Upgrade in 1.0 is ignored
	}
	return None
}

// HasLength reports whether the request states its length, be it 0.
func (r *Request) HasLength() bool { return r.sawLength }

// KeepAlive reports whether the client wants the connection to persist (RFC 9112 9.3).
func (r *Request) KeepAlive() bool {
	return !r.sawClose && (r.Minor == 1 || r.sawKeepAlive)
}
