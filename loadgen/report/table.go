package report

import (
	"strings"
	"unicode/utf8"
)

// Table is rows of cells under a head. Every row has as many cells as the head.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string
	Notes []string // below the table
}

// Text returns the table as aligned columns; columns of figures are aligned to the right.
func (t Table) Text() string {
	widths := t.widths()
	rule := make([]string, len(widths))
	for i, w := range widths {
		rule[i] = strings.Repeat("-", w)
	}
	var b strings.Builder
	b.WriteString(t.Title + "\n")
	for _, row := range append([][]string{t.Head, rule}, t.Rows...) {
		t.writeRow(&b, row, widths)
	}
	for _, note := range t.Notes {
		b.WriteString(note + "\n")
	}
	return b.String()
}

func (t Table) widths() []int {
	widths := make([]int, len(t.Head))
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

func (t Table) writeRow(b *strings.Builder, cells []string, widths []int) {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString("  ")
		}
		space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if t.Figures(i) {
			line.WriteString(space + cell)
		} else {
			line.WriteString(cell + space)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// Figures reports whether column i holds figures, judged by its first row.
func (t Table) Figures(i int) bool {
	if len(t.Rows) == 0 {
		return false
	}
	cell := t.Rows[0][i]
	return cell != "" && strings.ContainsAny(cell[:1], "0123456789<>-")
}
