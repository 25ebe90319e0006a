package sentinel

import (
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

// Problem is one thing wrong with a configuration, and where.
type Problem struct {
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"` // from 1; 0: the file as a whole
	Col      int    `json:"col,omitempty"`  // in characters, from 1
	Severity string `json:"severity"`       // "error" or "warning"
	Path     string `json:"path,omitempty"` // the setting
	Message  string `json:"message"`        // what was found, what is expected, the likely fix
	Excerpt  string `json:"excerpt,omitempty"`
}

// ConfigError is a configuration that cannot be used. Its text lists every problem, one per line, each
// with file, line and column.
type ConfigError struct {
	Problems []Problem
	lines    []string // the same, each as one line of text
}

func newConfigError(problems config.Problems) *ConfigError {
	e := &ConfigError{}
	for _, p := range problems {
		message := strings.TrimPrefix(p.String(), p.Pos.String()+": ")
		if p.Path != "" {
			message = strings.TrimPrefix(message, p.Path+": ")
		}
		e.lines = append(e.lines, p.Severity.String()+": "+p.String())
		e.Problems = append(e.Problems, Problem{p.File, p.Line, p.Col, p.Severity.String(), p.Path, message, p.Excerpt()})
	}
	return e
}

func (e *ConfigError) Error() string { return strings.Join(e.lines, "\n") }

// Report is the error for people: each problem with the line it is on and a caret below the place.
func (e *ConfigError) Report() string {
	var b strings.Builder
	for i, p := range e.Problems {
		b.WriteString(e.lines[i] + "\n")
		for line := range strings.Lines(p.Excerpt) {
			b.WriteString("    " + line)
		}
	}
	return b.String()
}
