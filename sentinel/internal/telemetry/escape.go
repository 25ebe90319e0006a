package telemetry

import (
	"encoding/binary"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// plain marks the bytes that stand for themselves in a JSON string: printable ASCII but for the
// quote and the backslash.
var plain = func() (t [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendEscaped appends v as the inside of a JSON string. Everything that is not a printable
// character is escaped, so that a line shows what it holds: C0 and C1 controls (a terminal obeys
// both), DEL, line separators, characters that reverse the direction of text. What is no UTF-8
// becomes U+FFFD.
func appendEscaped[T []byte | string](dst []byte, v T) []byte {
	from := 0
	for i := 0; i < len(v); {
		if plain[v[i]] {
			i++
			continue
		}
		dst = append(dst, v[from:i]...)
		if c := v[i]; c < utf8.RuneSelf {
			dst = appendASCII(dst, c)
			i++
		} else {
			r, size := utf8.DecodeRuneInString(string(v[i:min(i+utf8.UTFMax, len(v))]))
			dst = appendRune(dst, r, size)
			i += size
		}
		from = i
	}
	return append(dst, v[from:]...)
}

// allPlain reports whether every byte of b is plain. It looks at eight bytes at a time, several
// times faster than one by one.
func allPlain(b []byte) bool {
	if len(b) < 8 {
		for _, c := range b {
			if !plain[c] {
				return false
			}
		}
		return true
	}
	last := binary.LittleEndian.Uint64(b[len(b)-8:]) // overlaps the word before it
	odd := notPlain(last)
	for ; len(b) > 8; b = b[8:] {
		odd |= notPlain(binary.LittleEndian.Uint64(b))
	}
	return odd == 0
}

// notPlain is zero when all eight bytes of x are plain. The sums set the high bit of a byte below ' '
// (minus 0x20), of DEL (plus one), and of a quote or backslash (zero after the xor, minus one). They carry
// and borrow between bytes only from a byte that is not plain, so a plain word never looks odd.
func notPlain(x uint64) uint64 {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	return (x | (x - ' '*ones) | (x + ones) | ((x ^ '"'*ones) - ones) | ((x ^ '\\'*ones) - ones)) & highs
}

// appendASCII escapes one byte that is not plain.
func appendASCII(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return appendUnit(dst, rune(c))
}

func appendRune(dst []byte, r rune, size int) []byte {
	if r == utf8.RuneError && size == 1 {
		return append(dst, `\ufffd`...)
	}
	if strconv.IsPrint(r) {
		return utf8.AppendRune(dst, r)
	}
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		return appendUnit(appendUnit(dst, high), low)
	}
	return appendUnit(dst, r)
}

// appendUnit escapes one UTF-16 code unit.
func appendUnit(dst []byte, u rune) []byte {
	return append(dst, '\\', 'u', hexDigits[u>>12&15], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
}
