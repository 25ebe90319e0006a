package telemetry

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIDFormats(t *testing.T) {
	tinyflake := regexp.MustCompile(`^[1-9A-HJ-NP-Za-km-z]{11}$`)
	for format, pattern := range map[string]*regexp.Regexp{
		"tinyflake": tinyflake,
		"":          tinyflake,
		"uuid":      regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`),
	} {
		t.Run(format, func(t *testing.T) {
			g := NewIDs(format)
			for range 1000 {
				id := g.Append([]byte("x="), time.Now())
				if string(id[:2]) != "x=" || !pattern.Match(id[2:]) || !ValidID(id[2:]) {
					t.Fatalf("%q", id)
				}
			}
		})
	}
}

func TestTinyflakeTime(t *testing.T) {
	for name, c := range map[string]struct {
		unix int64
		want string
	}{
		"zero":       {0, "111"},
		"one":        {1, "112"},
		"last digit": {57, "11z"},
		"carry":      {58, "121"},
		"largest":    {timeRange - 1, "zzz"},
		"wrap":       {timeRange, "111"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := NewIDs("tinyflake").Append(nil, time.Unix(c.unix, 0)); string(got[:timeChars]) != c.want {
				t.Errorf("%s, want %s", got[:timeChars], c.want)
			}
		})
	}
}

func TestTinyflakeNeverPanics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(rapid.Int64().Draw(t, "now"), 0)
		if id := NewIDs("tinyflake").Append(nil, now); len(id) != 11 || !ValidID(id) {
			t.Errorf("%q", id)
		}
	})
}

func TestBase58RoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(0, randomRange-1).Draw(t, "n")
		var back uint64
		for _, c := range appendBase58(nil, n, randomChars) {
			back = back*58 + uint64(strings.IndexByte(base58, c))
		}
		if back != n {
			t.Errorf("%d came back as %d", n, back)
		}
	})
}

func TestIDsAreUnique(t *testing.T) {
	const many = 20_000
	for _, format := range []string{"tinyflake", "uuid"} {
		t.Run(format, func(t *testing.T) {
			g, ids, now := NewIDs(format), make([]string, many), time.Now()
			for i := range ids {
				ids[i] = string(g.Append(nil, now))
			}
			slices.Sort(ids)
			if distinct := len(slices.Compact(ids)); distinct != many {
				t.Errorf("%d distinct ids of %d", distinct, many)
			}
		})
	}
}

// Every digit at every random place comes equally often. With 58,000 draws each is expected 1,000
// times; chi-square over 57 degrees of freedom passes 130 by chance less than once in ten million.
func TestTinyflakeIsUniform(t *testing.T) {
	const draws = 58_000
	g, now := NewIDs("tinyflake"), time.Now()
	var seen [randomChars][256]int
	var id []byte
	for range draws {
		id = g.Append(id[:0], now)
		for place := range randomChars {
			seen[place][id[timeChars+place]]++
		}
	}
	for place := range randomChars {
		chi := 0.0
		for i := range len(base58) {
			off := float64(seen[place][base58[i]]) - draws/58
			chi += off * off / (draws / 58)
		}
		if chi > 130 {
			t.Errorf("place %d: chi-square %.1f", place, chi)
		}
	}
}

func TestIDsDoNotAllocate(t *testing.T) {
	for _, format := range []string{"tinyflake", "uuid"} {
		t.Run(format, func(t *testing.T) {
			g, now, dst := NewIDs(format), time.Now(), make([]byte, 0, 64)
			if n := testing.AllocsPerRun(100, func() { dst = g.Append(dst[:0], now) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"a":                        true,
		"Az09._:-":                 true,
		strings.Repeat("a", maxID): true,

		"":                             false,
		strings.Repeat("a", maxID+1):   false,
		"a b":                          false,
		"a\nb":                         false,
		"a\"b":                         false,
		"a/b":                          false,
		"a=b":                          false,
		"\x00":                         false,
		"é":                            false,
		"[@`{":                         false,
		"0f8fad5b-d9cb-469f-a165-7086": true,
	} {
		t.Run(id, func(t *testing.T) {
			if got := ValidID([]byte(id)); got != want {
				t.Errorf("ValidID(%q) = %v", id, got)
			}
		})
	}
}
