package report

import (
	"bytes"
	"fmt"
	"html/template"
	"strconv"
)

// Bars is a horizontal bar chart, one bar per subject.
type Bars struct {
	Title string
	Unit  string // after each value
	Note  string // one line under the title: what is better, what it was measured under
	Bars  []Bar
}

// Bar is one value with the range it varied in. Values are not negative.
type Bar struct {
	Label            string
	Value, Low, High float64
	Ours             bool // drawn in the accent colour
}

// Measures of a chart, in the units of its view box.
const (
	chartWidth = 640
	labelWidth = 130
	valueWidth = 110
	rowHeight  = 28
	barHeight  = 16
)

// row is a bar placed in the chart.
type row struct {
	Label, Value, Class             string
	Middle, Top                     int
	Width, Low, High, TextX, LabelX float64
}

var chartTemplate = template.Must(template.New("chart").Parse(
	`<svg viewBox="0 0 {{.Width}} {{.Height}}" role="img" aria-label="{{.Title}}">
{{- range .Rows}}
<g class="{{.Class}}"><text class="label" x="{{.LabelX}}" y="{{.Middle}}">{{.Label}}</text>
<rect x="{{$.Left}}" y="{{.Top}}" width="{{.Width}}" height="{{$.BarHeight}}" rx="2"/>
<line x1="{{.Low}}" x2="{{.High}}" y1="{{.Middle}}" y2="{{.Middle}}"/>
<text x="{{.TextX}}" y="{{.Middle}}">{{.Value}}</text></g>
{{- end}}
</svg>`))

// SVG draws the chart: bars from zero, a thin line from the lowest to the highest round.
func (b Bars) SVG() (template.HTML, error) {
	data := struct {
		Title                          string
		Width, Height, Left, BarHeight int
		Rows                           []row
	}{b.Title, chartWidth, len(b.Bars)*rowHeight + 4, labelWidth, barHeight, b.rows()}
	var svg bytes.Buffer
	if err := chartTemplate.Execute(&svg, data); err != nil {
		return "", fmt.Errorf("drawing %s: %w", b.Title, err)
	}
	return template.HTML(svg.String()), nil //nolint:gosec // Escaped by the template above.
}

func (b Bars) rows() []row {
	most := 0.0
	for _, bar := range b.Bars {
		most = max(most, bar.Value, bar.High)
	}
	scale := 0.0
	if most > 0 {
		scale = (chartWidth - labelWidth - valueWidth) / most
	}
	var rows []row
	for i, bar := range b.Bars {
		class := "peer"
		if bar.Ours {
			class = "ours"
		}
		rows = append(rows, row{
			Label:  bar.Label,
			Value:  Number(bar.Value) + " " + b.Unit,
			Class:  class,
			Top:    i*rowHeight + (rowHeight-barHeight)/2,
			Middle: i*rowHeight + rowHeight/2,
			Width:  bar.Value * scale,
			Low:    labelWidth + bar.Low*scale,
			High:   labelWidth + bar.High*scale,
			TextX:  labelWidth + max(bar.Value, bar.High)*scale + 8,
			LabelX: labelWidth - 8,
		})
	}
	return rows
}

// Number writes a figure with about three digits: 0.87, 12.3, 145, 66000.
func Number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}
