package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
)

// mutant is one deliberate mistake.
type mutant struct {
	Name  string  // area/mistake
	File  string  // from the root of the module
	Old   string  // must be in File exactly once
	New   string  // takes the place of Old
	Rule  string  // what it breaks, and who would use that
	Tests []tests // that must notice; in this order, cheap ones first
}

// tests are those of one package that match a pattern, as go test's -run takes it.
type tests struct {
	Package string
	Run     string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// run selects the mutants and checks them; the error says that not all of them were killed.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	pattern := flags.String("run", "", "check only the mutants whose names match this `regexp`")
	list := flags.Bool("list", false, "list the mutants instead of checking them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	name, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("reading -run: %w", err)
	}
	chosen := slices.DeleteFunc(allMutants(), func(m mutant) bool { return !name.MatchString(m.Name) })
	if len(chosen) == 0 {
		return fmt.Errorf("no mutant matches %q", *pattern)
	}
	if *list {
		for i := range chosen {
			_, _ = fmt.Fprintf(out, "%-40s %s\n", chosen[i].Name, chosen[i].Rule)
		}
		return nil
	}
	return check(ctx, chosen, out)
}

func allMutants() []mutant {
	return slices.Concat(headMutants, bodyMutants, pathMutants, routeMutants, editMutants, requestMutants, responseMutants,
		upstreamMutants, agentMutants, limitMutants, filterMutants, processMutants)
}
