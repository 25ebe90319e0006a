package config

import (
	"slices"
	"strconv"
	"strings"
)

// words are the values a setting may have. Case, and the choice between "-" and "_", never matter.
type words struct {
	forms   [][]string // each in its canonical form, then its other spellings
	ignored []string   // known and not built: a warning
	refused []string   // known and not built, where going on without would be wrong: an error
}

// oneOf makes words; each is a canonical form and, after spaces, its other spellings.
func oneOf(list ...string) (w words) {
	for _, s := range list {
		w.forms = append(w.forms, strings.Fields(s))
	}
	return w
}

func (w words) ignoring(list ...string) words {
	w.ignored = list
	return w
}

func (w words) refusing(list ...string) words {
	w.refused = list
	return w
}

func (w words) find(s string) (canonical string, ok bool) {
	for _, forms := range w.forms {
		if holds(forms, s) {
			return forms[0], true
		}
	}
	return "", false
}

func holds(list []string, s string) bool {
	return slices.ContainsFunc(list, func(f string) bool { return spelling(f) == spelling(s) })
}

func spelling(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

func (w words) canonical() (list []string) {
	for _, forms := range w.forms {
		list = append(list, forms[0])
	}
	return list
}

// word checks one value against a closed set.
func (b *block) word(name string, v value, w words) (canonical string, ok bool) {
	s, isText := v.data.(string)
	if canonical, ok = w.find(s); isText && ok {
		return canonical, true
	}
	expected := "expected one of " + strings.Join(w.canonical(), ", ")
	p := b.wrongAt(name, v, expected)
	switch {
	case !isText:
	case holds(w.ignored, s):
		p = unsupportedAt(v.pos, b.pathOf(name))
		p.Found = strconv.Quote(s) + " is " + p.Found
	case holds(w.refused, s):
		p.Found = strconv.Quote(s) + " is not supported in this build"
	default:
		p.DidYouMean = b.r.nearest(s, w.canonical())
	}
	b.r.report(p)
	return "", false
}

// choice reads one of a closed set of words and returns its canonical form. With the default "" the
// setting is optional.
func (b *block) choice(name, def string, w words) string {
	v, ok := b.lookup(name)
	if !ok {
		b.note(name, kdlText(def), "default")
		return def
	}
	word, ok := b.word(name, v, w)
	if !ok {
		return def
	}
	b.note(name, kdlText(word), v.source())
	return word
}

// choices is choice for a list.
func (b *block) choices(name string, def []string, w words, aliases ...string) []string {
	vs := b.values(name, aliases...)
	if len(vs) == 0 {
		b.note(name, kdlTexts(def), "default")
		return def
	}
	var list []string
	for _, v := range vs {
		if word, ok := b.word(name, v, w); ok && !slices.Contains(list, word) {
			list = append(list, word)
		}
	}
	b.note(name, kdlTexts(list), vs[0].source())
	return list
}
