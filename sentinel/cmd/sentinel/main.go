package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// Exit codes.
const (
	exitOK      = 0
	exitConfig  = 1 // the configuration cannot be used, or the command line
	exitRuntime = 2 // the system said no: a port in use, a log that cannot be written; or the checked agent failed
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// errReported ends a command whose problems have been printed.
var errReported = errors.New("reported")

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &command{stderr: stderr}
	root := c.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var bad *sentinel.ConfigError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitConfig
	case errors.Is(err, errAgent):
		return exitRuntime
	case errors.As(err, &bad):
		c.report(stderr, bad)
		return exitConfig
	}
	_, _ = fmt.Fprintln(stderr, "sentinel:", err)
	if c.serving {
		return exitRuntime
	}
	return exitConfig
}

// report prints every problem of a configuration.
func (c *command) report(out io.Writer, bad *sentinel.ConfigError) {
	if c.json {
		_ = writeJSON(out, bad.Problems) // standard error is gone: the exit code still tells
		return
	}
	_, _ = fmt.Fprint(out, bad.Report())
}

// command holds the flags that every command shares.
type command struct {
	config  string
	test    bool
	verbose bool
	daemon  bool
	upgrade bool
	json    bool
	serving bool // the command line was good and the proxy is being started
	stderr  io.Writer
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "sentinel",
		Short:         "A security-first reverse proxy",
		Long:          "Sentinel is a security-first reverse proxy configured in KDL.\nWithout a configuration it serves a demo on 127.0.0.1:8080.",
		Version:       fmt.Sprintf("%s (release %s, commit %s)", sentinel.Version, sentinel.Release, sentinel.Commit),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          c.serveOrTest,
	}
	root.SetVersionTemplate("sentinel {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVarP(&c.config, "config", "c", configFromEnv(), "configuration file or directory (also SENTINEL_CONFIG)")
	flags.BoolVar(&c.verbose, "verbose", false, "log at debug level")
	flags.BoolVar(&c.json, "json", false, "print problems and results as JSON")
	root.Flags().BoolVarP(&c.test, "test", "t", false, "test the configuration and exit")
	root.Flags().BoolVarP(&c.daemon, "daemon", "d", false, "run in the background")
	root.Flags().BoolVarP(&c.upgrade, "upgrade", "u", false, "take over from a running process")
	root.Flags().BoolP("version", "V", false, "print the version and exit")
	root.AddCommand(
		&cobra.Command{Use: "run", Short: "Serve (the default)", Args: cobra.NoArgs, RunE: c.serve},
		&cobra.Command{Use: "test", Short: "Test the configuration", Args: cobra.NoArgs, RunE: c.testConfig},
		&cobra.Command{Use: "lint", Short: "List best-practice warnings", Args: cobra.NoArgs, RunE: c.lint},
		&cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.Println("sentinel", root.Version)
			return nil
		}},
		c.validateCommand(), c.configCommand(), c.routeTestCommand(), c.agentCheckCommand(),
	)
	root.AddCommand(c.adminCommands()...)
	return root
}

// configFromEnv is the configuration path the environment names; the flag wins over it.
func configFromEnv() string {
	if path := os.Getenv("SENTINEL_CONFIG"); path != "" {
		return path
	}
	return os.Getenv("ZENTINEL_CONFIG")
}

func (c *command) serveOrTest(cmd *cobra.Command, args []string) error {
	if c.test {
		return c.testConfig(cmd, args)
	}
	return c.serve(cmd, args)
}

var (
	errDaemon  = errors.New("--daemon is not supported in this build: use a service manager")
	errUpgrade = errors.New("--upgrade is not supported in this build")
)

// serve runs the proxy until SIGTERM or SIGINT, which drain it; a second one ends it at once.
func (c *command) serve(cmd *cobra.Command, _ []string) error {
	switch {
	case c.daemon:
		return errDaemon
	case c.upgrade:
		return errUpgrade
	}
	p, err := sentinel.New(sentinel.Options{Path: c.config, Verbose: c.verbose})
	c.serving = true
	if err != nil {
		return err //nolint:wrapcheck // run tells its kinds apart
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // whoever read our output may leave: the log writer deals with it
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGHUP)
	defer signal.Stop(signals)
	go c.housekeeping(ctx, stop, p, signals)
	p.Run(ctx)
	return nil
}

// housekeeping handles the signals that do not end the process. Once it is draining, the default
// handling is back, so that a second SIGTERM ends it.
func (c *command) housekeeping(ctx context.Context, stop func(), p *sentinel.Proxy, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			stop()
			return
		case s := <-signals:
			if s == syscall.SIGHUP {
				go func() { _, _ = p.Reload(ctx, "SIGHUP") }() // its outcome is in the log; more of them become one
				continue
			}
			if err := p.ReopenLogs(); err != nil {
				_, _ = fmt.Fprintln(c.stderr, "sentinel:", err)
			}
		}
	}
}
