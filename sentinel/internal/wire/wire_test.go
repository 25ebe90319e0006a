package wire

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var testLimits = Limits{Line: 8192, Size: 8192, Count: 100, Name: 256, Value: 4096}

// example is one message and what must become of it. want is what the table's view shows of the parsed
// message, or the word of the fault that refuses it, or "incomplete".
type example struct {
	name string
	rule string // the RFC section or the attack that the row is about
	in   string
	want string
}

// withFields is an otherwise plain GET with more field lines.
func withFields(lines ...string) string {
	return section("GET / HTTP/1.1", append([]string{"Host: a.test"}, lines...)...)
}

// section is lines, each with its end, and the empty line after them.
func section(first string, lines ...string) string {
	return strings.Join(append([]string{first}, lines...), "\r\n") + "\r\n\r\n"
}

// withLine is an otherwise plain head with another request line.
func withLine(line string) string { return line + "\r\nHost: a.test\r\n\r\n" }

// feed hands a message to a parser in growing prefixes. ends are their lengths.
type feed struct {
	ends  []int
	moved bool // every prefix is in memory of its own, parsed from the start
}

// feeds returns the ways to cut n bytes that the tests try: byte by byte, the same in a buffer that moves
// in between, and in two at every boundary. Only the first 2 KiB of a long message are cut up.
func feeds(n int) []feed {
	var all []feed
	single := []int{}
	for i := 1; i < min(n, 2048); i++ {
		single = append(single, i)
		all = append(all, feed{ends: []int{i, n}})
	}
	single = append(single, n)
	return append(all, feed{ends: single}, feed{ends: single, moved: true})
}

func whole(n int) feed { return feed{ends: []int{n}} }

// parser is what requests and responses have in common.
type parser interface {
	Parse(buf []byte, lim *Limits) (n int, fault Fault)
}

// parseHead feeds in to p and describes the outcome: the view of what was parsed, the fault or
// "incomplete". n is the length of the head.
func parseHead(p parser, reset func(), view func() string, in []byte, f feed) (outcome string, n int) {
	reset()
	buf := bytes.Clone(in)
	for _, end := range f.ends {
		if f.moved {
			buf = bytes.Clone(in)
			reset()
		}
		n, fault := p.Parse(buf[:end:end], &testLimits)
		if fault != None {
			return fault.String(), 0
		}
		if n > 0 {
			return view(), n
		}
	}
	return "incomplete", 0
}

func parseRequest(in []byte, f feed, view func(*Request) string) (outcome string, n int) {
	var r Request
	return parseHead(&r, r.Reset, func() string { return view(&r) }, in, f)
}

func parseResponse(in []byte, toHead bool, f feed, view func(*Response) string) (outcome string, n int) {
	var r Response
	return parseHead(&r, func() { r.Reset(toHead) }, func() string { return view(&r) }, in, f)
}

// runRequests parses every example whole, compares the view with what the row wants, and then demands the
// same of every way to cut it.
func runRequests(t *testing.T, examples []example, view func(*Request) string) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			in := []byte(e.in)
			if got, _ := parseRequest(in, whole(len(in)), view); got != e.want {
				t.Fatalf("%s: %q\n got %s\nwant %s", e.rule, e.in, got, e.want)
			}
			want, wantN := parseRequest(in, whole(len(in)), everything)
			for _, f := range feeds(len(in)) {
				if got, n := parseRequest(in, f, everything); got != want || n != wantN {
					t.Fatalf("fed %+v:\n got %d %s\nwant %d %s", f, n, got, wantN, want)
				}
			}
		})
	}
}

func runResponses(t *testing.T, examples []example, toHead bool, view func(*Response) string) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			in := []byte(e.in)
			if got, _ := parseResponse(in, toHead, whole(len(in)), view); got != e.want {
				t.Fatalf("%s: %q\n got %s\nwant %s", e.rule, e.in, got, e.want)
			}
			want, wantN := parseResponse(in, toHead, whole(len(in)), allOfResponse)
			for _, f := range feeds(len(in)) {
				if got, n := parseResponse(in, toHead, f, allOfResponse); got != want || n != wantN {
					t.Fatalf("fed %+v:\n got %d %s\nwant %d %s", f, n, got, wantN, want)
				}
			}
		})
	}
}

