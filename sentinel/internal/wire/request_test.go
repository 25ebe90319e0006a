package wire

import (
	"fmt"
	"strings"
	"testing"
)

var requestLines = []example{
	{"plain", "RFC 9112 3", withLine("GET /g HTTP/1.1"), "GET /g 1.1"},
	{"HTTP/1.0", "RFC 9112 2.3", withLine("GET /g HTTP/1.0"), "GET /g 1.0"},
	{"unknown method", "RFC 9110 9.1", withLine("FOO /g HTTP/1.1"), "FOO /g 1.1"},
	{"method with every tchar", "RFC 9110 5.6.2", withLine("A1!#$%&'*+-.^_`|~ /g HTTP/1.1"), "A1!#$%&'*+-.^_`|~ /g 1.1"},
	{"method of 32 bytes", "bounded method", withLine(strings.Repeat("M", 32) + " / HTTP/1.1"), strings.Repeat("M", 32) + " / 1.1"},
	{"method of 33 bytes", "bounded method", withLine(strings.Repeat("M", 33) + " / HTTP/1.1"), "bad_request_line"},
	{"method without end", "bounded method", strings.Repeat("M", 70000), "bad_request_line"},
	{"bad method byte", "RFC 9110 9.1", withLine("G<ET / HTTP/1.1"), "bad_request_line"},
	{"lower-case method", "RFC 9110 9.1: get is not GET, and must not pass for it", withLine("get / HTTP/1.1"), "bad_request_line"},
	{"no method", "RFC 9112 3", withLine(" / HTTP/1.1"), "bad_request_line"},
	{"method alone", "RFC 9112 3", withLine("GET"), "bad_request_line"},
	{"method and space", "RFC 9112 3", withLine("GET "), "bad_request_line"},
	{"two spaces before the target", "RFC 9112 3", withLine("GET  / HTTP/1.1"), "bad_request_line"},
	{"two spaces after the target", "RFC 9112 3", withLine("GET /  HTTP/1.1"), "bad_request_line"},
	{"tab before the target", "RFC 9112 3", withLine("GET\t/ HTTP/1.1"), "bad_request_line"},
	{"tab after the target", "RFC 9112 3", withLine("GET /\tHTTP/1.1"), "bad_request_line"},
	{"vertical tab after the target", "RFC 9112 3", withLine("GET /\vHTTP/1.1"), "bad_request_line"},
	{"space at the end", "RFC 9112 3", withLine("GET / HTTP/1.1 "), "bad_request_line"},
	{"space in the target", "RFC 9112 3.2", withLine("GET /a b HTTP/1.1"), "bad_request_line"},
	{"no version", "HTTP/0.9", withLine("GET /g"), "bad_request_line"},
	{"space instead of a version", "HTTP/0.9", withLine("GET /g "), "bad_request_line"},
	{"HTTP/1.2", "RFC 9110 15.6.6", withLine("GET / HTTP/1.2"), "bad_version"},
	{"HTTP/2.0", "RFC 9110 15.6.6", withLine("GET / HTTP/2.0"), "bad_version"},
	{"HTTP/0.9 spelled out", "RFC 9110 15.6.6", withLine("GET / HTTP/0.9"), "bad_version"},
	{"preface of HTTP/2", "RFC 9113 3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_version"},
	{"HTTP/1.10", "RFC 9112 2.3", withLine("GET / HTTP/1.10"), "bad_request_line"},
	{"HTTP/01.1", "RFC 9112 2.3", withLine("GET / HTTP/01.1"), "bad_request_line"},
	{"HTTP/1,1", "RFC 9112 2.3", withLine("GET / HTTP/1,1"), "bad_request_line"},
	{"HTTP/1.x", "RFC 9112 2.3", withLine("GET / HTTP/1.x"), "bad_request_line"},
	{"lower-case http/1.1", "RFC 9112 2.3: case-sensitive", withLine("GET / http/1.1"), "bad_request_line"},
	{"HTTP/1.1x", "RFC 9112 2.3", withLine("GET / HTTP/1.1x"), "bad_request_line"},
	{"another protocol", "RFC 9112 2.3", withLine("GET / ICY/1.1"), "bad_request_line"},
	{"TLS hello", "noise of another protocol", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "bad_request_line"},
	{"bare LF", "RFC 9112 2.2", "GET / HTTP/1.1\nHost: a.test\n\n", "bad_request_line"},
	{"bare CR in the line", "RFC 9112 2.2", withLine("GET /\r HTTP/1.1"), "bad_target"},
	{"NUL in the version", "RFC 9112 2.3", withLine("GET / HTTP/1.\x00"), "bad_request_line"},
	{"one empty line before", "RFC 9112 2.2", "\r\n" + withLine("GET / HTTP/1.1"), "GET / 1.1"},
	{"two empty lines before", "RFC 9112 2.2: at least one", "\r\n\r\n" + withLine("GET / HTTP/1.1"), "bad_request_line"},
	{"LF before", "RFC 9112 2.2", "\n" + withLine("GET / HTTP/1.1"), "bad_request_line"},
	{"CR before", "RFC 9112 2.2", "\r" + withLine("GET / HTTP/1.1"), "bad_request_line"},
	{"space before", "RFC 9112 2.2", " " + withLine("GET / HTTP/1.1"), "bad_request_line"},
	{"line at the limit", "RFC 9110 15.5.15", withLine("GET /" + strings.Repeat("a", 8178) + " HTTP/1.1"), "GET /" + strings.Repeat("a", 8178) + " 1.1"},
	{"line over the limit", "RFC 9110 15.5.15", withLine("GET /" + strings.Repeat("a", 8179) + " HTTP/1.1"), "target_too_long"},
	{"line without end", "RFC 9110 15.5.15", "GET /" + strings.Repeat("a", 70000), "target_too_long"},
	{"nothing yet", "RFC 9112 2.2", "", "incomplete"},
	{"empty line only", "RFC 9112 2.2", "\r\n", "incomplete"},
	{"half a line", "RFC 9112 3", "GET /a HT", "incomplete"},
	{"line without fields", "RFC 9112 2.1", "GET / HTTP/1.1\r\n", "incomplete"},
	{"no empty line", "RFC 9112 2.1", "GET / HTTP/1.1\r\nHost: a.test\r\n", "incomplete"},
	{"half an empty line", "RFC 9112 2.1", "GET / HTTP/1.1\r\nHost: a.test\r\n\r", "incomplete"},
}

