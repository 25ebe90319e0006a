package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sentinel-proxy/sentinel-go/loadgen/peers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is what the flags ask for.
type command struct {
	peers.Options
	out                string
	gate, configs      bool
	quick              bool
	subjectList, works string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	c.Progress = stderr
	if c.configs {
		err = peers.PrintConfigs(stdout, c.Options)
	} else {
		err = measure(ctx, c, stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "peers:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (command, error) {
	var c command
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.subjectList, "subjects", strings.Join(peers.Subjects(), ","), "who is measured")
	f.StringVar(&c.works, "work", strings.Join(peers.Work(), ","), "what is measured; P2 comes with P1")
	f.IntVar(&c.Rounds, "rounds", 5, "interleaved rounds; 15 where differences under 10 % matter")
	f.DurationVar(&c.Duration, "duration", 4*time.Second, "of each load, in whole seconds")
	f.IntVar(&c.MemoryConnections, "connections", 4000, "idle connections for P9")
	f.DurationVar(&c.MemoryWait, "memory-wait", time.Minute, "from the burst to the second reading of P9")
	f.Uint64Var(&c.Seed, "seed", 1, "of the order of the subjects")
	f.StringVar(&c.Programs.Caddy, "caddy", "build/bin/caddy", "the Caddy `binary`")
	f.StringVar(&c.Programs.Sentinel, "sentinel", "build/sentinel", "the Sentinel `binary`")
	f.StringVar(&c.out, "out", "build/bench", "`directory` of the results")
	f.BoolVar(&c.gate, "gate", false, "end with status 1 when a gate is missed")
	f.BoolVar(&c.quick, "quick", false, "-rounds 2 -duration 2s -work P1,P4, where not given")
	f.BoolVar(&c.configs, "print-configs", false, "print the configurations and end")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if c.quick {
		if err := shorten(f); err != nil {
			return c, err
		}
	}
	c.Subjects, c.Work = strings.Split(c.subjectList, ","), strings.Split(c.works, ",")
	return c, nil
}

// shorten sets the flags that -quick stands for, except for those that were given.
func shorten(f *flag.FlagSet) error {
	quick := map[string]string{"rounds": "2", "duration": "2s", "work": "P1,P4"}
	f.Visit(func(given *flag.Flag) { delete(quick, given.Name) })
	for name, value := range quick {
		if err := f.Set(name, value); err != nil {
			return fmt.Errorf("setting -%s: %w", name, err)
		}
	}
	return nil
}

// measure writes down what there is even when the run broke off.
func measure(ctx context.Context, c command, stdout io.Writer) error {
	results, err := peers.Run(ctx, c.Options)
	err = errors.Join(err, results.Write(c.out))
	_, printed := fmt.Fprint(stdout, results.Text())
	err = errors.Join(err, printed)
	if err == nil && c.gate {
		err = results.Failure()
	}
	return err
}
