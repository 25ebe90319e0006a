package wire

import (
	"fmt"
	"strings"
	"testing"
)

var statusLines = []example{
	{"plain", "RFC 9112 4", section("HTTP/1.1 200 OK"), "1.1 200 OK"},
	{"HTTP/1.0", "RFC 9112 2.3", section("HTTP/1.0 200 OK"), "1.0 200 OK"},
	{"no reason", "RFC 9112 4", section("HTTP/1.1 200 "), "1.1 200 "},
	{"no reason and no space", "RFC 9112 4: often left out", section("HTTP/1.1 200"), "1.1 200 "},
	{"reason of several words", "RFC 9112 4", section("HTTP/1.1 404 Not  Found\tat all \xe9"), "1.1 404 Not  Found\tat all \xe9"},
	{"interim", "RFC 9110 15.2", section("HTTP/1.1 103 Early Hints", "Link: </a>"), "1.1 103 Early Hints"},
	{"largest status", "RFC 9110 15", section("HTTP/1.1 599 x"), "1.1 599 x"},
	{"status 99", "RFC 9110 15", section("HTTP/1.1 99 x"), "bad_status_line"},
	{"status 099", "RFC 9110 15", section("HTTP/1.1 099 x"), "bad_status_line"},
	{"status 600", "RFC 9110 15", section("HTTP/1.1 600 x"), "bad_status_line"},
	{"status 1000", "RFC 9110 15", section("HTTP/1.1 1000 x"), "bad_status_line"},
	{"status no number", "RFC 9112 4", section("HTTP/1.1 abc x"), "bad_status_line"},
	{"signed status", "RFC 9112 4", section("HTTP/1.1 +20 x"), "bad_status_line"},
	{"no status", "RFC 9112 4", section("HTTP/1.1"), "bad_status_line"},
	{"two spaces", "RFC 9112 4", section("HTTP/1.1  200 OK"), "bad_status_line"},
	{"tab", "RFC 9112 4", section("HTTP/1.1\t200 OK"), "bad_status_line"},
	{"tab before the reason", "RFC 9112 4", section("HTTP/1.1 200\tOK"), "bad_status_line"},
	{"HTTP/2", "RFC 9112 2.3", section("HTTP/2 200 OK"), "bad_status_line"},
	{"HTTP/1.2", "RFC 9112 2.3", section("HTTP/1.2 200 OK"), "bad_status_line"},
	{"lower case", "RFC 9112 2.3", section("http/1.1 200 OK"), "bad_status_line"},
	{"control byte in the reason", "RFC 9112 4", section("HTTP/1.1 200 O\x01K"), "bad_status_line"},
	{"bare CR in the reason", "response splitting", section("HTTP/1.1 200 O\rK"), "bad_status_line"},
	{"bare LF", "RFC 9112 2.2", "HTTP/1.1 200 OK\n\n", "bad_status_line"},
	{"empty line first", "RFC 9112 2.2: for requests only", "\r\n" + section("HTTP/1.1 200 OK"), "bad_status_line"},
	{"SSH banner", "RFC 9110 15.6.3", "SSH-2.0-OpenSSH_9.6\r\n", "bad_status_line"},
	{"banner without end", "RFC 9110 15.6.3", "220 mail.test ESMTP", "bad_status_line"},
	{"line without end", "RFC 9110 15.6.3", "HTTP/1.1 200 " + strings.Repeat("a", 9000), "header_too_large"},
	{"nothing yet", "RFC 9112 4", "", "incomplete"},
	{"half a version", "RFC 9112 4", "HTT", "incomplete"},
	{"half a line", "RFC 9112 4", "HTTP/1.1 200 O", "incomplete"},
	{"no empty line", "RFC 9112 2.1", "HTTP/1.1 200 OK\r\nA: b\r\n", "incomplete"},

	{"NUL in a field", "RFC 9110 5.5", section("HTTP/1.1 200 OK", "X: a\x00b"), "bad_header"},
	{"bare CR in a field", "RFC 9110 5.5", section("HTTP/1.1 200 OK", "X: a\rb"), "bad_header"},
	{"bare LF in a field", "response splitting", section("HTTP/1.1 200 OK", "X: a\nSet-Cookie: b"), "bad_header"},
	{"obs-fold", "RFC 9112 5.2", section("HTTP/1.1 200 OK", "X: a", " b"), "bad_header"},
	{"space before the colon", "RFC 9112 5.1", section("HTTP/1.1 200 OK", "X : a"), "bad_header"},
	{"too many fields", "RFC 9110 15.6.3", section("HTTP/1.1 200 OK", strings.Repeat("X: 1\r\n", 101)), "header_too_large"},
}

func TestStatusLine(t *testing.T) {
	runResponses(t, statusLines, false, func(r *Response) string {
		return fmt.Sprintf("1.%d %d %s", r.Minor, r.Status, r.Reason)
	})
}

