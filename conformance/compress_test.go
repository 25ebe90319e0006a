package conformance

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

// decoded reads a body in a coding, gzip with the standard library, zstd with the window that browsers take
// (RFC 9659).
func decoded(coding string, r io.Reader) (io.Reader, error) {
	switch coding {
	case "gzip":
		return gzip.NewReader(r)
	case "br":
		return brotli.NewReader(r), nil
	case "zstd":
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	case "":
		return r, nil
	}
	return nil, fmt.Errorf("the body is in the coding %q", coding)
}

func decodeAll(coding string, body []byte) ([]byte, error) {
	r, err := decoded(coding, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// wishes are what one client accepts, by coding in thousandths.
type wishes map[string]int

// drawWishes draws an Accept-Encoding field and what it means; no field means nothing but the body as it is.
func drawWishes(rt *rapid.T) (w wishes, lines []string) {
	if rapid.IntRange(0, 5).Draw(rt, "silent") == 0 {
		return wishes{}, nil
	}
	w = wishes{}
	var items []string
	for _, coding := range rapid.Permutation([]string{"gzip", "br", "zstd", "deflate", "identity"}).Draw(rt, "codings") {
		if rapid.Bool().Draw(rt, coding) {
			w[coding] = rapid.SampledFrom([]int{0, 1, 500, 1000}).Draw(rt, "weight of "+coding)
			items = append(items, mixCase(rt, coding)+fmt.Sprintf("; q=%d.%03d", w[coding]/1000, w[coding]%1000))
		}
	}
	return w, []string{"Accept-Encoding: " + strings.Join(items, " ,")}
}

// best returns the coding that the route must choose.
func (w wishes) best() (coding string) {
	most := 0
	for _, c := range []string{"br", "gzip", "zstd"} { // the order of configs/compress.kdl
		if w[c] > most {
			coding, most = c, w[c]
		}
	}
	if most < w["identity"] {
		return ""
	}
	return coding
}

// drawnReply is an origin's drawn answer.
type drawnReply struct {
	raw          []byte
	body         []byte
	etag         string
	varies       bool // it, or what it is a part of, may be encoded for somebody
	suits, plain bool // the filter may encode it; it is too small to be
}

func drawReply(rt *rapid.T, toHead bool) (a drawnReply) {
	a.body = drawText(rt)
	status := rapid.SampledFrom([]int{200, 200, 200, 201, 404, 500, 206}).Draw(rt, "status")
	kind := rapid.SampledFrom([]string{"text/plain", "text/plain", "application/json; charset=utf-8", "image/png"}).Draw(rt, "type")
	extra := rapid.SampledFrom([]string{"", "", "", "Cache-Control: no-transform\r\n", "Content-Encoding: br\r\n", "Vary: Accept\r\n"}).Draw(rt, "extra")
	a.etag = rapid.SampledFrom([]string{"", `"a"`, `W/"a"`}).Draw(rt, "tag")
	a.varies = kind != "image/png" && !strings.HasPrefix(extra, "C")
	a.suits = a.varies && status != 206
	head := fmt.Sprintf("HTTP/1.1 %d Any\r\nContent-Type: %s\r\n%s", status, kind, extra)
	if a.etag != "" {
		head += "ETag: " + a.etag + "\r\n"
	}
	framed := framed(rt, a.body)
	known := bytes.HasPrefix(framed, []byte("Content-Length:"))
	a.plain = known && len(a.body) < 20
	if toHead {
		framed = framed[:bytes.Index(framed, []byte("\r\n\r\n"))+4]
	}
	a.raw = append([]byte(head), framed...)
	return a
}

// drawText draws a body that can be encoded well, or not at all.
func drawText(rt *rapid.T) []byte {
	size := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 300_000)).Draw(rt, "size")
	word := rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(rt, "word")
	return bytes.Repeat(word, size/len(word)+1)[:size]
}

