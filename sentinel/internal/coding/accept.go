package coding

import "github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"

// Coding is a content coding.
type Coding uint8

// The codings. Identity is none at all.
const (
	Identity Coding = iota
	Gzip
	Brotli
	Zstd
	codings
)

var names = [codings]string{"identity", "gzip", "br", "zstd"}

// String returns the coding's name as Content-Encoding has it.
func (c Coding) String() string { return names[c] }

// ByName returns the coding of a name in lower case; x-gzip is gzip (RFC 9110 8.4.1.3). ok is false for
// those that cannot be done here.
func ByName(name string) (c Coding, ok bool) {
	if name == "x-gzip" {
		return Gzip, true
	}
	for c := range names {
		if names[c] == name {
			return Coding(c), true
		}
	}
	return Identity, false
}

// unnamed is the weight of what no element names.
const unnamed = -1

// Accept is what the Accept-Encoding fields of one request say (RFC 9110 12.5.3). The zero value stands for
// a request without such a field. Add the value of each field, then ask.
type Accept struct {
	some    bool // there is such a field
	weights [codings]int16
	any     int16 // of "*"
}

// Add takes the value of one field. Where elements contradict each other, and where one is malformed, a
// coding is not wanted rather than wanted. The value may have any length and any bytes; the time it takes
// is linear in it, and nothing of it is kept.
func (a *Accept) Add(value []byte) {
	if !a.some {
		a.some, a.any = true, unnamed
		for c := range a.weights {
			a.weights[c] = unnamed
		}
	}
	for item, rest := wire.NextItem(value); item != nil; item, rest = wire.NextItem(rest) {
		a.add(item)
	}
}

func (a *Accept) add(item []byte) {
	name, weight, ok := splitWeight(item)
	if len(name) == 1 && name[0] == '*' {
		if ok {
			a.any = lower(a.any, weight)
		}
		return
	}
	c, known := identify(name)
	switch {
	case !known:
	case c == Identity: // refusing it by mistake would leave nothing to send
		if ok {
			a.weights[c] = max(a.weights[c], weight)
		}
	case !ok:
		a.weights[c] = 0
	default:
		a.weights[c] = lower(a.weights[c], weight)
	}
}

// lower returns the lower of two weights, of which the first may be unnamed.
func lower(a, b int16) int16 {
	if a == unnamed {
		return b
	}
	return min(a, b)
}

func identify(name []byte) (Coding, bool) {
	for c := range names {
		if wire.EqualName(name, names[c]) {
			return Coding(c), true
		}
	}
	return Gzip, wire.EqualName(name, "x-gzip")
}

// splitWeight splits an element into its coding and its weight in thousandths, 1000 where none is written.
// ok is false when what follows the name is no weight (RFC 9110 12.4.2).
func splitWeight(item []byte) (name []byte, weight int16, ok bool) {
	end := 0
	for end < len(item) && item[end] != ';' && item[end] != ' ' && item[end] != '\t' {
		end++
	}
	name, rest := item[:end], trim(item[end:])
	if len(rest) == 0 {
		return name, 1000, true
	}
	if rest[0] != ';' {
		return name, 0, false
	}
	rest = trim(rest[1:])
	if len(rest) < 3 || rest[0]|0x20 != 'q' || rest[1] != '=' {
		return name, 0, false
	}
	weight, ok = parseWeight(rest[2:])
	return name, weight, ok
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// parseWeight reads a qvalue: 0 or 1, and up to three digits behind a point, all zero behind a 1.
func parseWeight(b []byte) (weight int16, ok bool) {
	if len(b) > 5 || b[0] != '0' && b[0] != '1' || len(b) > 1 && b[1] != '.' {
		return 0, false
	}
	weight = int16(b[0]-'0') * 1000
	for i, unit := 2, int16(100); i < len(b); i, unit = i+1, unit/10 {
		if b[i] < '0' || b[i] > '9' {
			return 0, false
		}
		weight += int16(b[i]-'0') * unit
	}
	return weight, weight <= 1000
}

// weight returns how much a coding is wanted, in thousandths.
func (a *Accept) weight(c Coding) int16 {
	switch {
	case a.weights[c] != unnamed:
		return a.weights[c]
	case a.any != unnamed:
		return a.any
	}
	return 0
}

// Choose returns the coding that the client wants most, the first in order among those it wants equally;
// Identity when it wants none, or wants the body as it is more. A client that does not say what it takes
// gets that, too.
func (a *Accept) Choose(order []Coding) Coding {
	if !a.some {
		return Identity
	}
	best, most := Identity, int16(0)
	for _, c := range order {
		if w := a.weight(c); w > most {
			best, most = c, w
		}
	}
	if most < a.weight(Identity) {
		return Identity
	}
	return best
}

// RefusesIdentity reports whether the client does not take a body as it is.
func (a *Accept) RefusesIdentity() bool {
	return a.some && (a.weights[Identity] == 0 || a.weights[Identity] == unnamed && a.any == 0)
}
