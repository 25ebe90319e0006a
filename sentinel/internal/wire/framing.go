package wire

import "math"

// Framing is how a body is delimited (RFC 9112 6).
type Framing uint8

// The framings.
const (
	NoBody     Framing = iota
	ByLength           // Content-Length
	ByChunks           // Transfer-Encoding: chunked
	UntilClose         // responses only
)

// contentLength notes a Content-Length field. A second one is refused even when it agrees: RFC 9110 8.6
// allows that, and two readers of one message never disagree about it then.
func (h *head) contentLength(value []byte) Fault {
	n, ok := parseLength(value)
	if !ok || h.sawLength {
		return BadContentLength
	}
	h.sawLength, h.length = true, n
	return None
}

// parseLength reads 1*DIGIT, nothing else.
func parseLength(b []byte) (n int64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		if class[c]&isDigit == 0 || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// transferEncoding notes a Transfer-Encoding field: exactly one, exactly "chunked" (RFC 9112 6.1, 6.3).
func (h *head) transferEncoding(value []byte) Fault {
	if h.sawCodings {
		return BadCoding
	}
	h.sawCodings = true
	if EqualName(value, "chunked") {
		return None
	}
	codings, last := 0, []byte(nil)
	for item, rest := NextItem(value); item != nil; item, rest = NextItem(rest) {
		if !all(item, isToken) || EqualName(last, "chunked") {
			return BadCoding
		}
		codings, last = codings+1, item
	}
	if codings < 2 || !EqualName(last, "chunked") {
		return BadCoding
	}
	return UnknownCoding
}

// Body returns how the message's body is framed; length counts for ByLength only.
func (h *head) Body() (f Framing, length int64) { return h.framing, h.length }

// settle decides the framing once all fields are read. Both framing fields together, or a transfer
// coding in HTTP/1.0, are how requests get smuggled: refused (RFC 9112 6.1, 6.3).
func (h *head) settle(minor int) Fault {
	switch {
	case h.sawCodings && (h.sawLength || minor == 0):
		return FramingConflict
	case h.sawCodings:
		h.framing = ByChunks
	case h.sawLength && h.length > 0:
		h.framing = ByLength
	}
	return None
}
