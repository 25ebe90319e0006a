package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// lines is n copies of a field line.
func lines(n int, line string) string { return withFields(slices.Repeat([]string{line}, n)...) }

var fieldLines = []example{
	{"plain", "RFC 9112 5", withFields("X: 1"), "X=1"},
	{"empty value", "RFC 9110 5.5", withFields("X:"), "X="},
	{"whitespace around the value", "RFC 9112 5.1", withFields("X: \t a \t "), "X=a"},
	{"whitespace only", "RFC 9112 5.1", withFields("X: \t "), "X="},
	{"tab inside the value", "RFC 9110 5.5", withFields("X: a\tb"), "X=a\tb"},
	{"high bytes in the value", "RFC 9110 5.5 obs-text", withFields("X: caf\xe9 \x80\xff"), "X=caf\xe9 \x80\xff"},
	{"colon in the value", "RFC 9112 5", withFields("X::a:b"), "X=:a:b"},
	{"every tchar in the name", "RFC 9110 5.6.2", withFields("aZ09!#$%&'*+-.^_`|~: 1"), "aZ09!#$%&'*+-.^_`|~=1"},
	{"the same name twice", "RFC 9110 5.3", withFields("X: 1", "X: 2"), "X=1 X=2"},
	{"no-break space is no whitespace", "RFC 9110 5.6.3", withFields("X: \xa0a"), "X=\xa0a"},

	{"bare LF", "RFC 9112 2.2", withFields("X: a\nY: b"), "bad_header"},
	{"bare LF ends the head", "RFC 9112 2.2", withFields("X: a\r\n\n"), "bad_header"},
	{"LF CR", "RFC 9112 2.2", withFields("X: a\n\rY: b"), "bad_header"},
	{"bare CR in the value", "RFC 9112 2.2", withFields("X: a\rb"), "bad_header"},
	{"bare CR ends the value", "RFC 9112 2.2", withFields("X: a\r"), "bad_header"},
	{"bare CR before the value", "golang/go#53188", withFields("X: \ra"), "bad_header"},
	{"bare CR in the name", "RFC 9112 2.2", withFields("X\rY: a"), "bad_header"},
	{"bare CR in the empty line", "RFC 9112 2.2", withFields("X: a\r\n\r"), "bad_header"},
	{"NUL in the value", "RFC 9110 5.5", withFields("X: a\x00b"), "bad_header"},
	{"NUL in the name", "RFC 9110 5.1", withFields("X\x00: 1"), "bad_header"},
	{"control byte", "RFC 9110 5.5", withFields("X: \x01"), "bad_header"},
	{"control byte in a long value", "RFC 9110 5.5", withFields("X: 0123456789abcde\x1f0123456789"), "bad_header"},
	{"vertical tab", "RFC 9110 5.5", withFields("X:\v1"), "bad_header"},
	{"DEL", "RFC 9110 5.5", withFields("X: a\x7f"), "bad_header"},
	{"DEL in a long value", "RFC 9110 5.5", withFields("X: 0123456789\x7fabcdefghij"), "bad_header"},
	{"tabs in a long value", "RFC 9110 5.5", withFields("X: 0123456789\tabcdefghij\tk"), "X=0123456789\tabcdefghij\tk"},
	{"obs-fold", "RFC 9112 5.2", withFields("X: a\r\n b"), "bad_header"},
	{"obs-fold with tab", "RFC 9112 5.2", withFields("X: a\r\n\tb"), "bad_header"},
	{"obs-fold that holds a field", "RFC 9112 5.2", withFields("X: a\r\n Y: b"), "bad_header"},
	{"first line begins with space", "RFC 9112 2.2", "GET / HTTP/1.1\r\n X: a\r\nHost: a.test\r\n\r\n", "bad_header"},
	{"line of whitespace", "RFC 9112 5.2", withFields("X: a\r\n \r\nY: b"), "bad_header"},
	{"no colon", "RFC 9112 5", withFields("X"), "bad_header"},
	{"name over two lines", "RFC 9112 5", withFields("Transfer-\r\nEncoding: chunked"), "bad_header"},
	{"no name", "RFC 9110 5.1", withFields(": x"), "bad_header"},
	{"space before the colon", "RFC 9112 5.1", withFields("X : 1"), "bad_header"},
	{"tab before the colon", "RFC 9112 5.1", withFields("X\t: 1"), "bad_header"},
	{"space in the name", "RFC 9110 5.1", withFields("X Y: 1"), "bad_header"},
	{"parentheses in the name", "RFC 9110 5.6.2", withFields("X(Y): 1"), "bad_header"},
	{"quote in the name", "RFC 9110 5.6.2", withFields("X\"Y: 1"), "bad_header"},
	{"at sign in the name", "RFC 9110 5.6.2", withFields("X@Y: 1"), "bad_header"},
	{"high byte in the name", "RFC 9110 5.6.2", withFields("X\xef: 1"), "bad_header"},
	{"name that ends in 0x85", "trimmed by some readers", withFields("Content-Length\x85: 5"), "bad_header"},
	{"name that ends in 0xa0", "trimmed by some readers", withFields("Content-Length\xa0: 5"), "bad_header"},

	{"value over the limit", "RFC 6585 5", withFields("X: " + strings.Repeat("a", 4097)), "header_too_large"},
	{"name over the limit", "RFC 6585 5", withFields(strings.Repeat("a", 257) + ": 1"), "header_too_large"},
	{"line without end", "RFC 6585 5", "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 70000), "header_too_large"},
	{"whitespace without end", "RFC 6585 5", "GET / HTTP/1.1\r\nX: " + strings.Repeat(" ", 70000), "header_too_large"},
	{"many lines of whitespace", "RFC 6585 5", lines(50, "X:"+strings.Repeat(" ", 250)), "header_too_large"},
	{"too many fields", "RFC 6585 5", lines(100, "X: 1"), "header_too_large"},
	{"one byte too many", "RFC 6585 5", withFields("X: "+strings.Repeat("a", 4090), "X: "+strings.Repeat("a", 4091)), "header_too_large"},
	{"too many bytes", "RFC 6585 5", lines(90, "X: "+strings.Repeat("a", 100)), "header_too_large"},
}

func TestFieldLine(t *testing.T) {
	runRequests(t, fieldLines, func(r *Request) string {
		var words []string
		for _, f := range r.Fields[1:] {
			words = append(words, fmt.Sprintf("%s=%s", f.Name, f.Value))
		}
		return strings.Join(words, " ")
	})
}

func TestFieldLimitsAreReachable(t *testing.T) {
	full := func(n, size int) string { // n fields of size bytes each beside Host: a.test
		return lines(n, "X: "+strings.Repeat("a", size-1))
	}
	for name, in := range map[string]string{
		"count":         full(99, 10),
		"value":         full(1, 4097),
		"name":          withFields(strings.Repeat("n", 256) + ": 1"),
		"size":          full(2, (8192-len("Hosta.test"))/2),
		"size by count": full(98, 83),
		"padding":       withFields("X:" + strings.Repeat(" ", maxPadding) + "1"),
	} {
		if got, n := parseRequest([]byte(in), whole(len(in)), everything); n != len(in) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A buffer of MaxHead bytes holds every head within the limits, and none that fills it may be incomplete.
func TestMaxHead(t *testing.T) {
	lim := Limits{Line: 20, Size: 40, Count: 3, Name: 20, Value: 40}
	line := "\r\nGET /aaaaaa HTTP/1.1\r\n"
	size := strings.Repeat("a", 40-len("HostaXY"))
	largest := line + "Host: a\r\nX: \r\nY:" + strings.Repeat(" ", 1+maxPadding) + size + "\r\n\r\n"
	for _, c := range []struct {
		in   string
		want Fault
	}{
		{largest, None},
		{"\r\nGET /" + strings.Repeat("a", 1000), TargetTooLong},
		{line + "Host: a\r\nX:" + strings.Repeat(" ", 1000), HeaderTooLarge},
		{line + "Host: a\r\nX: " + strings.Repeat("a", 1000), HeaderTooLarge},
		{line + strings.Repeat("X:                 \r\n", 100), HeaderTooLarge},
	} {
		var r Request
		r.Reset()
		n, fault := r.Parse([]byte(c.in)[:lim.MaxHead()], &lim)
		if fault != c.want || fault == None && n != lim.MaxHead() {
			t.Errorf("%.30q...: n %d, fault %v, want %v", c.in, n, fault, c.want)
		}
	}
}

func TestIdentify(t *testing.T) {
	for _, c := range []struct {
		name string
		want ID
	}{
		{"Host", Host},
		{"hOsT", Host},
		{"Hosts", Other},
		{"Hos", Other},
		{"Hbst", Other},
		{"", Other},
		{"Content-Length", ContentLength},
		{"Content_Length", Other},
		{"Content-Lengtx", Other},
		{"TE", TE},
		{"Te", TE},
		{"T", Other},
		{"TRANSFER-ENCODING", TransferEncoding},
		{"X-Forwarded-For", XForwarded},
		{"x-forwarded-anything", XForwarded},
		{"X-Forwarded-", Other},
		{"X-Forwarded", Other},
		{"Forwarded", Forwarded},
		{"X-REAL-IP", XIdentity},
		{"X-Original-URL", XOverride},
		{"Authorization-Internal", XInternal},
		{"Authorization", Other},
		{"Sec-Fetch-Mode", Other},
		{"Content\rLength", Other},
		{strings.Repeat("x", 70000), Other},
	} {
		if got := Identify([]byte(c.name)); got != c.want {
			t.Errorf("%.40q: got %d, want %d", c.name, got, c.want)
		}
	}
	found := 0
	for _, names := range known {
		for _, k := range names {
			found++
			if got := Identify([]byte(strings.ToUpper(k.name))); got != k.id || k.name != strings.ToLower(k.name) {
				t.Errorf("%s: got %d, want %d", k.name, got, k.id)
			}
		}
	}
	if want := 45; found != want {
		t.Errorf("%d names are known, want %d", found, want)
	}
}

func TestNextItem(t *testing.T) {
	for _, c := range []struct{ list, want string }{
		{"", ""},
		{" ", ""},
		{",", ""},
		{" ,\t, ", ""},
		{"a", "a"},
		{" a ", "a"},
		{"a,b", "a|b"},
		{"a, b ,\tc", "a|b|c"},
		{",a,,b,", "a|b"},
		{"a b", "a b"},
		{"a;q=1, b", "a;q=1|b"},
	} {
		var items []string
		for item, rest := NextItem([]byte(c.list)); item != nil; item, rest = NextItem(rest) {
			items = append(items, string(item))
		}
		if got := strings.Join(items, "|"); got != c.want {
			t.Errorf("%q: got %q, want %q", c.list, got, c.want)
		}
	}
}

var connections = []example{
	{"none", "RFC 9112 9.3", withFields(), "keep"},
	{"close", "RFC 9112 9.6", withFields("Connection: close"), "close"},
	{"close in any case", "RFC 9110 7.6.1", withFields("cONNECTION: CLOSE"), "close"},
	{"close and keep-alive", "RFC 9112 9.3: close wins", withFields("Connection: keep-alive, close"), "close"},
	{"close in a second field", "RFC 9110 5.3", withFields("Connection: keep-alive", "Connection: close"), "close"},
	{"not quite close", "RFC 9110 7.6.1", withFields("Connection: closed"), "keep"},
	{"HTTP/1.0", "RFC 9112 9.3", "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n", "close"},
	{"HTTP/1.0 keep-alive", "RFC 9112 9.3", "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: Keep-Alive\r\n\r\n", "keep"},
	{"HTTP/1.0 both", "RFC 9112 9.3", "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive, close\r\n\r\n", "close"},
	{"nominated field", "RFC 9110 7.6.1", withFields("Connection: close, X-Foo", "x-fOO: 1", "X-Bar: 2"), "close x-fOO"},
	{"nominated before and after", "RFC 9110 7.6.1", withFields("X-Foo: 1", "connection: , ,X-FOO ,", "X-Foo: 2", "CONNECTION:\ta-b", "A-B: 3"), "keep X-Foo X-Foo A-B"},
	{"nominated identity", "CWE-348", withFields("Connection: X-Forwarded-For, X-Real-IP", "X-Forwarded-For: 1.2.3.4", "X-Real-IP: 1.2.3.4"), "keep X-Forwarded-For X-Real-IP"},
	{"framing is not nominated away", "smuggling", withFields("Connection: Host, Content-Length, Connection", "Content-Length: 5"), "keep"},
	{"no token", "RFC 9110 7.6.1", withFields("Connection: a b"), "bad_header"},
	{"quoted", "RFC 9110 7.6.1", withFields("Connection: \"close\""), "bad_header"},
	{"parameter", "RFC 9110 7.6.1", withFields("Connection: close;x"), "bad_header"},
	{"64 elements", "quadratic time", withFields("Connection: " + strings.Repeat("a,", 64)), "keep"},
	{"65 elements", "quadratic time", withFields("Connection: "+strings.Repeat("a,", 64), "Connection: b"), "header_too_large"},

	{"upgrade", "RFC 9110 7.8", withFields("Connection: Upgrade", "Upgrade: websocket"), "keep upgrade=websocket"},
	{"upgrade not nominated", "RFC 9110 7.8", withFields("Upgrade: websocket"), "keep"},
	{"upgrade to nothing", "RFC 9110 7.8", withFields("Connection: upgrade", "Upgrade: "), "keep"},
	{"upgrade without field", "RFC 9110 7.8", withFields("Connection: upgrade"), "keep"},
	{"upgrade in HTTP/1.0", "RFC 9110 7.8", "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "close"},
	{"upgrade beside a nominated field", "RFC 9110 7.8", withFields("Connection: X-Foo, Upgrade", "Upgrade: websocket"), "keep upgrade=websocket"},
	{"TE keeps its rule", "RFC 9110 10.1.4", withFields("Connection: TE, X-Foo", "TE: trailers", "X-Foo: 1"), "keep X-Foo"},
	{"h2c", "h2c smuggling", withFields("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), "keep HTTP2-Settings upgrade=h2c"},
}

func TestConnection(t *testing.T) {
	runRequests(t, connections, func(r *Request) string {
		words := []string{"close"}
		if r.KeepAlive() {
			words[0] = "keep"
		}
		for _, f := range r.Fields {
			if f.ID == Nominated {
				words = append(words, string(f.Name))
			}
		}
		if protocols := r.Upgrade(); protocols != nil {
			words = append(words, "upgrade="+string(protocols))
		}
		return strings.Join(words, " ")
	})
}

func TestNominates(t *testing.T) {
	for value, want := range map[string]string{"close, keep-alive, Upgrade": "false", "TE": "false", "TE, X-Foo": "true", "X-Foo": "true"} {
		in := []byte(withFields("Connection: " + value))
		got, _ := parseRequest(in, whole(len(in)), func(r *Request) string { return fmt.Sprint(r.Nominates()) })
		if got != want {
			t.Errorf("%s: got %s", value, got)
		}
	}
}
