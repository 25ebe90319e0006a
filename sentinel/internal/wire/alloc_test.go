package wire

import (
	"strings"
	"testing"
)

// mustNotAllocate fails when f, run again and again, allocates.
func mustNotAllocate(t *testing.T, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(200, f); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}

func TestRequestsDoNotAllocate(t *testing.T) {
	for name, head := range map[string]string{
		"load":      loadHead,
		"browser":   browserHead,
		"rewritten": withLine("GET /a/../%62//c HTTP/1.1"),
		"absolute":  withLine("GET http://b.test/c HTTP/1.1"),
		"nominated": withFields("Connection: x-a, x-b", "X-A: 1", "X-B: 2"),
		"refused":   withFields("Content-Length: 1", "Transfer-Encoding: chunked"),
	} {
		t.Run(name, func(t *testing.T) {
			raw := []byte(head)
			var r Request
			mustNotAllocate(t, func() {
				r.Reset()
				if n, fault := r.Parse(raw, &testLimits); n == 0 && fault == None {
					t.Fatal("incomplete")
				}
			})
		})
	}
}

func TestResponsesDoNotAllocate(t *testing.T) {
	raw := []byte(responseHead)
	var r Response
	mustNotAllocate(t, func() {
		r.Reset(false)
		if n, fault := r.Parse(raw, &testLimits); n != len(raw) {
			t.Fatal(n, fault)
		}
	})
}

func TestBodiesDoNotAllocate(t *testing.T) {
	for name, c := range map[string]struct {
		framing Framing
		raw     string
	}{
		"length":   {ByLength, strings.Repeat("x", 10)},
		"chunks":   {ByChunks, "5\r\nhello\r\n5;a=b\r\nworld\r\n0\r\n\r\n"},
		"trailers": {ByChunks, "5\r\nhello\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := []byte(c.raw)
			var b Body
			mustNotAllocate(t, func() {
				b.Reset(c.framing, 10, &testLimits)
				for rest := raw; !b.Done(); {
					_, n, fault := b.Next(rest)
					if fault != None {
						t.Fatal(fault)
					}
					rest = rest[n:]
				}
			})
		})
	}
}

func TestWritingDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 256)
	data := []byte("hello")
	trailers := []Field{{Name: []byte("X-Sum"), Value: []byte("1")}}
	mustNotAllocate(t, func() {
		buf = AppendLastChunk(AppendChunk(AppendField(buf[:0], trailers[0].Name, data), data), trailers)
	})
}
