package sentinel

import (
	"bytes"
	"compress/gzip"
	"testing"
)

// TestHeldByCapacity shows that a held body counts as the memory that its buffer takes, which is more than its length.
func TestHeldByCapacity(t *testing.T) {
	t.Parallel()
	p := &Proxy{limits: newLimits()}
	p.limits.holding.Store(maxHeld)
	piece, pieces := make([]byte, bufferSize), 0
	reader := func() ([]byte, bool, Reason) { pieces++; return piece, pieces == 40, none }
	x := &exchange{p: p}
	s := &screening{c: &counsel{x: x}}
	if r := s.fill(reader, 1<<20, true); r != none || len(s.held) != 40*bufferSize {
		t.Fatalf("%d bytes, %v", len(s.held), r)
	}
	want := int64(cap(s.held))
	if want == int64(len(s.held)) {
		t.Fatalf("the buffer has no room to spare: the test shows nothing")
	}
	if x.held != want || p.held.Load() != want {
		t.Errorf("%d bytes count for the exchange and %d in all, the buffer has %d", x.held, p.held.Load(), want)
	}
	s.replace(make([]byte, 10, 1000), false)
	if want += 1000; x.held != want {
		t.Errorf("%d bytes count with what an agent made of it, want %d", x.held, want)
	}

	s.encoding, s.held = "gzip", gzipped(t, make([]byte, 100_000))
	s.rules = func(*boundAgent) *bodyRules { return &bodyRules{decode: true, decoded: 1 << 20, ratio: 1000} }
	data, _, r := s.readable(&viewer{seat: &seat{}})
	if r != none {
		t.Fatal(r)
	}
	if want += int64(cap(data)); x.held != want {
		t.Errorf("%d bytes count with %d decoded in a buffer of %d, want %d", x.held, len(data), cap(data), want)
	}
}

// TestHeldPieces shows that a piece for whose buffer there is no room is refused although its bytes would fit.
func TestHeldPieces(t *testing.T) {
	t.Parallel()
	p := &Proxy{limits: newLimits()}
	x := &exchange{p: p}
	room := int64(cap(append(make([]byte, bufferSize), 1)))
	p.limits.holding.Store(room - 1)
	held, ok := x.holdPiece(nil, make([]byte, bufferSize))
	if !ok {
		t.Fatal("a piece that fits is refused")
	}
	if held, ok = x.holdPiece(held, []byte{1}); ok || len(held) != bufferSize+1 {
		t.Errorf("%d bytes in a buffer of %d, %d are allowed", len(held), cap(held), room-1)
	}
	if x.held != int64(cap(held)) || p.held.Load() != x.held {
		t.Errorf("%d and %d bytes count", x.held, p.held.Load())
	}
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
