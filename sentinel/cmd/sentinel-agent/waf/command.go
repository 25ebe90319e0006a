package waf

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// Command returns the subcommand waf. serve is given the agent, and returns when it has ended.
func Command(serve func(ctx context.Context, h agent.Handler) error) *cobra.Command {
	o := Options{}.withDefaults()
	cmd := &cobra.Command{
		Use:   "waf",
		Short: "Refuse attacks: Coraza with the OWASP Core Rule Set",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil { // a written 0 is not the default
				return err
			}
			h, err := New(o)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), h)
		},
	}
	flags := cmd.Flags()
	flags.StringVar((*string)(&o.Mode), "mode", string(o.Mode), "prevention: refuse attacks; detection: only report them")
	flags.IntVar(&o.Paranoia, "paranoia-level", o.Paranoia, "1 to 4: how much the rules look at, innocent or not")
	flags.IntVar(&o.Threshold, "anomaly-threshold", o.Threshold, "1 to 1000: anomaly score that is refused")
	flags.StringVar(&o.RulesFile, "rules", o.RulesFile, "file of more SecLang directives, read before the rules of CRS")
	flags.IntVar(&o.MaxFields, "max-field-bytes", o.MaxFields, "most bytes in arguments or XML; more is refused, as every rule reads all of them")
	flags.IntVar(&o.MaxBody, "max-body-bytes", o.MaxBody, "longest body that is looked at; a longer one is refused")
	flags.IntVar(&o.MaxPending, "max-pending", o.MaxPending, "incomplete bodies kept at a time")
	return cmd
}
