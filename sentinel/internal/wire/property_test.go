package wire

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const tokenBytes = alpha + digits + "!#$%&'*+-.^_`|~"

// text draws bytes of a set.
func text(set string, least, most int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOfN(rapid.SampledFrom([]byte(set)), least, most).Draw(t, "bytes"))
	})
}

// fieldValues draws field values without surrounding whitespace.
var fieldValues = rapid.Custom(func(t *rapid.T) string {
	var set []byte
	for c := range 256 {
		if class[c]&isValue != 0 {
			set = append(set, byte(c))
		}
	}
	return strings.Trim(text(string(set), 0, 40).Draw(t, "value"), " \t")
})

var fieldNames = rapid.Custom(func(t *rapid.T) string {
	known := []string{"Via", "cookie", "X-FORWARDED-FOR", "Date", "Server", "TE", "x-request-id", "Accept"}
	if rapid.Bool().Draw(t, "known") {
		return rapid.SampledFrom(known).Draw(t, "name")
	}
	return "x-" + text(tokenBytes, 1, 20).Draw(t, "name")
})

// cuts draws where to cut n bytes.
func cuts(t *rapid.T, n int) feed {
	ends := rapid.SliceOfN(rapid.IntRange(0, n), 0, 8).Draw(t, "cuts")
	slices.Sort(ends)
	return feed{ends: append(ends, n)}
}

// drawFields draws field lines: as they are sent, with odd whitespace, and as they must be read.
func drawFields(t *rapid.T) (sent, read string) {
	for range rapid.IntRange(0, 10).Draw(t, "fields") {
		name, value := fieldNames.Draw(t, "name"), fieldValues.Draw(t, "value")
		sent += name + ":" + text(" \t", 0, 3).Draw(t, "before") + value + text(" \t", 0, 3).Draw(t, "after") + "\r\n"
		read += fmt.Sprintf("[%s=%s #%d]", name, value, Identify([]byte(name)))
	}
	return sent, read
}

func TestRequestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		method := text(alpha[26:]+digits+"-_", 1, 10).Filter(func(s string) bool { return s != "CONNECT" }).Draw(t, "method")
		path := "/" + text(alpha+"-._~!$&'()*+,;=:@", 0, 30).Filter(func(s string) bool { return s != "." && s != ".." }).Draw(t, "path")
		query := text(alpha+digits+"/?%&=[]", 0, 30).Draw(t, "query")
		host := text(alpha+digits, 1, 10).Draw(t, "host") + ".test"
		minor := rapid.IntRange(0, 1).Draw(t, "minor")
		fields, read := drawFields(t)
		in := fmt.Sprintf("%s %s?%s HTTP/1.%d\r\nHost: %s\r\n%s\r\n", method, path, query, minor, host, fields)
		want := fmt.Sprintf("%s %s ?%s 1.%d %s %s", method, path, query, minor, strings.ToLower(host),
			fmt.Sprintf("[Host=%s #%d]", strings.ToLower(host), Host)+read)
		got, n := parseRequest([]byte(in+"next"), cuts(t, len(in)+4), func(r *Request) string {
			return fmt.Sprintf("%s %s ?%s 1.%d %s %s", r.Method, r.Path, r.Query, r.Minor, r.Host, fieldsOf(r.Fields))
		})
		if got != want || n != len(in) {
			t.Fatalf("%q:\n got %s (%d)\nwant %s (%d)", in, got, n, want, len(in))
		}
	})
}

func TestResponseRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		status := rapid.IntRange(100, 599).Draw(t, "status")
		reason := fieldValues.Draw(t, "reason")
		length := rapid.Int64Range(0, 1<<60).Draw(t, "length")
		fields, read := drawFields(t)
		in := fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n", status, reason, fields, length)
		want := fmt.Sprintf("%d %s %s[Content-Length=%d #%d]", status, reason, read, length, ContentLength)
		got, n := parseResponse([]byte(in), false, cuts(t, len(in)), func(r *Response) string {
			return fmt.Sprintf("%d %s %s", r.Status, r.Reason, fieldsOf(r.Fields))
		})
		if got != want || n != len(in) {
			t.Fatalf("%q:\n got %s\nwant %s", in, got, want)
		}
	})
}

// Fields that are printed are read back as they were.
func TestAppendFieldRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name, value := fieldNames.Draw(t, "name"), fieldValues.Draw(t, "value")
		var h head
		fault := h.field(bytes.TrimSuffix(AppendField(nil, []byte(name), []byte(value)), []byte("\r\n")), &testLimits)
		if fault != None || string(h.Fields[0].Name) != name || string(h.Fields[0].Value) != value {
			t.Fatalf("%q: %q became %v %s", name, value, fault, fieldsOf(h.Fields))
		}
	})
}

