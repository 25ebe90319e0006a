package wire

import (
	"bytes"
	"net/netip"
)

// ParseAddr reads an IP address without a zone, as netip.ParseAddr does, but from bytes and without
// allocating.
func ParseAddr(b []byte) (a netip.Addr, ok bool) {
	if bytes.IndexByte(b, ':') >= 0 {
		return parseIPv6(b)
	}
	v4, ok := parseIPv4(b)
	if !ok {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4(v4), true
}

// ParseHop reads one element of X-Forwarded-For: an address, an IPv6 address in brackets, or either with a
// port. The port and the zone, which mean nothing on another machine, are dropped; an IPv4 address in IPv6
// form is the IPv4 address.
func ParseHop(b []byte) (a netip.Addr, ok bool) {
	switch colon := bytes.IndexByte(b, ':'); {
	case len(b) > 0 && b[0] == '[':
		end := bytes.IndexByte(b, ']')
		if end < 0 || colon < 0 || colon > end || !isPort(b[end+1:]) || len(b) == end+2 {
			return netip.Addr{}, false
		}
		b = b[1:end]
	case colon > 0 && colon == bytes.LastIndexByte(b, ':'):
		if !isPort(b[colon:]) || len(b) == colon+1 {
			return netip.Addr{}, false
		}
		b = b[:colon]
	}
	if zone := bytes.IndexByte(b, '%'); zone >= 0 {
		if zone == len(b)-1 || bytes.IndexByte(b[:zone], ':') < 0 {
			return netip.Addr{}, false
		}
		b = b[:zone]
	}
	a, ok = ParseAddr(b)
	return a.Unmap(), ok
}

// parseIPv4 reads four decimal numbers without leading zeros: others read 010 as eight.
func parseIPv4(b []byte) (a [4]byte, ok bool) {
	for i := range a {
		if i > 0 {
			if len(b) == 0 || b[0] != '.' {
				return a, false
			}
			b = b[1:]
		}
		digits := span(b[:min(len(b), 4)], isDigit)
		if digits == 0 || digits == 4 || digits > 1 && b[0] == '0' {
			return a, false
		}
		n := 0
		for _, c := range b[:digits] {
			n = n*10 + int(c-'0')
		}
		if n > 255 {
			return a, false
		}
		a[i], b = byte(n), b[digits:]
	}
	return a, len(b) == 0
}

// parseIPv6 reads the forms of RFC 4291 2.2.
func parseIPv6(b []byte) (netip.Addr, bool) {
	var a [16]byte
	i, gap := 0, -1 // gap: where "::" stands
	if bytes.HasPrefix(b, []byte("::")) {
		gap, b = 0, b[2:]
	}
	for i < len(a) && len(b) > 0 {
		width, used := parseGroup(b, a[i:])
		if used == 0 {
			return netip.Addr{}, false
		}
		if i, b = i+width, b[used:]; len(b) == 0 {
			break
		}
		if width == 4 || b[0] != ':' || len(b) == 1 { // the form of IPv4 comes last
			return netip.Addr{}, false
		}
		if b = b[1:]; b[0] == ':' {
			if gap >= 0 {
				return netip.Addr{}, false
			}
			gap, b = i, b[1:]
		}
	}
	if len(b) > 0 || (gap < 0) != (i == len(a)) {
		return netip.Addr{}, false
	}
	if gap >= 0 {
		copy(a[gap+len(a)-i:], a[gap:i])
		clear(a[gap : gap+len(a)-i])
	}
	return netip.AddrFrom16(a), true
}

// parseGroup reads 16 bits in hex, or 32 bits in the form of IPv4, and returns how many bytes of to it has
// set and how many of b it used; 0 used: it is neither.
func parseGroup(b, to []byte) (width, used int) {
	digits := span(b[:min(len(b), 5)], isHex)
	if digits < len(b) && b[digits] == '.' {
		tail, ok := parseIPv4(b)
		if !ok || len(to) < len(tail) {
			return 0, 0
		}
		return copy(to, tail[:]), len(b)
	}
	if digits == 0 || digits == 5 || len(to) < 2 {
		return 0, 0
	}
	n := 0
	for _, c := range b[:digits] {
		n = n<<4 | int(hexValue(c))
	}
	to[0], to[1] = byte(n>>8), byte(n)
	return 2, digits
}
