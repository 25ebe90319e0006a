package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/process"
)

// hardStop is how much longer than its own limits a drain may take before the process ends without it.
const hardStop = 5 * time.Second

// serve runs the proxy until a signal or another process ends it.
func (c *command) serve(cmd *cobra.Command, _ []string) error {
	if c.upgrade {
		return c.requestUpgrade(cmd)
	}
	host, err := process.Begin()
	c.serving = true
	var p *sentinel.Proxy
	if err == nil {
		p, err = c.open(host)
	}
	switch {
	case errors.Is(err, process.ErrDetached):
		return nil
	case err != nil:
		host.Failed(text(err))
		return err //nolint:wrapcheck // code tells its kinds apart
	}
	ctx, end := context.WithCancelCause(cmd.Context())
	defer end(nil)
	defer host.Close()
	signal.Ignore(syscall.SIGPIPE) // whoever read our output may leave: the log writer deals with it
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP)
	defer signal.Stop(signals)
	done := make(chan struct{})
	if err := host.Ready(); err != nil {
		p.Close()
		host.Failed(text(err))
		return err //nolint:wrapcheck // code tells its kinds apart
	}
	o := &operator{c: c, p: p, host: host, ctx: ctx, end: end}
	o.work.Go(func() { o.follow(signals, done) })
	alive, over := context.WithCancel(context.Background()) // the watchdog is fed until the drain is over
	defer over()
	go host.Watch(alive, p.Pulse)
	go host.HardStop(ctx, func() time.Duration { return p.ProcessSettings().StopTimeout + hardStop }, done, o.giveUp)
	p.Run(ctx)
	close(done)
	o.work.Wait() // the program that was to take over is not left behind
	return nil
}

// open makes the proxy with what its configuration asks of the process.
func (c *command) open(host *process.Host) (*sentinel.Proxy, error) {
	path := c.config
	if path != "" {
		var err error
		if path, err = filepath.Abs(path); err != nil { // it is to be found from the working directory too
			return nil, fmt.Errorf("configuration %s: %w", c.config, err)
		}
	}
	return sentinel.New(sentinel.Options{ //nolint:wrapcheck // code tells its kinds apart
		Path: path, Verbose: c.verbose, Listen: host.Listen,
		Prepare: func(s sentinel.ProcessSettings) error {
			s.Daemon = s.Daemon || c.daemon
			return host.Prepare(process.Settings(s))
		},
	})
}

// text is what the process that started this one is told about an error.
func text(err error) string {
	var bad *sentinel.ConfigError
	if errors.As(err, &bad) {
		return bad.Report()
	}
	return err.Error()
}

// operator does what signals say.
type operator struct {
	c    *command
	p    *sentinel.Proxy
	host *process.Host
	ctx  context.Context //nolint:containedctx // Run's: what is asked for by a signal has no other
	end  context.CancelCauseFunc

	work sync.WaitGroup
}

// follow handles signals until done is closed.
func (o *operator) follow(signals <-chan os.Signal, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case s := <-signals:
			o.handle(s)
		}
	}
}

func (o *operator) handle(s os.Signal) {
	switch s {
	case syscall.SIGHUP:
		o.work.Go(o.reload)
	case syscall.SIGUSR1:
		if err := o.p.ReopenLogs(); err != nil {
			_, _ = fmt.Fprintln(o.c.stderr, "sentinel:", err)
		}
	case syscall.SIGUSR2:
		o.work.Go(o.upgrade)
	default:
		if o.host.Stopping() {
			o.giveUp()
		}
		o.end(nil)
	}
}

// reload serves what the configuration says now; the service manager is told. Its outcome is in the log, and several at
// once become one.
func (o *operator) reload() {
	o.host.Reloading()
	status := "serving"
	if _, err := o.p.Reload(o.ctx, "SIGHUP"); err != nil {
		status = "serving; the last reload failed: " + err.Error()
	}
	o.host.Reloaded(status)
}

// upgrade drains once another process serves. Its errors are in the log.
func (o *operator) upgrade() {
	if o.host.Upgrade(o.p.ProcessSettings().UpgradeTimeout) == nil {
		o.end(sentinel.ErrReplaced)
	}
}

// giveUp ends the process with connections open.
func (o *operator) giveUp() {
	o.host.Close()
	os.Exit(exitConfig)
}

// requestUpgrade has the running process replaced.
func (c *command) requestUpgrade(cmd *cobra.Command) error {
	in, err := c.inspect()
	if err != nil {
		return err
	}
	c.serving = true
	pid, err := process.Request(process.Settings(in.ProcessSettings()))
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), "sentinel: process %d has taken over\n", pid)
	return nil
}
