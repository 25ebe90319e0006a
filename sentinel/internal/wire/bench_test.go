package wire

import "testing"

// Heads as they come off the network.
const (
	loadHead = "GET /api/v1/things?x=1 HTTP/1.1\r\n" +
		"Host: bench.example:8080\r\n" +
		"User-Agent: wrk/4.1.0\r\n" +
		"Accept: */*\r\n" +
		"Connection: keep-alive\r\n\r\n"

	browserHead = "GET /shop/catalogue/shoes/running?colour=blue&size=44&page=3&sort=price_asc HTTP/1.1\r\n" +
		"Host: www.shop.example\r\n" +
		"Connection: keep-alive\r\n" +
		"sec-ch-ua: \"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n" +
		"sec-ch-ua-mobile: ?0\r\n" +
		"sec-ch-ua-platform: \"Linux\"\r\n" +
		"Upgrade-Insecure-Requests: 1\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n" +
		"Sec-Fetch-Site: same-origin\r\n" +
		"Sec-Fetch-Mode: navigate\r\n" +
		"Sec-Fetch-Dest: document\r\n" +
		"Referer: https://www.shop.example/shop/catalogue/shoes?page=2\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n" +
		"Cookie: session=8c1f0b6e5a7d4e2f9b3a; consent=analytics%3Dfalse; _ga=GA1.1.1234567890.1700000000; cart=3:18,44,91; theme=dark\r\n\r\n"

	responseHead = "HTTP/1.1 200 OK\r\n" +
		"Server: nginx/1.26.2\r\n" +
		"Date: Mon, 23 Nov 2026 20:32:10 GMT\r\n" +
		"Content-Type: text/html; charset=utf-8\r\n" +
		"Content-Length: 1024\r\n" +
		"Connection: keep-alive\r\n" +
		"Cache-Control: private, max-age=60\r\n" +
		"ETag: \"6565a1b2-400\"\r\n" +
		"Last-Modified: Sun, 22 Nov 2026 08:00:00 GMT\r\n" +
		"Vary: Accept-Encoding\r\n" +
		"Set-Cookie: session=8c1f0b6e5a7d4e2f9b3a; Path=/; HttpOnly; Secure; SameSite=Lax\r\n" +
		"X-Request-Id: 0f8fad5b-d9cb-469f-a165-70867728950e\r\n" +
		"Accept-Ranges: bytes\r\n\r\n"
)

func BenchmarkRequest(b *testing.B) {
	for _, c := range []struct{ name, head string }{{"load", loadHead}, {"browser", browserHead}} {
		b.Run(c.name, func(b *testing.B) {
			raw := []byte(c.head)
			var r Request
			b.ReportAllocs()
			for b.Loop() {
				r.Reset()
				if n, fault := r.Parse(raw, &testLimits); n != len(raw) {
					b.Fatal(n, fault)
				}
			}
		})
	}
}

func BenchmarkResponse(b *testing.B) {
	raw := []byte(responseHead)
	var r Response
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(false)
		if n, fault := r.Parse(raw, &testLimits); n != len(raw) {
			b.Fatal(n, fault)
		}
	}
}

// BenchmarkChunked reads a body of 16 chunks of 4 KiB each.
func BenchmarkChunked(b *testing.B) {
	piece := make([]byte, 4096)
	var raw []byte
	for range 16 {
		raw = AppendChunk(raw, piece)
	}
	raw = AppendLastChunk(raw, nil)
	var body Body
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(ByChunks, 0, &testLimits)
		for rest := raw; !body.Done(); {
			_, n, fault := body.Next(rest)
			if fault != None {
				b.Fatal(fault)
			}
			rest = rest[n:]
		}
	}
}

func BenchmarkCanonicalPath(b *testing.B) {
	for _, c := range []struct{ name, path string }{
		{"canonical", "/shop/catalogue/shoes/running"},
		{"escaped", "/shop/%63atalogue//shoes/./running%20fast"},
	} {
		b.Run(c.name, func(b *testing.B) {
			raw, scratch := []byte(c.path), make([]byte, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, fault := CanonicalPath(scratch, raw); fault != None {
					b.Fatal(fault)
				}
			}
		})
	}
}
