package main

import (
	"bytes"
	"testing"
)

func TestExitStatus(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want int
	}{
		{"help", []string{"-h"}, 0},
		{"unknown flag", []string{"-no-such-flag"}, 2},
		{"surplus argument", []string{"build/sentinel"}, 2},
		{"no routes", []string{"-routes", "0"}, 1},
		{"no reloads", []string{"-reloads", "0"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if got := run(t.Context(), tt.args, &stdout, &stderr); got != tt.want || stdout.Len() > 0 || stderr.Len() == 0 {
				t.Errorf("status %d, want %d; it said %q and %q", got, tt.want, stdout.String(), stderr.String())
			}
		})
	}
}
