package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// askAtMost bounds how long a running proxy may take to answer; a reload with --wait may take as long as it needs.
const askAtMost = 10 * time.Second

var (
	errNoSocket = errors.New("no admin socket is known: give --socket, or a configuration with system { admin-socket … }")
	errReload   = errors.New("the reload failed, the old configuration goes on")
)

// adminCommands returns the commands that talk to a running proxy.
func (c *command) adminCommands() []*cobra.Command {
	var socket string
	var wait bool
	reload := &cobra.Command{
		Use: "reload", Short: "Make a running proxy read its configuration again", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.reload(cmd, socket, wait) },
	}
	reload.Flags().BoolVar(&wait, "wait", false, "wait until it is over; exit code 1 when it failed")
	status := &cobra.Command{
		Use: "status", Short: "Show what a running proxy says of itself", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.status(cmd, socket) },
	}
	for _, cmd := range [...]*cobra.Command{reload, status} {
		cmd.Flags().StringVar(&socket, "socket", os.Getenv("SENTINEL_ADMIN_SOCKET"), "the proxy's admin socket (also SENTINEL_ADMIN_SOCKET); else the configuration's")
	}
	return []*cobra.Command{reload, status}
}

// socketOf finds the admin socket: the one named, else the one of the configuration.
func (c *command) socketOf(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if c.config == "" {
		return "", errNoSocket
	}
	in, err := sentinel.Inspect(sentinel.Options{Path: c.config})
	if err != nil {
		return "", fmt.Errorf("%w: the configuration is broken:\n%s", errNoSocket, err.Error()) // not to be reported as the command's own problem
	}
	if in.AdminSocket() == "" {
		return "", errNoSocket
	}
	return in.AdminSocket(), nil
}

func (c *command) reload(cmd *cobra.Command, socket string, wait bool) error {
	limit := askAtMost
	if wait {
		limit = 0
	}
	status, body, err := c.askAdmin(cmd.Context(), socket, http.MethodPost, fmt.Sprintf("/reload?wait=%t", wait), limit)
	if err != nil {
		return err
	}
	var result sentinel.ReloadResult
	switch {
	case status == http.StatusAccepted:
		cmd.Println("reload requested; `sentinel status` tells how it went")
		return nil
	case json.Unmarshal(body, &result) != nil:
		return fmt.Errorf("%w: %s", errReload, bytes.TrimSpace(body))
	case c.json:
		err = writeJSON(cmd.OutOrStdout(), &result)
	default:
		printReload(cmd.OutOrStdout(), &result)
	}
	if err == nil && !result.OK {
		return errReported
	}
	return err
}

// printReload tells how a reload went, every problem with its place.
func printReload(out io.Writer, r *sentinel.ReloadResult) {
	verdict := "reload done"
	if !r.OK {
		verdict = "reload failed, the old configuration goes on"
	}
	_, _ = fmt.Fprintf(out, "%s: generation %d is served (%s, %d ms)\n", verdict, r.Generation, r.Trigger, r.Millis)
	for i := range r.Problems {
		p := &r.Problems[i]
		_, _ = fmt.Fprintf(out, "%s: %s:%d:%d: %s\n", p.Severity, p.File, p.Line, p.Col, p.Message)
	}
	if len(r.Problems) == 0 && r.Error != "" {
		_, _ = fmt.Fprintln(out, "error:", r.Error)
	}
	for _, w := range r.Warnings {
		_, _ = fmt.Fprintln(out, "warning:", w)
	}
}

func (c *command) status(cmd *cobra.Command, socket string) error {
	_, body, err := c.askAdmin(cmd.Context(), socket, http.MethodGet, "/status", askAtMost)
	if err != nil {
		return err
	}
	var st sentinel.Status
	if err := json.Unmarshal(body, &st); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if c.json {
		return writeJSON(cmd.OutOrStdout(), &st)
	}
	printStatus(cmd.OutOrStdout(), &st)
	return nil
}

func printStatus(out io.Writer, st *sentinel.Status) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	say("sentinel %s, process %d, %s since %s", st.Version, st.PID, st.State, st.StartedAt.Local().Format(time.DateTime))
	say("configuration %s, generation %d (%d in memory)", st.Config, st.Generation, st.GenerationsLive)
	say("reloads: %d succeeded, %d failed", st.ReloadsOK, st.ReloadsFailed)
	say("connections: %d open, %d requests under way", st.Connections, st.Requests)
	for _, l := range st.Listeners {
		say("listener %s: %s", l.ID, l.Address)
	}
	for _, u := range st.Upstreams {
		say("upstream %s: %d of %d targets healthy", u.ID, u.Healthy, u.Targets)
	}
	if st.LastReload != nil {
		_, _ = fmt.Fprintf(out, "last reload, %s: ", st.LastReload.At.Local().Format(time.DateTime))
		printReload(out, st.LastReload)
	}
}

// askAdmin makes one request at the admin socket. A limit of 0 is none.
func (c *command) askAdmin(ctx context.Context, named, method, target string, limit time.Duration) (status int, body []byte, err error) {
	socket, err := c.socketOf(named)
	if err != nil {
		return 0, nil, err
	}
	client := http.Client{Timeout: limit, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, method, "http://sentinel"+target, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("asking the proxy: %w", err)
	}
	answer, err := client.Do(r)
	if err != nil {
		c.serving = true // the command line was good: the system said no
		return 0, nil, fmt.Errorf("no proxy answers at %s: %w", socket, errors.Unwrap(err))
	}
	defer func() { _ = answer.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(answer.Body, 64<<20))
	if err != nil {
		return 0, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return answer.StatusCode, body, nil
}