// TestCompressProperties sends random wishes and answers: what arrives decodes to the origin's bytes, in the
// coding that the client wants most, and every field about the body is true.
func TestCompressProperties(t *testing.T) {
	t.Parallel()
	st := newStage(t, "compress")
	rapid.Check(t, func(rt *rapid.T) {
		w, lines := drawWishes(rt)
		method := rapid.SampledFrom([]string{"GET", "GET", "GET", "POST", "HEAD"}).Draw(rt, "method")
		minor := rapid.SampledFrom([]int{1, 1, 1, 0}).Draw(rt, "minor version")
		a := drawReply(rt, method == "HEAD")
		n, _ := st.o.count()
		c := dial(rt, st.addr, whole)
		defer c.close()
		c.send([]byte(fmt.Sprintf("%s /x HTTP/1.%d\r\nHost: a.example\r\n", method, minor) + strings.Join(append(lines, ""), "\r\n") + "\r\n"))
		r := st.o.request(n, complete)
		if r == nil {
			rt.Fatalf("the request never arrived: %s", st.o)
		}
		go r.answer(a.raw)
		m, err := c.response(method == "HEAD")
		if err != nil {
			rt.Fatalf("the client got %q: %v", m.start, err)
		}
		checkEncoded(rt, m, a, w, method == "HEAD")
	})
}

func checkEncoded(rt *rapid.T, m *message, a drawnReply, w wishes, toHead bool) {
	coding := strings.Join(values(m.fields, "Content-Encoding"), ",")
	want := w.best()
	weight, named := w["identity"]
	switch {
	case !a.suits, len(a.body) == 0 && a.plain, a.plain && (!named || weight > 0):
		want = ""
	}
	if bytes.Contains(a.raw, []byte("Content-Encoding: br\r\n")) { // the origin's own word, and its bytes
		if coding != "br" {
			rt.Fatalf("Content-Encoding is %q, the origin said br", coding)
		}
		coding = ""
	}
	if coding != want {
		rt.Fatalf("the coding is %q, want %q", coding, want)
	}
	varies := strings.Contains(strings.Join(values(m.fields, "Vary"), ","), "Accept-Encoding")
	if varies != a.varies {
		rt.Fatalf("Vary is %q", values(m.fields, "Vary"))
	}
	tag := a.etag
	if coding != "" && strings.HasPrefix(tag, `"`) {
		tag = "W/" + tag
	}
	if got := strings.Join(values(m.fields, "ETag"), ","); got != tag {
		rt.Fatalf("ETag is %q, want %q", got, tag)
	}
	if coding != "" && values(m.fields, "Content-Length") != nil {
		rt.Fatal("an encoded answer states the length of the plain one")
	}
	if toHead {
		return
	}
	body, err := decodeAll(coding, m.body)
	if err != nil || !bytes.Equal(body, a.body) {
		rt.Fatalf("%d bytes arrived that are not the origin's %d: %v", len(body), len(a.body), err)
	}
}

// TestCompressStream lets an origin send the next piece only once the client has decoded the one before: with
// an encoder that holds back, neither would ever go on.
func TestCompressStream(t *testing.T) {
	t.Parallel()
	for _, coding := range []string{"gzip", "br", "zstd"} {
		t.Run(coding, func(t *testing.T) {
			t.Parallel()
			streamPieces(t, newStage(t, "compress"), coding)
		})
		t.Run(coding+" over TLS", func(t *testing.T) {
			t.Parallel()
			streamPieces(t, newSecureStage(t), coding)
		})
	}
}

// newSecureStage is a stage whose upstream speaks TLS.
func newSecureStage(t *testing.T) stage {
	t.Helper()
	plain, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pair := newAuthority(t).issue(t, "origin.example")
	o := serveOrigin(t, tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{pair}}))
	return stage{startText(t, "secure.kdl", fmt.Sprintf(`
listener "main" { address "127.0.0.1:0" }
route "web" { matches { path-prefix "/" }; upstream "o"; filters "smaller" }
filter "smaller" { type "compress"; algorithms "gzip" "br" "zstd"; content-types "text/plain" }
upstream "o" { target %q; tls { insecure-skip-verify #true } }
observability { logging { access-log { file "/dev/null" }; error-log { file "/dev/null" } } }
`, o.addr())), o}
}

