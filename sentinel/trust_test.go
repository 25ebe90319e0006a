package sentinel

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// TestTrust holds the compiled set against a search through the networks it was made of.
func TestTrust(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	address := func() netip.Addr {
		b := [16]byte{0: 0xfd, 15: byte(random.IntN(4)), 14: byte(random.IntN(4)) << 6}
		if random.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, 0, b[14], b[15]})
		}
		return netip.AddrFrom16(b)
	}
	for range 2000 {
		var list []netip.Prefix
		for range random.IntN(6) {
			a := address()
			list = append(list, netip.PrefixFrom(a, random.IntN(a.BitLen()+1)).Masked())
		}
		set := compileTrust(list)
		for range 20 {
			a, want := address(), false
			for _, p := range list {
				want = want || p.Contains(a)
			}
			if set.has(a) != want {
				t.Fatalf("%v in %v: %t, want %t", a, list, !want, want)
			}
		}
	}
}

func TestTrustEdges(t *testing.T) {
	t.Parallel()
	set := compileTrust(prefixes("10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "fe80::/10"))
	for text, want := range map[string]bool{
		"9.255.255.255": false, "10.0.0.0": true, "10.255.255.255": true, "11.0.0.0": false, "192.0.2.6": false, "192.0.2.7": true,
		"192.0.2.8": false, "fe80::1%eth0": true, "fec0::1": false, "::a00:0": false, "0.0.0.0": false, "::": false,
	} {
		if set.has(netip.MustParseAddr(text)) != want {
			t.Errorf("%s: %t, want %t", text, !want, want)
		}
	}
	if set.has(netip.Addr{}) || trust(nil).has(netip.MustParseAddr("10.0.0.1")) || !compileTrust(prefixes("0.0.0.0/0")).has(netip.MustParseAddr("255.255.255.255")) {
		t.Error("no address, no set, or everything")
	}
}

// found is the client that lines of X-Forwarded-For from a peer lead to, and what the upstream is told.
func found(peer string, proxies trust, lines ...string) (client, told string) {
	c := &conn{l: &listener{trust: proxies}, client: netip.AddrPortFrom(netip.MustParseAddr(peer), 1)}
	c.clientIP = []byte(peer)
	c.trusted = proxies.has(c.client.Addr())
	x := &exchange{c: c}
	for _, line := range lines {
		x.req.Fields = append(x.req.Fields, wire.Field{ID: wire.XForwarded, Name: []byte("X-Forwarded-For"), Value: []byte(line)})
	}
	x.findClient()
	return x.clientAddr().String(), string(x.forwardedFor())
}

// TestFindClient are the rules of the walk (spec N01, N02 and their neighbours).
func TestFindClient(t *testing.T) {
	t.Parallel()
	proxies := compileTrust(prefixes("10.0.0.0/8", "2001:db8:1::/48"))
	for _, test := range []struct {
		name, peer   string
		lines        []string
		client, told string
	}{
		{"a stranger", "203.0.113.1", []string{"1.2.3.4"}, "203.0.113.1", "203.0.113.1"},
		{"nothing said", "10.0.0.1", nil, "10.0.0.1", "10.0.0.1"},
		{"empty", "10.0.0.1", []string{""}, "10.0.0.1", "10.0.0.1"},
		{"one client", "10.0.0.1", []string{"203.0.113.7"}, "203.0.113.7", "203.0.113.7, 10.0.0.1"},
		{"behind two proxies", "10.0.0.1", []string{"6.6.6.6, 203.0.113.7, 10.0.0.2"}, "203.0.113.7", "203.0.113.7, 10.0.0.2, 10.0.0.1"},
		{"over lines", "10.0.0.1", []string{"6.6.6.6", "203.0.113.7", "10.0.0.2"}, "203.0.113.7", "203.0.113.7, 10.0.0.2, 10.0.0.1"},
		{"all trusted", "10.0.0.1", []string{"10.0.0.3,10.0.0.2"}, "10.0.0.3", "10.0.0.3, 10.0.0.2, 10.0.0.1"},
		{"an untrusted hop", "10.0.0.1", []string{"10.0.0.9, 203.0.113.7, 10.0.0.2"}, "203.0.113.7", "203.0.113.7, 10.0.0.2, 10.0.0.1"},
		{"empty elements", "10.0.0.1", []string{", 203.0.113.7 ,\t, 10.0.0.2,,"}, "203.0.113.7", "203.0.113.7, 10.0.0.2, 10.0.0.1"},
		{"garbage nearest", "10.0.0.1", []string{"203.0.113.7, garbage"}, "10.0.0.1", "10.0.0.1"},
		{"garbage behind a hop", "10.0.0.1", []string{"203.0.113.7, garbage, 10.0.0.2"}, "10.0.0.2", "10.0.0.2, 10.0.0.1"},
		{"garbage nobody reads", "10.0.0.1", []string{"garbage, 203.0.113.7"}, "203.0.113.7", "203.0.113.7, 10.0.0.1"},
		{"unknown", "10.0.0.1", []string{"unknown"}, "10.0.0.1", "10.0.0.1"},
		{"a port", "10.0.0.1", []string{"203.0.113.7:4711"}, "203.0.113.7", "203.0.113.7, 10.0.0.1"},
		{"IPv6", "2001:db8:1::1", []string{"2001:db8:2::1, [2001:db8:1::2]:443"}, "2001:db8:2::1", "2001:db8:2::1, 2001:db8:1::2, 2001:db8:1::1"},
		{"a zone", "10.0.0.1", []string{"fe80::1%a"}, "fe80::1", "fe80::1, 10.0.0.1"},
		{"mapped", "10.0.0.1", []string{"203.0.113.7, ::ffff:10.0.0.2"}, "203.0.113.7", "203.0.113.7, 10.0.0.2, 10.0.0.1"},
		{
			"too many hops", "10.0.0.1",
			[]string{"203.0.113.7" + strings.Repeat(", 10.0.0.2", 15) + ", 10.0.0.3"},
			"10.0.0.2",
			strings.Repeat("10.0.0.2, ", 15) + "10.0.0.3, 10.0.0.1",
		},
	} {
		client, told := found(test.peer, proxies, test.lines...)
		if client != test.client || told != test.told {
			t.Errorf("%s: client %s, X-Forwarded-For: %s; want %s and %s", test.name, client, told, test.client, test.told)
		}
	}
}

// FuzzFindClient holds the walk against one that is as simple as can be.
func FuzzFindClient(f *testing.F) {
	f.Add("6.6.6.6, 203.0.113.7, 10.0.0.2", "")
	f.Add("203.0.113.7", ", [fd00::1]:80 ,fe80::1%a,,x")
	proxies := compileTrust(prefixes("10.0.0.0/8", "fd00::/8"))
	f.Fuzz(func(t *testing.T, one, two string) {
		client, told := found("10.0.0.1", proxies, one, two)
		if want := simply(proxies, one+","+two); client != want || !strings.HasPrefix(told, client) || !strings.HasSuffix(told, "10.0.0.1") {
			t.Errorf("%q, %q: client %s told as %q, want %s", one, two, client, told, want)
		}
	})
}

func simply(proxies trust, list string) string {
	client := "10.0.0.1"
	elements := strings.Split(list, ",")
	for n := 0; len(elements) > 0 && n < maxHops; elements = elements[:len(elements)-1] {
		element := strings.Trim(elements[len(elements)-1], " \t")
		if element == "" {
			continue
		}
		hop, ok := wire.ParseHop([]byte(element))
		if !ok {
			break
		}
		client = hop.String()
		if n++; !proxies.has(hop) {
			break
		}
	}
	return client
}

// TestVouched shows which fields of a trusted peer go on as they are.
func TestVouched(t *testing.T) {
	t.Parallel()
	x := &exchange{c: &conn{}}
	for name, want := range map[string]bool{
		"X-Forwarded-For": false, "X-Forwarded-Proto": false, "X-Forwarded-Host": false, "X-Forwarded-By": false,
		"X-Forwarded-Port": true, "X-Forwarded-Prefix": true, "X-Real-IP": true, "CF-Connecting-IP": true,
		"Forwarded": false, "X-Original-URL": false, "X-Internal-Token": false, "Connection": false,
	} {
		f := named(name, "")
		x.c.trusted = true
		if x.vouched(&f) != want {
			t.Errorf("%s of a trusted peer: %t, want %t", name, !want, want)
		}
		x.c.trusted = false
		if x.vouched(&f) {
			t.Errorf("%s of a stranger goes on", name)
		}
	}
}
