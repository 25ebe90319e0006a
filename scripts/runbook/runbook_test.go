package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPage compares docs/runbook.md with what the Reasons and the advice say now.
func TestPage(t *testing.T) {
	page, err := write(advice, sentinel.Reasons())
	if err != nil {
		t.Fatal(err)
	}
	if page != read(t, "../../docs/runbook.md") {
		t.Error("docs/runbook.md is not what its sources say: make docs")
	}
	for _, r := range sentinel.Reasons() {
		if !strings.Contains(page, "\n### "+r.Word+"\n") {
			t.Errorf("the page has no %s", r.Word)
		}
	}
}

// TestNames demands that every metric and setting that the advice names exists.
func TestNames(t *testing.T) {
	metrics, settings := read(t, "../../docs/logs-and-metrics.md"), read(t, "../../docs/configuration.md")
	for _, name := range regexp.MustCompile("`([a-z_]+(?:_total|_state|_healthy|_backends|_percent|_bytes|_requests|_connections|_waiting|_in_flight))(?:\\{[^}]*\\})?`").FindAllStringSubmatch(advice, -1) {
		if !strings.Contains(metrics, "\n| `sentinel_"+name[1]+"` |") {
			t.Errorf("there is no metric sentinel_%s", name[1])
		}
	}
	for _, name := range regexp.MustCompile("`([a-z]+(?:-[a-z]+)+)`").FindAllStringSubmatch(advice, -1) {
		if !strings.Contains(settings, name[1]) {
			t.Errorf("docs/configuration.md does not know %s", name[1])
		}
	}
}

func TestCheck(t *testing.T) {
	reasons := []sentinel.ReasonInfo{{Word: "a"}, {Word: "b"}}
	const a = "[a]\nwake: never\nmeans: m\ndo: d\n"
	for _, test := range []struct{ text, want string }{
		{a + "\n[b]\nwake: many\nmeans: m\ndo: d\n", ""},
		{a, "the Reason b has no runbook text: add [b] with wake, means and do to scripts/runbook/advice.txt"},
		{a + "[b]\nwake: maybe\nmeans: m\ndo: d\n", `b: wake is "maybe"`},
		{a + "[b]\nwake: many\nmeans: m\n", "b: means or do is missing"},
		{a + "[b]\nwake: many\nmeans: m\ndo: d\n[c]\n", "there is no Reason c"},
		{a + a, "a second one for a"},
		{a + "and more\n", "none of wake, means, do"},
	} {
		_, err := write(test.text, reasons)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}

// TestOrder demands a place and a title for every source.
func TestOrder(t *testing.T) {
	for _, r := range sentinel.Reasons() {
		if !slices.Contains(order, r.Source) || titles[r.Source] == "" {
			t.Errorf("the page has no place for %s", r.Source)
		}
	}
}
