package coding

import (
	"mime"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func accept(values ...string) *Accept {
	a := &Accept{}
	for _, v := range values {
		a.Add([]byte(v))
	}
	return a
}

func TestChoose(t *testing.T) {
	all := []Coding{Gzip, Brotli, Zstd}
	for _, c := range []struct {
		name   string
		values []string
		want   Coding
	}{
		{"no field", nil, Identity},
		{"empty", []string{""}, Identity},
		{"only commas", []string{", ,,"}, Identity},
		{"one", []string{"br"}, Brotli},
		{"order decides among equals", []string{"zstd, br, gzip"}, Gzip},
		{"weight before order", []string{"gzip;q=0.5, br;q=0.8, zstd;q=0.6"}, Brotli},
		{"two fields", []string{"gzip;q=0.5", "zstd"}, Zstd},
		{"any case", []string{"BR;Q=0.5"}, Brotli},
		{"x-gzip", []string{"x-gzip"}, Gzip},
		{"unknown", []string{"deflate, compress, pack200-gzip"}, Identity},
		{"prefix is no match", []string{"gzipp, brr, gzi"}, Identity},
		{"star", []string{"*"}, Gzip},
		{"star for the rest", []string{"gzip;q=0, *"}, Brotli},
		{"star refused", []string{"zstd, *;q=0"}, Zstd},
		{"star lower", []string{"zstd, *;q=0.1"}, Zstd},
		{"refused", []string{"gzip;q=0"}, Identity},
		{"refused in full", []string{"gzip;q=0.000"}, Identity},
		{"a thousandth", []string{"gzip;q=0.001"}, Gzip},
		{"identity wanted more", []string{"identity, gzip;q=0.5"}, Identity},
		{"identity wanted as much", []string{"identity, gzip"}, Gzip},
		{"identity wanted more through star", []string{"deflate, gzip;q=0.5, br;q=0.4, zstd;q=0.3, *;q=0.9"}, Identity},
		{"identity refused", []string{"identity;q=0, br;q=0.1"}, Brotli},
		{"contradiction", []string{"gzip, gzip;q=0"}, Identity},
		{"weight over one", []string{"gzip;q=1.001, br;q=0.1"}, Brotli},
		{"weight of four digits", []string{"gzip;q=0.5000"}, Identity},
		{"weight with sign", []string{"gzip;q=+1"}, Identity},
		{"weight with exponent", []string{"gzip;q=1e0"}, Identity},
		{"weight without digits", []string{"gzip;q="}, Identity},
		{"weight of a point", []string{"gzip;q=1."}, Gzip},
		{"weight quoted", []string{`gzip;q="1"`}, Identity},
		{"space around the semicolon", []string{"gzip \t; \tq=0.3"}, Gzip},
		{"space around the equals sign", []string{"gzip;q =1"}, Identity},
		{"other parameter", []string{"gzip;level=9"}, Identity},
		{"two weights", []string{"gzip;q=1;q=0"}, Identity},
		{"semicolon alone", []string{"gzip;"}, Identity},
		{"control bytes", []string{"gzip\x00, b\x7fr"}, Identity},
		{"star malformed", []string{"*;q=x, zstd"}, Zstd},
		{"identity malformed", []string{"identity;q=x, zstd"}, Zstd},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := accept(c.values...).Choose(all); got != c.want {
				t.Errorf("%q: %v, want %v", c.values, got, c.want)
			}
		})
	}
}

func TestRefusesIdentity(t *testing.T) {
	for value, want := range map[string]bool{
		"gzip": false, "identity;q=0": true, "*;q=0": true, "*;q=0, identity;q=0.1": false, "identity;q=0, identity": false,
		"identity;q=0.000": true, "gzip;q=0": false, "identity;q=no": false,
	} {
		if got := accept(value).RefusesIdentity(); got != want {
			t.Errorf("%q: %t, want %t", value, got, want)
		}
	}
	if accept().RefusesIdentity() {
		t.Error("a request without the field refuses")
	}
}

func TestByName(t *testing.T) {
	for _, c := range []Coding{Identity, Gzip, Brotli, Zstd} {
		if got, ok := ByName(c.String()); got != c || !ok {
			t.Errorf("%v: %v, %t", c, got, ok)
		}
	}
	if _, ok := ByName("deflate"); ok {
		t.Error("deflate is known")
	}
}

// weightSyntax is the grammar of a weight, by the letter of RFC 9110 12.4.2.
var weightSyntax = regexp.MustCompile(`^(0(\.[0-9]{0,3})?|1(\.0{0,3})?)$`)

// lenient are elements that the standard library takes and the grammar does not: an empty parameter, a
// quoted one, one in several parts, the same one twice, spaces that are none in HTTP.
var lenient = regexp.MustCompile(`;[ \t]*$|;.*;|["]|\*[^,]*=|[^\t -~]|\s=|=\s`)

// second is another reading of one element: the standard library's of a token with parameters, and its
// reading of a number.
func second(item string) (name string, weight int16, ok bool) {
	name, parameters, err := mime.ParseMediaType(item)
	q, weighted := parameters["q"]
	switch {
	case err != nil || len(parameters) > 1 || len(parameters) == 1 && !weighted || lenient.MatchString(item):
		return name, 0, false
	case !weighted:
		return name, 1000, true
	case !weightSyntax.MatchString(q):
		return name, 0, false
	}
	f, err := strconv.ParseFloat(q, 64)
	return name, int16(f*1000 + 0.5), err == nil
}

// FuzzAccept feeds the parser anything: it must come to an end, be right about every element by another
// reading, and never choose what the client refuses.
func FuzzAccept(f *testing.F) {
	for _, seed := range []string{
		"", "gzip, deflate, br, zstd", "gzip;q=1.0, *;q=0.5", "identity;q=0", ";q=1", "gzip;;q=1", "br;q=0.0001", "*;q=0, *",
		strings.Repeat("gzip;q=0.1,", 500), "gzip;q=1.000 , br ;q=0.999", "\x00,\xff;q=\x80", "0;q=0;q=0",
	} {
		f.Add(seed)
	}
	order := []Coding{Zstd, Brotli, Gzip}
	f.Fuzz(func(t *testing.T, value string) {
		a := accept(value)
		c := a.Choose(order)
		if w := a.weight(c); c != Identity && (w < 1 || w > 1000 || w < a.weight(Identity)) {
			t.Errorf("%q: %v was chosen, its weight is %d", value, c, w)
		}
		for item := range strings.SplitSeq(value, ",") {
			item = strings.Trim(item, " \t")
			name, weight, ok := splitWeight([]byte(item))
			theirs, want, valid := second(item)
			if valid && (!ok || weight != want || !strings.EqualFold(string(name), theirs)) {
				t.Errorf("%q: %q, %d, %t, by the other reading %q, %d", item, name, weight, ok, theirs, want)
			}
		}
	})
}