func TestRequestLine(t *testing.T) {
	runRequests(t, requestLines, func(r *Request) string {
		return fmt.Sprintf("%s %s 1.%d", r.Method, r.Path, r.Minor)
	})
}

var targets = []example{
	{"origin form", "RFC 9112 3.2.1", withLine("GET /a/b?x=1 HTTP/1.1"), "/a/b ?x=1 a.test"},
	{"root", "RFC 9112 3.2.1", withLine("GET / HTTP/1.1"), "/ a.test"},
	{"empty query", "RFC 3986 3.4", withLine("GET /? HTTP/1.1"), "/ ? a.test"},
	{"question mark in the query", "RFC 3986 3.4", withLine("GET /a?b?c HTTP/1.1"), "/a ?b?c a.test"},
	{"query is not normalised", "RFC 3986 6.2.2", withLine("GET /a?/../%41//%zz HTTP/1.1"), "/a ?/../%41//%zz a.test"},
	{"what browsers send raw", "WHATWG URL", withLine("GET /a|b^c?d[]={e}` HTTP/1.1"), "/a|b^c ?d[]={e}` a.test"},
	{"path is canonical", "RFC 3986 6.2.2", withLine("GET /a/./b//../%63 HTTP/1.1"), "/a/c a.test"},
	{"escaped slash", "matched as one thing, forwarded as another", withLine("GET /a%2Fb HTTP/1.1"), "/a%2Fb slash a.test"},
	{"no slash first", "RFC 9112 3.2", withLine("GET admin HTTP/1.1"), "bad_target"},
	{"escaped slash first", "RFC 9112 3.2", withLine("GET %2Fadmin HTTP/1.1"), "bad_target"},
	{"query only", "RFC 9112 3.2", withLine("GET ?x HTTP/1.1"), "bad_target"},
	{"fragment", "RFC 9112 3.2", withLine("GET /g#x HTTP/1.1"), "bad_target"},
	{"fragment in the query", "RFC 9112 3.2", withLine("GET /g?y#x HTTP/1.1"), "bad_target"},
	{"control byte", "RFC 3986 2", withLine("GET /\x01 HTTP/1.1"), "bad_target"},
	{"NUL", "RFC 3986 2", withLine("GET /a\x00b HTTP/1.1"), "bad_target"},
	{"DEL", "RFC 3986 2", withLine("GET /\x7f HTTP/1.1"), "bad_target"},
	{"high byte", "RFC 3986 2", withLine("GET /\xff HTTP/1.1"), "bad_target"},
	{"high byte in the query", "RFC 3986 2", withLine("GET /?\xff HTTP/1.1"), "bad_target"},
	{"bare CR in the query", "RFC 9112 2.2", withLine("GET /?\r HTTP/1.1"), "bad_target"},
	{"backslash", "read as a slash by some", withLine("GET /a\\b HTTP/1.1"), "bad_target"},
	{"quote", "RFC 3986 2", withLine("GET /a\"b HTTP/1.1"), "bad_target"},
	{"angle bracket", "RFC 3986 2", withLine("GET /a<b HTTP/1.1"), "bad_target"},
	{"escaped NUL", "CVE-2025-66490 set", withLine("GET /a%00b HTTP/1.1"), "bad_path"},
	{"escape that is none", "RFC 3986 2.1", withLine("GET /%zz HTTP/1.1"), "bad_path"},

	{"absolute form", "RFC 9112 3.2.2", withLine("GET http://b.test/g HTTP/1.1"), "/g b.test"},
	{"absolute form overrides Host", "RFC 9112 3.2.2", withLine("GET HTTP://B.Test:81/g?x HTTP/1.1"), "/g ?x b.test:81"},
	{"absolute form with https", "RFC 9112 3.2.2", withLine("GET https://b.test/g HTTP/1.1"), "/g b.test"},
	{"absolute form without path", "RFC 9110 4.2.3", withLine("GET http://b.test HTTP/1.1"), "/ b.test"},
	{"absolute form with query only", "RFC 3986 3.3", withLine("GET http://b.test?x HTTP/1.1"), "/ ?x b.test"},
	{"absolute form with another URL in its query", "RFC 3986 3.4", withLine("GET http://b.test?u=http://c.test/ HTTP/1.1"), "/ ?u=http://c.test/ b.test"},
	{"absolute form without Host", "RFC 9112 3.2", "GET http://b.test/g HTTP/1.1\r\n\r\n", "bad_host"},
	{"absolute form, bad Host", "RFC 9112 3.2", "GET http://b.test/g HTTP/1.1\r\nHost: a b\r\n\r\n", "bad_host"},
	{"absolute form without authority", "RFC 9110 4.2.1", withLine("GET http:///g HTTP/1.1"), "bad_host"},
	{"absolute form with user", "RFC 9110 4.2.4", withLine("GET http://u@b.test/g HTTP/1.1"), "bad_host"},
	{"absolute form with password", "RFC 9110 4.2.4", withLine("GET http://a.test:80@b.test/ HTTP/1.1"), "bad_host"},
	{"absolute form, port too large", "RFC 3986 3.2.3", withLine("GET http://b.test:99999/g HTTP/1.1"), "bad_host"},
	{"absolute form, port no number", "RFC 3986 3.2.3", withLine("GET http://b.test:8a/g HTTP/1.1"), "bad_host"},
	{"absolute form, backslash ends no authority", "WHATWG URL: read as a slash", withLine("GET http://b.test\\@a.test/ HTTP/1.1"), "bad_target"},
	{"absolute form, unknown scheme", "RFC 9112 3.2.2", withLine("GET ftp://b.test/g HTTP/1.1"), "bad_target"},
	{"absolute form, one slash", "RFC 3986 3", withLine("GET http:/b.test/g HTTP/1.1"), "bad_target"},
	{"absolute form, scheme in the path", "RFC 3986 3", withLine("GET x/http://b.test HTTP/1.1"), "bad_target"},
	{"absolute form, fragment", "RFC 9112 3.2", withLine("GET http://b.test/#x HTTP/1.1"), "bad_target"},
	{"absolute form, bad path", "RFC 3986 2.1", withLine("GET http://b.test/%4 HTTP/1.1"), "bad_path"},

	{"authority form", "RFC 9112 3.2.3", withLine("CONNECT B.test:443 HTTP/1.1"), " b.test:443"},
	{"authority form with GET", "RFC 9112 3.2.3", withLine("GET b.test:80 HTTP/1.1"), "bad_target"},
	{"CONNECT to a path", "RFC 9112 3.2.3", withLine("CONNECT /a HTTP/1.1"), "bad_target"},
	{"CONNECT to a URL", "RFC 9112 3.2.3", withLine("CONNECT http://b.test/ HTTP/1.1"), "bad_target"},
	{"CONNECT with a bad port", "RFC 9112 3.2.3", withLine("CONNECT b.test:x HTTP/1.1"), "bad_target"},

	{"asterisk form", "RFC 9112 3.2.4", withLine("OPTIONS * HTTP/1.1"), "* a.test"},
	{"asterisk form from absolute", "RFC 9112 3.2.4", withLine("OPTIONS http://b.test HTTP/1.1"), "* b.test"},
	{"OPTIONS of the root", "RFC 9112 3.2.4", withLine("OPTIONS http://b.test/ HTTP/1.1"), "/ b.test"},
	{"asterisk with GET", "RFC 9112 3.2.4", withLine("GET * HTTP/1.1"), "bad_target"},
	{"asterisk and more", "RFC 9112 3.2.4", withLine("OPTIONS */a HTTP/1.1"), "bad_target"},
}

