package sentinel_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
)

// What the documentation says is compared with the code here, so that neither can drift alone.

// scaffold is what an example that is only a part of a configuration refers to.
const scaffold = `
listener "scaffold" { address "127.0.0.1:0" }
upstream "backend" { target "127.0.0.1:3000" }`

// example is one kdl block of a page.
type example struct {
	page, text string
	line       int
}

var kdlBlock = regexp.MustCompile("(?ms)^```kdl\n(.*?)^```$")

func examples(t *testing.T) (list []example) {
	t.Helper()
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../README.md") {
		text := read(t, page)
		for _, at := range kdlBlock.FindAllStringSubmatchIndex(text, -1) {
			list = append(list, example{filepath.Base(page), text[at[2]:at[3]], strings.Count(text[:at[2]], "\n") + 1})
		}
	}
	if len(list) == 0 {
		t.Fatal("no example found")
	}
	return list
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// inspect loads an example as it stands or, when it is a part only, with the scaffold.
func (e *example) inspect() (*sentinel.Inspection, error) {
	o := sentinel.Options{Text: []byte(e.text), Name: e.page, LookupEnv: func(string) (string, bool) { return "", false }}
	in, err := sentinel.Inspect(o)
	if err != nil {
		o.Text = []byte(e.text + scaffold)
		in, err = sentinel.Inspect(o)
	}
	return in, err
}

func TestExamplesLoad(t *testing.T) {
	for _, e := range examples(t) {
		t.Run(fmt.Sprintf("%s:%d", e.page, e.line), func(t *testing.T) {
			in, err := e.inspect()
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range in.Warnings {
				if strings.Contains(w, "unknown setting") || strings.Contains(w, "surplus") {
					t.Error(w)
				}
			}
		})
	}
}

func TestFixtureConfigsLoad(t *testing.T) {
	files, err := filepath.Glob("../fixtures/configs/*.kdl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no configuration in fixtures: %v", err)
	}
	anywhere := func(name string) (string, bool) {
		return "127.0.0.1:9", name != "RUST_LOG" && !strings.HasPrefix(name, "SENTINEL_")
	}
	for _, file := range files {
		if _, err := sentinel.Inspect(sentinel.Options{Path: file, LookupEnv: anywhere}); err != nil {
			t.Errorf("%s:\n%v", file, err)
		}
	}
}

var (
	ids      = regexp.MustCompile(` "(?:[^"\\]|\\.)*"|\.\d+`)
	headings = regexp.MustCompile("(?m)^### `.*$")
)

// TestSettingsDocumented holds the tables of docs/configuration.md against every setting that its
// examples have: the name must be there and, where the example does not set it, the default: the value
// in backquotes, or in words what it depends on.
func TestSettingsDocumented(t *testing.T) {
	doc := read(t, "../docs/configuration.md")
	sections := strings.Split(doc, "\n### ")
	for _, e := range examples(t) {
		in, err := e.inspect()
		if err != nil || e.page != "configuration.md" {
			continue // TestExamplesLoad reports it
		}
		for _, s := range in.Settings() {
			path := ids.ReplaceAllString(s.Path, "")
			dot := strings.LastIndexByte(path, '.')
			row := "\n\\| `" + path[dot+1:] + "` \\| "
			if s.Source == "default" {
				row += "(`" + regexp.QuoteMeta(s.Value) + "`|[^`])"
			}
			if !regexp.MustCompile(row).MatchString(section(sections, path[:dot])) {
				t.Errorf("docs/configuration.md has no row %s under `%s`", row[1:], path[:dot])
			}
			doc = strings.ReplaceAll(doc, "`"+path[:dot]+"`", "seen")
		}
	}
	for _, heading := range headings.FindAllString(doc, -1) {
		t.Errorf("no example of docs/configuration.md shows %s", heading)
	}
}

// section returns the part whose heading names the path.
func section(sections []string, path string) string {
	for _, s := range sections {
		heading, _, _ := strings.Cut(s, "\n")
		if strings.Contains(heading, "`"+path+"`") {
			return s
		}
	}
	return ""
}

// TestReasonsDocumented compares the table of docs/requests.md with the code, word for word.
func TestReasonsDocumented(t *testing.T) {
	_, doc, _ := strings.Cut(read(t, "../docs/requests.md"), "<!-- reasons -->\n")
	doc, _, _ = strings.Cut(doc, "<!-- end -->")
	want := "| Word | Source | Status | Code | Retry | Meaning |\n|---|---|---|---|---|---|\n"
	for _, r := range sentinel.Reasons() {
		want += fmt.Sprintf("| `%s` | %s | %d | %s | %s | %s |\n", r.Word, r.Source, r.Status, r.Code, r.Retry, r.Help)
	}
	if doc != want {
		t.Errorf("the table of docs/requests.md is not that of the code, which is:\n%s", want)
	}
}

// TestMetricsDocumented compares the names and labels of docs/logs-and-metrics.md with the registry's.
func TestMetricsDocumented(t *testing.T) {
	doc := read(t, "../docs/logs-and-metrics.md")
	descs := make(chan *prometheus.Desc, 100)
	telemetry.NewMetrics(telemetry.MetricsOptions{}).Registry().Describe(descs)
	close(descs)
	desc := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)
	rows := 0
	for d := range descs {
		m := desc.FindStringSubmatch(d.String())
		if row := "\n| `" + m[1] + "` | " + m[2] + " | "; !strings.Contains(doc, row) {
			t.Errorf("docs/logs-and-metrics.md has no row %q", row[1:])
		}
		rows++
	}
	if n := strings.Count(doc, "\n| `sentinel_"); n != rows {
		t.Errorf("docs/logs-and-metrics.md has %d rows of metrics, the registry %d", n, rows)
	}
}
