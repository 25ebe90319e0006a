package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
)

// workers is how many mutants are checked at a time.
const workers = 2

// everything is what a mutant has to survive after its own tests.
var everything = tests{conformance, "^(TestVectors|TestRawVectors)$"}

// verdict is what became of a mutant.
type verdict struct {
	*mutant
	killer string // the test that noticed it; empty: none did
	err    error  // why it could not be checked
}

// check runs the tests without a mutation, then with each of the mutants, and prints what came of it.
func check(ctx context.Context, mutants []mutant, out io.Writer) (err error) {
	w, err := newWorkshop(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.baseline(ctx, mutants); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "baseline: the tests pass without a mutation")
	killed, survived, broken := 0, 0, 0
	for v := range w.judgeAll(ctx, mutants) {
		switch v.print(out); {
		case v.err != nil:
			broken++
		case v.killer == "":
			survived++
		default:
			killed++
		}
	}
	_, _ = fmt.Fprintf(out, "mutants: %d killed, %d survived", killed, survived)
	if broken > 0 {
		_, _ = fmt.Fprintf(out, ", %d could not be checked", broken)
	}
	_, _ = fmt.Fprintln(out)
	if survived+broken > 0 {
		return errors.New("not every mutant was killed")
	}
	return ctx.Err()
}

// baseline runs the tests of all mutants on the unchanged code: a failure there would count as a kill.
func (w *workshop) baseline(ctx context.Context, mutants []mutant) error {
	binaries := map[string]string{}
	for _, t := range testsOf(mutants) {
		if binaries[t.Package] == "" {
			binary, err := w.build(ctx, t.Package, "")
			if err != nil {
				return err
			}
			binaries[t.Package] = binary
		}
		failure, err := w.run(ctx, binaries[t.Package], t)
		if err != nil {
			return err
		}
		if failure != "" {
			return fmt.Errorf("the tests fail without a mutation (go test %s -run '%s'):\n%s", t.Package, t.Run, failure)
		}
	}
	return nil
}

// testsOf lists the tests of all mutants, each once.
func testsOf(mutants []mutant) (list []tests) {
	for i := range mutants {
		for _, t := range mutants[i].all() {
			if !slices.Contains(list, t) {
				list = append(list, t)
			}
		}
	}
	return list
}

// all returns the mutant's own tests, and then everything.
func (m *mutant) all() []tests { return append(m.Tests[:len(m.Tests):len(m.Tests)], everything) }

// judgeAll checks the mutants, several at a time, and delivers the verdicts as they come. It stops taking
// up mutants when ctx ends.
func (w *workshop) judgeAll(ctx context.Context, mutants []mutant) <-chan verdict {
	next := make(chan *mutant)
	verdicts := make(chan verdict)
	var working sync.WaitGroup
	for range workers {
		working.Go(func() {
			for m := range next {
				killer, err := w.judge(ctx, m)
				verdicts <- verdict{m, killer, err}
			}
		})
	}
	go func() {
		for i := range mutants {
			if ctx.Err() == nil {
				next <- &mutants[i]
			}
		}
		close(next)
		working.Wait()
		close(verdicts)
	}()
	return verdicts
}

// judge returns the name of the first test that notices the mutant, empty when none does.
func (w *workshop) judge(ctx context.Context, m *mutant) (killer string, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(w.dir(m))) }() // test binaries are large
	overlay, err := w.overlay(m)
	if err != nil {
		return "", err
	}
	built, binary := "", ""
	for _, t := range m.all() {
		if built != t.Package {
			if binary, err = w.build(ctx, t.Package, overlay); err != nil {
				return "", err
			}
			built = t.Package
		}
		failure, err := w.run(ctx, binary, t)
		if err != nil {
			return "", err
		}
		if failure != "" {
			return failedTest(failure), nil
		}
	}
	return "", nil
}

// failedTest finds the first test that failed in the output of go test, down to its subtest. A test that
// hung or crashed has no such line; then it is the panic.
func failedTest(output string) string {
	name, crash := "", "a crash"
	for line := range strings.Lines(output) {
		if text, ok := strings.CutPrefix(line, "panic: "); ok {
			crash = strings.TrimSpace("panic: " + text)
		}
		_, after, ok := strings.Cut(line, "--- FAIL: ")
		if !ok {
			continue
		}
		failed, _, _ := strings.Cut(after, " ")
		if name != "" && !strings.HasPrefix(failed, name+"/") {
			break
		}
		name = failed
	}
	if name == "" {
		return crash
	}
	return name
}

// print writes a line for a mutant that was killed, and for others what is needed to go on.
func (v verdict) print(out io.Writer) {
	switch {
	case v.err != nil:
		_, _ = fmt.Fprintf(out, "ERROR    %s\n  %v\n", v.Name, v.err)
	case v.killer != "":
		_, _ = fmt.Fprintf(out, "killed   %-40s by %s\n", v.Name, v.killer)
	default:
		_, _ = fmt.Fprintf(out, "SURVIVED %s\n  file:    %s\n  change:  %q -> %q\n  rule:    %s\n  rerun:   go run ./conformance/mutants -run '^%s$'\n",
			v.Name, v.File, v.Old, v.New, v.Rule, v.Name)
	}
}
