package wire

import (
	"bytes"
	"testing"
)

// paths are paths as sent. What the rows want is the canonical one, with a mark when it has an escaped
// slash or backslash; or what refuses it.
var paths = []example{
	{"root", "RFC 3986 6.2.2", "/", "/"},
	{"nothing to change", "RFC 9110 7.7", "/a%20b/%E2%82%AC/x+y,z'(1)", "/a%20b/%E2%82%AC/x+y,z'(1)"},
	{"slash at the end", "RFC 3986 6.2.2", "/a/", "/a/"},
	{"dots inside a segment", "RFC 3986 3.3", "/a.b/..c/d../...", "/a.b/..c/d../..."},
	{"dot file", "RFC 3986 3.3", "/.well-known/x", "/.well-known/x"},
	{"case of escapes", "forwarded as sent", "/%e2%82%ac/%E2", "/%e2%82%ac/%E2"},
	{"empty path", "RFC 9112 3.2.1", "", "bad_path"},
	{"relative path", "RFC 9112 3.2.1", "a", "bad_path"},

	{"unreserved letter", "RFC 3986 6.2.2.2", "/%61dmin", "/admin"},
	{"every kind of unreserved", "RFC 3986 2.3", "/%41%7a%30%2d%2E%5f%7E", "/Az0-._~"},
	{"reserved stays escaped", "RFC 3986 2.2", "/a%3fx=1%23%26%3B", "/a%3fx=1%23%26%3B"},
	{"escaped once, not twice", "double decoding", "/%2541%252e%252e", "/%2541%252e%252e"},
	{"escape made of escapes", "double decoding", "/%25%32%65", "/%252e"},
	{"escape that needs an escape", "double decoding", "/%%34%31", "bad_path"},
	{"overlong UTF-8 is no dot", "overlong UTF-8", "/%c0%ae%c0%ae/", "/%c0%ae%c0%ae/"},
	{"escaped space", "RFC 3986 2.1", "/admin%20", "/admin%20"},

	{"dot segment", "RFC 3986 5.2.4", "/a/./b", "/a/b"},
	{"dot segment at the end", "RFC 3986 5.2.4", "/a/.", "/a/"},
	{"parent", "RFC 3986 5.2.4", "/public/../admin/x", "/admin/x"},
	{"parent at the end", "RFC 3986 5.2.4", "/a/b/..", "/a/"},
	{"parent of all", "RFC 3986 5.2.4", "/a/..", "/"},
	{"parent of parents", "RFC 3986 5.2.4", "/a/b/c/../../d", "/a/d"},
	{"above the root", "RFC 3986 5.2.4", "/../../x", "/x"},
	{"only above the root", "RFC 3986 5.2.4", "/..", "/"},
	{"dot only", "RFC 3986 5.2.4", "/.", "/"},
	{"escaped dots", "GHSA-vrch-868g-9jx5", "/public/%2e%2e/admin", "/admin"},
	{"one escaped dot", "GHSA-vrch-868g-9jx5", "/public/.%2e/%2E./admin", "/admin"},
	{"parent after slashes", "merge before remove", "/a//../b", "/b"},
	{"parent after dot", "RFC 3986 5.2.4", "/a/./../b", "/b"},

	{"two slashes first", "routing bypass", "//admin", "/admin"},
	{"slashes inside", "routing bypass", "/public//../admin", "/admin"},
	{"slashes everywhere", "routing bypass", "///a////b///", "/a/b/"},

	{"escaped slash", "matched as one thing, forwarded as another", "/a%2fb", "/a%2fb slash"},
	{"escaped slash in capitals", "CVE-2025-66490", "/a%2Fb", "/a%2Fb slash"},
	{"escaped backslash", "read as a slash by some", "/a%5cb", "/a%5cb slash"},
	{"escaped slash in a removed segment", "readers differ on which it was", "/a%2fb/..", "/ slash"},
	{"hidden parent stays", "CVE-2025-66490", "/public/..%2fadmin", "/public/..%2fadmin slash"},

	{"escaped NUL", "CVE-2025-66490", "/a%00", "bad_path"},
	{"no hex", "RFC 3986 2.1", "/%zz", "bad_path"},
	{"half hex", "RFC 3986 2.1", "/%4z", "bad_path"},
	{"percent at the end", "RFC 3986 2.1", "/%", "bad_path"},
	{"half an escape", "RFC 3986 2.1", "/%4", "bad_path"},
	{"half an escape before a slash", "RFC 3986 2.1", "/%4/a", "bad_path"},
	{"query", "RFC 3986 3.3", "/a?b", "bad_target"},
	{"query after an escape", "RFC 3986 3.3", "/%20a?b", "bad_target"},
	{"control byte", "RFC 3986 2", "/a\x01", "bad_target"},
	{"control byte after an escape", "RFC 3986 2", "/%20\x01", "bad_target"},
	{"backslash", "read as a slash by some", "/a\\b", "bad_target"},
	{"high byte", "RFC 3986 2", "/\xc3", "bad_target"},
}

