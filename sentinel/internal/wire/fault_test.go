package wire

import (
	"errors"
	"fmt"
	"testing"
)

func TestFaultWords(t *testing.T) {
	seen := map[string]Fault{}
	for f := None; f < faults; f++ {
		word := f.String()
		if first, again := seen[word]; again || word == "" {
			t.Errorf("fault %d and %d are both %q", first, f, word)
		}
		seen[word] = f
	}
	if got := faults.String(); got != "unknown_fault" {
		t.Errorf("beyond the set: %q", got)
	}
}

func TestFaultIsAnError(t *testing.T) {
	err := fmt.Errorf("reading the head: %w", BadHeader)
	if !errors.Is(err, BadHeader) || errors.Is(err, BadHost) {
		t.Errorf("%v", err)
	}
	if got, want := err.Error(), "reading the head: http/1.1: bad_header"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
