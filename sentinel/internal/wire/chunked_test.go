package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// bodies are chunked bodies. What the rows want is the data, then what is left behind the body, then the
// trailer fields; or what refuses the body; or that it is incomplete.
var bodies = []example{
	{"one chunk", "RFC 9112 7.1", "5\r\nhello\r\n0\r\n\r\n", "hello|"},
	{"two chunks", "RFC 9112 7.1", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world|"},
	{"no chunk", "RFC 9112 7.1", "0\r\n\r\n", "|"},
	{"hex size in any case", "RFC 9112 7.1", "1a\r\nabcdefghijklmnopqrstuvwxyz\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz|"},
	{"data that looks like chunks", "RFC 9112 7.1", "7\r\n0\r\n\r\n5\r\r\n0\r\n\r\n", "0\r\n\r\n5\r|"},
	{"last chunk of several zeros", "RFC 9112 7.1", "000\r\n\r\n", "|"},
	{"size with zeros first", "RFC 9112 7.1", "0000000000000005\r\nhello\r\n0\r\n\r\n", "hello|"},
	{"next request behind", "RFC 9112 9.3", "0\r\n\r\nGET / HTTP/1.1\r\n", "|GET / HTTP/1.1\r\n"},
	{"extension", "RFC 9112 7.1.1", "5;a=b\r\nhello\r\n0\r\n\r\n", "hello|"},
	{"quoted extension", "RFC 9112 7.1.1", "5;a=\"b;c\\\"\"\r\nhello\r\n0\r\n\r\n", "hello|"},
	{"extension after whitespace", "RFC 9112 7.1.1 BWS", "5 \t; a\r\nhello\r\n0\r\n\r\n", "hello|"},
	{"extension of the last chunk", "RFC 9112 7.1", "0;a=b\r\n\r\n", "|"},
	{"extensions at the cap", "CVE-2023-39326", "1;" + strings.Repeat("x", 4096) + "\r\na\r\n0\r\n\r\n", "a|"},

	{"size line ends in LF", "TERM.EXT, CVE-2025-22871", "5\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"extension ends in LF", "EXT.TERM", "5;a\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"bare CR in an extension", "EXT.TERM", "5;a\rb\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"CR and another byte after the size", "RFC 9112 7.1", "5\rXhello\r\n0\r\n\r\n", "bad_chunk"},
	{"CR CR LF after the size", "RFC 9112 7.1", "5\r\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"NUL in an extension", "RFC 9112 7.1.1", "5;a=\x00\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"DEL in an extension", "RFC 9112 7.1.1", "5;a=\x7f\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"data ends in LF", "RFC 9112 7.1", "5\r\nhello\n0\r\n\r\n", "bad_chunk"},
	{"data not followed by CRLF", "CVE-2025-43859, CVE-2023-40175", "5\r\nhelloXX0\r\n\r\n", "bad_chunk"},
	{"data followed by CR and more", "CVE-2025-43859", "5\r\nhello\rX0\r\n\r\n", "bad_chunk"},
	{"data followed by LF in the second place", "CVE-2025-43859", "5\r\nhelloX\n0\r\n\r\n", "bad_chunk"},
	{"data longer than its size", "SPILL", "5\r\nhelloworld\r\n0\r\n\r\n", "bad_chunk"},
	{"data shorter than its size", "SPILL", "6\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"last chunk ends in LF", "RFC 9112 7.1", "0\n\r\n", "bad_chunk"},
	{"0x", "RFC 9112 7.1", "0x5\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"plus", "RFC 9112 7.1", "+5\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"minus", "RFC 9112 7.1", "-5\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"underscore", "RFC 9112 7.1", "0_5\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"no hex digit", "RFC 9112 7.1", "g\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"space before the size", "RFC 9112 7.1", " 5\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"space after the size", "RFC 9112 7.1", "5 \r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"space inside the size", "RFC 9112 7.1", "5 5\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"empty size", "golang/go#64517", "\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"extension without size", "RFC 9112 7.1", ";a\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"size of 17 digits", "RFC 9112 7.1", "00000000000000005\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"size of 64 bits", "integer overflow", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"size that wraps to five", "integer overflow", "10000000000000005\r\nhello\r\n0\r\n\r\n", "bad_chunk"},
	{"size of 63 bits", "integer overflow", "7fffffffffffffff\r\nhello", "bad_chunk"},
	{"extensions over the cap", "CVE-2023-39326", "1;" + strings.Repeat("x", 4097) + "\r\na\r\n0\r\n\r\n", "bad_chunk"},
	{"many extensions over the cap", "CVE-2023-39326", strings.Repeat("1;xxxxxxxxxxxxxxxx\r\na\r\n", 257) + "0\r\n\r\n", "bad_chunk"},
	{"whitespace over the cap", "CVE-2023-39326", "1" + strings.Repeat(" ", 4097) + ";\r\na\r\n0\r\n\r\n", "bad_chunk"},

	{"nothing yet", "RFC 9112 8", "", "incomplete"},
	{"half a size", "RFC 9112 8", "5", "incomplete"},
	{"very large size", "RFC 9112 8", "400000000000000\r\nhello", "incomplete"},
	{"half the data", "RFC 9112 8", "5\r\nhel", "incomplete"},
	{"no last chunk", "RFC 9112 8", "5\r\nhello\r\n", "incomplete"},
	{"no final line", "RFC 9112 8", "5\r\nhello\r\n0\r\n", "incomplete"},
	{"half a final line", "RFC 9112 8", "5\r\nhello\r\n0\r\n\r", "incomplete"},

	{"trailer", "RFC 9112 7.1.2", "0\r\nX-Sum: 1\r\n\r\nG", "|G[X-Sum=1 #0]"},
	{"trailers", "RFC 9112 7.1.2", "1\r\na\r\n0\r\nX-Sum: \t1 \r\nY:\r\n\r\n", "a|[X-Sum=1 #0][Y= #0]"},
	{"trailers nobody may forward", "RFC 9110 6.5.1", "0\r\nContent-Length: 44\r\nHost: b\r\n\r\n", fmt.Sprintf("|[Content-Length=44 #%d][Host=b #%d]", ContentLength, Host)},
	{"trailer without colon", "RFC 9112 7.1.2", "0\r\nX\r\n\r\n", "bad_trailer"},
	{"trailer ends in LF", "RFC 9112 2.2", "0\r\nX: 1\n\r\n", "bad_trailer"},
	{"trailer section ends in LF", "RFC 9112 2.2", "0\r\nX: 1\r\n\n", "bad_trailer"},
	{"final line is LF", "RFC 9112 7.1", "0\r\n\n", "bad_trailer"},
	{"final line is CR CR LF", "RFC 9112 7.1", "0\r\n\r\r\n\r\n", "bad_trailer"},
	{"folded trailer", "RFC 9112 5.2", "0\r\nX: 1\r\n 2\r\n\r\n", "bad_trailer"},
	{"space before the colon", "RFC 9112 5.1", "0\r\nX : 1\r\n\r\n", "bad_trailer"},
	{"NUL in a trailer", "RFC 9110 5.5", "0\r\nX: \x00\r\n\r\n", "bad_trailer"},
	{"trailer too long", "bounded memory", "0\r\nX: " + strings.Repeat("a", 8193) + "\r\n\r\n", "header_too_large"},
	{"trailer without end", "bounded memory", "0\r\nX: " + strings.Repeat("a", 70000), "header_too_large"},
	{"too many trailers", "bounded memory", "0\r\n" + strings.Repeat("X: 1\r\n", 101) + "\r\n", "header_too_large"},
	{"very many trailers", "bounded memory", "0\r\n" + strings.Repeat("X: 1\r\n", 10000), "header_too_large"},
}

func TestChunkedBody(t *testing.T) {
	for _, e := range bodies {
		t.Run(e.name, func(t *testing.T) {
			res := readBodyAnyhow(t, ByChunks, 0, []byte(e.in))
			got := "incomplete"
			switch {
			case res.fault != None:
				got = res.fault.String()
			case res.done:
				got = res.data + "|" + e.in[res.n:] + res.trailers
			}
			if got != e.want {
				t.Errorf("%s: %.80q\n got %s\nwant %s", e.rule, e.in, got, e.want)
			}
		})
	}
}

func TestBodyByLength(t *testing.T) {
	for _, c := range []struct {
		length int64
		in     string
		want   bodyResult
	}{
		{5, "hello", bodyResult{data: "hello", n: 5, done: true}},
		{5, "helloGET /", bodyResult{data: "hello", n: 5, done: true}},
		{5, "hell", bodyResult{data: "hell"}},
		{0, "GET /", bodyResult{done: true}},
		{1 << 62, "hello", bodyResult{data: "hello"}},
	} {
		if got := readBodyAnyhow(t, ByLength, c.length, []byte(c.in)); got != c.want {
			t.Errorf("%d of %q: got %+v, want %+v", c.length, c.in, got, c.want)
		}
	}
}

func TestBodyWithoutFraming(t *testing.T) {
	in := []byte("GET / HTTP/1.1\r\n")
	if got := readBodyAnyhow(t, NoBody, 0, in); got != (bodyResult{done: true}) {
		t.Errorf("no body: %+v", got)
	}
	if got := readBodyAnyhow(t, UntilClose, 0, in); got != (bodyResult{data: string(in)}) {
		t.Errorf("until close: %+v", got)
	}
}

// Bytes that the kernel moved count like bytes that were read.
func TestSkip(t *testing.T) {
	var b Body
	b.Reset(ByLength, 10, &testLimits)
	if data, n, _ := b.Next([]byte("abc")); string(data) != "abc" || n != 3 || b.Left() != 7 {
		t.Fatalf("%q, %d, %d left", data, n, b.Left())
	}
	b.Skip(6)
	if b.Done() || b.Left() != 1 || b.Ended() != Truncated {
		t.Fatalf("done %t, %d left", b.Done(), b.Left())
	}
	b.Skip(1)
	if !b.Done() || b.Left() != 0 || b.Ended() != None {
		t.Fatalf("done %t, %d left", b.Done(), b.Left())
	}
	b.Reset(ByChunks, 0, &testLimits)
	if b.Left() != 0 || b.Done() {
		t.Errorf("after Reset: done %t, %d left", b.Done(), b.Left())
	}
}

// One body's trailers, fault and cap must not show in the next one's.
func TestBodyForgets(t *testing.T) {
	var b Body
	for _, in := range []string{
		"0\r\nX: 1\r\n\r\n",
		"1;" + strings.Repeat("x", 4000) + "\r\na\r\n0\r\n\r\n",
		"1;" + strings.Repeat("x", 4000) + "\r\na\r\n0\r\n\r\n",
		"0\r\nbad\r\n\r\n",
		"5;bad\x00",
		"0\r\n\r\n",
	} {
		b.Reset(ByChunks, 0, &testLimits)
		if b.Done() || b.Ended() != Truncated {
			t.Fatalf("done before it began: %q", in)
		}
		for src := []byte(in); len(src) > 0; {
			_, n, fault := b.Next(src)
			if fault != None {
				break
			}
			src = src[n:]
		}
	}
	if !b.Done() || len(b.Trailers()) != 0 {
		t.Errorf("done %t, trailers %v", b.Done(), b.Trailers())
	}
	b.Reset(ByChunks, 0, &testLimits)
	if _, n, fault := b.Next([]byte("0\r\nX: 1\r\n\r\n")); n != 11 || len(b.Trailers()) != 1 {
		t.Fatalf("%d bytes, %v, %v", n, b.Trailers(), fault)
	}
	if b.Reset(NoBody, 0, &testLimits); len(b.Trailers()) != 0 {
		t.Errorf("trailers of the body before: %v", b.Trailers())
	}
}

// The memory a trailer section takes is bounded however it is sent.
func TestTrailerMemory(t *testing.T) {
	var b Body
	b.Reset(ByChunks, 0, &testLimits)
	src := append([]byte("0\r\nX: "), bytes.Repeat([]byte("a"), 1<<20)...)
	fault := None
	for len(src) > 0 && fault == None {
		var n int
		_, n, fault = b.Next(src)
		src = src[n:]
	}
	if held := cap(b.chunks.section); fault != HeaderTooLarge || held > 2*testLimits.section() {
		t.Errorf("fault %v, %d bytes held", fault, held)
	}
}

func TestAppendChunk(t *testing.T) {
	for _, n := range []int{0, 1, 9, 10, 15, 16, 255, 256, 4096, 65535, 65536, 1 << 20} {
		data := bytes.Repeat([]byte("x"), n)
		want := ""
		if n > 0 {
			want = fmt.Sprintf("%x\r\n%s\r\n", n, data)
		}
		if got := AppendChunk([]byte("-"), data); string(got) != "-"+want {
			t.Errorf("%d bytes: got %.20q", n, got)
		}
	}
}

func TestAppendLastChunk(t *testing.T) {
	field := func(name string) Field {
		return Field{Name: []byte(name), Value: []byte("1"), ID: Identify([]byte(name))}
	}
	var fields []Field
	for _, name := range []string{
		"X-Sum", "Content-Length", "Transfer-Encoding", "Host", "Authorization", "X-Forwarded-For", "Cookie",
		"set-cookie", "Trailer", "TE", "Connection", "Content-Type", "Cache-Control", "X-Real-IP", "grpc-status",
	} {
		fields = append(fields, field(name))
	}
	fields = append(fields, Field{Name: []byte("X-Hop"), ID: Nominated})
	if got, want := string(AppendLastChunk(nil, fields)), "0\r\nX-Sum: 1\r\ngrpc-status: 1\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(AppendLastChunk([]byte("-"), nil)); got != "-0\r\n\r\n" {
		t.Errorf("without trailers: %q", got)
	}
}
