package agents

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// What goes over gRPC at most. Agents of common libraries take 4 MiB a message, whatever the protocol says.
const (
	grpcSendMax = 4<<20 - 1
	grpcRecvMax = 10<<20 + 64<<10
	grpcHeadMax = 16 << 10 // bytes of an answer's headers
)

// grpcUserTimeout is how long a host may leave bytes unacknowledged before its connection is given up. It stands
// in for pings of HTTP/2, for which common servers end the connection.
const grpcUserTimeout = 10 * time.Second

// grpcPrefixes begin the two names of every service: the present one, and the one before.
var grpcPrefixes = [...]string{"zentinel.agent.", "sentinel.agent."}

var (
	errNoService  = errors.New("it serves no known agent protocol over gRPC")
	errConnection = errors.New("the connection ended")
)

// dialGRPC connects over gRPC and finds out the version: the second, or where an agent does not have it and the
// options leave it open, the first. It is one attempt, and ends with ctx.
func dialGRPC(ctx context.Context, o *Options) (link, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	c, err := connectGRPC(ctx, o)
	if err != nil {
		return nil, err
	}
	if o.Protocol != 1 {
		l, err := greetG2(ctx, c, o)
		if err == nil {
			return l, nil
		}
		if o.Protocol == 2 || !errors.Is(err, errNoService) {
			c.close()
			return nil, err
		}
	}
	return newG1(c, o), nil
}

// grpcConn is one connection and the library's client on it. The library never gets another: making links is
// the agent's business.
type grpcConn struct {
	client *grpc.ClientConn
	life   context.Context // ends with the connection; its cause is a *Failure
	end    context.CancelCauseFunc

	mu   sync.Mutex
	conn net.Conn // nil: the library has it
}

// connectGRPC returns a connection over which HTTP/2 is spoken. Its errors are *Failure.
func connectGRPC(ctx context.Context, o *Options) (*grpcConn, error) {
	nc, err := dialTCP(ctx, o)
	if err != nil {
		return nil, refused(ctx, err)
	}
	c := &grpcConn{conn: nc}
	c.life, c.end = context.WithCancelCause(context.Background())
	c.client, err = grpc.NewClient("passthrough:///agent", c.options(o)...)
	if err != nil {
		_ = nc.Close()
		return nil, unavailable(fmt.Errorf("gRPC client: %w", err))
	}
	context.AfterFunc(c.life, c.release)
	if err := c.ready(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// dialTCP connects and shakes hands for TLS.
func dialTCP(ctx context.Context, o *Options) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(grpcUserTimeout.Milliseconds()))
		})
		return errors.Join(err, failed)
	}}
	nc, err := d.DialContext(ctx, "tcp", o.Address)
	if err != nil || o.TLS == nil {
		return nc, err
	}
	config := o.TLS.Clone()
	config.NextProtos = []string{"h2"}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(o.Address) // dialled, so it has both
	}
	secure := tls.Client(nc, config)
	if err = secure.HandshakeContext(ctx); err == nil && secure.ConnectionState().NegotiatedProtocol != "h2" {
		err = errors.New("no HTTP/2 over TLS")
	}
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secure, nil
}

// options give the library the connection that stands, which also keeps it from the proxies that the environment
// names, and bound what it takes from the agent.
func (c *grpcConn) options(o *Options) []grpc.DialOption {
	security := insecure.NewCredentials()
	if o.TLS != nil {
		security = secured{security}
	}
	return []grpc.DialOption{
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return c.take() }),
		grpc.WithTransportCredentials(security),
		grpc.WithAuthority(o.Address),
		grpc.WithUserAgent("sentinel/" + o.ProxyVersion),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithMaxHeaderListSize(grpcHeadMax),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(grpcRecvMax), grpc.MaxCallSendMsgSize(grpcSendMax)),
	}
}

// secured tells the library that the connection is over TLS already, so that its requests have the scheme https.
type secured struct {
	credentials.TransportCredentials
}

func (secured) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (s secured) Clone() credentials.TransportCredentials { return s }

// take gives the library the connection. That it wants another means that it has given up the first.
func (c *grpcConn) take() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	nc := c.conn
	if nc == nil {
		c.end(unavailable(errConnection))
		return nil, errConnection
	}
	c.conn = nil
	return &watched{Conn: nc, closed: func() { c.end(unavailable(errConnection)) }}, nil
}

// watched says when the library closes a connection.
type watched struct {
	net.Conn

	closed func()
}

func (w *watched) Close() error {
	w.closed()
	return w.Conn.Close()
}

// ready waits until the agent has begun HTTP/2.
func (c *grpcConn) ready(ctx context.Context) error {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	c.client.Connect()
	for {
		s := c.client.GetState()
		if s == connectivity.Ready {
			return nil
		}
		if !c.client.WaitForStateChange(wait, s) {
			break
		}
	}
	if ctx.Err() != nil {
		return expired(ctx, "HTTP/2 to begin")
	}
	return context.Cause(c.life)
}

// close ends the connection, and returns when the library has let go of it.
func (c *grpcConn) close() {
	c.end(unavailable(errClosed))
	c.release()
}

// release gives back what a connection holds that has ended, by whomever.
func (c *grpcConn) release() {
	_ = c.client.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil { // the library never asked for it
		_ = c.conn.Close()
		c.conn = nil
	}
}

// refused is the failure of a connection that was not made.
func refused(ctx context.Context, err error) *Failure {
	if ctx.Err() != nil {
		return expired(ctx, "a connection")
	}
	return unavailable(fmt.Errorf("connect: %w", err))
}

// grpcFailure is the failure of a call or a stream that ended with an error. What the library or the agent could
// not read or write is a bad reply.
func grpcFailure(err error) *Failure {
	switch status.Code(err) {
	case codes.ResourceExhausted, codes.Internal, codes.InvalidArgument, codes.OutOfRange:
		return &Failure{BadReply, err}
	default:
		return unavailable(err)
	}
}
