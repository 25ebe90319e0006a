package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
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
	peers.AgentOptions
	out string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	if err := measure(ctx, c, stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, "agents:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (command, error) {
	c := command{AgentOptions: peers.AgentOptions{Progress: stderr}}
	f := flag.NewFlagSet("agents", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&c.Rounds, "rounds", 5, "interleaved rounds")
	f.DurationVar(&c.Duration, "duration", 4*time.Second, "of each load, in whole seconds")
	f.IntVar(&c.Procs, "procs", 0, "GOMAXPROCS of the proxies; 0: as they come")
	f.Uint64Var(&c.Seed, "seed", 1, "of the order of the subjects")
	f.StringVar(&c.Sentinel, "sentinel", "build/sentinel", "the Sentinel `binary`")
	f.StringVar(&c.Agent, "agent", "build/bin/example-agent", "the agent's `binary`")
	f.StringVar(&c.out, "out", "build/bench", "`directory` of the results")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		err := fmt.Errorf("surplus argument %q", f.Arg(0))
		_, _ = fmt.Fprintln(stderr, "agents:", err)
		return c, err
	}
	return c, nil
}

// measure writes down what there is even when the run broke off.
func measure(ctx context.Context, c command, stdout io.Writer) error {
	a, err := peers.MeasureAgents(ctx, c.AgentOptions)
	err = errors.Join(err, a.Write(c.out))
	_, printed := fmt.Fprint(stdout, a.Text())
	if err = errors.Join(err, printed); err != nil {
		return err
	}
	return a.Failure()
}
