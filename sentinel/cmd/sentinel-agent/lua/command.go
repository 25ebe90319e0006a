package lua

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// Command returns the subcommand. It calls serve with the agent once the script is good; while that runs,
// SIGHUP reads the script again.
func Command(serve func(ctx context.Context, h agent.Handler) error) *cobra.Command {
	var o Options
	cmd := &cobra.Command{
		Use: "lua SCRIPT", Short: "Ask a Lua script about requests and responses", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Script = args[0]
			s, err := newScript(o)
			if err != nil {
				return err
			}
			defer s.reloadOn(syscall.SIGHUP)()
			return serve(cmd.Context(), s)
		},
	}
	cmd.Flags().DurationVar(&o.Timeout, "script-timeout", 0, "of one call of the script (default 10ms)")
	cmd.Flags().IntVar(&o.Instructions, "instructions", 100_000, "of one call of the script")
	cmd.Flags().IntVar(&o.States, "states", 0, "scripts that run at a time (default: one for each CPU)")
	return cmd
}

// reloadOn reads the script again at each signal, until the function it returns is called.
func (s *Script) reloadOn(sig os.Signal) (stop func()) {
	signals, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, sig)
	go func() {
		defer close(ended)
		for range signals {
			if err := s.Reload(); err != nil {
				s.options.Log.Error("the script stays as it was", "error", err)
			} else {
				s.options.Log.Info("the script was read again", "script", s.options.Script)
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-ended
	}
}
