package peers

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The kinds of work, as written in Options.Work and in the results. P2 is another reading of P1's runs.
const (
	workSmall   = "P1"
	workLogged  = "P3"
	workLarge   = "P4"
	workRoutes  = "P7"
	workMemory  = "P9"
	workLatency = "latency"
)

// Work lists every kind of work that can be measured.
func Work() []string {
	return []string{workSmall, workLogged, workLarge, workRoutes, workMemory, workLatency}
}

// Options says what to measure and for how long.
type Options struct {
	Subjects          []string      // of Subjects()
	Work              []string      // of Work()
	Rounds            int           // at least 1; in each round every subject has its turn, in a random order
	Duration          time.Duration // of one measured load; whole seconds
	MemoryConnections int           // idle connections for P9; each takes up to two descriptors here and in the proxy
	MemoryWait        time.Duration // from the end of the burst to the second reading of P9
	Seed              uint64        // of the order
	Programs          Programs
	Progress          io.Writer // one line per measurement
}

// bench is one run in progress.
type bench struct {
	Options
	dir       string // temporary, removed at the end
	subjects  []subject
	alternate bool // the subjects take turns in their order and in the opposite one, not at random
	results   *Results
}

// Run measures, compares with the gates and returns everything. Anything that cannot be measured is an error; the
// results so far come with it.
func Run(ctx context.Context, o Options) (*Results, error) {
	b := &bench{Options: o, results: newResults(ctx, o)}
	if err := b.check(); err != nil {
		return b.results, err
	}
	var err error
	if b.subjects, err = choose(subjects(o.Programs), o.Subjects); err != nil {
		return b.results, err
	}
	err = b.inDirectory(ctx, b.measure)
	b.results.Gates = judge(b.results)
	return b.results, err
}

// inDirectory calls measure while there is a directory for the processes.
func (b *bench) inDirectory(ctx context.Context, measure func(context.Context) error) (err error) {
	if b.dir, err = os.MkdirTemp("", "bench-peers-"); err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(b.dir)                      //nolint:errcheck // What is left is in the system's temporary directory.
	if err := os.Chmod(b.dir, 0o755); err != nil { //nolint:gosec // nginx's worker may be another user.
		return fmt.Errorf("opening the directory to workers: %w", err)
	}
	return measure(ctx)
}

// check refuses options that would measure nothing.
func (b *bench) check() error {
	if b.Rounds < 1 || len(b.Work) == 0 || len(b.Subjects) == 0 {
		return fmt.Errorf("nothing to measure: rounds %d, work %v, subjects %v", b.Rounds, b.Work, b.Subjects)
	}
	for _, w := range b.Work {
		if !slices.Contains(Work(), w) {
			return fmt.Errorf("unknown work %q; there is %s", w, strings.Join(Work(), ", "))
		}
	}
	return nil
}

func (b *bench) measure(ctx context.Context) error {
	steps := []struct {
		work []string
		run  func(context.Context) error
	}{
		{[]string{workSmall, workLarge, workLatency}, b.measurePlain},
		{[]string{workLogged}, b.measureLogged},
		{[]string{workRoutes}, b.measureRoutes},
		{[]string{workMemory}, b.measureMemory},
	}
	for _, s := range steps {
		if !slices.ContainsFunc(s.work, b.wants) {
			continue
		}
		if err := s.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) measurePlain(ctx context.Context) error {
	f, err := b.startFleet(ctx, "plain", false)
	if err != nil {
		return err
	}
	defer f.stop()
	loads := []load{{work: workSmall, path: smallPath}, {work: workLarge, path: "/64k"}}
	loads = slices.DeleteFunc(loads, func(l load) bool { return !b.wants(l.work) })
	if err := b.closedLoop(ctx, f, loads); err != nil {
		return err
	}
	if !b.wants(workLatency) {
		return nil
	}
	return b.fixedRates(ctx, f)
}

func (b *bench) measureLogged(ctx context.Context) error {
	f, err := b.startFleet(ctx, "logged", true)
	if err != nil {
		return err
	}
	defer f.stop()
	return b.closedLoop(ctx, f, []load{{work: workLogged, path: smallPath}})
}

func (b *bench) wants(work string) bool { return slices.Contains(b.Work, work) }

// order returns in which order the subjects have their turn: random, so that none always follows the same one, and
// the same for the same seed. Where two neighbours are compared, it alternates: then neither is first more often, and
// a machine that grows slower favours neither.
func (b *bench) order(round int) []int {
	if b.alternate {
		turns := make([]int, len(b.subjects))
		for i := range turns {
			turns[i] = i
		}
		if round%2 == 1 {
			slices.Reverse(turns)
		}
		return turns
	}
	return rand.New(rand.NewPCG(b.Seed, uint64(round))).Perm(len(b.subjects)) //nolint:gosec // Not a secret.
}

// keepConfig remembers the configuration a process runs with.
func (b *bench) keepConfig(fleet string, p *process) error {
	text, err := os.ReadFile(filepath.Join(p.Dir, p.template))
	if err != nil {
		return fmt.Errorf("keeping the configuration of %s: %w", p.name, err)
	}
	b.results.Configs = append(b.results.Configs, Config{Fleet: fleet, Subject: p.name, File: p.template, Text: string(text)})
	return nil
}

func (b *bench) progress(format string, args ...any) {
	_, _ = fmt.Fprintf(b.Progress, format+"\n", args...) // a lost progress line costs nothing
}
