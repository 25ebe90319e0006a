package wire

import (
	"fmt"
	"testing"
)

var framings = []example{
	{"none", "RFC 9112 6.3 (7)", withFields(), "no body"},
	{"length", "RFC 9112 6.2", withFields("Content-Length: 5"), "5 bytes"},
	{"length zero", "RFC 9112 6.2", withFields("Content-Length: 0"), "no body"},
	{"length with zeros first", "RFC 9110 8.6", withFields("Content-Length: 005"), "5 bytes"},
	{"length of 18 digits", "RFC 9110 8.6", withFields("Content-Length: 999999999999999999"), "999999999999999999 bytes"},
	{"largest length", "integer overflow", withFields("Content-Length: 9223372036854775799"), "9223372036854775799 bytes"},
	{"length over 63 bits", "integer overflow", withFields("Content-Length: 9223372036854775808"), "bad_content_length"},
	{"length over 64 bits", "integer overflow", withFields("Content-Length: 18446744073709551621"), "bad_content_length"},
	{"signed length", "RFC 9110 8.6", withFields("Content-Length: +5"), "bad_content_length"},
	{"negative length", "RFC 9110 8.6", withFields("Content-Length: -1"), "bad_content_length"},
	{"hex length", "RFC 9110 8.6", withFields("Content-Length: 0x5"), "bad_content_length"},
	{"length with space inside", "RFC 9110 8.6", withFields("Content-Length: 5 5"), "bad_content_length"},
	{"length with underscore", "CVE-2023-47627 class", withFields("Content-Length: 0_5"), "bad_content_length"},
	{"empty length", "golang/go#61679", withFields("Content-Length:"), "bad_content_length"},
	{"length with parameter", "longest valid prefix", withFields("Content-Length: 5;x"), "bad_content_length"},
	{"length and letters", "longest valid prefix", withFields("Content-Length: 5abc"), "bad_content_length"},
	{"length after no-break space", "RFC 9110 5.6.3", withFields("Content-Length: \xa05"), "bad_content_length"},
	{"length after vertical tab", "RFC 9110 5.6.3", withFields("Content-Length:\v5"), "bad_header"},
	{"length, space before the colon", "RFC 9112 5.1", withFields("Content-Length : 5"), "bad_header"},
	{"length list", "RFC 9110 8.6", withFields("Content-Length: 5, 5"), "bad_content_length"},
	{"length list that differs", "RFC 9112 6.3 (5)", withFields("Content-Length: 5, 6"), "bad_content_length"},
	{"two lengths", "CL.CL, RFC 9112 6.3 (5)", withFields("Content-Length: 0", "Content-Length: 44"), "bad_content_length"},
	{"two equal lengths", "RFC 9110 8.6", withFields("Content-Length: 5", "content-length: 5"), "bad_content_length"},
	{"length hidden behind a space", "0.CL, RFC 9112 2.2", "GET / HTTP/1.1\r\n Content-Length: 44\r\nHost: a.test\r\n\r\n", "bad_header"},

	{"chunked", "RFC 9112 7.1", withFields("Transfer-Encoding: chunked"), "chunks"},
	{"chunked in any case", "RFC 9112 7", withFields("transfer-ENCODING: \tChunKed "), "chunks"},
	{"length and chunked", "CL.TE, RFC 9112 6.3 (3)", withFields("Content-Length: 6", "Transfer-Encoding: chunked"), "framing_conflict"},
	{"chunked and length", "TE.CL, RFC 9112 6.3 (3)", withFields("Transfer-Encoding: chunked", "Content-Length: 4"), "framing_conflict"},
	{"chunked and length zero", "TE.0, RFC 9112 6.3 (3)", withFields("Transfer-Encoding: chunked", "Content-Length: 0"), "framing_conflict"},
	{"chunked in HTTP/1.0", "RFC 9112 6.1, CVE-2026-2835", "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", "framing_conflict"},
	{"length in HTTP/1.0", "RFC 9112 6.2", "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n", "5 bytes"},
	{"unknown coding", "RFC 9112 6.1", withFields("Transfer-Encoding: xchunked"), "bad_transfer_coding"},
	{"identity and length", "TE.TE, RFC 9112 7", withFields("Transfer-Encoding: identity", "Content-Length: 5"), "bad_transfer_coding"},
	{"coding before chunked", "RFC 9112 6.1: 501", withFields("Transfer-Encoding: gzip, chunked"), "unknown_transfer_coding"},
	{"chunked not last", "RFC 9112 6.3 (4)", withFields("Transfer-Encoding: chunked, gzip"), "bad_transfer_coding"},
	{"chunked twice", "RFC 9112 6.1", withFields("Transfer-Encoding: chunked, chunked"), "bad_transfer_coding"},
	{"chunked in two fields", "RFC 9112 6.1", withFields("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), "bad_transfer_coding"},
	{"chunked, then identity", "TE.TE", withFields("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), "bad_transfer_coding"},
	{"identity, then chunked", "TE.TE", withFields("Transfer-Encoding: identity", "Transfer-Encoding: chunked"), "bad_transfer_coding"},
	{"comma after chunked", "RFC 9110 5.6.1.2", withFields("Transfer-Encoding: chunked,"), "bad_transfer_coding"},
	{"comma before chunked", "RFC 9110 5.6.1.2", withFields("Transfer-Encoding: ,chunked"), "bad_transfer_coding"},
	{"quoted chunked", "RFC 9112 6.1", withFields("Transfer-Encoding: \"chunked\""), "bad_transfer_coding"},
	{"chunked with parameter", "RFC 9112 7.1", withFields("Transfer-Encoding: chunked;x=1"), "bad_transfer_coding"},
	{"two words", "RFC 9112 6.1", withFields("Transfer-Encoding: x chunked"), "bad_transfer_coding"},
	{"coding with parameter before chunked", "RFC 9112 7", withFields("Transfer-Encoding: gzip;q=1, chunked"), "bad_transfer_coding"},
	{"chunked after vertical tab", "RFC 9110 5.5", withFields("Transfer-Encoding: \vchunked"), "bad_header"},
	{"chunked after bare CR", "golang/go#53188", withFields("Transfer-Encoding: \rchunked"), "bad_header"},
	{"chunked and NUL", "RFC 9110 5.5", withFields("Transfer-Encoding: chunked\x00"), "bad_header"},
	{"chunked, space before the colon", "RFC 9112 5.1", withFields("Transfer-Encoding : chunked"), "bad_header"},
	{"chunked in a fold", "RFC 9112 5.2", withFields("Transfer-Encoding:\r\n chunked"), "bad_transfer_coding"},
	{"no coding", "RFC 9112 6.1", withFields("Transfer-Encoding:"), "bad_transfer_coding"},
	{"no coding but commas", "RFC 9112 6.1", withFields("Transfer-Encoding: , ,"), "bad_transfer_coding"},
	{"nominated coding still counts", "hop-by-hop abuse", withFields("Connection: Transfer-Encoding", "Transfer-Encoding: chunked"), "chunks"},
	{"another field's name", "RFC 9112 6.1", withFields("Transfer_Encoding: chunked"), "no body"},
}

func TestRequestFraming(t *testing.T) {
	runRequests(t, framings, func(r *Request) string { return body(&r.head) })
}

var expectations = []example{
	{"none", "RFC 9110 10.1.1", withFields("Content-Length: 5"), "go on"},
	{"wait", "RFC 9110 10.1.1", withFields("Content-Length: 5", "Expect: 100-Continue"), "wait"},
	{"wait with chunks", "RFC 9110 10.1.1", withFields("Transfer-Encoding: chunked", "Expect: 100-continue"), "wait"},
	{"wait without body", "RFC 9110 10.1.1", withFields("Expect: 100-continue"), "go on"},
	{"wait in HTTP/1.0", "RFC 9110 10.1.1", "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", "go on"},
	{"something else", "RFC 9110 10.1.1", withFields("Expect: foo"), "go on, unknown"},
	{"both", "RFC 9110 10.1.1", withFields("Content-Length: 5", "Expect: 100-continue", "Expect: foo"), "wait, unknown"},
	{"both in a list", "RFC 9110 10.1.1", withFields("Content-Length: 5", "Expect: 100-continue, foo"), "go on, unknown"},
	{"something else in HTTP/1.0", "RFC 9110 10.1.1", "GET / HTTP/1.0\r\nHost: a.test\r\nExpect: foo\r\n\r\n", "go on"},
}

func TestExpect(t *testing.T) {
	runRequests(t, expectations, func(r *Request) string {
		what := "go on"
		if r.Continue {
			what = "wait"
		}
		if r.UnknownExpect {
			what += ", unknown"
		}
		return what
	})
}

func withHops(method, value string) string {
	return method + " / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: " + value + "\r\n\r\n"
}

var hops = []example{
	{"none", "RFC 9110 7.6.2", withLine("OPTIONS / HTTP/1.1"), "-1"},
	{"last", "RFC 9110 7.6.2", withHops("TRACE", "0"), "0"},
	{"some", "RFC 9110 7.6.2", withHops("OPTIONS", "3"), "3"},
	{"very many", "bounded", withHops("OPTIONS", "999999999999"), "65536"},
	{"too many", "integer overflow", withHops("OPTIONS", "99999999999999999999"), "bad_header"},
	{"negative", "RFC 9110 7.6.2", withHops("OPTIONS", "-1"), "bad_header"},
	{"empty", "RFC 9110 7.6.2", withHops("TRACE", ""), "bad_header"},
	{"twice", "RFC 9110 5.3", withHops("TRACE", "1\r\nMax-Forwards: 1"), "bad_header"},
	{"of another method", "RFC 9110 7.6.2: may be ignored", withHops("GET", "x"), "-1"},
}

func TestMaxForwards(t *testing.T) {
	runRequests(t, hops, func(r *Request) string { return fmt.Sprint(r.MaxForwards) })
}
