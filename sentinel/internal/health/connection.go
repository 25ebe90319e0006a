package health

import (
	"context"
	"crypto/tls"
	"net"
)

// connection is the one connection of a probe. Its end is the probe's: when the context is done it is
// closed, and whatever waits for it returns.
type connection struct {
	net.Conn          // to read from and write to: the socket or what secures it
	socket   net.Conn // what is closed, without a farewell that a target could make us wait for
	stop     func() bool
}

// connect dials the target.
func (p *Probe) connect(ctx context.Context) (*connection, error) {
	dial := p.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	socket, err := dial(ctx, "tcp", p.Address)
	if err != nil {
		return nil, explain(ctx, err, "connect failed")
	}
	c := &connection{Conn: socket, socket: socket}
	c.stop = context.AfterFunc(ctx, func() { _ = socket.Close() })
	return c, nil
}

// secure makes the connection one over TLS, for the one protocol. It verifies the target each time:
// sessions are not resumed.
func (c *connection) secure(ctx context.Context, config *tls.Config, protocol string) error {
	config = config.Clone()
	config.NextProtos = []string{protocol}
	config.ClientSessionCache = nil
	secured := tls.Client(c.socket, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return explain(ctx, err, "TLS handshake failed")
	}
	c.Conn = secured
	return nil
}

// release closes the connection, if nothing else has.
func (c *connection) release() {
	c.stop()
	_ = c.socket.Close()
}