func streamPieces(t *testing.T, st stage, coding string) {
	t.Helper()
	c := dial(t, st.addr, whole)
	c.send([]byte("GET /x HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: " + coding + "\r\n\r\n"))
	r := st.request(t, 0)
	r.answer([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c.nc), nil)
	if err != nil || resp.Header.Get("Content-Encoding") != coding {
		t.Fatalf("%v, %v", resp, err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body io.Reader
	for i, size := range []int{1, 10, 16 << 10, 2, 16<<10 - 8, 40_000, 5} { // around the size of a buffer, too
		piece := bytes.Repeat([]byte{byte('a' + i)}, size)
		r.answer(fmt.Appendf(nil, "%x\r\n%s\r\n", size, piece))
		if body == nil {
			if body, err = decoded(coding, resp.Body); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, size)
		if _, err := io.ReadFull(body, got); err != nil || !bytes.Equal(got, piece) {
			t.Fatalf("piece %d of %d bytes did not arrive: %v", i, size, err)
		}
	}
	r.answer([]byte("0\r\n\r\n"))
	if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
		t.Errorf("%q behind the last piece, %v", clip(rest), err)
	}
}

// TestCompressTrailers checks that trailers travel behind an encoded body, but for digests of the plain one, and
// that the connection is good for the next request.
func TestCompressTrailers(t *testing.T) {
	t.Parallel()
	st := newStage(t, "compress")
	c := dial(t, st.addr, whole)
	for n, digest := range []string{"Repr-Digest", "Content-MD5"} {
		c.send([]byte("GET /x HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip\r\n\r\n"))
		st.request(t, n).answer([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"5\r\nhello\r\n0\r\nX-Sum: 1\r\n" + digest + ": AAAA\r\n\r\n"))
		m := wantStatus(t, c, 200)
		body, err := decodeAll("gzip", m.body)
		if string(body) != "hello" || err != nil || !slices.Equal(values(m.trailers, "X-Sum"), []string{"1"}) || len(m.trailers) != 1 {
			t.Errorf("body %q, %v, trailers %v", body, err, m.trailers)
		}
	}
}

// TestCompressUpstreamSees checks that the upstream gets Accept-Encoding as it was sent, unless a filter removes it;
// the client gets what it asked for in both cases.
func TestCompressUpstreamSees(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "127.0.0.1:0")
	s := startText(t, "alone.kdl", fmt.Sprintf(`
listener "main" { address "127.0.0.1:0" }
route "web" { matches { path-prefix "/" }; upstream "o"; filters "plain" "smaller" }
filter "plain" { type "headers"; remove "Accept-Encoding" }
filter "smaller" { type "compress"; min-size 1 }
upstream "o" { target %q }
observability { logging { access-log { file "/dev/null" }; error-log { file "/dev/null" } } }
`, o.addr()))
	st := stage{s, o}
	c := dial(t, st.addr, whole)
	c.send([]byte("GET /x HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip\r\n\r\n"))
	r := st.request(t, 0)
	if v := values(r.seen().fields, "Accept-Encoding"); v != nil {
		t.Errorf("the upstream got Accept-Encoding %q", v)
	}
	r.answer([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello"))
	m := wantStatus(t, c, 200)
	if body, err := decodeAll("gzip", m.body); string(body) != "hello" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}

// TestCompressLarge sends more than any buffer holds with a known length, which would pass through the kernel, and
// logs what it took.
func TestCompressLarge(t *testing.T) {
	t.Parallel()
	st := newStage(t, "compress")
	c := dial(t, st.addr, whole)
	text := bytes.Repeat([]byte("what compresses well is what repeats itself; "), 60_000)
	for n, coding := range []string{"gzip", "zstd"} {
		began := time.Now()
		c.send([]byte("GET /x HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: " + coding + "\r\n\r\n"))
		r := st.request(t, n)
		go r.answer(append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", len(text)), text...))
		m := wantStatus(t, c, 200)
		if body, err := decodeAll(coding, m.body); !bytes.Equal(body, text) || err != nil {
			t.Errorf("%s: %d of %d bytes, %v", coding, len(body), len(text), err)
		}
		t.Logf("%s: %d bytes as %d in %v", coding, len(text), len(m.body), time.Since(began))
	}
}
