package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// inspect reads the configuration for a command that does not serve.
func (c *command) inspect() (*sentinel.Inspection, error) {
	in, err := sentinel.Inspect(sentinel.Options{Path: c.config})
	if err != nil {
		return nil, err //nolint:wrapcheck // run tells its kinds apart
	}
	return in, nil
}

func (c *command) testConfig(cmd *cobra.Command, _ []string) error {
	in, err := c.inspect()
	if err != nil {
		return err
	}
	for _, w := range in.Warnings {
		cmd.PrintErrln(w)
	}
	n := in.Counts()
	cmd.PrintErrf("listeners: %d, routes: %d, upstreams: %d, filters: %d, agents: %d\n", n.Listeners, n.Routes, n.Upstreams, n.Filters, n.Agents)
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), "sentinel: configuration file %s test is successful\n", in.Name)
	return nil
}

func (c *command) lint(cmd *cobra.Command, _ []string) error {
	in, err := c.inspect()
	if err != nil {
		return err
	}
	found := append(in.Warnings, in.Lint()...)
	out := cmd.OutOrStdout()
	if c.json {
		return writeJSON(out, found)
	}
	if len(found) == 0 {
		_, _ = fmt.Fprintln(out, "✓ No best practice issues found")
		return nil
	}
	_, _ = fmt.Fprintf(out, "⚠  Configuration has %d best practice warnings:\n", len(found))
	for _, w := range found {
		_, _ = fmt.Fprintln(out, "  -", w)
	}
	return nil
}

func (c *command) configCommand() *cobra.Command {
	show := &cobra.Command{
		Use: "show", Short: "Print every effective setting and where it came from", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := c.inspect()
			if err != nil {
				return err
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), in.Settings())
			}
			for _, s := range in.Settings() {
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s %s  // %s\n", s.Path, s.Value, s.Source)
			}
			return nil
		},
	}
	group := &cobra.Command{Use: "config", Short: "Look at the configuration"}
	group.AddCommand(show)
	return group
}

func (c *command) routeTestCommand() *cobra.Command {
	var headers []string
	var listener string
	cmd := &cobra.Command{
		Use: "route-test METHOD URL", Short: "Show which route a request takes, and why", Args: cobra.ExactArgs(2),
		Example: "  sentinel route-test GET http://example.com/api/users -H 'X-Version: 2'",
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := c.inspect()
			if err != nil {
				return err
			}
			result, err := in.RouteTest(sentinel.RouteQuery{Method: args[0], URL: args[1], Headers: headers, Listener: listener})
			if err != nil {
				return err //nolint:wrapcheck // says what was wrong with the arguments
			}
			if c.json {
				return writeJSON(cmd.OutOrStdout(), result)
			}
			printRoute(cmd.OutOrStdout(), result)
			return nil
		},
	}
	cmd.Flags().StringArrayVarP(&headers, "header", "H", nil, "a request header, `NAME: VALUE`")
	cmd.Flags().StringVar(&listener, "listener", "", "listener id (default: the first one)")
	return cmd
}

func printRoute(out io.Writer, r *sentinel.RouteResult) {
	if r.Route == "" {
		_, _ = fmt.Fprintf(out, "no route for %s on listener %q: the answer is 404 (no_route)\n", r.Request, r.Listener)
	} else {
		_, _ = fmt.Fprintf(out, "route %q (%s) for %s on listener %q\n", r.Route, r.Handler, r.Request, r.Listener)
	}
	if r.Refused != "" {
		_, _ = fmt.Fprintf(out, "the route refuses the request: %s\n", r.Refused)
	}
	for _, step := range r.Steps {
		_, _ = fmt.Fprintln(out, " ", step)
	}
}

func (c *command) validateCommand() *cobra.Command {
	var o sentinel.ValidateOptions
	cmd := &cobra.Command{
		Use: "validate", Short: "Check the configuration, its certificates, agents and targets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := c.inspect()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			_, _ = fmt.Fprintln(out, "✓ Configuration schema valid")
			o.Progress = func(step string) { _, _ = fmt.Fprintf(out, "Checking %s...\n", step) }
			report := in.Validate(cmd.Context(), o)
			printList(out, "Errors", report.Errors)
			printList(out, "Warnings", append(in.Warnings, report.Warnings...))
			if len(report.Errors) > 0 {
				_, _ = fmt.Fprintln(out, "✗ Validation failed")
				return errReported
			}
			_, _ = fmt.Fprintln(out, "✓ All validation checks passed")
			return nil
		},
	}
	cmd.Flags().BoolVar(&o.SkipNetwork, "skip-network", false, "do not connect to targets")
	cmd.Flags().BoolVar(&o.SkipAgents, "skip-agents", false, "do not look at agents")
	cmd.Flags().BoolVar(&o.SkipCerts, "skip-certs", false, "do not look at certificates")
	return cmd
}

func printList(out io.Writer, title string, items []string) {
	if len(items) == 0 {
		return
	}
	_, _ = fmt.Fprintf(out, "%s:\n  - %s\n", title, strings.Join(items, "\n  - "))
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}
