package report

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestTableText(t *testing.T) {
	table := Table{
		Title: "Gates",
		Head:  []string{"#", "Measured", "Verdict"},
		Rows:  [][]string{{"P1", "0.87 x nginx", "aim reached"}, {"P10", "12.5 µs", "MISS"}},
		Notes: []string{"A note."},
	}
	want := strings.Join([]string{
		"Gates",
		"#        Measured  Verdict",
		"---  ------------  -----------",
		"P1   0.87 x nginx  aim reached",
		"P10       12.5 µs  MISS",
		"A note.",
		"",
	}, "\n")
	if got := table.Text(); got != want {
		t.Errorf("Text() =\n%s\nwant\n%s", got, want)
	}
}

func TestNumber(t *testing.T) {
	tests := map[float64]string{
		0: "0", 0.871: "0.87", 3: "3.00", 12.34: "12.3", 145.4: "145", 66123.9: "66124", -0.5: "-0.50",
	}
	for v, want := range tests {
		if got := Number(v); got != want {
			t.Errorf("Number(%v) = %q, want %q", v, got, want)
		}
	}
}

var chart = Bars{
	Title: `CPU "per" request & more`, Unit: "µs", Note: "Shorter is better.",
	Bars: []Bar{
		{Label: "nginx", Value: 10, Low: 8, High: 20},
		{Label: "<Sentinel>", Value: 5, Low: 5, High: 5, Ours: true},
	},
}

// The longest whisker reaches the end of the drawing area; everything else is in proportion.
func TestChartIsToScale(t *testing.T) {
	const area = chartWidth - labelWidth - valueWidth
	rows := chart.rows()
	if got := rows[0].High; got != labelWidth+area {
		t.Errorf("the longest whisker ends at %v, want %v", got, labelWidth+area)
	}
	if got := rows[0].Width; got != area/2 {
		t.Errorf("a bar of half the longest is %v wide, want %v", got, area/2)
	}
	if got := rows[1].Width; got != area/4 {
		t.Errorf("a bar of a quarter is %v wide, want %v", got, area/4)
	}
}

func TestChartOfNothing(t *testing.T) {
	zero := Bars{Bars: []Bar{{Label: "a"}}}
	if got := zero.rows()[0]; got.Width != 0 || got.Value != "0 " {
		t.Errorf("a bar of 0 is drawn as %+v", got)
	}
}

func TestSVGIsWellFormed(t *testing.T) {
	svg, err := chart.SVG()
	if err != nil {
		t.Fatal(err)
	}
	texts, classes := readSVG(t, string(svg))
	if want := "nginx|10.0 µs|<Sentinel>|5.00 µs"; strings.Join(texts, "|") != want {
		t.Errorf("texts are %q, want %q", texts, want)
	}
	if want := "peer|ours"; strings.Join(classes, "|") != want {
		t.Errorf("groups are %q, want %q", classes, want)
	}
}

// readSVG returns the texts and the classes of the groups, in order.
func readSVG(t *testing.T, svg string) (texts, classes []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts, classes
		}
		if err != nil {
			t.Fatalf("not well-formed: %v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "g" {
				classes = append(classes, token.Attr[0].Value)
			}
		case xml.CharData:
			if text := strings.TrimSpace(string(token)); text != "" {
				texts = append(texts, text)
			}
		}
	}
}

func TestPage(t *testing.T) {
	page := Page{
		Title:  "Peers",
		Intro:  []string{"Two <processors>."},
		First:  Table{Title: "Gates", Head: []string{"#", "Measured", "Verdict"}, Rows: [][]string{{"P1", "0.87", "aim reached"}, {"P2", "2.0", "MISS"}}},
		Charts: []Bars{chart},
		Tables: []Table{{Title: "P1", Head: []string{"Subject"}, Rows: [][]string{{"nginx"}}, Notes: []string{"Noise."}}},
		Files:  []File{{Name: "plain/nginx/nginx.conf", Text: "log_format '<$status>';"}},
	}
	html, err := page.HTML()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSpace(string(html))
	for _, want := range []string{
		"<title>Peers</title>",
		"<p>Two &lt;processors&gt;.</p>",
		`<th class="figure">Measured</th>`,
		`<td class="figure">0.87</td><td class="aim">aim reached</td>`,
		`<td class="miss">MISS</td>`,
		`<g class="ours">`,
		"<p>Noise.</p>",
		"<summary>plain/nginx/nginx.conf</summary><pre>log_format &#39;&lt;$status&gt;&#39;;</pre>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if !strings.HasPrefix(text, "<!DOCTYPE html>") {
		t.Errorf("the page starts with %.20q", text)
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	html, err := Page{Title: "Peers", Charts: []Bars{chart}}.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, outside := range []string{"http:", "https:", "<script", "<link", "src=", "@import", "url("} {
		if strings.Contains(string(html), outside) {
			t.Errorf("the page contains %q", outside)
		}
	}
}
