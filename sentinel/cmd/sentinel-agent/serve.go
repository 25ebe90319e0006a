package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// serve answers proxies for a handler, on every address of the command line, until ctx ends and calls
// under way have ended. When one address fails, all are given up.
func (c *command) serve(ctx context.Context, name string, h agent.Handler) error {
	c.serving = true
	if closer, ok := h.(io.Closer); ok {
		defer func() { _ = closer.Close() }() // it only frees what the process's end would free
	}
	listeners, err := c.listen(ctx, name)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		slog.InfoContext(ctx, "serving", "agent", name, "network", l.Addr().Network(), "address", l.Addr().String())
	}
	err = serveAll(ctx, &agent.Server{Handler: h, Name: name, Version: version(), Chunks: true}, listeners)
	slog.InfoContext(ctx, "stopped", "agent", name)
	return err
}

// serveAll serves on every listener until ctx ends or one of them fails, and all have drained.
func serveAll(ctx context.Context, s *agent.Server, listeners []listener) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() {
			defer cancel()
			if failed := l.serve(s, ctx, l.Listener); failed != nil {
				ended <- fmt.Errorf("serving %s: %w", l.Addr(), failed)
				return
			}
			ended <- nil
		}()
	}
	for range listeners {
		err = errors.Join(err, <-ended)
	}
	return err
}

// listener is a bound address and what is spoken on it.
type listener struct {
	net.Listener
	serve func(*agent.Server, context.Context, net.Listener) error
}

// listen binds the addresses of the command line. With neither --socket nor --grpc it is the agent's
// conventional socket.
func (c *command) listen(ctx context.Context, name string) ([]listener, error) {
	socket := c.socket
	if socket == "" && c.grpc == "" {
		socket = "/run/sentinel/" + name + ".sock"
	}
	var bound []listener
	if socket != "" {
		l, err := agent.ListenUnix(socket)
		if err != nil {
			return nil, fmt.Errorf("--socket: %w", err)
		}
		bound = append(bound, listener{l, (*agent.Server).Serve})
	}
	if c.grpc != "" {
		l, err := listenTCP(ctx, c.grpc)
		if err != nil {
			for _, b := range bound {
				_ = b.Close() // nothing was served on it
			}
			return nil, fmt.Errorf("--grpc: %w", err)
		}
		bound = append(bound, listener{l, (*agent.Server).ServeGRPC})
	}
	return bound, nil
}

// listenTCP listens on an address whose host defaults to 127.0.0.1: whoever reaches an agent may configure
// it.
func listenTCP(ctx context.Context, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("want HOST:PORT or :PORT: %w", err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		slog.WarnContext(ctx, "gRPC is in plain text and open to whoever reaches it", "address", address)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return l, nil
}
