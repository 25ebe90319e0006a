package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// span is the range of an integer setting, both ends included.
type span struct{ lo, hi int64 }

var (
	positive = span{1, math.MaxInt32}
	orZero   = span{0, math.MaxInt32}
	bytesMax = span{1, 1 << 50}
	// Ten years: a longer time is a mistake, and none of these overflows a time.Duration.
	secondsMax = span{1, 315_360_000}
	secondsOr0 = span{0, 315_360_000}
	millisMax  = span{1, 315_360_000_000}
	millisOr0  = span{0, 315_360_000_000}
)

func (s span) String() string {
	return fmt.Sprintf("expected an integer from %d to %d", s.lo, s.hi)
}

// integer reads a whole number within s.
func (b *block) integer(name string, def int, s span, aliases ...string) int {
	return int(b.size(name, int64(def), s, aliases...))
}

// size is integer for numbers that may not fit an int of 32 bits.
func (b *block) size(name string, def int64, s span, aliases ...string) int64 {
	v, ok := b.lookup(name, aliases...)
	if !ok {
		b.note(name, strconv.FormatInt(def, 10), "default")
		return def
	}
	n, ok := v.data.(int64)
	if !ok || n < s.lo || n > s.hi {
		b.wrong(name, v, s.String())
		return def
	}
	b.note(name, strconv.FormatInt(n, 10), v.source())
	return n
}

// bound reads an integer whose default is "no bound", written #null and returned as 0.
func (b *block) bound(name string, s span, aliases ...string) int64 {
	v, ok := b.lookup(name, aliases...)
	if !ok {
		b.note(name, "#null", "default")
		return 0
	}
	n, ok := v.data.(int64)
	if v.data != nil && (!ok || n < s.lo || n > s.hi) {
		b.wrong(name, v, s.String()+", or #null for no bound")
		return 0
	}
	b.note(name, v.kdl(), v.source())
	return n
}

// seconds reads a duration written as whole seconds.
func (b *block) seconds(name string, def int, s span, aliases ...string) time.Duration {
	return time.Duration(b.size(name, int64(def), s, aliases...)) * time.Second
}

// optionalSeconds reads a duration that may be absent or #null, which is 0.
func (b *block) optionalSeconds(name string, aliases ...string) time.Duration {
	return time.Duration(b.bound(name, secondsMax, aliases...)) * time.Second
}

// millis reads a duration written as whole milliseconds.
func (b *block) millis(name string, def int, s span, aliases ...string) time.Duration {
	return time.Duration(b.size(name, int64(def), s, aliases...)) * time.Millisecond
}

// interval is the range of a number with a fraction; its lower end is 0.
type interval struct {
	hi   float64
	zero bool // 0 itself is allowed
}

func (i interval) String() string {
	if i.zero {
		return fmt.Sprintf("expected a number from 0 to %v", i.hi)
	}
	return fmt.Sprintf("expected a number above 0, up to %v", i.hi)
}

// ratio reads a number with or without a fraction. The default 0, where 0 itself is not allowed, means
// that the setting is optional.
func (b *block) ratio(name string, def float64, i interval) float64 {
	v, ok := b.lookup(name)
	optional := def == 0 && !i.zero
	switch {
	case optional && (!ok || v.data == nil):
		b.note(name, "#null", "default")
		return 0
	case !ok:
		b.note(name, kdlFloat(def), "default")
		return def
	}
	f, ok := v.float()
	if !ok || !(f > 0 || i.zero && f == 0) || f > i.hi {
		b.wrong(name, v, i.String())
		return def
	}
	b.note(name, kdlFloat(f), v.source())
	return f
}

