package wire

// CanonicalPath returns the one form of an absolute path that route matching, agents, logs and
// upstreams see: escaped unreserved characters are decoded (RFC 3986 6.2.2.2), runs of slashes
// merged, dot segments removed (6.2.2.3). Every other byte and escape stays as sent, so %2F and %5C
// stay opaque; escaped reports that raw has one of them, also one that a dot segment removes.
//
// The result is raw itself, or it is appended to dst[:0]. It is never longer than raw. A bad escape, an
// escaped NUL or a missing first slash is BadPath; a byte that no path may hold is BadTarget.
func CanonicalPath(dst, raw []byte) (path []byte, escaped bool, fault Fault) {
	if len(raw) == 0 || raw[0] != '/' {
		return nil, false, BadPath
	}
	for i, c := range raw {
		switch {
		case class[c]&isPlain != 0:
		case c == '%', c == '/' && i+1 < len(raw) && (raw[i+1] == '/' || raw[i+1] == '.'):
			return canonicalSlow(dst[:0], raw)
		case c != '/':
			return nil, false, BadTarget
		}
	}
	return raw, false, None
}

func canonicalSlow(out, raw []byte) (path []byte, escaped bool, fault Fault) {
	out = append(out, '/')
	segment := len(out)
	for i := 1; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '/':
			out = endSegment(out, segment, false)
			segment = len(out)
			continue
		case class[c]&isPlain != 0:
			out = append(out, c)
			continue
		case c != '%':
			return nil, false, BadTarget
		}
		if i+2 >= len(raw) {
			return nil, false, BadPath
		}
		v, ok := unhex(raw[i+1], raw[i+2])
		if !ok || v == 0 {
			return nil, false, BadPath
		}
		if class[v]&isUnres != 0 {
			out = append(out, v)
		} else {
			out = append(out, raw[i:i+3]...)
			escaped = escaped || v == '/' || v == '\\'
		}
		i += 2
	}
	return endSegment(out, segment, true), escaped, None
}

// endSegment closes the segment out[start:]: dot segments go, an empty one merges its slash.
func endSegment(out []byte, start int, last bool) []byte {
	switch segment := out[start:]; {
	case len(segment) == 0, string(segment) == ".":
		return out[:start]
	case string(segment) == "..":
		return parent(out[:start])
	case last:
		return out
	}
	return append(out, '/')
}

// parent drops the last segment of a path that ends in a slash; the root is its own parent.
func parent(p []byte) []byte {
	for i := len(p) - 2; i >= 0; i-- {
		if p[i] == '/' {
			return p[:i+1]
		}
	}
	return p[:1]
}

// DecodeSlashes appends to dst[:0] the canonical form of path with every %2F read as a slash. An
// escaped backslash stays as it is. dst may be the memory of path.
func DecodeSlashes(dst, path []byte) ([]byte, Fault) {
	plain := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if isEscape(path[i:], '2', 'f') {
			plain = append(plain, '/')
			i += 2
			continue
		}
		plain = append(plain, path[i])
	}
	canonical, _, fault := CanonicalPath(dst, plain)
	return append(dst[:0], canonical...), fault
}

// HidesDotSegment reports whether a canonical path would have a dot segment if a later hop decoded
// its %2F and %5C as separators.
func HidesDotSegment(path []byte) bool {
	dots, clean := 0, true // dots seen in this segment, and nothing else in it
	for i := 0; i < len(path); i++ {
		switch separator := isEscape(path[i:], '2', 'f') || isEscape(path[i:], '5', 'c'); {
		case path[i] == '/' || separator:
			if clean && (dots == 1 || dots == 2) {
				return true
			}
			dots, clean = 0, true
			if separator {
				i += 2
			}
		case path[i] == '.':
			dots++
		default:
			clean = false
		}
	}
	return clean && (dots == 1 || dots == 2)
}

// isEscape reports whether b starts with the escape of two hex digits, the second in any case.
func isEscape(b []byte, hi, lo byte) bool {
	return len(b) >= 3 && b[0] == '%' && b[1] == hi && lower(b[2]) == lo
}
