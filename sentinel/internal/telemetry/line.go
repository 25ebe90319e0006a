package telemetry

import (
	"net/netip"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// Bounds of log strings, in bytes before escaping. A longer one is cut between characters.
const (
	maxMethod = 32
	maxWord   = 256   // ids, reasons and the like
	maxText   = 2048  // path, query, fields of the request, messages
	maxStack  = 16384 // details of an error
	maxList   = 64    // entries of a list or of metadata

	maxMetadata = 4096 // names and values of an audit entry's metadata together

	keptLine = 16384 // a scratch buffer that grew past this is not kept
)

// line is the scratch buffer one log line is built in. The key arguments below are written as they
// are: comma, quoted name, colon, and the opening quote of a string.
type line struct {
	b   []byte
	cut bool // something was over its bound

	second int64  // the Unix second that stamp spells out
	layout string // and how
	stamp  []byte // kept between lines: most fall into the same second
}

var lines = sync.Pool{New: func() any { return &line{b: make([]byte, 0, 1024)} }}

func newLine() *line {
	l := lines.Get().(*line)
	l.b, l.cut = l.b[:0], false
	return l
}

// send ends the line, hands it to w and gives the scratch buffer back.
func (l *line) send(w *Writer) {
	l.b = append(l.b, '\n')
	w.Append(l.b)
	if cap(l.b) <= keptLine {
		lines.Put(l)
	}
}

// endObject closes the JSON object and says whether anything in it was cut.
func (l *line) endObject() {
	if l.cut {
		l.b = append(l.b, `,"truncated":true`...)
	}
	l.b = append(l.b, '}')
}

// text adds a member with a string value of at most limit bytes. Its key ends in the opening quote.
func text[T []byte | string](l *line, key string, v T, limit int) {
	if len(v) > limit {
		v = v[:boundary(v, limit)]
		l.cut = true
	}
	b := append(l.b, key...)
	if allPlain([]byte(v)) { // the compiler makes no copy of a string here
		b = append(b, v...)
	} else {
		b = appendEscaped(b, v)
	}
	l.b = append(b, '"')
}

// optional is text for a member that is left out when empty.
func optional[T []byte | string](l *line, key string, v T, limit int) {
	if len(v) > 0 {
		text(l, key, v, limit)
	}
}

// boundary returns the last index up to limit that does not split a character.
func boundary[T []byte | string](v T, limit int) int {
	for i := limit; i > limit-utf8.UTFMax; i-- {
		if utf8.RuneStart(v[i]) {
			return i
		}
	}
	return limit // no UTF-8 anyway
}

func (l *line) number(key string, n int64) {
	l.b = strconv.AppendInt(append(l.b, key...), n, 10)
}

func (l *line) flag(key string, v bool) {
	l.b = strconv.AppendBool(append(l.b, key...), v)
}

// millis adds a duration in milliseconds with three decimals: most answers take less than one.
func (l *line) millis(key string, d time.Duration) {
	micros := max(d.Microseconds(), 0)
	b := strconv.AppendInt(append(l.b, key...), micros/1000, 10)
	l.b = append3Digits(append(b, '.'), int(micros%1000))
}

func append3Digits(b []byte, n int) []byte {
	return append(b, byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
}

// address adds a client address. The zone, a name that the peer's link decides, is left out.
func (l *line) address(key string, a netip.Addr) {
	l.b = append(appendAddr(append(l.b, key...), a), '"')
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(b, '-')
	}
	if !a.Is4() {
		a = a.Unmap().WithZone("")
	}
	return a.AppendTo(b)
}

// timestamp adds RFC 3339 in UTC with milliseconds.
func (l *line) timestamp(key string, t time.Time) {
	b := append(append(l.b, key...), l.wholeSecond(t, "2006-01-02T15:04:05.")...)
	b = append3Digits(b, t.Nanosecond()/int(time.Millisecond))
	l.b = append(b, 'Z', '"')
}

// wholeSecond returns t in UTC in a layout without fractions.
func (l *line) wholeSecond(t time.Time, layout string) []byte {
	if second := t.Unix(); second != l.second || layout != l.layout {
		l.second, l.layout = second, layout
		l.stamp = t.UTC().AppendFormat(l.stamp[:0], layout)
	}
	return l.stamp
}
