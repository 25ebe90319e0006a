package config

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Severity says whether a problem keeps a configuration from being used.
type Severity uint8

// The severities. The zero one is Error, so that a problem nobody graded counts.
const (
	Error Severity = iota
	Warning
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Problem is one thing wrong with a configuration, and where.
type Problem struct {
	Pos
	Severity   Severity
	Path       string // the setting, `listeners.listener "main".address`; empty for a syntax error
	Found      string // what is wrong, with the value as it was written
	Expected   string // what would be right; may be empty
	DidYouMean string // the nearest valid name; may be empty
	Source     string // the line of the file Pos points at, at most 200 bytes; may be empty
}

// String returns `file:line:col: path: found; expected; did you mean "…"` on one line, without the
// parts the problem does not have.
func (p Problem) String() string {
	s := p.Pos.String() + ": "
	if p.Path != "" {
		s += p.Path + ": "
	}
	s += p.Found
	if p.Expected != "" {
		s += "; " + p.Expected
	}
	if p.DidYouMean != "" {
		s += "; did you mean " + strconv.Quote(p.DidYouMean)
	}
	return s
}

// Excerpt returns the line of the file the problem points at and a caret below the place, both ending
// in a newline; empty when the line is not known.
func (p Problem) Excerpt() string {
	if p.Source == "" {
		return ""
	}
	indent := make([]rune, 0, p.Col)
	for _, c := range p.Source {
		if len(indent) == p.Col-1 {
			break
		}
		if c != '\t' {
			c = ' '
		}
		indent = append(indent, c)
	}
	return p.Source + "\n" + string(indent) + "^\n"
}

// String returns file:line:col; only the file when there is no line, as for a file that cannot be
// opened or a value from the environment.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Col)
}

// compare orders places of one file.
func (p Pos) compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.Line, q.Line), cmp.Compare(p.Col, q.Col))
}

// Problems is a list of problems: by reading order of the files, then by place.
type Problems []Problem

// HasErrors reports whether one of the problems is an Error.
func (ps Problems) HasErrors() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Severity == Error })
}

// Error makes Problems usable as an error: one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Severity.String() + ": " + p.String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems bounds the errors and the warnings: a file of nonsense must not cost many times its size.
const maxProblems = 1000

// sorted returns the list without repetitions, in the order of files and then of place. A problem
// outside the files stands first.
func (ps Problems) sorted(files []string) Problems {
	rank := make(map[string]int, len(files))
	for i, f := range files {
		rank[f] = i + 1
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(rank[a.File], rank[b.File]), cmp.Compare(a.File, b.File),
			a.compare(b.Pos), cmp.Compare(a.Severity, b.Severity),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Found, b.Found))
	})
	return slices.Compact(ps)
}

// quote fills in the lines the problems point at. The list is sorted, so each text is read once.
func (ps Problems) quote(texts map[string][]byte) {
	var file, line string
	var rest []byte
	at := 0
	for i := range ps {
		p := &ps[i]
		if p.Line == 0 {
			continue
		}
		if p.File != file || at == 0 {
			file, rest, at = p.File, texts[p.File], 0
		}
		for at < p.Line {
			var next []byte
			next, rest, _ = bytes.Cut(rest, []byte("\n"))
			line = strings.ToValidUTF8(string(next[:min(len(next), 200)]), "")
			at++
		}
		p.Source = strings.TrimSuffix(line, "\r")
	}
}