var responseFramings = []example{
	{"length", "RFC 9112 6.3 (6)", section("HTTP/1.1 200 OK", "Content-Length: 5"), "5 bytes, declared 5, keep"},
	{"length zero", "RFC 9112 6.3 (6)", section("HTTP/1.1 200 OK", "Content-Length: 0"), "no body, declared 0, keep"},
	{"chunked", "RFC 9112 6.3 (4)", section("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), "chunks, declared -1, keep"},
	{"neither", "RFC 9112 6.3 (8)", section("HTTP/1.1 200 OK"), "until close, declared -1, close"},
	{"neither in HTTP/1.0", "RFC 9112 6.3 (8)", section("HTTP/1.0 200 OK", "Connection: keep-alive"), "until close, declared -1, close"},
	{"length in HTTP/1.0", "RFC 9112 9.3", section("HTTP/1.0 200 OK", "Content-Length: 5"), "5 bytes, declared 5, close"},
	{"length in HTTP/1.0 that stays", "RFC 9112 9.3", section("HTTP/1.0 200 OK", "Content-Length: 5", "Connection: keep-alive"), "5 bytes, declared 5, keep"},
	{"close", "RFC 9112 9.6", section("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: close"), "5 bytes, declared 5, close"},
	{"204", "RFC 9112 6.3 (1)", section("HTTP/1.1 204 No Content"), "no body, declared -1, keep"},
	{"204 with length", "RFC 9110 8.6", section("HTTP/1.1 204 No Content", "Content-Length: 5"), "no body, declared -1, keep"},
	{"204 with chunks", "RFC 9112 6.1", section("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked"), "no body, declared -1, keep"},
	{"304 with length", "RFC 9110 15.4.5", section("HTTP/1.1 304 Not Modified", "Content-Length: 5"), "no body, declared 5, keep"},
	{"100", "RFC 9112 6.3 (1)", section("HTTP/1.1 100 Continue"), "no body, declared -1, keep"},
	{"103 with length", "RFC 9110 8.6", section("HTTP/1.1 103 Early Hints", "Content-Length: 5"), "no body, declared -1, keep"},
	{"both", "RFC 9112 6.3 (3)", section("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"), "framing_conflict"},
	{"both in a 204", "RFC 9112 6.3 (3)", section("HTTP/1.1 204 No Content", "Content-Length: 5", "Transfer-Encoding: chunked"), "framing_conflict"},
	{"chunked in HTTP/1.0", "RFC 9112 6.1", section("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"), "framing_conflict"},
	{"two lengths", "RFC 9112 6.3 (5)", section("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 6"), "bad_content_length"},
	{"length no number", "RFC 9112 6.3 (5)", section("HTTP/1.1 200 OK", "Content-Length: abc"), "bad_content_length"},
	{"gzip", "RFC 9112 6.3 (4)", section("HTTP/1.1 200 OK", "Transfer-Encoding: gzip"), "bad_transfer_coding"},
	{"gzip, then chunked", "RFC 9112 6.1", section("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"), "unknown_transfer_coding"},
}

func showFraming(r *Response) string {
	what := "close"
	if r.KeepAlive() {
		what = "keep"
	}
	return fmt.Sprintf("%s, declared %d, %s", body(&r.head), r.DeclaredLength(), what)
}

func TestResponseFraming(t *testing.T) { runResponses(t, responseFramings, false, showFraming) }

var headResponses = []example{
	{"length", "RFC 9112 6.3 (1)", section("HTTP/1.1 200 OK", "Content-Length: 5"), "no body, declared 5, keep"},
	{"chunked", "RFC 9112 6.3 (1)", section("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), "no body, declared -1, keep"},
	{"neither", "RFC 9112 6.3 (1)", section("HTTP/1.1 200 OK"), "no body, declared -1, keep"},
	{"close", "RFC 9112 9.6", section("HTTP/1.1 200 OK", "Connection: close"), "no body, declared -1, close"},
	{"both", "RFC 9112 6.3 (3)", section("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"), "framing_conflict"},
}

func TestResponseToHead(t *testing.T) { runResponses(t, headResponses, true, showFraming) }

var responseFields = []example{
	{"cookies stay apart", "RFC 9110 5.3", section("HTTP/1.1 204 x", "Set-Cookie: a", "Set-Cookie: b"), "[Set-Cookie=a #0][Set-Cookie=b #0]"},
	{
		"nominated", "RFC 9110 7.6.1", section("HTTP/1.1 204 x", "X-Internal: secret", "Connection: X-Internal"),
		fmt.Sprintf("[X-Internal=secret #%d][Connection=X-Internal #%d]", Nominated, Connection),
	},
	{"no token nominated", "RFC 9110 7.6.1", section("HTTP/1.1 204 x", "Connection: a/b"), "bad_header"},
	{
		"switch", "RFC 9110 7.8", section("HTTP/1.1 101 x", "Upgrade: websocket", "Connection: upgrade"),
		fmt.Sprintf("[Upgrade=websocket #%d][Connection=upgrade #%d]websocket", Upgrade, Connection),
	},
	{
		"switch not nominated", "RFC 9110 7.8", section("HTTP/1.1 101 x", "Upgrade: websocket"),
		fmt.Sprintf("[Upgrade=websocket #%d]", Upgrade),
	},
}

func TestResponseFields(t *testing.T) {
	runResponses(t, responseFields, false, func(r *Response) string { return fieldsOf(r.Fields) + string(r.Upgrade()) })
}

// An interim head is followed by the final one in the same bytes (RFC 9110 15.2).
func TestInterimThenFinal(t *testing.T) {
	in := []byte(section("HTTP/1.1 100 Continue") + section("HTTP/1.1 200 OK", "Content-Length: 2") + "ok")
	var r Response
	var seen []int
	for r.Status < 200 {
		r.Reset(false)
		n, fault := r.Parse(in, &testLimits)
		if n == 0 {
			t.Fatalf("%q: %v", in, fault)
		}
		seen, in = append(seen, r.Status), in[n:]
	}
	if fmt.Sprint(seen) != "[100 200]" || string(in) != "ok" {
		t.Errorf("got %v and %q left", seen, in)
	}
}
