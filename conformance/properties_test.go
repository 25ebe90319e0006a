package conformance

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// plainName draws a field name that no rule is about.
func plainName() *rapid.Generator[string] {
	return rapid.StringMatching(`Zz-[A-Za-z0-9!#$%&'*+.^_|~-]{1,20}`)
}

var identityNames = []string{
	"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-By", "X-Forwarded-Anything",
	"X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override",
	"X-Internal-Token", "Authorization-Internal",
}

// TestHeaderProperties sends random requests and holds for each: a field that Connection names and a
// field about identity never arrive as sent; every other field arrives, in order; our own arrive once.
func TestHeaderProperties(t *testing.T) {
	st := newStage(t, "basic")
	st.o.auto = func(r *request) { r.answer(defaultAnswer) }
	rapid.Check(t, func(rt *rapid.T) {
		nominated := rapid.SliceOfNDistinct(plainName(), 0, 5, strings.ToLower).Draw(rt, "nominated")
		kept := rapid.SliceOfN(plainName(), 0, 8).Draw(rt, "kept")
		kept = slices.DeleteFunc(kept, func(k string) bool {
			return slices.ContainsFunc(nominated, func(n string) bool { return strings.EqualFold(n, k) })
		})
		identity := rapid.SliceOfN(rapid.SampledFrom(identityNames), 0, 5).Draw(rt, "identity")
		lines := connectionLines(rt, nominated)
		for _, n := range nominated {
			lines = append(lines, mixCase(rt, n)+": evil")
		}
		for _, n := range identity {
			lines = append(lines, mixCase(rt, n)+": evil")
		}
		for i, n := range kept {
			lines = append(lines, n+": kept "+fmt.Sprint(i))
		}
		got := st.forwarded(rt, shuffled(rt, lines))
		checkForwarded(rt, got, lines)
	})
}

// connectionLines spreads names over one or two Connection fields with all the noise lists allow.
func connectionLines(rt *rapid.T, names []string) []string {
	if len(names) == 0 {
		return nil
	}
	cut := rapid.IntRange(0, len(names)).Draw(rt, "cut")
	sep := rapid.SampledFrom([]string{",", ", ", " ,\t", ",,"}).Draw(rt, "separator")
	lines := []string{"Connection: keep-alive" + sep + strings.Join(names[cut:], sep)}
	if cut > 0 {
		lines = append(lines, "connection: "+strings.Join(names[:cut], sep))
	}
	return lines
}

func mixCase(rt *rapid.T, s string) string {
	switch rapid.IntRange(0, 2).Draw(rt, "case") {
	case 0:
		return strings.ToLower(s)
	case 1:
		return strings.ToUpper(s)
	}
	return s
}

func shuffled(rt *rapid.T, lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	return rapid.Permutation(lines).Draw(rt, "order")
}

// forwarded sends one request with these lines and returns it as the upstream got it.
func (st stage) forwarded(rt *rapid.T, lines []string) *message {
	n, _ := st.o.count()
	c := dial(rt, st.addr, whole)
	defer c.close()
	c.send([]byte("GET /x HTTP/1.1\r\nHost: a.example\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"))
	m, err := c.response(false)
	if err != nil || m.status() != 200 {
		rt.Fatalf("the client got %q (%v)", m.start, err)
	}
	if err := soundResponse(m, st.o.addr()); err != nil {
		rt.Fatal(err)
	}
	return st.o.requests[n].seen()
}

func checkForwarded(rt *rapid.T, got *message, sent []string) {
	if err := soundRequest(got, nil); err != nil {
		rt.Fatal(err)
	}
	var want, have []string
	for _, line := range sent {
		if strings.Contains(line, ": kept ") {
			want = append(want, line)
		}
	}
	for _, f := range got.fields {
		if f.value == "evil" {
			rt.Fatalf("%s arrived as the client sent it", f.name)
		}
		if strings.HasPrefix(f.value, "kept ") {
			have = append(have, f.name+": "+f.value)
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		rt.Fatalf("fields %q arrived, want %q", have, want)
	}
}

// TestBodyProperties sends random bodies in random chunks and pieces, both ways: each side gets the bytes
// the other one sent.
func TestBodyProperties(t *testing.T) {
	st := newStage(t, "basic")
	rapid.Check(t, func(rt *rapid.T) {
		up := drawBody(rt, "up")
		down := drawBody(rt, "down")
		n, _ := st.o.count()
		c := dial(rt, st.addr, cutEvery(rapid.IntRange(1, 40000).Draw(rt, "piece")))
		defer c.close()
		c.send(append([]byte("POST /x HTTP/1.1\r\nHost: a.example\r\n"), framed(rt, up)...))
		r := st.o.request(n, complete)
		if r == nil {
			rt.Fatalf("the request never became complete: %s; the client has %q", st.o, clip(c.got))
		}
		if !bytes.Equal(r.body, up) {
			rt.Fatalf("the upstream got %d bytes that are not the %d sent", len(r.body), len(up))
		}
		go r.answer(append([]byte("HTTP/1.1 200 OK\r\n"), framed(rt, down)...))
		m, err := c.response(false)
		if err != nil || !bytes.Equal(m.body, down) {
			rt.Fatalf("the client got %q and %d bytes that are not the %d sent (%v)", m.start, len(m.body), len(down), err)
		}
	})
}

func drawBody(rt *rapid.T, label string) []byte {
	size := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 200000)).Draw(rt, label+" size")
	seed := rapid.Byte().Draw(rt, label+" seed")
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7) ^ byte(i>>8) ^ seed
	}
	return b
}

// framed frames a body by its length or in random chunks, behind the field that says so.
func framed(rt *rapid.T, body []byte) []byte {
	if rapid.Bool().Draw(rt, "by length") {
		return append([]byte(fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))), body...)
	}
	out := []byte("Transfer-Encoding: chunked\r\n\r\n")
	for len(body) > 0 {
		n := rapid.IntRange(1, min(len(body), 70000)).Draw(rt, "chunk")
		if n < 16 && len(body) > 5000 {
			n = 5000 // many tiny chunks have a vector of their own
		}
		out = fmt.Appendf(out, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return append(out, "0\r\n\r\n"...)
}

// cutEvery sends pieces of n bytes, fifty at most.
func cutEvery(n int) cutter {
	return func(b []byte, _ int) [][]byte { return slices.Collect(slices.Chunk(b, max(n, len(b)/50+1))) }
}
