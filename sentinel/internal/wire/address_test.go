package wire

import (
	"net/netip"
	"strings"
	"testing"
)

// addresses are texts around every rule, valid and not.
var addresses = []string{
	"", ".", "1", "1.2.3", "1.2.3.4", "1.2.3.4.5", "1.2.3.4.", ".1.2.3.4", "1..2.3", "0.0.0.0", "255.255.255.255", "256.1.1.1", "1.2.3.1000",
	"01.2.3.4", "1.2.3.00", "1.2.3.-4", "+1.2.3.4", " 1.2.3.4", "1.2.3.4 ", "0x1.2.3.4", "1.2.3.4\x00",
	"::", ":", ":::", "::1", "1::", "1::2", "::1::", "1::2::3", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:",
	":1:2:3:4:5:6:7", "1:2:3:4:5:6:7::", "::1:2:3:4:5:6:7", "1:2:3:4::5:6:7:8", "1::3:4:5:6:7:8", "ffff::", "fffff::", "g::", "FE80::AbC",
	"::1.2.3.4", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5:1.2.3.4", "::1.2.3", "::1.2.3.4:5", "1.2.3.4::",
	"::01.2.3.4", "2001:db8::1", "2001:db8:0:0:0:0:0:1", "::%eth0", "fe80::1%eth0",
}

// TestParseAddr holds ParseAddr against the standard library, which it replaces for want of a form that
// takes bytes.
func TestParseAddr(t *testing.T) {
	for _, text := range addresses {
		agreeOnAddr(t, text)
	}
}

func agreeOnAddr(t *testing.T, text string) {
	t.Helper()
	got, ok := ParseAddr([]byte(text))
	want, err := netip.ParseAddr(text)
	if strings.ContainsRune(text, '%') {
		want = netip.Addr{}
	}
	if got != want || ok != (err == nil && want.IsValid()) {
		t.Errorf("ParseAddr(%q) = %v, %t; netip says %v, %v", text, got, ok, want, err)
	}
}

func TestParseHop(t *testing.T) {
	for text, want := range map[string]string{
		"203.0.113.7":                "203.0.113.7",
		"203.0.113.7:80":             "203.0.113.7",
		"2001:db8::1":                "2001:db8::1",
		"[2001:db8::1]":              "2001:db8::1",
		"[2001:db8::1]:65535":        "2001:db8::1",
		"[fe80::1%eth0]:1":           "fe80::1",
		"fe80::1%25eth0":             "fe80::1",
		"::ffff:203.0.113.7":         "203.0.113.7",
		"[::ffff:203.0.113.7]:1":     "203.0.113.7",
		"":                           "",
		"unknown":                    "",
		"_hidden":                    "",
		`"203.0.113.7"`:              "",
		"203.0.113.7:":               "",
		"203.0.113.7:65536":          "",
		"203.0.113.7:x":              "",
		"203.0.113.7%1":              "",
		":203.0.113.7":               "",
		"[203.0.113.7]":              "",
		"[203.0.113.7]:80":           "",
		"[2001:db8::1":               "",
		"[2001:db8::1]80":            "",
		"[2001:db8::1]:":             "",
		"[2001:db8::1]]":             "",
		"[]":                         "",
		"[":                          "",
		"2001:db8::1]":               "",
		"fe80::1%":                   "",
		"[fe80::1%]":                 "",
		"203.0.113.7, 203.0.113.8":   "",
		"for=203.0.113.7":            "",
		"203.0.113.7:80:90":          "",
		strings.Repeat("1", 1000):    "",
		strings.Repeat("1:", 1000):   "",
		strings.Repeat("::1,", 1000): "",
	} {
		got, ok := ParseHop([]byte(text))
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("ParseHop(%q) = %v, %t, want %q", text, got, ok, want)
		}
	}
}

// TestParseHopAllocatesNothing also covers what is refused: hostile lists cost no memory either.
func TestParseHopAllocatesNothing(t *testing.T) {
	hops := [][]byte{[]byte("203.0.113.7:80"), []byte("[2001:db8::1%eth0]:80"), []byte("nobody")}
	if n := testing.AllocsPerRun(100, func() {
		for _, hop := range hops {
			ParseHop(hop)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzAddr(f *testing.F) {
	for _, text := range addresses {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		agreeOnAddr(t, text)
		if a, ok := ParseHop([]byte(text)); ok != a.IsValid() || a.Zone() != "" || a.Is4In6() {
			t.Errorf("ParseHop(%q) = %v, %t", text, a, ok)
		}
	})
}
