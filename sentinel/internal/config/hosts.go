package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// hostOf checks a host name or address and returns it in lower case. The name may start with up to
// wildcards times `*.`, each of which stands for one label.
func (b *block) hostOf(name string, v value, wildcards int) (string, bool) {
	s, ok := b.textOf(name, v)
	if !ok {
		return "", false
	}
	host := strings.TrimSuffix(strings.ToLower(s), ".")
	rest := host
	for range wildcards {
		rest = strings.TrimPrefix(rest, "*.")
	}
	if isHostName(rest) || rest == host && isHostAddress(rest) {
		return host, true
	}
	expected := `expected a host name such as "www.example.com" or "*.example.com"`
	switch _, port, hasPort := strings.Cut(rest, ":"); {
	case hasPort && isPort(port):
		expected = "expected a host without a port"
	case strings.ContainsAny(rest, "*[("):
		expected += "; a pattern belongs in host-regex"
	}
	b.wrong(name, v, expected)
	return "", false
}

// isHostName accepts the names DNS can hold, and the underscore that some networks use.
func isHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notInLabel) {
			return false
		}
	}
	return true
}

func notInLabel(c rune) bool {
	return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
}

// isHostAddress accepts an IPv4 address, or an IPv6 address in the brackets a Host field has.
func isHostAddress(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && a.Is6() && strings.HasSuffix(s, "]")
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// hostPort checks HOST:PORT, where the host is a DNS name or an address.
func (b *block) hostPort(name string, v value) (string, bool) {
	s, ok := b.textOf(name, v)
	if !ok {
		return "", false
	}
	host, port, ok := cutPort(s)
	if ok && isPort(port) && (isHostName(host) || isHostAddress(host)) {
		return s, true
	}
	expected := "expected HOST:PORT, such as \"10.0.0.7:8080\" or \"[::1]:8080\""
	if strings.Contains(s, "://") {
		expected += ", without a scheme"
	}
	b.wrong(name, v, expected)
	return "", false
}

// cutPort splits at the last colon, which may stand after a bracketed address.
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
