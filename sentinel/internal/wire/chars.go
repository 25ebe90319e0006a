package wire

import "encoding/binary"

// Character classes of the grammar, one bit each.
const (
	isToken  = 1 << iota // tchar, RFC 9110 5.6.2
	isValue              // field-value: VCHAR, obs-text, SP, HTAB, RFC 9110 5.5
	isTarget             // what may stand raw in a path or query: RFC 3986 plus what browsers send unescaped
	isPlain              // isTarget without '%', '/' and '?': means nothing but itself in a path
	isReg                // reg-name of a host: unreserved, sub-delims without escapes
	isMethod             // tchar without lower case: "get" must not pass for GET anywhere
	isUnres              // unreserved, RFC 3986 2.3
	isHex
	isDigit
)

const (
	alpha     = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits    = "0123456789"
	subDelims = "!$&'()*+,;="
)

var class = buildClasses()

func buildClasses() (t [256]uint16) {
	mark := func(set string, bit uint16) {
		for i := range len(set) {
			t[set[i]] |= bit
		}
	}
	mark(alpha+digits+"!#$%&'*+-.^_`|~", isToken)
	mark(alpha[26:]+digits+"!#$%&'*+-.^_`|~", isMethod)
	mark(alpha+digits+"-._~", isUnres)
	mark(digits, isDigit)
	mark(digits+"abcdefABCDEF", isHex)
	// No comma: a list of hosts is no host (Host of Troubles), and no registered name has one.
	mark(alpha+digits+"-._~"+"!$&'()*+;=", isReg)
	// Browsers send the last group raw (WHATWG URL, query and path percent-encode sets); it is
	// harmless and forwarded as sent. A backslash, '#', quotes, angle brackets and controls are refused.
	mark(alpha+digits+"-._~"+subDelims+":@"+"[]{}|^`", isTarget|isPlain)
	mark("/?%", isTarget)
	for c := range 256 {
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= isValue
		}
	}
	return t
}

// span returns how many bytes at the start of b have the class.
func span(b []byte, bit uint16) int {
	for i, c := range b {
		if class[c]&bit == 0 {
			return i
		}
	}
	return len(b)
}

// all reports whether every byte of b has the class.
func all(b []byte, bit uint16) bool { return span(b, bit) == len(b) }

// isText reports whether b may be a field value. Values are most of a head, so it looks at eight bytes
// at a time, and at each of them only when one may be a control character.
func isText(b []byte) bool {
	last := len(b) - 8
	for i := 0; i < last; i += 8 {
		if mayHaveControl(binary.LittleEndian.Uint64(b[i:])) {
			return all(b, isValue)
		}
	}
	if last >= 0 && !mayHaveControl(binary.LittleEndian.Uint64(b[last:])) {
		return true
	}
	return all(b, isValue)
}

// mayHaveControl reports whether one of the eight bytes of w is below 0x20 or is 0x7f. Subtracting
// borrows from the top bit of such a byte; bytes that had it set before are masked out.
func mayHaveControl(w uint64) bool {
	const each = 0x0101010101010101
	low := (w - 0x20*each) &^ w
	del := w ^ 0x7f*each
	del = (del - each) &^ del
	return (low|del)&(0x80*each) != 0
}

// folded maps every byte to itself, but upper-case letters to lower case.
var folded = buildFolded()

func buildFolded() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] |= 0x20
		}
	}
	return t
}

func lower(c byte) byte { return folded[c] }

// unhex returns the value of two hex digits, or false.
func unhex(hi, lo byte) (byte, bool) {
	if class[hi]&isHex == 0 || class[lo]&isHex == 0 {
		return 0, false
	}
	return hexValue(hi)<<4 | hexValue(lo), true
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return lower(c) - 'a' + 10
}
