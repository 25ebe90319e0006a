package peers

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// dialect is one way in which Sentinel and an agent speak.
type dialect struct {
	name    string
	network string   // tcp or unix, of the agent's address
	args    []string // of the agent, before its address
	node    string   // of Sentinel's configuration, before the address
	decides bool     // its gates do
}

var dialects = []dialect{
	{name: agentV1, network: "unix", args: []string{"-dialect", "v1", "-socket"}, node: "unix-socket", decides: true},
	{name: agentV2D, network: "unix", args: []string{"-dialect", "v2d", "-socket"}, node: "unix-socket", decides: true},
	{name: agentV2R, network: "unix", args: []string{"-dialect", "v2r", "-socket"}, node: "unix-socket"},
	{name: agentG2, network: "tcp", args: []string{"-grpc"}, node: "grpc"},
}

// agentProgram is an agent that speaks one dialect and no other.
type agentProgram struct {
	dialect
	program string
}

// start starts the agent in a directory below that of the proxy's setup, and tells the setup how to reach it.
func (a *agentProgram) start(ctx context.Context, proxy *setup) (*process, error) {
	dir := filepath.Join(proxy.Dir, "agent")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // Like the proxy's own.
		return nil, fmt.Errorf("preparing the agent of %s: %w", a.name, err)
	}
	address := filepath.Join(dir, "a.sock")
	if a.network == "tcp" {
		port, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		address = port.String()
	}
	proxy.Agent = fmt.Sprintf("%s %q", a.node, address)
	s := subject{name: "the agent of " + a.name, program: a.program, args: a.args}
	return launch(ctx, s, setup{Dir: dir}, address, func(ctx context.Context) error { return knock(ctx, a.network, address) })
}

// knock reports whether somebody listens at an address.
func knock(ctx context.Context, network, address string) error {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return c.Close()
}

// adminPath is what the agent keeps from everybody. The origin has no such page.
const adminPath = "/admin"

// checkAgent makes sure that a proxy with an agent does what the agent says, and one without asks nobody.
func checkAgent(ctx context.Context, p *process) error {
	answer, err := get(ctx, p.url(adminPath))
	if err != nil {
		return fmt.Errorf("checking the agent of %s: %w", p.name, err)
	}
	defer answer.Body.Close() //nolint:errcheck // Only the status is of interest.
	want := http.StatusNotFound
	if p.asks != nil {
		want = http.StatusForbidden
	}
	if answer.StatusCode != want {
		return fmt.Errorf("checking the agent of %s: %s is answered with %s, not %d", p.name, adminPath, answer.Status, want)
	}
	return nil
}
