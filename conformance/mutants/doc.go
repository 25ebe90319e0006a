// Command mutants checks the tests: it breaks the proxy in many small ways, one at a time, and demands that
// some test notices each of them. A test suite that stays green over a broken rule does not hold that rule.
//
//	go run ./conformance/mutants               all mutants, as make mutants does
//	go run ./conformance/mutants -run hop      those whose names match
//	go run ./conformance/mutants -list         their names and rules
//
// A mutant is written by hand: the text of one file that it replaces, the text that takes its place, the rule
// it breaks, and the tests that must notice. Only rules are mutated whose loss is a wrong message or an open
// door. Nothing in the source tree is written: the changed file is laid over the real one while the tests
// are built.
//
// The tests run on the unchanged code first, and must pass. Then, for each mutant, its own tests run, and
// only if those pass, all vectors of the conformance suite. A mutant is killed when a test fails, and has
// survived when none does. It is an error when the text to replace is not there exactly once, or when the
// result does not compile, so that the list cannot rot.
//
// # Adding one
//
// Add an entry to the file of its area, named area/mistake, and run it with -run. If it survives, write the
// missing test or vector. If nobody can tell the changed program from the old one by what it sends, it is
// no mutant: leave it out.
package main
