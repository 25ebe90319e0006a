package wire

import "bytes"

// Limits bound one head. All are in bytes but Count; none may be zero.
type Limits struct {
	Line  int // request or status line without its line end
	Size  int // sum of all field names and values
	Count int // fields
	Name  int // one field name
	Value int // one field value
}

// maxPadding is how much whitespace the fields of one head may have beside the usual space.
const maxPadding = 256

// maxOptions bounds the elements of Connection fields: each may be compared with every field.
const maxOptions = 64

// MaxHead returns how long a head within the limits can be; no buffer needs to be larger.
func (l *Limits) MaxHead() int { return 2 + l.Line + 2 + l.section() }

// section returns how long a field section can be, its empty line included. Four bytes stand between and
// after a field's name and value.
func (l *Limits) section() int { return l.Size + 4*l.Count + maxPadding + 2 }

// head is the part that requests and responses share: the fields and how far parsing got. A parse
// that needs more bytes goes on where it stopped, so that a slow sender costs linear time.
type head struct {
	Fields []Field

	line    int  // where the line being read starts
	scanned int  // no LF from there to here
	section int  // where the first field line starts
	size    int  // names and values so far
	options int  // elements of Connection fields so far
	started bool // the start line is behind us

	// What Connection said (RFC 9110 7.6.1).
	sawClose, sawKeepAlive, sawUpgrade, nominates bool

	framing    Framing
	length     int64
	sawLength  bool
	sawCodings bool
}

// next returns the line at the read position without its CRLF; ok is false when the buffer ends before
// the line does. Only CRLF ends a line (RFC 9112 2.2 lets a recipient refuse a bare LF).
func (h *head) next(buf []byte, limit int, over Fault) (line []byte, ok bool, fault Fault) {
	i := bytes.IndexByte(buf[h.scanned:], '\n')
	if i < 0 {
		h.scanned = len(buf)
		if len(buf)-h.line > limit+1 {
			return nil, false, over
		}
		return nil, false, None
	}
	end := h.scanned + i
	switch {
	case end-h.line > limit+1:
		return nil, false, over
	case end == h.line || buf[end-1] != '\r':
		return nil, false, BadHeader
	}
	line = buf[h.line : end-1]
	h.line, h.scanned = end+1, end+1
	return line, true, None
}

// fields reads field lines up to the empty one; done is false when more bytes are needed. see looks
// at each field the codec has a rule for.
func (h *head) fields(buf []byte, lim *Limits, see func(*Field) Fault) (done bool, fault Fault) {
	for {
		left := lim.section() - (h.line - h.section) - 2
		line, ok, fault := h.next(buf, left, HeaderTooLarge)
		if !ok {
			return false, fault
		}
		if len(line) == 0 {
			return true, None
		}
		if fault := h.field(line, lim); fault != None {
			return false, fault
		}
		if f := &h.Fields[len(h.Fields)-1]; f.ID != Other {
			if fault := see(f); fault != None {
				return false, fault
			}
		}
	}
}

// field reads `name ":" OWS value OWS`. No whitespace may stand before the colon or the name (RFC 9112
// 5.1, 5.2), and no control character anywhere (RFC 9110 5.5).
func (h *head) field(line []byte, lim *Limits) Fault {
	i := span(line, isToken)
	if i == 0 || i == len(line) || line[i] != ':' {
		return BadHeader
	}
	name, value := line[:i], trimOWS(line[i+1:])
	if !isText(value) {
		return BadHeader
	}
	h.size += len(name) + len(value)
	if len(h.Fields) == lim.Count || h.size > lim.Size || len(name) > lim.Name || len(value) > lim.Value {
		return HeaderTooLarge
	}
	// The field is written where it stays: copying one costs as much as identifying it.
	n := len(h.Fields)
	if n == cap(h.Fields) {
		h.Fields = append(h.Fields, Field{})
	}
	h.Fields = h.Fields[:n+1]
	f := &h.Fields[n]
	f.Name, f.Value, f.ID = name, value, Identify(name)
	return None
}

// connection notes what one Connection field asks for. Elements must be tokens; empty ones are skipped
// (RFC 9110 5.6.1.2).
func (h *head) connection(value []byte) Fault {
	for item, rest := NextItem(value); item != nil; item, rest = NextItem(rest) {
		h.options++
		switch {
		case h.options > maxOptions:
			return HeaderTooLarge
		case !all(item, isToken):
			return BadHeader
		case EqualName(item, "close"):
			h.sawClose = true
		case EqualName(item, "keep-alive"):
			h.sawKeepAlive = true
		case EqualName(item, "upgrade"):
			h.sawUpgrade = true
		case EqualName(item, "te"): // has a rule of its own
		default:
			h.nominates = true
		}
	}
	return None
}

// dropNominated marks every field that a Connection field names as Nominated, so that no rule for its
// name sees it and nobody forwards it (RFC 9110 7.6.1). Exempt are the fields that are regenerated and
// never copied: Host, framing, and those that Connection must name to mean anything.
func (h *head) dropNominated() {
	for i := range h.Fields {
		if h.Fields[i].ID != Connection {
			continue
		}
		for item, rest := NextItem(h.Fields[i].Value); item != nil; item, rest = NextItem(rest) {
			h.nominate(item)
		}
	}
}

func (h *head) nominate(name []byte) {
	for i := range h.Fields {
		f := &h.Fields[i]
		switch f.ID {
		case Connection, Host, ContentLength, TransferEncoding, TE, Upgrade:
			continue
		}
		if equalFold(f.Name, name) {
			f.ID = Nominated
		}
	}
}

// Nominates reports whether a Connection field names fields of the message. Such a nomination also counts
// for trailer fields (RFC 9110 7.6.1), which come when the head may be gone: its sender's trailers must
// not be forwarded at all.
func (h *head) Nominates() bool { return h.nominates }

// Upgrade returns the protocols that a request asks to switch to or a 101 switches to, nil when there are
// none: both the field and its nomination are needed (RFC 9110 7.8).
func (h *head) Upgrade() []byte {
	if protocols := h.Find(Upgrade); h.sawUpgrade && len(protocols) > 0 {
		return protocols
	}
	return nil
}

// Find returns the value of the first field with a known ID, or nil.
func (h *head) Find(id ID) []byte {
	for i := range h.Fields {
		if h.Fields[i].ID == id {
			return h.Fields[i].Value
		}
	}
	return nil
}
