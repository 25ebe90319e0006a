package wire

import "bytes"

// target takes the request target apart by its form (RFC 9112 3.2).
func (r *Request) target(t []byte) Fault {
	switch {
	case t[0] == '/' && string(r.Method) != "CONNECT":
		return r.pathAndQuery(t)
	case !all(t, isTarget):
		return BadTarget
	case string(r.Method) == "CONNECT":
		if _, ok := splitAuthority(t); !ok {
			return BadTarget
		}
		r.Authority, r.Path = t, nil
		return None
	case len(t) == 1 && t[0] == '*':
		if string(r.Method) != "OPTIONS" {
			return BadTarget
		}
		r.Path = t
		return None
	}
	return r.absolute(t)
}

// absolute reads scheme "://" authority path-abempty. Its authority replaces Host.
func (r *Request) absolute(t []byte) Fault {
	i := bytes.Index(t, []byte("://"))
	if i < 0 || !EqualName(t[:i], "http") && !EqualName(t[:i], "https") {
		return BadTarget
	}
	rest := t[i+3:]
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.Authority = rest[:end]
	switch rest = rest[end:]; {
	case len(rest) > 0 && rest[0] == '/':
		return r.pathAndQuery(rest)
	case string(r.Method) == "OPTIONS" && len(rest) == 0: // RFC 9112 3.2.4
		r.Path = []byte("*")
		return None
	case len(rest) > 0:
		r.HasQuery, r.Query = true, rest[1:]
	}
	r.Path = []byte("/")
	return None
}

func (r *Request) pathAndQuery(t []byte) (fault Fault) {
	path := t
	if i := bytes.IndexByte(t, '?'); i >= 0 {
		path, r.Query, r.HasQuery = t[:i], t[i+1:], true
	}
	if !all(r.Query, isTarget) {
		return BadTarget
	}
	r.Path, r.EscapedSlash, fault = CanonicalPath(r.pathBuf, path)
	if fault == None && cap(r.Path) > cap(r.pathBuf) && &r.Path[0] != &path[0] {
		r.pathBuf = r.Path // the scratch grew: keep it
	}
	return fault
}

// SetPath replaces the path, for a rule that rewrites it.
func (r *Request) SetPath(p []byte) { r.Path = p }

// authority settles which authority the request is for and checks it. Exactly one Host is needed, also
// in HTTP/1.0 and beside an absolute target (RFC 9112 3.2).
func (r *Request) authority() Fault {
	if r.hosts != 1 {
		return BadHost
	}
	host, ok := splitAuthority(r.host)
	if !ok {
		return BadHost
	}
	if r.Authority == nil {
		r.Authority = r.host
	} else if host, ok = splitAuthority(r.Authority); !ok {
		return BadHost
	}
	// Hosts are case-insensitive; in place, so that every later reader sees the same one.
	authority := r.Authority
	for i, c := range authority {
		authority[i] = lower(c)
	}
	r.Host = bytes.TrimSuffix(host, []byte("."))
	return None
}

// splitAuthority checks uri-host [ ":" port ] (RFC 9110 7.2) and returns the host. User information, an
// empty host and zone identifiers are refused.
func splitAuthority(b []byte) (host []byte, ok bool) {
	end := 0
	if len(b) > 0 && b[0] == '[' {
		end = bytes.IndexByte(b, ']') + 1
		if end == 0 || !isIPv6(b[1:end-1]) {
			return nil, false
		}
	} else {
		end = span(b, isReg)
	}
	if end == 0 || b[0] == '.' {
		return nil, false
	}
	return b[:end], isPort(b[end:])
}

func isIPv6(b []byte) bool {
	a, ok := ParseAddr(b)
	return ok && a.Is6()
}

// isPort accepts nothing, or a colon and a number up to 65535 (RFC 3986 3.2.3 allows no digits).
func isPort(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if b[0] != ':' || len(b) > 6 {
		return false
	}
	n := 0
	for _, c := range b[1:] {
		if class[c]&isDigit == 0 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n <= 65535
}
