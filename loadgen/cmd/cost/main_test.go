package main

import (
	"bytes"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	var stderr bytes.Buffer
	o, err := parse(nil, &stderr)
	if err != nil || o.Pairs != 15 || o.Limit != 1.05 || o.Base != "" || o.Progress != &stderr {
		t.Errorf("defaults are %+v, %v", o, err)
	}
	o, err = parse([]string{"-pairs", "2", "-duration", "1s", "-limit", "1.2", "-sentinel", "a", "-base", "b"}, &stderr)
	if err != nil || o.Pairs != 2 || o.Duration != time.Second || o.Limit != 1.2 || o.Sentinel != "a" || o.Base != "b" {
		t.Errorf("the flags give %+v, %v", o, err)
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
		{"no pairs", []string{"-pairs", "0"}, 1},
		{"no limit", []string{"-limit", "NaN"}, 1},
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
