package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	"github.com/sentinel-proxy/sentinel-go/sentinel/cmd/sentinel-agent/auth"
	"github.com/sentinel-proxy/sentinel-go/sentinel/cmd/sentinel-agent/lua"
	"github.com/sentinel-proxy/sentinel-go/sentinel/cmd/sentinel-agent/ratelimit"
	"github.com/sentinel-proxy/sentinel-go/sentinel/cmd/sentinel-agent/waf"
)

// Exit codes, those of the proxy.
const (
	exitOK      = 0
	exitConfig  = 1 // the command line, or what it names, cannot be used
	exitRuntime = 2 // the system said no: a socket in use, a directory that is missing
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// constructor makes the subcommand of one agent. It calls serve with the handler once the flags are known
// to be good; serve returns when ctx ends and calls under way have ended. An error before serve is the
// configuration's. A handler gets bodies in parts, as they come, and is closed after serving if it is an
// io.Closer.
type constructor func(serve func(ctx context.Context, h agent.Handler) error) *cobra.Command

// agents are the subcommands; the name of each is the one that its command uses.
var agents = []constructor{
	auth.Command,
	lua.Command,
	ratelimit.Command,
	waf.Command,
}

// run executes one command line and returns its exit code. SIGTERM and SIGINT drain; a second one ends the
// process at once.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // the default handling is back while we drain
	c := &command{stderr: stderr}
	root := c.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintln(stderr, "sentinel-agent:", err)
	if c.serving {
		return exitRuntime
	}
	return exitConfig
}

// command holds the flags that all agents share.
type command struct {
	socket   string
	grpc     string
	logLevel slog.LevelVar
	serving  bool // the command line was good and the agent is being served
	stderr   io.Writer
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "sentinel-agent",
		Short:         "The reference agents of the Sentinel proxy",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			slog.SetDefault(slog.New(slog.NewJSONHandler(c.stderr, &slog.HandlerOptions{Level: &c.logLevel})))
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&c.socket, "socket", "", "Unix socket `PATH` to serve (default /run/sentinel/AGENT.sock, unless --grpc is given)")
	flags.StringVar(&c.grpc, "grpc", "", "`ADDRESS` to serve gRPC on, in plain text; without a host it is 127.0.0.1")
	flags.TextVar(&c.logLevel, "log-level", &c.logLevel, "`LEVEL` of the log on standard error: DEBUG, INFO, WARN or ERROR")
	for _, constructor := range agents {
		var name string
		sub := constructor(func(ctx context.Context, h agent.Handler) error { return c.serve(ctx, name, h) })
		name = sub.Name()
		root.AddCommand(sub)
	}
	return root
}

// version is the module's, as the build recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