func (v value) float() (float64, bool) {
	switch n := v.data.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// boolean reads #true or #false, in their other spellings too.
func (b *block) boolean(name string, def bool) bool {
	v, ok := b.lookup(name)
	if !ok {
		b.note(name, kdlBool(def), "default")
		return def
	}
	on, ok := v.bool()
	if !ok {
		b.wrong(name, v, "expected #true or #false")
		return def
	}
	b.note(name, kdlBool(on), v.source())
	return on
}

// flag is boolean for a setting that may stand alone, which means true.
func (b *block) flag(name string, aliases ...string) bool {
	v, ok := b.lookup(name, aliases...)
	on, isBool := v.bool()
	switch {
	case !ok:
		b.note(name, kdlBool(false), "default")
		return false
	case v.data == noValue:
		on = true
	case !isBool:
		b.wrong(name, v, "expected #true, #false or nothing")
		return false
	}
	b.note(name, kdlBool(on), v.source())
	return on
}

func (v value) bool() (on, ok bool) {
	switch d := v.data.(type) {
	case bool:
		return d, true
	case string:
		return strings.EqualFold(d, "true"), strings.EqualFold(d, "true") || strings.EqualFold(d, "false")
	}
	return false, false
}

// text reads a string that is not empty. With the default "" the setting is optional, and may be
// written as #null.
func (b *block) text(name, def string, aliases ...string) string {
	v, ok := b.lookup(name, aliases...)
	if !ok || v.data == nil && def == "" {
		b.note(name, kdlText(def), "default")
		return def
	}
	s, ok := b.textOf(name, v)
	if !ok {
		return def
	}
	b.note(name, kdlText(s), v.source())
	return s
}

// required is text for a setting that has no default.
func (b *block) required(name string) string {
	v, ok := b.lookup(name)
	if !ok {
		b.fail(name, "missing setting "+strconv.Quote(name), "it is required")
		return ""
	}
	s, ok := b.textOf(name, v)
	if ok {
		b.note(name, kdlText(s), v.source())
	}
	return s
}

// texts reads a list of strings, none of them empty.
func (b *block) texts(name string, def []string, aliases ...string) []string {
	vs := b.values(name, aliases...)
	if len(vs) == 0 {
		b.note(name, kdlTexts(def), "default")
		return def
	}
	var list []string
	for _, v := range vs {
		if s, ok := b.textOf(name, v); ok {
			list = append(list, s)
		}
	}
	b.note(name, kdlTexts(list), vs[0].source())
	return list
}

// textOf checks that one value is a string that can be used.
func (b *block) textOf(name string, v value) (string, bool) {
	s, ok := v.data.(string)
	switch {
	case !ok:
		b.wrong(name, v, "expected a string")
	case s == "":
		b.wrong(name, v, "expected a string that is not empty")
	case strings.ContainsRune(s, 0):
		b.wrong(name, v, "expected a string without NUL")
	default:
		return s, true
	}
	return "", false
}

// integers reads a list of whole numbers.
func (b *block) integers(name string, def []int, s span, aliases ...string) []int {
	vs := b.values(name, aliases...)
	if len(vs) == 0 {
		b.note(name, kdlInts(def), "default")
		return def
	}
	var list []int
	for _, v := range vs {
		n, ok := v.data.(int64)
		if !ok || n < s.lo || n > s.hi {
			b.wrong(name, v, s.String())
			continue
		}
		list = append(list, int(n))
	}
	b.note(name, kdlInts(list), vs[0].source())
	return list
}

// wrong reports a value that is not what its setting wants.
func (b *block) wrong(name string, v value, expected string) {
	b.r.report(b.wrongAt(name, v, expected))
}

func (b *block) wrongAt(name string, v value, expected string) Problem {
	p := Problem{Pos: v.pos, Path: b.pathOf(name), Found: "found " + v.describe(), Expected: expected}
	if d, ok := v.data.(defect); ok {
		p.Found = d.found
		if d.expected != "" {
			p.Expected = d.expected
		}
	}
	return p
}

// describe names a value as it was written, never as a variable expanded it: that may be a secret.
func (v value) describe() string {
	switch v.data.(type) {
	case nil:
		return "#null"
	case bool, int64:
		return v.text
	case float64:
		return "the number " + v.text
	}
	return "the string " + v.text
}
