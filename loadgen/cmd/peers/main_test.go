package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	var stderr bytes.Buffer
	c, err := parse(nil, &stderr)
	if err != nil || c.Rounds < 5 || c.gate || len(c.Subjects) != 5 || len(c.Work) != 6 {
		t.Errorf("defaults are %+v, %v", c, err)
	}
	c, err = parse([]string{"-quick", "-subjects", "nginx,sentinel1", "-gate"}, &stderr)
	if err != nil || c.Rounds != 2 || c.Duration != 2*time.Second || !c.gate ||
		!slices.Equal(c.Work, []string{"P1", "P4"}) || !slices.Equal(c.Subjects, []string{"nginx", "sentinel1"}) {
		t.Errorf("-quick is %+v, %v", c, err)
	}
	c, err = parse([]string{"-work", "P9", "-quick"}, &stderr)
	if err != nil || c.Rounds != 2 || !slices.Equal(c.Work, []string{"P9"}) {
		t.Errorf("-quick with -work is %+v, %v", c, err)
	}
}

func TestExitStatus(t *testing.T) {
	out := t.TempDir()
	tests := []struct {
		name string
		args []string
		want int
	}{
		{"help", []string{"-h"}, 0},
		{"configurations", []string{"-print-configs"}, 0},
		{"unknown flag", []string{"-no-such-flag"}, 2},
		{"unknown subject", []string{"-subjects", "traefik", "-out", out}, 1},
		{"unknown subject, configurations only", []string{"-subjects", "traefik", "-print-configs"}, 1},
		{"unknown work", []string{"-work", "P99", "-out", out}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if got := run(t.Context(), tt.args, &stdout, &stderr); got != tt.want {
				t.Errorf("status %d, want %d; it said %s", got, tt.want, stderr.String())
			}
		})
	}
}

// What was found before a run broke off is written down all the same.
func TestResultsAreWrittenAfterAFailure(t *testing.T) {
	out := t.TempDir()
	var stdout, stderr bytes.Buffer
	if got := run(t.Context(), []string{"-subjects", "traefik", "-out", out}, &stdout, &stderr); got != 1 {
		t.Errorf("status %d, want 1", got)
	}
	if !strings.Contains(stderr.String(), "traefik") {
		t.Errorf("it said %q, want the reason", stderr.String())
	}
	if _, err := os.Stat(filepath.Join(out, "peers.json")); err != nil {
		t.Errorf("no results: %v", err)
	}
}
