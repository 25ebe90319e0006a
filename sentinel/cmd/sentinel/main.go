package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/process"
)

// Exit codes.
const (
	exitOK      = 0
	exitConfig  = 1 // the configuration cannot be used, or the command line; or a drain was cut short
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
	return c.code(root.ExecuteContext(ctx))
}

// code prints what a command failed with and returns the exit code for it.
func (c *command) code(err error) int {
	var bad *sentinel.ConfigError
	var child *process.ChildError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitConfig
	case errors.Is(err, errAgent):
		return exitRuntime
	case errors.As(err, &bad):
		c.report(c.stderr, bad)
		return exitConfig
	}
	_, _ = fmt.Fprintln(c.stderr, "sentinel:", err)
	if errors.As(err, &child) && child.Code > 0 {
		return child.Code // it ended instead of us
	}
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
	root.Flags().BoolVarP(&c.daemon, "daemon", "d", false, "run in the background, as with daemon in the configuration")
	root.Flags().BoolVarP(&c.upgrade, "upgrade", "u", false, "have the running process replaced by the program that is installed now")
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
