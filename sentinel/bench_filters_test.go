package sentinel_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

const encodedConfig = `
system { }
listeners { listener "main" { address "127.0.0.1:0" } }
routes { route "all" { matches { path-prefix "/" }; upstream "o"; filters "cors" "small" } }
upstreams { upstream "o" { target "ORIGIN" } }
filters {
    filter "small" { type "compress"; algorithms "gzip" "br" "zstd" }
    filter "cors" { type "cors"; allowed-origins "https://a.example" }
}
observability {
    logging { access-log { file "/dev/null" } }
    metrics { address "127.0.0.1:0" }
}
`

func encodedRequest(coding string) []byte {
	return []byte("GET /some/path?x=1 HTTP/1.1\r\nHost: bench.example\r\nOrigin: https://a.example\r\nAccept-Encoding: " + coding + "\r\n\r\n")
}

// newEncodedCaller calls a route whose answers of size bytes, the same each time, come encoded.
func newEncodedCaller(t testing.TB, coding string, size int) *caller {
	t.Helper()
	var body strings.Builder
	for i := 0; body.Len() < size; i++ {
		fmt.Fprintf(&body, `{"id":%d,"name":"item %d","tags":["a","b"],"price":%d.99},`+"\n", i, i*7919%1000, i*31%97)
	}
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"abc\"\r\nVary: Accept\r\nContent-Length: %d\r\n\r\n%s", size, body.String()[:size])
	p := startProxy(t, encodedConfig, origin(t, answer), nil)
	c, err := net.Dial("tcp", p.Addr("main").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(patience))
	k := &caller{c: c, buf: make([]byte, 256<<10)}
	if _, err := c.Write(encodedRequest(coding)); err != nil {
		t.Fatal(err)
	}
	for !bytes.HasSuffix(k.buf[:k.want], []byte("\r\n0\r\n\r\n")) {
		n, err := c.Read(k.buf[k.want:])
		if err != nil {
			t.Fatalf("%v after %q", err, k.buf[:min(k.want, 500)])
		}
		k.want += n
	}
	if !bytes.Contains(k.buf[:k.want], []byte("\r\nContent-Encoding: "+coding+"\r\n")) {
		t.Fatalf("the answer is not in %s: %q", coding, k.buf[:min(k.want, 500)])
	}
	_ = c.SetReadDeadline(time.Time{})
	return k
}

// BenchmarkEncoded is BenchmarkExchange with cors and compress on the route, at level 6.
func BenchmarkEncoded(b *testing.B) {
	for _, size := range []int{1 << 10, 4 << 10, 14 << 10} {
		for _, coding := range []string{"gzip", "br", "zstd"} {
			b.Run(fmt.Sprintf("%s/%dKiB", coding, size>>10), func(b *testing.B) {
				k := newEncodedCaller(b, coding, size)
				request := encodedRequest(coding)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := k.call(request); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
