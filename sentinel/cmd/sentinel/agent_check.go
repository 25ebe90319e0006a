package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// errAgent ends a check whose agent brought no verdict, which was printed.
var errAgent = errors.New("the agent failed")

// maxAgentConfig is how much JSON an agent is given, in bytes.
const maxAgentConfig = 1 << 20

func (c *command) agentCheckCommand() *cobra.Command {
	q := &sentinel.AgentQuery{}
	var configFile string
	cmd := &cobra.Command{
		Use: "agent-check ADDRESS", Short: "Ask a running agent about one request", Args: cobra.ExactArgs(1),
		Long: "Connects to a running agent as the proxy would, asks it about one request and prints what it said.\n" +
			"ADDRESS is the path of a Unix socket, or for gRPC host:port, http://host:port or https://host:port.\n" +
			"Exit code 0: there is a verdict; 1: the command line is wrong; 2: the agent failed.",
		Example: "  sentinel agent-check /tmp/waf.sock --path '/?q=%3Cscript%3E'\n  sentinel agent-check 127.0.0.1:50051 --method POST --header 'Content-Type: text/plain' --body hello",
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Address = args[0]
			var err error
			if q.Config, err = readAgentConfig(configFile); err != nil {
				return err
			}
			return c.agentCheck(cmd, q)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&q.Protocol, "protocol", "auto", "the protocol's version: v1, v2 or auto")
	flags.DurationVar(&q.Timeout, "timeout", 5*time.Second, "for the handshake, and for each verdict")
	flags.StringVar(&configFile, "agent-config", "", "JSON `FILE` that the agent gets as its config block")
	flags.StringVar(&q.CACert, "ca-cert", "", "PEM `FILE` with who signed the certificate of an https:// agent (default: the system's)")
	flags.StringVar(&q.Request.Method, "method", "GET", "the request's method")
	flags.StringVar(&q.Request.URL, "path", "/", "the request's path and query, or an absolute URL")
	flags.StringArrayVarP(&q.Request.Headers, "header", "H", nil, "a request header, `NAME: VALUE`")
	flags.StringVar(&q.Body, "body", "", "the request's body, about which the agent is asked after the headers")
	flags.StringVar(&q.ClientIP, "client-ip", "127.0.0.1", "the client's address")
	return cmd
}

// readAgentConfig returns what is in a file; nil: no file is named.
func readAgentConfig(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--agent-config: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxAgentConfig+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("--agent-config: %w", err)
	case len(text) > maxAgentConfig:
		return nil, fmt.Errorf("--agent-config: %s is over %d bytes", name, maxAgentConfig)
	}
	return text, nil
}

func (c *command) agentCheck(cmd *cobra.Command, q *sentinel.AgentQuery) error {
	r, err := sentinel.CheckAgent(cmd.Context(), q)
	if err != nil {
		return err //nolint:wrapcheck // says what was wrong with the arguments
	}
	if c.json {
		if err := writeJSON(cmd.OutOrStdout(), r); err != nil {
			return err
		}
	} else {
		printAgent(cmd.OutOrStdout(), r)
		if r.Failure != nil {
			cmd.PrintErrln("sentinel: agent-check:", r.Failure)
		}
	}
	if r.Failure != nil {
		return errAgent
	}
	return nil
}

// printAgent prints what is known of an agent, and its verdicts.
func printAgent(out io.Writer, r *sentinel.AgentReport) {
	if r.Dialect != "unknown" {
		printLine(out, "dialect", r.Dialect, "over", r.Transport)
		printLine(out, "connected", fmt.Sprintf("in %.3f ms", r.ConnectMillis))
	}
	if r.Name != "" || r.Version != "" {
		printLine(out, "agent", strings.TrimSpace(r.Name+" "+r.Version))
	}
	if r.MaxConcurrent > 0 {
		printLine(out, "takes", fmt.Sprint("at most ", r.MaxConcurrent), "requests at a time")
	}
	if r.Cancels {
		printLine(out, "takes", "cancellations")
	}
	for _, n := range r.Notes {
		printLine(out, "note", n)
	}
	for i := range r.Verdicts {
		printVerdict(out, &r.Verdicts[i])
	}
}

func printVerdict(out io.Writer, v *sentinel.AgentVerdict) {
	decision := v.Decision
	if v.Status > 0 {
		decision = fmt.Sprint(decision, " ", v.Status)
	}
	printLine(out, v.Event, decision, fmt.Sprintf("in %.3f ms", v.Millis))
	for _, part := range []struct{ name, value string }{
		{"url", v.URL},
		{"challenge", v.Challenge},
		{"body", v.Body},
		{"rules", strings.Join(v.RuleIDs, " ")},
		{"tags", strings.Join(v.Tags, " ")},
		{"reasons", strings.Join(v.ReasonCodes, " ")},
	} {
		if part.value != "" {
			printLine(out, "  "+part.name, part.value)
		}
	}
	printPairs(out, "  header", v.Headers)
	printPairs(out, "  param", v.Params)
	printPairs(out, "  custom", v.Custom)
	printChanges(out, "  request", v.RequestHeaders)
	printChanges(out, "  response", v.ResponseHeaders)
	if v.Confidence != nil {
		printLine(out, "  confidence", fmt.Sprintf("%.3g", *v.Confidence))
	}
	if v.BodyBytes != nil {
		printLine(out, "  replaces", fmt.Sprintf("the body with %d bytes", *v.BodyBytes))
	}
	if v.NeedsMore {
		printLine(out, "  needs", "more of the request to decide")
	}
}

func printPairs(out io.Writer, name string, pairs map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		printLine(out, name, key+":", pairs[key])
	}
}

func printChanges(out io.Writer, name string, changes []sentinel.HeaderChange) {
	for _, h := range changes {
		printLine(out, name, strings.TrimSuffix(h.Op+" "+h.Name+": "+h.Value, ": "))
	}
}

func printLine(out io.Writer, name string, words ...string) {
	_, _ = fmt.Fprintf(out, "%-16s %s\n", name, strings.Join(words, " "))
}
