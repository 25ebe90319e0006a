package agents

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// probeAtMost is how long an agent may take to answer a handshake that it may not understand.
const probeAtMost = time.Second

// dialer returns what connects to an agent's socket.
func dialer(o *Options) func(context.Context) (net.Conn, error) {
	address := o.Address
	return func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", address) }
}

// dial makes a link in the dialect that the config names, or that the agent spoke last, or finds out which
// it speaks.
func (a *Agent) dial(ctx context.Context) (link, error) {
	if a.Network == "grpc" {
		return dialGRPC(ctx, &a.Options)
	}
	if a.Protocol == 1 {
		return a.dialV1(ctx)
	}
	if a.Protocol == 2 {
		return a.dialV2(ctx, min(a.Timeout, dialAtMost))
	}
	switch a.known() {
	case V1:
		return a.dialV1(ctx)
	case V2D, V2R:
		l, err := a.dialV2(ctx, min(a.Timeout, dialAtMost))
		if err != nil {
			a.forget()
		}
		return l, err
	default:
		return a.detect(ctx)
	}
}

func (a *Agent) known() Dialect {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dialect
}

// forget has the dialect found out anew: whoever serves the socket now may be another agent.
func (a *Agent) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dialect = NoDialect
}

// detect tries a handshake. An agent of V1 takes it for a length and something that is no JSON: it closes the
// connection, or says nothing. It is never the other way round: a message of V1 may change an agent.
//
// A connection that was closed may have been one to an agent that was just ending: it is tried twice.
func (a *Agent) detect(ctx context.Context) (link, error) {
	l, err := a.dialV2(ctx, min(a.Timeout, probeAtMost))
	if errors.Is(err, errSilent) && !errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		l, err = a.dialV2(ctx, min(a.Timeout, probeAtMost))
	}
	if errors.Is(err, errSilent) && ctx.Err() == nil {
		return a.dialV1(ctx)
	}
	return l, err
}

func (a *Agent) dialV1(ctx context.Context) (link, error) {
	conn, err := a.dialer(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return newV1(conn, &a.Options, &a.unknown), nil
}

// errSilent is the cause of a handshake that was not answered by a byte.
var errSilent = errors.New("no answer to the handshake")

// dialV2 connects, and shakes hands within the patience.
func (a *Agent) dialV2(ctx context.Context, patience time.Duration) (link, error) {
	conn, err := a.dialer(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stop := context.AfterFunc(limited, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	reader := bufio.NewReader(conn)
	greet, err := shake(conn, reader, &a.Options)
	if !stop() && err == nil {
		err = os.ErrDeadlineExceeded // the deadline is on the connection, or about to be
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return newV2(conn, reader, greet, &a.Options, &a.unknown), nil
}

// shake greets an agent and reads its greeting.
func shake(conn net.Conn, reader *bufio.Reader, o *Options) (Greeting, error) {
	hello := appendHandshake([]byte{0, 0, 0, 0, typeHandshake}, o)
	binary.BigEndian.PutUint32(hello, uint32(len(hello)-lengthSize))
	// An agent that closes at once may do so before all is written: what counts is whether it answers.
	_, writeErr := conn.Write(hello)
	if _, err := reader.Peek(1); err != nil {
		return Greeting{}, fmt.Errorf("%w: %w", errSilent, errors.Join(writeErr, err))
	}
	st := stream{reader: reader, max: maxHandshake}
	frame, f := st.next()
	if f != nil {
		return Greeting{}, f
	}
	if frame[0] != typeHandshakeReply {
		return Greeting{}, badReply("a frame of type %#02x instead of a handshake's", frame[0])
	}
	return greetingOf(frame[1:])
}

// maxHandshake is the most that an agent may say of itself, in bytes.
const maxHandshake = 64 << 10