func canonical(raw []byte) string {
	path, escaped, fault := CanonicalPath(nil, raw)
	if fault != None {
		return fault.String()
	}
	if escaped {
		return string(path) + " slash"
	}
	return string(path)
}

func TestCanonicalPath(t *testing.T) {
	for _, e := range paths {
		t.Run(e.name, func(t *testing.T) {
			if got := canonical([]byte(e.in)); got != e.want {
				t.Errorf("%s: %q\n got %s\nwant %s", e.rule, e.in, got, e.want)
			}
		})
	}
}

// A path that was made canonical must not point into memory that the next request overwrites, and a
// canonical one must not be copied.
func TestPathMemory(t *testing.T) {
	var r Request
	for _, c := range []struct{ target, want string }{
		{"/a/../" + string(bytes.Repeat([]byte("x"), 100)), "/" + string(bytes.Repeat([]byte("x"), 100))},
		{"/a/../b", "/b"},
		{"/plain", "/plain"},
		{"/%61/%62", "/a/b"},
	} {
		in := []byte(withLine("GET " + c.target + " HTTP/1.1"))
		r.Reset()
		if n, fault := r.Parse(in, &testLimits); n != len(in) || string(r.Path) != c.want || string(r.RawTarget) != c.target {
			t.Fatalf("%q: %d, %v, path %q, target %q", in, n, fault, r.Path, r.RawTarget)
		}
		for i := range in {
			in[i] = '#'
		}
		if kept := string(r.Path) == c.want; kept != (c.target != c.want) {
			t.Errorf("%s: kept %t after its buffer changed: %q", c.target, kept, r.Path)
		}
	}
	if cap(r.pathBuf) < 100 || cap(r.pathBuf) > 300 {
		t.Errorf("the scratch has %d bytes", cap(r.pathBuf))
	}
	r.SetPath([]byte("/new"))
	if string(r.Path) != "/new" {
		t.Errorf("set path: %q", r.Path)
	}
}

func TestDecodeSlashes(t *testing.T) {
	for _, e := range []example{
		{"none", "RFC 3986 2.2", "/a/b", "/a/b"},
		{"one", "RFC 3986 2.2", "/a%2fb%2Fc", "/a/b/c"},
		{"at the end", "RFC 3986 2.2", "/a%2f", "/a/"},
		{"doubled", "merge slashes", "/a/%2f/b", "/a/b"},
		{"parent", "CVE-2025-66490", "/public/..%2fadmin", "/admin"},
		{"only parents", "CVE-2025-66490", "/..%2f..%2f", "/"},
		{"dot", "RFC 3986 5.2.4", "/a%2f.%2fb", "/a/b"},
		{"escaped twice", "double decoding", "/a%252fb", "/a%252fb"},
		{"backslash stays", "read as a slash by some", "/a%5cb", "/a%5cb"},
		{"not canonical", "half an escape", "/a%2", "bad_path"},
		{"not canonical either", "half an escape", "/a%", "bad_path"},
		{"no path", "RFC 9112 3.2.1", "", "bad_path"},
	} {
		t.Run(e.name, func(t *testing.T) {
			in := []byte(e.in)
			got, fault := DecodeSlashes(in[:0], in) // in place
			if show := string(got); fault == None && show != e.want || fault != None && fault.String() != e.want {
				t.Errorf("%s: %q\n got %s %v\nwant %s", e.rule, e.in, show, fault, e.want)
			}
		})
	}
}

func TestHidesDotSegment(t *testing.T) {
	for path, want := range map[string]bool{
		"/":              false,
		"*":              false,
		"/a/b":           false,
		"/a%2fb":         false,
		"/a.b%2f..c":     false,
		"/...%2fa":       false,
		"/a%2f":          false,
		"/a%252f..":      false,
		"/public/..%2fa": true,
		"/..%2F":         true,
		"/a%2f..":        true,
		"/a%2f.":         true,
		"/a%5c..%5Cb":    true,
		"/a%2f.%2fb":     true,
		"/a%2f..%5cb":    true,
		"/a/..%2":        false,
	} {
		if got := HidesDotSegment([]byte(path)); got != want {
			t.Errorf("%s: got %t, want %t", path, got, want)
		}
	}
}
