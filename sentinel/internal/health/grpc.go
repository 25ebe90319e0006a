package health

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// answerMax is the size in bytes of a health service's answer; a status is two.
const answerMax = 1 << 10

// init silences the library: it would write to standard error, a line for every odd frame of a target.
func init() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
}

// grpc asks the target's health service, grpc.health.v1.Health, and finds SERVING healthy.
func (p *Probe) grpc(ctx context.Context) error {
	call := &grpcCall{probe: p}
	defer call.end()
	client, err := grpc.NewClient("passthrough:///target", p.grpcOptions(ctx, call)...)
	if err != nil {
		return failure("no gRPC client")
	}
	defer func() { _ = client.Close() }()
	answer, err := grpc_health_v1.NewHealthClient(client).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: p.Service})
	switch {
	case err != nil && call.cause() != nil:
		return call.cause()
	case err != nil:
		return explainCode(ctx, err)
	case answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		return failure("not serving")
	}
	return nil
}

// grpcOptions gives the library the probe's own connection, which also keeps it from the proxies that the
// environment names, and bounds what it takes from the target.
func (p *Probe) grpcOptions(ctx context.Context, call *grpcCall) []grpc.DialOption {
	security := insecure.NewCredentials()
	if p.TLS != nil {
		security = secured{security}
	}
	return []grpc.DialOption{
		// The call ends with the probe's context, which is done before the library's own would be.
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return call.dial(ctx) }),
		grpc.WithTransportCredentials(security),
		grpc.WithAuthority(p.Address),
		grpc.WithUserAgent(userAgent),
		grpc.WithMaxHeaderListSize(headMax),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(answerMax)),
	}
}

// secured tells the library that the connection it gets is over TLS already, so that its requests have the
// scheme https. The handshake is ours, because the library returns only a text of its error.
type secured struct {
	credentials.TransportCredentials
}

func (secured) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (s secured) Clone() credentials.TransportCredentials { return s }

// grpcCall is the one connection that the library may open for a probe; it would dial again when a target
// ends the first. dial runs on the library's goroutine.
type grpcCall struct {
	probe *Probe

	mu         sync.Mutex // guards the rest; held while dialling, so that end waits for it
	used       bool
	connection *connection
	failed     error
}

func (c *grpcCall) dial(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used {
		return nil, failure("connection closed")
	}
	c.used = true
	c.connection, c.failed = c.probe.connect(ctx)
	if c.failed == nil && c.probe.TLS != nil {
		c.failed = c.secure(ctx)
	}
	if c.failed != nil {
		return nil, c.failed
	}
	return c.connection, nil
}

func (c *grpcCall) secure(ctx context.Context) error {
	if err := c.connection.secure(ctx, c.probe.TLS, "h2"); err != nil {
		return err
	}
	if c.connection.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != "h2" {
		return failure("no HTTP/2 over TLS")
	}
	return nil
}

// cause returns why no connection stands, or nil.
func (c *grpcCall) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// end closes the connection, and sees to it that no other is opened.
func (c *grpcCall) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = true
	if c.connection != nil {
		c.connection.release()
	}
}

// codeCauses name the statuses that say something about the health service.
var codeCauses = map[codes.Code]failure{
	codes.Unimplemented:    "no health service",
	codes.NotFound:         "service unknown to the health service",
	codes.DeadlineExceeded: timedOut,
	codes.Unavailable:      "unavailable, or no gRPC answer",
}

// explainCode puts the status of a call, whose text may be the target's, into our words.
func explainCode(ctx context.Context, err error) failure {
	if ctx.Err() != nil {
		return explain(ctx, err, timedOut)
	}
	code := status.Code(err)
	if words, named := codeCauses[code]; named {
		return words
	}
	if code > codes.Unauthenticated {
		return "gRPC status out of range"
	}
	return failure("gRPC status " + code.String())
}
