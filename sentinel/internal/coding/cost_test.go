package coding

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

// text returns n bytes that compress like text.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = fmt.Appendf(b, "word%x ", r.IntN(4000))
	}
	return b[:n]
}

// TestCost measures what encoders keep, in use, and holds it against what the pool counts.
func TestCost(t *testing.T) {
	body := text(512 << 10)
	for _, c := range []Coding{Gzip, Brotli, Zstd} {
		for _, level := range []int{1, 2, 3, 5, 6, 9} { // each at the end of a step of costs, or the dearest of it
			const n = 2
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var kept [n]*Encoder
			for i := range kept {
				kept[i] = newEncoder(kind{c, level})
				for b := body; len(b) > 0; b = b[16<<10:] {
					kept[i].Encode(b[:16<<10])
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
			runtime.KeepAlive(kept)
			t.Logf("%s level %d: %d KiB", c, level, each>>10)
			if each > Cost(c, level) {
				t.Errorf("an encoder for %s at level %d takes %d bytes, the pool counts %d", c, level, each, Cost(c, level))
			}
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		body := text(size)
		for _, c := range []Coding{Gzip, Brotli, Zstd} {
			for _, level := range []int{1, 6} {
				b.Run(fmt.Sprintf("%s-%d/%dKiB", c, level, size>>10), func(b *testing.B) {
					p := NewPool(1 << 30)
					b.SetBytes(int64(size))
					b.ReportAllocs()
					out := 0
					for b.Loop() {
						e := p.Get(c, level)
						out = len(e.Encode(body))
						out += len(e.Finish(nil))
						p.Put(e)
					}
					b.ReportMetric(float64(out)/float64(size), "ratio")
				})
			}
		}
	}
}
