package health

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Probe asks one target whether it can serve. It is safe for concurrent use.
type Probe struct {
	Type    string // "http", "tcp" or "grpc"
	Address string // host:port of the target

	Path           string // of the HTTP request, with its query; empty: "/"
	Host           string // of the HTTP request; empty: Address
	ExpectedStatus []int  // final statuses that are healthy; empty: any 2xx
	Service        string // of the gRPC request; empty: the server as a whole

	// Timeout bounds the whole probe, from resolving the name to the verdict; more than 0.
	Timeout time.Duration
	// TLS is what an HTTP or gRPC probe secures its connection with, its ServerName set; nil: plain.
	TLS *tls.Config
	// Dial connects to the target, and resolves its name; it returns soon after its context is done. Nil:
	// net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Do probes the target once, and returns nil when it is healthy. The text of an error is at most 200 bytes
// of our own words and holds nothing that the target sent. When Do returns its connection is closed.
func (p *Probe) Do(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	switch p.Type {
	case "http":
		return p.http(ctx)
	case "tcp":
		return p.tcp(ctx)
	case "grpc":
		return p.grpc(ctx)
	}
	panic("health: unknown type of probe: " + p.Type)
}

// tcp finds a target healthy that accepts a connection.
func (p *Probe) tcp(ctx context.Context) error {
	c, err := p.connect(ctx)
	if err != nil {
		return err
	}
	c.release()
	return nil
}
