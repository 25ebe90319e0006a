package proxyproto

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

const (
	// MaxHead is the longest part of a header that Parse has to see: all of version 1, and what version 2
	// has before its TLVs.
	MaxHead = 107
	// MaxSize is the longest header that is accepted, with its TLVs. The longest one in use, a client's
	// certificate, has 1 to 2 KiB.
	MaxSize = 4096
)

// Header is what a header says.
type Header struct {
	// Source is the client; invalid when the header names none: LOCAL, UNKNOWN, or no TCP over IP.
	Source netip.AddrPort
	// Size is the whole header's. It may be more than Parse was shown: TLVs, which nobody reads.
	Size int
}

// Verdict is what a number of bytes are.
type Verdict uint8

// The verdicts.
const (
	Incomplete Verdict = iota // a header may become of it
	Complete
	Missing   // no header begins like this
	Malformed // a header begins, and breaks a rule
	TooLong   // a header of version 2 above MaxSize
)

var (
	signature1 = []byte("PROXY ")
	signature2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
	crlf       = []byte("\r\n")
)

// Parse reads the header that b begins with. While it is Incomplete, next is how many bytes belong to it
// for certain, and all of b does.
func Parse(b []byte) (h Header, next int, v Verdict) {
	switch {
	case len(b) == 0:
		return h, shortest, Incomplete
	case begins(b, signature2):
		return parse2(b)
	case begins(b, signature1):
		return parse1(b)
	}
	return h, 0, Missing
}

// begins reports whether b begins with the signature, as far as it goes.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

// Version 2 in the high half of its 13th byte, the command in the low half.
const (
	local   = 0x20
	proxied = 0x21
)

// The lengths of the parts of version 2.
const (
	fixed2 = 16
	ipv4   = 12
	ipv6   = 36
	unix   = 216
)

// families are the bytes for address family and transport that may come over TCP, and the length of their
// addresses.
var families = map[byte]int{0x00: 0, 0x11: ipv4, 0x21: ipv6, 0x31: unix}

// parse2 reads version 2 (section 2.2).
func parse2(b []byte) (h Header, next int, v Verdict) {
	switch {
	case len(b) > 12 && b[12] != local && b[12] != proxied:
		return h, 0, Malformed
	case len(b) < fixed2:
		return h, fixed2 - len(b), Incomplete
	}
	length := int(binary.BigEndian.Uint16(b[14:]))
	need, known := families[b[13]]
	switch {
	case fixed2+length > MaxSize:
		return h, 0, TooLong
	case b[12] == local: // its family and addresses are to be ignored
		need = 0
	case !known || length < need:
		return h, 0, Malformed
	case need == unix: // no address that could be a client's
		need = 0
	}
	if len(b) < fixed2+need {
		return h, fixed2 + need - len(b), Incomplete
	}
	return Header{Source: source2(b[fixed2 : fixed2+need]), Size: fixed2 + length}, 0, Complete
}

// source2 is the first of two addresses, then of two ports.
func source2(b []byte) netip.AddrPort {
	switch len(b) {
	case ipv4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), binary.BigEndian.Uint16(b[8:]))
	case ipv6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), binary.BigEndian.Uint16(b[32:]))
	}
	return netip.AddrPort{}
}

// The shortest lines of version 1.
const (
	shortest     = len("PROXY UNKNOWN\r\n")
	shortestTCP4 = len("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n")
	shortestTCP6 = len("PROXY TCP6 :: :: 0 0\r\n")
)

// parse1 reads version 1, one line (section 2.1).
func parse1(b []byte) (h Header, next int, v Verdict) {
	end := bytes.IndexByte(b, '\n')
	switch {
	case end < 0 && len(b) < MaxHead:
		return h, next1(b), Incomplete
	case end < 0 || end >= MaxHead || !bytes.HasSuffix(b[:end+1], crlf):
		return h, 0, Malformed
	}
	line := b[len(signature1) : end-1]
	if rest, unknown := bytes.CutPrefix(line, []byte("UNKNOWN")); unknown {
		if len(rest) > 0 && rest[0] != ' ' || bytes.IndexByte(rest, '\r') >= 0 {
			return h, 0, Malformed
		}
		return Header{Size: end + 1}, 0, Complete // what follows the word is to be ignored
	}
	source, ok := source1(line)
	if !ok {
		return h, 0, Malformed
	}
	return Header{Source: source, Size: end + 1}, 0, Complete
}

// next1 is how many bytes a line that is not complete has at least to come.
func next1(b []byte) int {
	whole := shortest
	switch {
	case bytes.HasPrefix(b, []byte("PROXY TCP4 ")):
		whole = shortestTCP4
	case bytes.HasPrefix(b, []byte("PROXY TCP6 ")):
		whole = shortestTCP6
	}
	last := len(crlf)
	if len(b) > 0 && b[len(b)-1] == '\r' {
		last = 1
	}
	return max(whole-len(b), min(last, MaxHead-len(b)))
}

// source1 reads "TCP4" or "TCP6", two addresses and two ports, with one space between.
func source1(line []byte) (source netip.AddrPort, ok bool) {
	var parts [5][]byte
	for i := range parts {
		part, rest, more := bytes.Cut(line, []byte(" "))
		if more != (i < len(parts)-1) {
			return source, false
		}
		parts[i], line = part, rest
	}
	is4 := string(parts[0]) == "TCP4"
	if !is4 && string(parts[0]) != "TCP6" {
		return source, false
	}
	from, fromOK := wire.ParseAddr(parts[1])
	to, toOK := wire.ParseAddr(parts[2])
	port, portOK := port1(parts[3])
	_, otherOK := port1(parts[4])
	if !fromOK || !toOK || !portOK || !otherOK || from.Is4() != is4 || to.Is4() != is4 {
		return source, false
	}
	return netip.AddrPortFrom(from.Unmap(), port), true
}

// port1 reads a port without leading zeros.
func port1(b []byte) (port uint16, ok bool) {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || len(b) > 5 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return uint16(n), len(b) > 0 && n <= 65535 && (len(b) == 1 || b[0] != '0')
}
