package agent

import (
	"fmt"
	"testing"
)

// headersEvent is a request as a proxy tells it in a dialect: a browser's, as the proxy writes it for all.
func headersEvent(d Dialect, n int, method, uri string) string {
	id := fmt.Sprintf("c%d", n)
	text := fmt.Sprintf(`{"request_id":%d,"correlation_id":%q,"metadata":{"correlation_id":%q,"request_id":"r1",`+
		`"client_ip":"192.0.2.7","client_port":40001,"server_name":"example.test","protocol":"HTTP/1.1","tls_version":null,`+
		`"tls_cipher":null,"route_id":"api","upstream_id":"backend","timestamp":"2025-12-29T08:00:00Z"},`+
		`"method":%q,"uri":%q,"headers":{"host":["example.test"],"user-agent":["Mozilla/5.0 (X11; Linux x86_64; rv:128.0) `+
		`Gecko/20100101 Firefox/128.0"],"accept":["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],`+
		`"accept-language":["en-US,en;q=0.5"],"accept-encoding":["gzip, deflate, br"],"cookie":["a=1; b=2"]},"has_body":false}`,
		n, id, id, method, uri)
	if d == V1 {
		return `{"version":1,"event_type":"request_headers","payload":` + text + `}`
	}
	return "\x10" + text
}

// BenchmarkRequestHeaders is one event there and its verdict back, over a Unix socket, with the end of the
// request that keeps the agent's state small.
func BenchmarkRequestHeaders(b *testing.B) {
	for _, d := range []Dialect{V1, V2D, V2R} {
		b.Run(string(d), func(b *testing.B) {
			p := serve(b, &Server{Handler: Base{}}).greeted(d)
			event := frame(headersEvent(d, 1, "GET", "/api/items?x=1"))
			reply := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Write(event); err != nil {
					b.Fatal(err)
				}
				if _, err := p.Read(reply); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPipelined is the same with 32 requests under way.
func BenchmarkPipelined(b *testing.B) {
	for _, d := range []Dialect{V1, V2D, V2R} {
		b.Run(string(d), func(b *testing.B) {
			p := serve(b, &Server{Handler: Base{}}).greeted(d)
			var events []byte
			for i := range 32 {
				events = append(events, frame(headersEvent(d, i+1, "GET", "/api/items?x=1"))...)
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%32 == 0 {
					if _, err := p.Write(events); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := p.read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecode is the reading of one event.
func BenchmarkDecode(b *testing.B) {
	event := []byte(headersEvent(V2R, 1, "GET", "/api/items?x=1"))
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		var c call
		if err := (v2r{}).decode(event, &c); err != nil {
			b.Fatal(err)
		}
	}
}
