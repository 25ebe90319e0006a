package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// TestMutantsApply shows at once when a change of the code left a mutant behind.
func TestMutantsApply(t *testing.T) {
	names := map[string]bool{}
	goodName := regexp.MustCompile(`^[a-z]+/[a-z0-9-]+$`)
	for _, m := range allMutants() {
		t.Run(m.Name, func(t *testing.T) {
			if !goodName.MatchString(m.Name) || names[m.Name] {
				t.Errorf("the name is malformed or taken")
			}
			names[m.Name] = true
			if m.Rule == "" || len(m.Tests) == 0 {
				t.Error("a rule and tests are needed")
			}
			source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.File)))
			if err != nil {
				t.Fatal(err)
			}
			text, err := m.apply(string(source))
			if err != nil {
				t.Fatal(err)
			}
			if text == string(source) {
				t.Error("it changes nothing")
			}
		})
	}
}

// TestVectorsExist looks for the vectors that mutants name: no test at all would pass.
func TestVectorsExist(t *testing.T) {
	for _, m := range allMutants() {
		for _, tests := range m.Tests {
			name, ok := strings.CutPrefix(tests.Run, "^TestVectors$/^")
			if !ok {
				continue
			}
			name = strings.ReplaceAll(strings.TrimSuffix(name, "$"), "$/^", "/")
			if strings.Contains(name, "/") {
				name += ".txt"
			}
			if _, err := os.Stat(filepath.Join(root, "fixtures", "vectors", filepath.FromSlash(name))); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
		}
	}
}

func TestApply(t *testing.T) {
	m := mutant{File: "x.go", Old: "b", New: "c"}
	for source, want := range map[string]string{"abd": "acd", "ad": "", "abb": ""} {
		got, err := m.apply(source)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q became %q, %v; want %q", source, got, err, want)
		}
	}
}

func TestFailedTest(t *testing.T) {
	for output, want := range map[string]string{
		"--- FAIL: TestA (0.00s)\n    a_test.go:1: no\n": "TestA",
		"--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/one/deep (0.00s)\n    --- FAIL: TestA/two (0.00s)\n--- FAIL: TestB (0.00s)\n": "TestA/one/deep",
		"panic: test timed out after 1m0s\n\tgoroutine 1\n":                                                                         "panic: test timed out after 1m0s",
		"exit status 2\n": "a crash",
	} {
		if got := failedTest(output); got != want {
			t.Errorf("%q: %q, want %q", output, got, want)
		}
	}
}

func TestRun(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string // in what it prints, or in the error
		ok   bool
	}{
		"list":        {[]string{"-list"}, "framing/length-and-coding", true},
		"selection":   {[]string{"-list", "-run", "^path/|^host/list$"}, "Host of Troubles", true},
		"no match":    {[]string{"-run", "^nothing$"}, `no mutant matches "^nothing$"`, false},
		"bad pattern": {[]string{"-run", "("}, "reading -run", false},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := run(t.Context(), test.args, &out)
			if err != nil {
				out.WriteString(err.Error())
			}
			if (err == nil) != test.ok || !strings.Contains(out.String(), test.want) {
				t.Errorf("%q, %v; want %q", out.String(), err, test.want)
			}
		})
	}
}