func TestBodyRoundTrip(t *testing.T) {
	extensions := []string{"", "", ";a", ";a=b", " ; a=\"x;\\\"\""}
	rapid.Check(t, func(t *rapid.T) {
		var in, want []byte
		for range rapid.IntRange(0, 6).Draw(t, "chunks") {
			data := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "data")
			want = append(want, data...)
			if rapid.Bool().Draw(t, "ours") {
				in = AppendChunk(in, data)
				continue
			}
			zeros := strings.Repeat("0", rapid.IntRange(0, 8).Draw(t, "zeros"))
			in = fmt.Appendf(in, "%s%X%s\r\n%s\r\n", zeros, len(data), rapid.SampledFrom(extensions).Draw(t, "extension"), data)
		}
		fields, read := drawFields(t)
		in = fmt.Appendf(in, "0%s\r\n%s\r\n", rapid.SampledFrom(extensions).Draw(t, "extension"), fields)
		res := readBody(t, ByChunks, 0, append(in, "next"...), cuts(t, len(in)+4))
		if wantResult := (bodyResult{data: string(want), trailers: read, n: len(in), done: true}); res != wantResult {
			t.Fatalf("%q:\n got %+v\nwant %+v", in, res, wantResult)
		}
	})
}

// A path of these pieces meets every rule of the canonical form often.
var pathPieces = []string{
	"/", "/", "//", ".", "..", "a", "b.c", "%2e", "%2E", "%2f", "%2F", "%5c", "%61", "%41", "%7e", "%20", "%25", "%252e",
	"%e2%82%ac", ";x=1", "~", "-", "_",
}

func drawPath(t *rapid.T) string {
	return "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(pathPieces), 0, 12).Draw(t, "pieces"), "")
}

func TestCanonicalPathProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := []byte(drawPath(t))
		path, escaped, fault := CanonicalPath(nil, raw)
		if fault != None {
			t.Fatalf("%s: %v", raw, fault)
		}
		if flaw := flawOf(path); flaw != "" {
			t.Fatalf("%s became %s, which has %s", raw, path, flaw)
		}
		if flawOf(raw) == "" && !bytes.Equal(path, raw) {
			t.Fatalf("%s needed no change and became %s", raw, path)
		}
		if len(path) > len(raw) {
			t.Fatalf("%s grew to %s", raw, path)
		}
		again, _, fault := CanonicalPath(nil, path)
		if fault != None || !bytes.Equal(again, path) {
			t.Fatalf("%s became %s, then %s (%v)", raw, path, again, fault)
		}
		sent := strings.ToLower(string(raw))
		if want := strings.Contains(sent, "%2f") || strings.Contains(sent, "%5c"); escaped != want {
			t.Fatalf("%s: escaped separators: %t, want %t", raw, escaped, want)
		}
	})
}

// flawOf says why a path is not canonical; it is written apart from the code it checks.
func flawOf(path []byte) string {
	s := string(path)
	if strings.Contains(s, "//") {
		return "two slashes"
	}
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "." || segment == ".." {
			return "a dot segment"
		}
	}
	for i, c := range path {
		if c == '%' {
			var v int
			if _, err := fmt.Sscanf(s[i+1:i+3], "%02x", &v); err != nil {
				return "a bad escape"
			}
			if strings.IndexByte(alpha+digits+"-._~", byte(v)) >= 0 {
				return "an escaped unreserved character"
			}
		}
	}
	return ""
}

// Decoding the slashes of a path leaves none, and gives the canonical form of the decoded path. Only a path
// that hides no dot segment keeps all its segments.
func TestDecodeSlashesProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path, _, _ := CanonicalPath(nil, []byte(drawPath(t)))
		plain := strings.NewReplacer("%2f", "/", "%2F", "/").Replace(string(path))
		want, _, _ := CanonicalPath(nil, []byte(plain))
		got, fault := DecodeSlashes(nil, path)
		if fault != None || !bytes.Equal(got, want) {
			t.Fatalf("%s: got %s (%v), want %s", path, got, fault, want)
		}
		read := strings.NewReplacer("%5c", "/", "%5C", "/").Replace(plain)
		hidden := slices.ContainsFunc(strings.Split(read, "/"), func(s string) bool { return s == "." || s == ".." })
		if HidesDotSegment(path) != hidden {
			t.Fatalf("%s: hides a dot segment: %t, want %t", path, !hidden, hidden)
		}
	})
}
