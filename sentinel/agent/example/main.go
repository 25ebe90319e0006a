// Command example is a whole agent: it keeps /admin from everybody, and tells the upstream that it looked.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

type guard struct{ agent.Base }

func (guard) RequestHeaders(_ context.Context, r *agent.Request) *agent.Verdict {
	if strings.HasPrefix(r.URI, "/admin") {
		return agent.Block(403, "Access denied").WithRule("ADMIN_BLOCKED")
	}
	return agent.Allow().SetRequestHeader("X-Agent", "example")
}

func main() {
	socket := flag.String("socket", "/tmp/example-agent.sock", "`path` of the Unix socket to serve on")
	grpc := flag.String("grpc", "", "`host:port` to serve gRPC on instead")
	dialect := flag.String("dialect", "", "the only one to speak on the socket: v1, v2d or v2r")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	s := &agent.Server{Handler: guard{}, Name: "example", Dialect: agent.Dialect(*dialect)}
	serve, listen := s.Serve, func() (net.Listener, error) { return agent.ListenUnix(*socket) }
	if *grpc != "" {
		serve, listen = s.ServeGRPC, func() (net.Listener, error) { return new(net.ListenConfig).Listen(ctx, "tcp", *grpc) }
	}
	l, err := listen()
	if err == nil {
		err = serve(ctx, l)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