// everything shows all that a request tells.
func everything(r *Request) string {
	return fmt.Sprintf("%s %s %q?%q(%t) 1.%d authority=%q host=%q slash=%t %s keep=%t upgrade=%q continue=%t unknown=%t hops=%d nominates=%t %s",
		r.Method, r.RawTarget, r.Path, r.Query, r.HasQuery, r.Minor, r.Authority, r.Host, r.EscapedSlash, body(&r.head),
		r.KeepAlive(), r.Upgrade(), r.Continue, r.UnknownExpect, r.MaxForwards, r.Nominates(), fieldsOf(r.Fields))
}

func allOfResponse(r *Response) string {
	return fmt.Sprintf("1.%d %d %q %s declared=%d keep=%t upgrade=%q nominates=%t %s", r.Minor, r.Status, r.Reason,
		body(&r.head), r.DeclaredLength(), r.KeepAlive(), r.Upgrade(), r.Nominates(), fieldsOf(r.Fields))
}

// body shows the framing of a message.
func body(h *head) string {
	switch framing, length := h.Body(); framing {
	case NoBody:
		return "no body"
	case ByLength:
		return fmt.Sprintf("%d bytes", length)
	case ByChunks:
		return "chunks"
	default:
		return "until close"
	}
}

func fieldsOf(fields []Field) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, "[%s=%s #%d]", f.Name, f.Value, f.ID)
	}
	return b.String()
}

// bodyResult is what reading a body came to.
type bodyResult struct {
	data     string
	trailers string
	n        int // bytes read, of a body that is done
	done     bool
	fault    Fault
}

// failer is what tests, fuzz targets and properties have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// readBody feeds in to a body, cut where the feed says.
func readBody(t failer, framing Framing, length int64, in []byte, f feed) (res bodyResult) {
	var b Body
	b.Reset(framing, length, &testLimits)
	start := 0
	for _, end := range f.ends {
		for src := in[start:end]; len(src) > 0 && !b.Done(); {
			data, n, fault := b.Next(src)
			res.data += string(data)
			if fault != None {
				if again, n, same := b.Next(src); len(again) != 0 || n != 0 || same != fault {
					t.Fatalf("%q: read past %v: %q, %d, %v", in, fault, again, n, same)
				}
				if b.Done() || b.Ended() == None {
					t.Fatalf("%q: refused with %v, and done", in, fault)
				}
				res.fault = fault
				return res
			}
			if n <= 0 || n > len(src) || len(data) > n {
				t.Fatalf("%q: Next consumed %d of %d with %d of data", in, n, len(src), len(data))
			}
			start, src = start+n, src[n:]
		}
	}
	if res.done = b.Done(); res.done {
		res.n, res.trailers = start, fieldsOf(b.Trailers())
	}
	if (b.Ended() == None) != (res.done || framing == UntilClose) {
		t.Fatalf("%q: Ended says %v, Done %t", in, b.Ended(), b.Done())
	}
	return res
}

// readBodyAnyhow reads a body whole and demands the same of every way to cut it.
func readBodyAnyhow(t failer, framing Framing, length int64, in []byte) bodyResult {
	t.Helper()
	want := readBody(t, framing, length, in, whole(len(in)))
	for _, f := range feeds(len(in)) {
		if f.moved {
			continue // a body keeps nothing of the buffer
		}
		if got := readBody(t, framing, length, bytes.Clone(in), f); got != want {
			t.Fatalf("%q fed %v:\n got %+v\nwant %+v", in, f.ends, got, want)
		}
	}
	return want
}

// seeds returns the messages of the tables that are short enough to fuzz from.
func seeds(tables ...[]example) (all []string) {
	for _, e := range slices.Concat(tables...) {
		if len(e.in) <= 1024 {
			all = append(all, e.in)
		}
	}
	return all
}
