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
	o := peers.ReloadOptions{Progress: stderr}
	f := flag.NewFlagSet("reload", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.Routes, "routes", 1000, "in every configuration")
	f.IntVar(&o.Reloads, "reloads", 100, "every other one of a broken file")
	f.Float64Var(&o.Rate, "rate", 5000, "requests per second")
	f.DurationVar(&o.Duration, "duration", time.Minute, "of the reloads; a sixth of it goes before, quietly")
	f.StringVar(&o.Sentinel, "sentinel", "build/sentinel", "the Sentinel `binary`")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case f.NArg() > 0:
		_, _ = fmt.Fprintf(stderr, "reload: surplus argument %q\n", f.Arg(0))
		return 2
	}
	if err := measure(ctx, o, stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, "reload:", err)
		return 1
	}
	return 0
}

func measure(ctx context.Context, o peers.ReloadOptions, stdout io.Writer) error {
	r, err := peers.MeasureReload(ctx, o)
	if err != nil {
		return err //nolint:wrapcheck // it says what was being done
	}
	_, printed := fmt.Fprint(stdout, r.Text())
	return errors.Join(printed, r.Failure())
}
