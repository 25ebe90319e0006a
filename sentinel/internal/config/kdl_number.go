package config

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// startsNumber reports whether a word can only be meant as a number: no bare word may look like one.
func startsNumber(word []byte) bool {
	s := strings.TrimPrefix(unsigned(string(word[:min(len(word), 3)])), ".")
	return s != "" && s[0] >= '0' && s[0] <= '9'
}

// number reads a whole number as int64, or as float64 when it does not fit, and any other as float64.
func (p *kdlParser) number(tok kdlToken) kdlToken {
	tok.kind = numberToken
	word := string(p.text[tok.start:tok.end])
	data, err := parseNumber(word)
	if err == nil {
		tok.data = data
		return tok
	}
	tok.kind = badToken
	name := clip([]byte(word), 40)
	if errors.Is(err, strconv.ErrRange) {
		p.report(tok.start, "found the number "+name+", which is too large", "expected at most 1.7e308")
		return tok
	}
	p.report(tok.start, "found "+name+", which is not a number", `expected a number such as 10, -1.5, 1e3, 0xff; text that starts with a digit needs quotes: "`+name+`"`)
	return tok
}

var errNumber = errors.New("not a number")

// parseNumber reads the numbers of both dialects: int64, float64 for an integer that does not fit, or
// float64. It fails with errNumber or strconv.ErrRange.
func parseNumber(word string) (any, error) {
	digits := unsigned(word)
	sign := word[:len(word)-len(digits)]
	if len(digits) > 2 && digits[0] == '0' {
		switch digits[1] {
		case 'x':
			return parseInteger(sign, digits[2:], 16)
		case 'o':
			return parseInteger(sign, digits[2:], 8)
		case 'b':
			return parseInteger(sign, digits[2:], 2)
		}
	}
	mantissa, exponent := digits, ""
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		mantissa, exponent = digits[:i], digits[i+1:]
		if !digitsOf(unsigned(exponent), 10) {
			return nil, errNumber
		}
	}
	whole, fraction, hasFraction := strings.Cut(mantissa, ".")
	if !digitsOf(whole, 10) || hasFraction && !digitsOf(fraction, 10) {
		return nil, errNumber
	}
	if exponent == "" && !hasFraction {
		return parseInteger(sign, whole, 10)
	}
	return strconv.ParseFloat(sign+strings.ReplaceAll(digits, "_", ""), 64)
}

func unsigned(s string) string {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return s[1:]
	}
	return s
}

// digitsOf reports whether s is a digit of the base and then digits and underscores.
func digitsOf(s string, base int) bool {
	for i := range len(s) {
		if !isDigit(s[i], base) && (s[i] != '_' || i == 0) {
			return false
		}
	}
	return s != ""
}

func isDigit(c byte, base int) bool {
	value := strings.IndexByte("0123456789abcdef", c|0x20) // 0x20 makes a letter lower case, and leaves a digit
	return c >= '0' && value >= 0 && value < base
}

func parseInteger(sign, digits string, base int) (any, error) {
	if !digitsOf(digits, base) {
		return nil, errNumber
	}
	digits = strings.ReplaceAll(digits, "_", "")
	n, err := strconv.ParseInt(sign+digits, base, 64)
	if err == nil {
		return n, nil
	}
	// The largest float64 has 1,024 binary digits; reading far more takes time that grows with the square.
	if digits = strings.TrimLeft(digits, "0"); len(digits) > 1024 {
		return nil, strconv.ErrRange
	}
	whole, _ := new(big.Int).SetString(sign+digits, base)
	f, _ := new(big.Float).SetInt(whole).Float64()
	if math.IsInf(f, 0) {
		return nil, strconv.ErrRange
	}
	return f, nil
}
