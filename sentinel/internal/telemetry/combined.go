package telemetry

import "strconv"

// encodeCombined writes the NCSA combined format, then the trace id and the duration:
//
//	ip - - [time] "METHOD path?query PROTO" status bytes "referer" "user-agent" trace_id Nms
//
// What is missing is "-". The time is UTC, as in the other logs.
func (l *AccessLog) encodeCombined(s *line, a *Access) {
	s.b = appendAddr(s.b, a.ClientIP)
	s.b = append(s.b, " - - ["...)
	s.b = append(s.b, s.wholeSecond(a.Time, "02/Jan/2006:15:04:05 -0700")...)
	s.b = append(s.b, `] "`...)
	column(s, a.Method, maxMethod)
	s.b = append(s.b, ' ')
	column(s, a.Path, maxText)
	if len(a.Query) > 0 {
		s.b = append(s.b, '?')
		column(s, a.Query, maxText)
	}
	s.b = append(s.b, ' ')
	column(s, a.Protocol, maxMethod)
	s.b = append(s.b, `" `...)
	s.b = strconv.AppendInt(s.b, int64(a.Status), 10)
	s.b = append(s.b, ' ')
	s.b = strconv.AppendInt(s.b, a.BodyBytesSent, 10)
	s.b = append(s.b, ` "`...)
	column(s, a.Referer, maxText)
	s.b = append(s.b, `" "`...)
	column(s, a.UserAgent, maxText)
	s.b = append(s.b, `" `...)
	l.encodeTail(s, a)
}

func (l *AccessLog) encodeTail(s *line, a *Access) {
	id := a.TraceID
	if !l.options.IncludeTraceID {
		id = nil
	}
	column(s, id, maxWord)
	s.b = append(s.b, ' ')
	s.b = strconv.AppendInt(s.b, max(a.Duration, 0).Milliseconds(), 10)
	s.b = append(s.b, "ms"...)
}

// column writes v with every byte but printable ASCII, the quote and the backslash as \xHH, as
// nginx does. A value over limit ends in "...".
func column[T []byte | string](l *line, v T, limit int) {
	switch {
	case len(v) == 0:
		l.b = append(l.b, '-')
		return
	case len(v) <= limit && allPlain([]byte(v)):
		l.b = append(l.b, v...)
		return
	}
	for i := range min(len(v), limit) {
		if c := v[i]; plain[c] {
			l.b = append(l.b, c)
		} else {
			l.b = append(l.b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	if len(v) > limit {
		l.b = append(l.b, "..."...)
	}
}
