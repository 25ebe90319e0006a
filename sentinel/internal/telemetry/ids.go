package telemetry

import (
	"math/rand/v2"
	"time"
)

const (
	base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz" // no 0, O, I, l

	timeChars   = 3
	randomChars = 8
	timeRange   = 58 * 58 * 58                    // 2.26 days in seconds
	randomRange = timeRange * timeRange * 58 * 58 // 58^8
	maxID       = 128
)

// IDs makes trace ids. Its methods may be called from any goroutine and allocate nothing.
//
// The random part comes from math/rand/v2's top-level source: ChaCha8, seeded by the kernel, one
// state per thread. It takes no lock and no system call, and nobody who sees ids can foretell the
// next. Still an id is a name and not a secret: nothing may be granted to whoever knows one.
type IDs struct {
	uuid bool
}

// NewIDs returns a generator: format "uuid" makes UUIDs of version 4, anything else Tinyflakes.
func NewIDs(format string) *IDs {
	return &IDs{uuid: format == "uuid"}
}

// Append adds a fresh id to dst. A Tinyflake is 11 characters of base 58: the second of now, modulo
// 58^3, in three, then a number drawn evenly from [0, 58^8) in eight, both padded with "1", the
// digit zero. Ids of one hour sort near each other; it takes about ten million ids within
// one second for an even chance of two alike.
func (g *IDs) Append(dst []byte, now time.Time) []byte {
	if g.uuid {
		return appendUUID(dst, rand.Uint64(), rand.Uint64()) //nolint:gosec // see IDs: a name, not a secret
	}
	dst = appendBase58(dst, uint64(now.Unix())%timeRange, timeChars)
	return appendBase58(dst, rand.Uint64N(randomRange), randomChars) //nolint:gosec // as above
}

// appendBase58 writes n in width digits, which must be enough.
func appendBase58(dst []byte, n uint64, width int) []byte {
	var digits [randomChars]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = base58[n%58]
		n /= 58
	}
	return append(dst, digits[:width]...)
}

// appendUUID writes 122 of the random bits, the version 4 and the variant 10 (RFC 9562 5.4).
func appendUUID(dst []byte, high, low uint64) []byte {
	high = high&^0xf000 | 0x4000
	low = low&^(3<<62) | 2<<62
	dst = append(appendHex(dst, high>>32, 8), '-')
	dst = append(appendHex(dst, high>>16, 4), '-')
	dst = append(appendHex(dst, high, 4), '-')
	dst = append(appendHex(dst, low>>48, 4), '-')
	return appendHex(dst, low, 12)
}

// appendHex writes the last width hex digits of n.
func appendHex(dst []byte, n uint64, width int) []byte {
	for shift := 4 * (width - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[n>>shift&15])
	}
	return dst
}

// ValidID reports whether a trace id that a client sent may be used: 1 to 128 characters of
// [A-Za-z0-9._:-]. Anything else could forge log lines or headers further on.
func ValidID(id []byte) bool {
	if len(id) == 0 || len(id) > maxID {
		return false
	}
	for _, c := range id {
		if !idChars[c] {
			return false
		}
	}
	return true
}

var idChars = func() (t [256]bool) {
	for c := range 256 {
		t[c] = 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
	}
	for _, c := range "._:-" {
		t[c] = true
	}
	return t
}()
