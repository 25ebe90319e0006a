package wrk

import (
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func golden(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParse(t *testing.T) {
	tests := []struct {
		file string
		want Report
	}{
		{"good.txt", Report{Requests: 204112, Elapsed: 3100 * time.Millisecond, P50: 940 * time.Microsecond, P99: 2370 * time.Microsecond}},
		{"slow.txt", Report{Requests: 57, Elapsed: 2 * time.Second, P50: 940 * time.Microsecond, P99: 1990 * time.Millisecond, Failed: 3 + 4 + 5 + 6 + 21}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			if got, err := Parse(golden(t, tt.file)); err != nil || got != tt.want {
				t.Errorf("Parse = %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestParseRefusesIncompleteReports(t *testing.T) {
	good := golden(t, "good.txt")
	tests := map[string]string{
		"nothing":         "",
		"no percentiles":  strings.ReplaceAll(good, "99%", "98%"),
		"no median":       strings.ReplaceAll(good, "50%", "51%"),
		"no total":        strings.ReplaceAll(good, "requests in", "requests at"),
		"no request":      strings.ReplaceAll(good, "204112 requests", "0 requests"),
		"an unknown unit": strings.ReplaceAll(good, "in 3.10s", "in 3.10d"),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := Parse(text); err == nil {
				t.Errorf("Parse = %+v, want an error", got)
			}
		})
	}
}

func TestParseNeverReportsWithoutRequests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		if got, err := Parse(text); err == nil && got.Requests < 1 {
			t.Fatalf("Parse(%q) = %+v", text, got)
		}
	})
}

func TestRunCountsWholeSeconds(t *testing.T) {
	for _, d := range []time.Duration{0, 500 * time.Millisecond, 1500 * time.Millisecond} {
		if _, err := Run(t.Context(), Load{URL: "http://127.0.0.1:1/", Connections: 1, Duration: d}); err == nil {
			t.Errorf("Run for %v succeeded", d)
		}
	}
}
