package wire

// Field is one field line of a head or trailer. Name and Value are slices of the caller's buffer;
// Value has no surrounding whitespace.
type Field struct {
	Name, Value []byte
	ID          ID
}

// EqualName reports whether name is want, which is written in lower case. Field names are
// case-insensitive (RFC 9110 5.1).
func EqualName(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i, c := range name {
		if lower(c) != want[i] {
			return false
		}
	}
	return true
}

// equalFold reports whether two field names are the same.
func equalFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if lower(c) != lower(b[i]) {
			return false
		}
	}
	return true
}

// ValidName reports whether b may be the name of a field (RFC 9110 5.1).
func ValidName(b []byte) bool { return len(b) > 0 && all(b, isToken) }

// ValidValue reports whether b may be the value of a field: no control character but tabs (RFC 9110 5.5).
func ValidValue(b []byte) bool { return isText(b) }

// ValidAuthority reports whether b may be the value of Host: a host and perhaps a port.
func ValidAuthority(b []byte) bool {
	_, ok := splitAuthority(b)
	return ok
}

// AppendField appends one field line.
func AppendField(dst, name, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// NextItem cuts the first element off a comma-separated list (RFC 9110 5.6.1) and trims it. Empty
// elements are skipped; item is nil at the end.
func NextItem(list []byte) (item, rest []byte) {
	for len(list) > 0 {
		end := 0
		for end < len(list) && list[end] != ',' {
			end++
		}
		item, rest = trimOWS(list[:end]), list[min(end+1, len(list)):]
		if len(item) > 0 {
			return item, rest
		}
		list = rest
	}
	return nil, nil
}

// trimOWS drops leading and trailing SP and HTAB.
func trimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
