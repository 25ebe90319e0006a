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

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	if err := measure(ctx, o, stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, "cost:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (peers.CostOptions, error) {
	o := peers.CostOptions{Progress: stderr}
	f := flag.NewFlagSet("cost", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.Pairs, "pairs", 15, "interleaved pairs; 15 for a claim")
	f.DurationVar(&o.Duration, "duration", 4*time.Second, "of each load, in whole seconds")
	f.Float64Var(&o.Limit, "limit", 1.05, "highest median `ratio`; above it the status is 1")
	f.StringVar(&o.Sentinel, "sentinel", "build/sentinel", "the Sentinel `binary`")
	f.StringVar(&o.Base, "base", "", "another build of it, measured in the plain configuration: a `binary` of an older commit")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 { // a forgotten -base would go unnoticed
		err := fmt.Errorf("surplus argument %q", f.Arg(0))
		_, _ = fmt.Fprintln(stderr, "cost:", err)
		return o, err
	}
	return o, nil
}

// measure prints what there is even when the run broke off.
func measure(ctx context.Context, o peers.CostOptions, stdout io.Writer) error {
	c, err := peers.MeasureCost(ctx, o)
	_, printed := fmt.Fprint(stdout, c.Text())
	return errors.Join(err, printed, c.Failure())
}
