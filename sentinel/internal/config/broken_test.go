package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected problems in testdata/broken")

// expectMark starts each line of expected output at the end of a broken configuration.
const expectMark = "//= "

// TestBroken loads every configuration in testdata/broken and compares all its problems, warnings
// included, with the comments at the file's end.
func TestBroken(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.kdl")
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d broken configurations, %v; want at least 100", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".kdl"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			body, want := splitExpected(string(text))
			c, problems := Parse(filepath.Base(path), []byte(body), Options{Resources: ResourcesOff})
			got := describeAll(problems)
			if *update {
				if err := os.WriteFile(path, []byte(body+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("problems:\n%s\nwant:\n%s", got, want)
			}
			if !problems.HasErrors() || c != nil {
				t.Errorf("errors: %v, Config: %v; a broken configuration has an error and no Config", problems.HasErrors(), c != nil)
			}
		})
	}
}

func splitExpected(text string) (body, want string) {
	if i := strings.Index(text, expectMark); i >= 0 {
		return text[:i], text[i:]
	}
	return text, ""
}

func describeAll(problems Problems) string {
	var out bytes.Buffer
	for _, p := range problems {
		out.WriteString(expectMark + p.Severity.String() + " " + p.String() + "\n")
	}
	return out.String()
}
