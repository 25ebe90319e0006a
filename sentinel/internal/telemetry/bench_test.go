package telemetry

import (
	"io"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// typical is the access record of an ordinary proxied request.
func typical() Access {
	return Access{
		Time:             time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC),
		TraceID:          []byte("2Fq7RkLm3Xz"),
		Method:           []byte("GET"),
		Path:             []byte("/api/v1/customers/4711/orders"),
		Query:            []byte("page=2&sort=date"),
		Host:             []byte("shop.example.com"),
		UserAgent:        []byte("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
		Referer:          []byte("https://shop.example.com/customers"),
		Protocol:         "HTTP/1.1",
		Status:           200,
		BodyBytesSent:    1024,
		Duration:         1234 * time.Microsecond,
		UpstreamDuration: 987 * time.Microsecond,
		ClientIP:         netip.MustParseAddr("203.0.113.7"),
		Route:            "orders",
		Upstream:         "orders-backend",
		UpstreamAddr:     "10.0.0.12:8080",
		UpstreamAttempts: 1,
		ConnectionReused: true,
		ConfigGeneration: 3,
	}
}

// parkEvery is how many lines a benchmark writes before it lets others run, as a connection does
// whenever it waits. A loop that never does starves the drain: the buffer grows out of the cache,
// and lines are lost.
const parkEvery = 8

// benchmarkWriter is the writer of a benchmark, and a function that reports how much was lost: a
// dropped line is a cheap line.
func benchmarkWriter(b *testing.B) (*Writer, func()) {
	b.Helper()
	b.ReportAllocs()
	dropped, lost := counter()
	w := NewWriter(io.Discard, WriterOptions{Dropped: dropped})
	return w, func() {
		b.ReportMetric(float64(lost.Load())/float64(b.N), "lost/op")
		if err := w.Close(); err != nil {
			b.Error(err)
		}
	}
}

func BenchmarkAccess(b *testing.B) {
	for _, format := range []string{"json", "combined"} {
		b.Run(format, func(b *testing.B) {
			w, report := benchmarkWriter(b)
			defer report()
			o := everything
			o.Format = format
			l, a := NewAccessLog(w, o), typical()
			for i := 0; b.Loop(); i++ {
				l.Write(&a)
				park(i)
			}
		})
	}
}

func BenchmarkAccessEncode(b *testing.B) {
	l, s, a := NewAccessLog(nil, everything), newLine(), typical()
	b.ReportAllocs()
	for b.Loop() {
		s.b = s.b[:0]
		l.encode(s, &a)
	}
}

func BenchmarkAccessParallel(b *testing.B) {
	w, report := benchmarkWriter(b)
	defer report()
	l := NewAccessLog(w, everything)
	b.RunParallel(func(pb *testing.PB) {
		a := typical()
		for i := 0; pb.Next(); i++ {
			l.Write(&a)
			park(i)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	w, report := benchmarkWriter(b)
	defer report()
	line := make([]byte, 600)
	line[len(line)-1] = '\n'
	for i := 0; b.Loop(); i++ {
		w.Append(line)
		park(i)
	}
}

func park(i int) {
	if i%parkEvery == 0 {
		runtime.Gosched()
	}
}

func BenchmarkTraceID(b *testing.B) {
	for _, format := range []string{"tinyflake", "uuid"} {
		b.Run(format, func(b *testing.B) {
			g, now, dst := NewIDs(format), time.Now(), make([]byte, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				dst = g.Append(dst[:0], now)
			}
		})
	}
}
