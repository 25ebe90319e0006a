package telemetry

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestEscape(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain":              {"/a/b?c=d~", "/a/b?c=d~"},
		"quote, backslash":   {`a"b\c`, `a\"b\\c`},
		"line ends":          {"a\r\n\tb", `a\r\n\tb`},
		"nul, escape, del":   {"\x00\x1b[31m\x7f", `\u0000\u001b[31m\u007f`},
		"c1 control":         {"a\u009b31m", `a\u009b31m`},
		"line separators":    {"a\u2028b\u2029", `a\u2028b\u2029`},
		"reversed text":      {"a\u202eb", `a\u202eb`},
		"not printable, big": {"\U000e0041", `\udb40\udc41`},
		"umlaut, emoji":      {"käse 🧀", "käse 🧀"},
		"invalid":            {"a\xff\xfeb", `a\ufffd\ufffdb`},
		"cut character":      {"a\xf0\x9f\xa7", `a\ufffd\ufffd\ufffd`},
		"surrogate half":     {"\xed\xa0\x80", `\ufffd\ufffd\ufffd`},
		"replacement":        {"\ufffd", "\ufffd"},
		"late in a word":     {"12345678\"", `12345678\"`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(appendEscaped(nil, c.in)); got != c.want {
				t.Errorf("string: got %s, want %s", got, c.want)
			}
			if got := string(appendEscaped(nil, []byte(c.in))); got != c.want {
				t.Errorf("bytes: got %s, want %s", got, c.want)
			}
		})
	}
}

// The eight bytes at a time agree with the table for every byte at every place.
func TestAllPlain(t *testing.T) {
	for length := 1; length <= 17; length++ {
		for at := range length {
			for c := range 256 {
				b := bytes.Repeat([]byte{'!'}, length)
				b[at] = byte(c)
				if got := allPlain(b); got != plain[c] {
					t.Fatalf("%q: %v", b, got)
				}
			}
		}
	}
}

func TestAllPlainIsTheTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "b")
		want := true
		for _, c := range b {
			want = want && plain[c]
		}
		if got := allPlain(b); got != want {
			t.Errorf("allPlain(%q) = %v", b, got)
		}
	})
}

func TestCutKeepsCharactersWhole(t *testing.T) {
	for _, in := range []string{"abcdé", "abc€", "ab🧀", "ab\x80\x80\x80\x80\x80"} {
		t.Run(strconv.QuoteToASCII(in), func(t *testing.T) {
			l := new(line)
			text(l, `"`, in, 5)
			whole := strings.HasPrefix(in, strings.Trim(string(l.b), `"`))
			if utf8.ValidString(in) && !whole || !l.cut || len(l.b) < 3 {
				t.Errorf("%q became %s, cut %v", in, l.b, l.cut)
			}
		})
	}
}

// FuzzAccessJSON: whatever the client sent, the line is one line, valid JSON, printable, and holds
// what was sent as far as that was text.
func FuzzAccessJSON(f *testing.F) {
	f.Add([]byte("GET"), []byte("/a"), []byte("x=1"), []byte("Mozilla/5.0"))
	f.Add([]byte("G\"ET"), []byte("/\x1b[2J\r\n"), []byte("\xff\xfe"), bytes.Repeat([]byte("ä"), 2000))
	f.Add([]byte("\\"), []byte("\u2028\u202e"), []byte("\xed\xa0\x80"), []byte("\U000e0041\x7f\u009b"))
	l := NewAccessLog(nil, everything)
	f.Fuzz(func(t *testing.T, method, path, query, agent []byte) {
		a := Access{
			Method: method, Path: path, Query: query, UserAgent: agent, Host: agent, Referer: path, TraceID: query,
			ClientIP: netip.IPv6Loopback(), Route: string(path), Reason: string(agent),
		}
		s := newLine()
		l.encodeJSON(s, &a)
		for _, r := range string(s.b) {
			if !strconv.IsPrint(r) {
				t.Fatalf("%q is in the line as it is", r)
			}
		}
		var got struct {
			Path      string `json:"path"`
			Truncated bool   `json:"truncated"`
		}
		if err := json.Unmarshal(s.b, &got); err != nil {
			t.Fatalf("%v: %s", err, s.b)
		}
		if utf8.Valid(path) && len(path) <= maxText && got.Path != string(path) {
			t.Errorf("path %q became %q", path, got.Path)
		}
		if len(path) > maxText && !got.Truncated {
			t.Error("cut without a flag")
		}
	})
}
