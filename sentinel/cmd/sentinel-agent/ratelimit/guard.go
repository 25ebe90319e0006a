package ratelimit

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// What our script and Redis' errors need at most.
const (
	maxReply  = 4096 // bytes
	maxDigits = 3    // of the length of a list or a string
)

var errReply = errors.New("redis sent more than a reply of ours has")

// guarded is a connection that refuses giant replies. The client believes the lengths it reads: whatever
// listens at Redis' address could have it allocate all memory there is.
type guarded struct {
	net.Conn
	read   int  // bytes since the last question
	inside bool // a line; false: the next byte begins one
	length bool // the line is a length
	digits int
}

// guard makes a client's connections guarded.
func guard(o *redis.Options) {
	dial := redis.NewDialer(o)
	o.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &guarded{Conn: c}, nil
	}
}

// Write sends a question: a reply begins after it.
func (g *guarded) Write(p []byte) (int, error) {
	g.read, g.inside = 0, false
	return g.Conn.Write(p) //nolint:wrapcheck // a connection's errors go through as they are
}

// Read reads what is small enough.
func (g *guarded) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if g.read += n; g.read > maxReply {
		return 0, errReply
	}
	for _, b := range p[:n] {
		if g.see(b); g.length && g.digits > maxDigits {
			return 0, errReply
		}
	}
	return n, err //nolint:wrapcheck // io.EOF must stay io.EOF
}

func (g *guarded) see(b byte) {
	switch {
	case !g.inside:
		g.inside, g.digits = true, 0
		g.length = b != '+' && b != '-' && b != ':'
	case b == '\n':
		g.inside = false
	case b >= '0' && b <= '9':
		g.digits++
	}
}
