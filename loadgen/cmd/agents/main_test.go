package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	var stderr bytes.Buffer
	c, err := parse(nil, &stderr)
	if err != nil || c.Rounds != 5 || c.Procs != 0 || c.Duration != 4*time.Second || c.out != "build/bench" || c.Progress != &stderr {
		t.Errorf("defaults are %+v, %v", c, err)
	}
	c, err = parse([]string{"-rounds", "2", "-duration", "1s", "-procs", "1", "-seed", "7", "-sentinel", "a", "-agent", "b", "-out", "c"}, &stderr)
	if err != nil || c.Rounds != 2 || c.Duration != time.Second || c.Procs != 1 || c.Seed != 7 || c.Sentinel != "a" || c.Agent != "b" || c.out != "c" {
		t.Errorf("the flags give %+v, %v", c, err)
	}
}

func TestExitStatus(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want int
	}{
		{"help", []string{"-h"}, 0},
		{"unknown flag", []string{"-no-such-flag"}, 2},
		{"surplus argument", []string{"build/sentinel"}, 2},
		{"no rounds", []string{"-rounds", "0"}, 1},
		{"negative processors", []string{"-procs", "-1"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append([]string{"-out", t.TempDir()}, tt.args...)
			if got := run(t.Context(), args, &stdout, &stderr); got != tt.want || stdout.Len() > 0 || stderr.Len() == 0 {
				t.Errorf("status %d, want %d; it said %q and %q", got, tt.want, stdout.String(), stderr.String())
			}
		})
	}
}

// What was found before a run broke off is written down all the same.
func TestResultsAreWrittenAfterAFailure(t *testing.T) {
	out := t.TempDir()
	var stdout, stderr bytes.Buffer
	if got := run(t.Context(), []string{"-rounds", "0", "-out", out}, &stdout, &stderr); got != 1 {
		t.Errorf("status %d, want 1", got)
	}
	if _, err := os.Stat(filepath.Join(out, "agents.json")); err != nil {
		t.Errorf("no results: %v", err)
	}
}
