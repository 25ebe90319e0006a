package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
)

// Page is a whole report.
type Page struct {
	Title  string
	Intro  []string // paragraphs
	First  Table
	Charts []Bars
	Tables []Table
	Files  []File // folded away at the end
}

// File is a text shown as it is.
type File struct {
	Name, Text string
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"svg": Bars.SVG, "class": class,
}).Parse(pageText))

// HTML returns the page as one document without references to anything outside it.
func (p Page) HTML() ([]byte, error) {
	var html bytes.Buffer
	if err := pageTemplate.Execute(&html, p); err != nil {
		return nil, fmt.Errorf("writing the page: %w", err)
	}
	return html.Bytes(), nil
}

// class picks how a verdict looks.
func class(cell string) string {
	switch cell {
	case "aim reached":
		return "aim"
	case "pass":
		return "pass"
	case "MISS":
		return "miss"
	}
	return ""
}
