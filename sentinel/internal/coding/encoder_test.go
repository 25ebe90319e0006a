package coding

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

// decoder reads a body in the given coding, gzip with the standard library.
func decoder(c Coding, r io.Reader) (io.Reader, error) {
	switch c { //nolint:exhaustive // the rest is no coding
	case Gzip:
		return gzip.NewReader(r)
	case Brotli:
		return brotli.NewReader(r), nil
	case Zstd:
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20)) // what browsers take (RFC 9659)
	}
	return r, nil
}

func decode(t interface{ Fatal(...any) }, c Coding, b []byte) []byte {
	r, err := decoder(c, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRoundTrip encodes random pieces with encoders that are used again, finished or not: what is decoded
// is what went in, and after each Flush all of it.
func TestRoundTrip(t *testing.T) {
	pool, words := NewPool(1<<30), text(40_000)
	rapid.Check(t, func(rt *rapid.T) {
		c := rapid.SampledFrom([]Coding{Gzip, Brotli, Zstd}).Draw(rt, "coding")
		e := pool.Get(c, rapid.SampledFrom([]int{MinLevel, 6, MaxLevel}).Draw(rt, "level"))
		defer pool.Put(e)
		var in, out []byte
		for range rapid.IntRange(0, 5).Draw(rt, "pieces") {
			piece := words[:rapid.IntRange(0, len(words)).Draw(rt, "size")]
			in = append(in, piece...)
			out = append(out, e.Encode(piece)...)
			if e.Holds() && rapid.Bool().Draw(rt, "flush") {
				out = append(out, e.Flush()...)
				checkPrefix(rt, c, out, in)
			}
		}
		if rapid.IntRange(0, 4).Draw(rt, "abandon") == 0 {
			return
		}
		last := words[:rapid.IntRange(0, 3000).Draw(rt, "last")]
		out = append(out, e.Finish(last)...)
		if got := decode(rt, c, out); !bytes.Equal(got, append(in, last...)) {
			rt.Fatalf("%d bytes came out that are not the %d that went in", len(got), len(in)+len(last))
		}
	})
}

// checkPrefix demands that what has left so far decodes to all that went in.
func checkPrefix(rt *rapid.T, c Coding, out, in []byte) {
	r, err := decoder(c, bytes.NewReader(out))
	got := make([]byte, len(in))
	if err == nil {
		_, err = io.ReadFull(r, got)
	}
	if err != nil || !bytes.Equal(got, in) {
		rt.Fatalf("after a flush the %d bytes that went in do not come out: %v", len(in), err)
	}
}

func TestPoolIsBounded(t *testing.T) {
	p := NewPool(2 * Cost(Gzip, 6))
	a, b := p.Get(Gzip, 6), p.Get(Gzip, 6)
	if a == nil || b == nil || p.Get(Gzip, 6) != nil || p.Get(Zstd, 1) != nil {
		t.Fatal("two encoders fit, and no third")
	}
	p.Put(a)
	if p.Get(Gzip, 6) != a {
		t.Error("an idle encoder is not used again")
	}
	p.Put(a)
	if e := p.Get(Zstd, 1); e == nil || p.Taken() != Cost(Gzip, 6)+Cost(Zstd, 1) {
		t.Errorf("an idle encoder of another kind does not make room: %d bytes taken", p.Taken())
	}
}

func TestPoolTrims(t *testing.T) {
	p := NewPool(1 << 30)
	p.Put(p.Get(Gzip, 1))
	p.Trim()
	p.Put(p.Get(Gzip, 1))
	if p.Trim(); p.Taken() == 0 {
		t.Error("an encoder is gone that was needed since the last Trim")
	}
	if p.Trim(); p.Taken() != 0 {
		t.Errorf("%d bytes are kept that nobody needs", p.Taken())
	}
}
