package config

import (
	"strconv"
	"strings"
	"unicode"
)

// note records the effective value of a setting and where it comes from.
func (b *block) note(name, kdl, source string) {
	if !b.r.options.Settings {
		return
	}
	b.r.settings = append(b.r.settings, Setting{Path: b.pathOf(name), Value: kdl, Source: source})
}

// source is where a value was written: file:line, or the environment variable.
func (v value) source() string {
	if v.pos.Line == 0 {
		return v.pos.File
	}
	return v.pos.File + ":" + strconv.Itoa(v.pos.Line)
}

// kdl writes a value as KDL 2 would.
func (v value) kdl() string {
	switch d := v.data.(type) {
	case string:
		return kdlQuote(d)
	case int64:
		return strconv.FormatInt(d, 10)
	case float64:
		return kdlFloat(d)
	case bool:
		return kdlBool(d)
	}
	return "#null"
}

// kdlText writes an optional string; an empty one is not set.
func kdlText(s string) string {
	if s == "" {
		return "#null"
	}
	return kdlQuote(s)
}

func kdlTexts(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = kdlQuote(s)
	}
	return listOrNull(quoted)
}

func kdlInts(list []int) string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = strconv.Itoa(n)
	}
	return listOrNull(texts)
}

func listOrNull(texts []string) string {
	if len(texts) == 0 {
		return "#null"
	}
	return strings.Join(texts, " ")
}

func kdlBool(on bool) string {
	if on {
		return "#true"
	}
	return "#false"
}

func kdlFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// kdlQuote writes a KDL string; what cannot be printed, or would hide other text, as \u{…}.
func kdlQuote(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			out.WriteString(`\` + string(c))
		case c == '\n':
			out.WriteString(`\n`)
		case c == '\t':
			out.WriteString(`\t`)
		case !unicode.IsPrint(c):
			out.WriteString(`\u{` + strconv.FormatInt(int64(c), 16) + `}`)
		default:
			out.WriteRune(c)
		}
	}
	out.WriteByte('"')
	return out.String()
}
