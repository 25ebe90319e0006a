package coding

import (
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// brotliWindow is the binary logarithm of the window: 256 KiB. A larger one costs megabytes for each
	// encoder and client, and pays for bodies only that are larger still.
	brotliWindow = 18
	// brotliMost is the highest quality used: from 7 on an encoder takes 12 to 38 MiB.
	brotliMost = 6
	// zstdWindow is the window in bytes.
	zstdWindow = 256 << 10
)

// MinLevel and MaxLevel bound the level of an Encoder: fast, and small.
const (
	MinLevel = 1
	MaxLevel = 9
)

// writer is what the three libraries have in common.
type writer interface {
	io.WriteCloser
	Flush() error
	Reset(dst io.Writer)
}

// Encoder encodes one body at a time. It belongs to one goroutine between Get and Put.
type Encoder struct {
	kind kind
	w    writer
	out  []byte
	held bool // input was taken that Encode has not returned yet
}

type kind struct {
	coding Coding
	level  int
}

// sink is where the libraries write to: the encoder's own buffer. It never fails, so neither do they.
type sink struct{ e *Encoder }

func (s sink) Write(b []byte) (int, error) {
	s.e.out = append(s.e.out, b...)
	return len(b), nil
}

func newEncoder(k kind) *Encoder {
	e := &Encoder{kind: k}
	switch k.coding {
	case Brotli:
		e.w = brotli.NewWriterOptions(sink{e}, brotli.WriterOptions{Quality: min(k.level, brotliMost), LGWin: brotliWindow})
	case Zstd:
		e.w = must(zstd.NewWriter(
			sink{e}, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(k.level)), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true),
		))
	default:
		e.w = must(gzip.NewWriterLevel(sink{e}, k.level))
	}
	return e
}

// must is for constructors that fail for a level out of range only.
func must[W any](w W, err error) W {
	if err != nil {
		panic(err)
	}
	return w
}

// Coding returns what the encoder produces.
func (e *Encoder) Coding() Coding { return e.kind.coding }

// Encode takes the next piece of the body and returns what can leave by now, which may be nothing. What
// this and the other methods return is valid until the next call.
func (e *Encoder) Encode(piece []byte) []byte {
	e.out = e.out[:0]
	if len(piece) > 0 {
		e.held = true
		check(e.w.Write(piece))
	}
	return e.out
}

// Holds reports whether Flush would return something.
func (e *Encoder) Holds() bool { return e.held }

// Flush returns the rest of what was encoded so far, so that the client can decode all of it.
func (e *Encoder) Flush() []byte {
	e.out, e.held = e.out[:0], false
	check(0, e.w.Flush())
	return e.out
}

// Finish takes the last piece, which may be empty, and returns the rest of the encoded body.
func (e *Encoder) Finish(piece []byte) []byte {
	e.out, e.held = e.out[:0], false
	if len(piece) > 0 {
		check(e.w.Write(piece))
	}
	check(0, e.w.Close())
	return e.out
}

// check panics where an encoder fails, which it does only when its sink does.
func check(_ int, err error) {
	if err != nil {
		panic(err)
	}
}
