package proxyproto

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	peer "github.com/pires/go-proxyproto"
)

// v2 is a header of version 2 with a 13th and a 14th byte, addresses and TLVs.
func v2(command, family byte, rest string) string {
	return string(signature2) + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

const (
	tcp4 = "\xcb\x00\x71\x07\xc0\x00\x02\x01\x04\xd2\x01\xbb" // 203.0.113.7:1234 to 192.0.2.1:443
	tcp6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x04\xd2\x01\xbb"
	tlvs = "\x04\x00\x03abc\x01\x00\x02h2"
)

var unixAddresses = strings.Repeat("/", 216)

// headers are inputs and what they are: an address, "unknown", or a verdict.
var headers = []struct{ name, in, want string }{
	{"v1 TCP4", "PROXY TCP4 203.0.113.7 192.0.2.1 1234 443\r\n", "203.0.113.7:1234"},
	{"v1 TCP4 shortest", "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0"},
	{"v1 TCP4 longest", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"},
	{"v1 TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n", "[2001:db8::1]:1234"},
	{"v1 TCP6 shortest", "PROXY TCP6 :: :: 0 0\r\n", "[::]:0"},
	{"v1 TCP6 longest", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	{"v1 TCP6 mapped", "PROXY TCP6 ::ffff:203.0.113.7 ::1 1234 443\r\n", "203.0.113.7:1234"},
	{"v1 UNKNOWN", "PROXY UNKNOWN\r\n", "unknown"},
	{"v1 UNKNOWN with more", "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "unknown"},
	{"v2 TCP4", v2(0x21, 0x11, tcp4), "203.0.113.7:1234"},
	{"v2 TCP4 with TLVs", v2(0x21, 0x11, tcp4+tlvs), "203.0.113.7:1234"},
	{"v2 TCP6", v2(0x21, 0x21, tcp6), "[2001:db8::1]:1234"},
	{"v2 TCP6 with TLVs", v2(0x21, 0x21, tcp6+tlvs), "[2001:db8::1]:1234"},
	{"v2 Unix", v2(0x21, 0x31, unixAddresses), "unknown"},
	{"v2 unspecified", v2(0x21, 0x00, ""), "unknown"},
	{"v2 unspecified with TLVs", v2(0x21, 0x00, tlvs), "unknown"},
	{"v2 LOCAL", v2(0x20, 0x00, ""), "unknown"},
	{"v2 LOCAL with addresses", v2(0x20, 0x11, tcp4+tlvs), "unknown"},
	{"v2 LOCAL of any family", v2(0x20, 0x12, "x"), "unknown"},
	{"v2 largest", v2(0x21, 0x11, tcp4+strings.Repeat("x", MaxSize-28)), "203.0.113.7:1234"},

	{"a request", "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "missing"},
	{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "missing"},
	{"an empty line", "\r\nPROXY UNKNOWN\r\n", "missing"},
	{"lower case", "proxy TCP4 203.0.113.7 192.0.2.1 1234 443\r\n", "missing"},
	{"v1 tab", "PROXY\tTCP4 203.0.113.7 192.0.2.1 1234 443\r\n", "missing"},
	{"v2 signature broken", "\r\n\r\n\x00\r\nQUIT\r\x21\x11\x00\x0c" + tcp4, "missing"},
	{"v1 two spaces", "PROXY  TCP4 203.0.113.7 192.0.2.1 1234 443\r\n", "malformed"},
	{"v1 two spaces later", "PROXY TCP4 203.0.113.7  192.0.2.1 1234 443\r\n", "malformed"},
	{"v1 UDP4", "PROXY UDP4 203.0.113.7 192.0.2.1 1234 443\r\n", "malformed"},
	{"v1 lower-case family", "PROXY tcp4 203.0.113.7 192.0.2.1 1234 443\r\n", "malformed"},
	{"v1 family mismatch", "PROXY TCP4 2001:db8::1 2001:db8::2 1234 443\r\n", "malformed"},
	{"v1 IPv4 as TCP6", "PROXY TCP6 203.0.113.7 192.0.2.1 1234 443\r\n", "malformed"},
	{"v1 destination mismatch", "PROXY TCP4 203.0.113.7 2001:db8::2 1234 443\r\n", "malformed"},
	{"v1 no ports", "PROXY TCP4 203.0.113.7 192.0.2.1\r\n", "malformed"},
	{"v1 one port", "PROXY TCP4 203.0.113.7 192.0.2.1 1234\r\n", "malformed"},
	{"v1 three ports", "PROXY TCP4 203.0.113.7 192.0.2.1 1234 443 1\r\n", "malformed"},
	{"v1 trailing space", "PROXY TCP4 203.0.113.7 192.0.2.1 1234 443 \r\n", "malformed"},
	{"v1 port range", "PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n", "malformed"},
	{"v1 port sign", "PROXY TCP4 203.0.113.7 192.0.2.1 +1234 443\r\n", "malformed"},
	{"v1 port zero", "PROXY TCP4 203.0.113.7 192.0.2.1 01234 443\r\n", "malformed"},
	{"v1 port empty", "PROXY TCP4 203.0.113.7 192.0.2.1  443\r\n", "malformed"},
	{"v1 octal", "PROXY TCP4 0203.0.113.7 192.0.2.1 1234 443\r\n", "malformed"},
	{"v1 zone", "PROXY TCP6 fe80::1%eth0 fe80::2 1234 443\r\n", "malformed"},
	{"v1 name", "PROXY TCP4 client.example 192.0.2.1 1234 443\r\n", "malformed"},
	{"v1 bare LF", "PROXY TCP4 203.0.113.7 192.0.2.1 1234 443\n", "malformed"},
	{"v1 CR inside", "PROXY TCP4 203.0.113.7 192.0.2.1 1234\r443\r\n", "malformed"},
	{"v1 CR inside UNKNOWN", "PROXY UNKNOWN a\rb\r\n", "malformed"},
	{"v1 two CR", "PROXY UNKNOWN\r\r\n", "malformed"},
	{"v1 UNKNOWNS", "PROXY UNKNOWNS\r\n", "malformed"},
	{"v1 nothing", "PROXY \r\n", "malformed"},
	{"v1 too long", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", "malformed"},
	{"v1 endless", "PROXY UNKNOWN " + strings.Repeat("x", 1000), "malformed"},
	{"v2 version 1", v2(0x11, 0x11, tcp4), "malformed"},
	{"v2 version 3", v2(0x31, 0x11, tcp4), "malformed"},
	{"v2 command 2", v2(0x22, 0x11, tcp4), "malformed"},
	{"v2 UDP", v2(0x21, 0x12, tcp4), "malformed"},
	{"v2 UDP6", v2(0x21, 0x22, tcp6), "malformed"},
	{"v2 Unix datagrams", v2(0x21, 0x32, unixAddresses), "malformed"},
	{"v2 family 4", v2(0x21, 0x41, tcp4), "malformed"},
	{"v2 unspecified stream", v2(0x21, 0x01, tcp4), "malformed"},
	{"v2 TCP4 short", v2(0x21, 0x11, tcp4[:11]), "malformed"},
	{"v2 TCP6 short", v2(0x21, 0x21, tcp6[:35]), "malformed"},
	{"v2 Unix short", v2(0x21, 0x31, unixAddresses[:215]), "malformed"},
	{"v2 too long", v2(0x21, 0x11, tcp4+strings.Repeat("x", MaxSize-27)), "too long"},
	{"v2 longest length", v2(0x21, 0x11, tcp4+strings.Repeat("x", 65535-12)), "too long"},
}

func describe(h Header, v Verdict) string {
	switch v {
	case Missing:
		return "missing"
	case Malformed:
		return "malformed"
	case TooLong:
		return "too long"
	case Incomplete:
		return "incomplete"
	case Complete:
	}
	if !h.Source.IsValid() {
		return "unknown"
	}
	return h.Source.String()
}

func TestParse(t *testing.T) {
	for _, c := range headers {
		h, _, v := Parse([]byte(c.in))
		if got := describe(h, v); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if v == Complete && h.Size != len(c.in) {
			t.Errorf("%s: size %d, want %d", c.name, h.Size, len(c.in))
		}
	}
}

// TestParseAnyPart shows for every beginning of every header that it is incomplete or already what all of
// it is, and that Parse never asks for a byte that is not the header's.
func TestParseAnyPart(t *testing.T) {
	for _, c := range headers {
		whole, _, verdict := Parse([]byte(c.in))
		for n := range min(len(c.in), 300) {
			h, next, v := Parse([]byte(c.in[:n]))
			switch {
			case v == Incomplete && (next < 1 || n+next > MaxHead):
				t.Fatalf("%s: after %d bytes it asks for %d", c.name, n, next)
			case v == Incomplete && verdict == Complete && n+next > whole.Size:
				t.Fatalf("%s: after %d bytes of %d it asks for %d", c.name, n, whole.Size, next)
			case v == Complete && h != whole, v != Incomplete && v != verdict:
				t.Fatalf("%s: after %d bytes it is %s, want %s", c.name, n, describe(h, v), c.want)
			}
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	for _, c := range headers {
		in := []byte(c.in)
		if n := testing.AllocsPerRun(10, func() { Parse(in) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

// FuzzParse holds Parse against itself in parts, and what it accepts against another reader of the protocol.
func FuzzParse(f *testing.F) {
	for _, c := range headers {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, _, verdict := Parse(in)
		if verdict == Complete && (whole.Size > MaxSize || whole.Size < shortest) {
			t.Fatalf("size %d", whole.Size)
		}
		got, v := drive(t, in)
		if v == verdict && got == whole || v == Incomplete && verdict == Incomplete {
			if verdict == Complete && whole.Size <= len(in) {
				askPeer(t, in, whole)
			}
			return
		}
		t.Fatalf("%q: %s in one piece, %s as its own reader would read it", in, describe(whole, verdict), describe(got, v))
	})
}

// drive reads in as a connection's owner does, never more than Parse asks for.
func drive(t *testing.T, in []byte) (h Header, v Verdict) {
	for have, next := 0, 0; ; {
		if h, next, v = Parse(in[:have]); v != Incomplete {
			return h, v
		}
		if have == len(in) {
			return h, v
		}
		if have+next > MaxHead {
			t.Fatalf("%q: asks for %d bytes behind %d", in, next, have)
		}
		have = min(have+next, len(in))
	}
}

// askPeer has another implementation read a header that Parse has accepted. It must accept it too, with the
// same address, and leave the same bytes unread.
func askPeer(t *testing.T, in []byte, h Header) {
	r := bufio.NewReaderSize(bytes.NewReader(in), 2*MaxSize)
	theirs, err := peer.Read(r)
	if isPeersGap(in) {
		return
	}
	if err != nil {
		t.Fatalf("%q: accepted, but not by the other: %v", in, err)
	}
	rest := len(in) - h.Size
	left := r.Buffered()
	if left != rest && len(in) <= 2*MaxSize {
		t.Fatalf("%q: %d bytes are left, the other leaves %d", in, rest, left)
	}
	if h.Source.IsValid() {
		if a := theirs.SourceAddr.(*net.TCPAddr).AddrPort(); netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) != h.Source {
			t.Fatalf("%q: source %v, the other says %v", in, h.Source, a)
		}
	} else if theirs.Command.IsProxy() && theirs.TransportProtocol.IsStream() && !theirs.TransportProtocol.IsUnix() {
		t.Fatalf("%q: no source, the other says %v", in, theirs.SourceAddr)
	}
}

// isPeersGap reports what the protocol allows and the other does not: it wants a known family also from
// LOCAL, whose family is to be ignored, and none of 0 from PROXY.
func isPeersGap(in []byte) bool {
	return bytes.HasPrefix(in, signature2) && (in[12] == local || in[13] == 0)
}

func Example() {
	h, _, _ := Parse([]byte("PROXY TCP4 203.0.113.7 192.0.2.1 1234 443\r\nGET / HTTP/1.1\r\n"))
	fmt.Println(h.Source, h.Size)
	// Output: 203.0.113.7:1234 43
}
