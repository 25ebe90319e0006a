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
	told := newSignals()
	defer told.forget()
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
	signal.Ignore(syscall.SIGPIPE)                          // whoever read our output may leave: the log writer deals with it
	signal.Notify(told.stop, syscall.SIGTERM, os.Interrupt) // until now they end the process at once
	done := make(chan struct{})
	if err := host.Ready(); err != nil {
		p.Close()
		host.Failed(text(err))
		return err //nolint:wrapcheck // code tells its kinds apart
	}
	o := &operator{c: c, p: p, host: host, ctx: ctx, end: end}
	o.follow(told, done)
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
		Reloading: func() func(error) { return reloading(host) },
	})
}

// reloading tells the service manager that a reload begins, and returns what tells it how that went.
func reloading(host *process.Host) (reloaded func(error)) {
	host.Reloading()
	return func(err error) {
		status := "serving"
		if err != nil {
			status = "serving; the last reload failed: " + err.Error()
		}
		host.Reloaded(status)
	}
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

// signals are what the operator tells the process. Each has a channel of its own: a burst of one displaces no other, and
// one that waits is as good as many.
type signals struct{ reload, reopen, upgrade, stop chan os.Signal }

// newSignals begins to gather signals, all but those that stop: they would end a process that starts.
func newSignals() *signals {
	s := &signals{
		reload: make(chan os.Signal, 1), reopen: make(chan os.Signal, 1), upgrade: make(chan os.Signal, 1),
		stop: make(chan os.Signal, 2), // the second one ends the drain
	}
	signal.Notify(s.reload, syscall.SIGHUP)
	signal.Notify(s.reopen, syscall.SIGUSR1)
	signal.Notify(s.upgrade, syscall.SIGUSR2)
	return s
}

func (s *signals) forget() {
	for _, c := range [...]chan os.Signal{s.reload, s.reopen, s.upgrade, s.stop} {
		signal.Stop(c)
	}
}

// follow handles signals until done is closed. None waits for what another one asks for: a stuck log or a long reload
// must not keep the process from ending.
func (o *operator) follow(told *signals, done <-chan struct{}) {
	on := func(c <-chan os.Signal, do func()) {
		o.work.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-c:
					do()
				}
			}
		})
	}
	on(told.reload, o.reload)
	on(told.reopen, o.reopen)
	on(told.upgrade, func() { o.work.Go(o.upgrade) }) // one during another one is refused, and that is logged
	on(told.stop, o.stop)
}

// stop begins to drain; asked again, it ends the process.
func (o *operator) stop() {
	if o.host.Stopping() {
		o.giveUp()
	}
	o.end(nil)
}

// reopen starts fresh log files.
func (o *operator) reopen() {
	if err := o.p.ReopenLogs(); err != nil {
		_, _ = fmt.Fprintln(o.c.stderr, "sentinel:", err)
	}
}

// reload serves what the configuration says now. Its outcome is in the log.
func (o *operator) reload() { _, _ = o.p.Reload(o.ctx, "SIGHUP") }

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