func TestTarget(t *testing.T) {
	runRequests(t, targets, func(r *Request) string {
		words := []string{string(r.Path)}
		if r.HasQuery {
			words = append(words, "?"+string(r.Query))
		}
		if r.EscapedSlash {
			words = append(words, "slash")
		}
		return strings.Join(append(words, string(r.Authority)), " ")
	})
}

func withHost(host string) string { return "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n" }

var hosts = []example{
	{"name", "RFC 9110 7.2", withHost("a.test"), "a.test a.test"},
	{"port", "RFC 9110 7.2", withHost("a.test:8080"), "a.test:8080 a.test"},
	{"case", "RFC 9110 4.2.3", withHost("A.Test:80"), "a.test:80 a.test"},
	{"empty port", "RFC 3986 3.2.3", withHost("a.test:"), "a.test: a.test"},
	{"largest port", "RFC 3986 3.2.3", withHost("a.test:65535"), "a.test:65535 a.test"},
	{"port too large", "RFC 9110 7.2", withHost("a.test:65536"), "bad_host"},
	{"port too long", "RFC 9110 7.2", withHost("a.test:000080"), "bad_host"},
	{"port no number", "RFC 9110 7.2", withHost("a.test:abc"), "bad_host"},
	{"negative port", "RFC 9110 7.2", withHost("a.test:-1"), "bad_host"},
	{"two ports", "RFC 9110 7.2", withHost("a.test:80:80"), "bad_host"},
	{"port alone", "RFC 9110 4.2.1", withHost(":80"), "bad_host"},
	{"fully qualified", "RFC 3986 3.2.2", withHost("a.test."), "a.test. a.test"},
	{"fully qualified with port", "RFC 3986 3.2.2", withHost("a.test.:80"), "a.test.:80 a.test"},
	{"dot", "RFC 3986 3.2.2", withHost("."), "bad_host"},
	{"dot first", "RFC 3986 3.2.2", withHost(".a.test"), "bad_host"},
	{"IPv4", "RFC 3986 3.2.2", withHost("127.0.0.1:80"), "127.0.0.1:80 127.0.0.1"},
	{"IPv6", "RFC 3986 3.2.2", withHost("[::1]:8080"), "[::1]:8080 [::1]"},
	{"IPv6 case", "RFC 3986 3.2.2", withHost("[2001:DB8::A]"), "[2001:db8::a] [2001:db8::a]"},
	{"IPv4 in IPv6", "RFC 3986 3.2.2", withHost("[::ffff:192.0.2.1]"), "[::ffff:192.0.2.1] [::ffff:192.0.2.1]"},
	{"IPv6 without end", "RFC 3986 3.2.2", withHost("[::1"), "bad_host"},
	{"IPv6 and more", "RFC 3986 3.2.2", withHost("[::1]x"), "bad_host"},
	{"IPv6 zone", "RFC 9110 7.2", withHost("[fe80::1%25eth0]"), "bad_host"},
	{"IPv6 raw zone", "RFC 9110 7.2", withHost("[fe80::1%eth0]"), "bad_host"},
	{"IPv4 in brackets", "RFC 3986 3.2.2", withHost("[127.0.0.1]"), "bad_host"},
	{"brackets around nothing", "RFC 3986 3.2.2", withHost("[]"), "bad_host"},
	{"IPvFuture", "RFC 3986 3.2.2: no one speaks it", withHost("[v1.a]"), "bad_host"},
	{"IPv6 without brackets", "RFC 3986 3.2.2", withHost("::1"), "bad_host"},
	{"missing", "RFC 9112 3.2", "GET / HTTP/1.1\r\n\r\n", "bad_host"},
	{"missing in HTTP/1.0", "RFC 9110 7.2: what is forwarded needs one", "GET / HTTP/1.0\r\n\r\n", "bad_host"},
	{"empty", "RFC 9110 7.2", withHost(""), "bad_host"},
	{"twice", "RFC 9112 3.2", withFields("Host: b.test"), "bad_host"},
	{"twice the same", "RFC 9112 3.2", withFields("hOST: a.test"), "bad_host"},
	{"first good, second empty", "RFC 9112 3.2", withFields("Host:"), "bad_host"},
	{"path", "RFC 9112 3.2", withHost("a.test/x"), "bad_host"},
	{"space", "RFC 9112 3.2", withHost("a b"), "bad_host"},
	{"list", "Host of Troubles", withHost("a.test,b.test"), "bad_host"},
	{"user", "RFC 9110 4.2.4", withHost("u@a.test"), "bad_host"},
	{"query", "RFC 9112 3.2", withHost("a.test?x"), "bad_host"},
	{"escape", "RFC 3986 3.2.2", withHost("a%2etest"), "bad_host"},
	{"high byte", "RFC 3986 3.2.2", withHost("\xe9.test"), "bad_host"},
	{"NUL", "a reader that stops there sees another host", withHost("a.test\x00.b.test"), "bad_header"},
	{"space before the colon", "RFC 9112 5.1", "GET / HTTP/1.1\r\nHost : a.test\r\n\r\n", "bad_header"},
	{"folded", "Host of Troubles, RFC 9112 5.2", "GET / HTTP/1.1\r\nHost: a.test\r\n b.test\r\n\r\n", "bad_header"},
	{"space before the name", "Host of Troubles", "GET / HTTP/1.1\r\n Host: a.test\r\n\r\n", "bad_header"},
}

func TestHost(t *testing.T) {
	runRequests(t, hosts, func(r *Request) string { return fmt.Sprintf("%s %s", r.Authority, r.Host) })
}
