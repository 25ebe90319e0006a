package upstream

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// ErrTooLarge says that a response head does not fit its buffer.
var ErrTooLarge = errors.New("response head too large")

// Trip is one request and the head of its response on a Conn.
type Trip struct {
	Out  []byte         // request head, and the body when it is whole
	In   []byte         // buffer for what the target sends
	N    int            // bytes of In that are filled
	Used int            // bytes of In that response heads took so far
	Head *wire.Response // parsed from In[Used:]
	Lim  *wire.Limits

	Sent     bool // Out was written, or begun
	Received bool // at least one byte came back
}

// Conn is one connection to a target. Between Get and Put or Close it belongs to one exchange; only Wake
// may be called from elsewhere.
type Conn struct {
	Reused bool
	Target *Target

	nc      net.Conn
	raw     syscall.RawConn // nil: read through nc
	fd      int
	onReady func(fd uintptr) bool
	born    time.Time
	since   time.Time // when a sweep first saw it idle; zero: in use after the last one
	probe   [1]byte   // where untouched reads into

	trip *Trip // of the running RoundTrip
	err  error
}

func newConn(t *Target, nc net.Conn) *Conn {
	c := &Conn{Target: t, nc: nc, fd: -1, born: time.Now()}
	c.onReady = c.step
	tcp, plain := nc.(*net.TCPConn)
	if secured, ok := nc.(*tls.Conn); ok {
		tcp, _ = secured.NetConn().(*net.TCPConn)
	}
	if tcp == nil {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	_ = raw.Control(func(fd uintptr) { c.fd = int(fd) })
	if plain {
		c.raw = raw
	}
	return c
}

// Put gives a connection back whose response was read to its last byte, with nothing after it.
func (c *Conn) Put() {
	c.since = time.Time{}
	c.Target.put(c)
}

// Close ends the connection.
func (c *Conn) Close() {
	c.Target.drop()
	_ = c.nc.Close()
}

// Wake makes every pending and later read and write fail at once. It may be called from any goroutine.
func (c *Conn) Wake() { _ = c.nc.SetDeadline(time.Unix(1, 0)) }

// NetConn returns the connection itself, for bodies and tunnels.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Raw returns the descriptor's RawConn, nil when bytes must pass through NetConn (TLS).
func (c *Conn) Raw() syscall.RawConn { return c.raw }

// Readable reports whether a read is sure to find something at once, the end of the stream included. Of TLS that
// cannot be said: what is there may be a part of a record, or no data.
func (c *Conn) Readable() bool {
	if c.raw == nil {
		return false
	}
	fds := [1]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN | unix.POLLRDHUP}}
	n, err := unix.Poll(fds[:], 0)
	return n > 0 && err == nil
}

// untouched reports whether the target neither closed the idle connection nor sent anything unasked: such
// bytes would become the answer to the next request, which may be another client's (RFC 9112 9.2). One
// read that finds nothing is the price of every reuse.
func (c *Conn) untouched() bool {
	if c.raw != nil {
		_, err := unix.Read(c.fd, c.probe[:])
		return errors.Is(err, unix.EAGAIN)
	}
	fds := [1]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN | unix.POLLRDHUP}}
	if n, err := unix.Poll(fds[:], 0); n != 0 || err != nil {
		return false
	}
	// TLS may have read ahead, which only a Read shows: one that cannot read on.
	if c.nc.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	_, err := c.nc.Read(c.probe[:])
	return errors.Is(err, os.ErrDeadlineExceeded) && c.nc.SetReadDeadline(time.Time{}) == nil
}

// old reports whether the connection has lived for its time.
func (c *Conn) old() bool {
	life := c.Target.pool.MaxLifetime
	return life > 0 && time.Since(c.born) > life
}

// RoundTrip writes t.Out unless that is done and reads until a response head is complete. The head may
// be an interim one: consume it (t.Used), reset t.Head and call again. A wire.Fault, ErrTooLarge,
// io.ErrUnexpectedEOF or a network error ends the connection's use.
func (c *Conn) RoundTrip(t *Trip) error {
	c.trip, c.err = t, nil
	defer c.forget()
	if t.N > t.Used { // an interim head came with more behind it
		if done := c.parse(); done {
			return c.err
		}
	}
	if c.raw == nil {
		return c.plainTrip()
	}
	// The wait is armed before the request is written, so the answer cannot come unnoticed, and the
	// first read happens when there is something to read.
	if err := c.raw.Read(c.onReady); err != nil && c.err == nil {
		c.err = err
	}
	return c.err
}

// forget lets go of the exchange: an idle connection must not keep its buffers alive.
func (c *Conn) forget() { c.trip = nil }

// step runs when the wait is armed and then whenever the descriptor is readable; true ends RoundTrip.
func (c *Conn) step(fd uintptr) bool {
	t := c.trip
	if !t.Sent {
		t.Sent = true
		if c.err = c.writeAll(fd, t.Out); c.err != nil {
			return true
		}
		return false
	}
	for {
		n, err := unix.Read(int(fd), t.In[t.N:])
		if errors.Is(err, unix.EAGAIN) {
			return false
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		// A short read does not mean that the next one would fail: an end of stream that came with the
		// bytes raises no event of its own.
		if c.received(max(n, 0), err) {
			return true
		}
	}
}

// writeAll tries the descriptor itself first: a request of a few hundred bytes fits its buffer.
func (c *Conn) writeAll(fd uintptr, out []byte) error {
	n, err := unix.Write(int(fd), out)
	if n == len(out) {
		return nil
	}
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		return err
	}
	_, err = c.nc.Write(out[max(n, 0):])
	return err
}

func (c *Conn) plainTrip() error {
	t := c.trip
	if !t.Sent {
		t.Sent = true
		if _, err := c.nc.Write(t.Out); err != nil {
			return err
		}
	}
	for {
		n, err := c.nc.Read(t.In[t.N:])
		if n > 0 {
			err = nil
		} else if errors.Is(err, io.EOF) {
			err = nil // received takes 0 bytes for the end
		}
		if c.received(n, err) {
			return c.err
		}
	}
}

// received takes the result of one read; n = 0 without an error is the end of the stream. True: the trip
// is over, well or with c.err.
func (c *Conn) received(n int, err error) bool {
	t := c.trip
	switch {
	case err != nil:
		c.err = err
		return true
	case n == 0:
		c.err = io.ErrUnexpectedEOF
		return true
	}
	t.N += n
	t.Received = true
	return c.parse()
}

func (c *Conn) parse() bool {
	t := c.trip
	n, fault := t.Head.Parse(t.In[t.Used:t.N], t.Lim)
	switch {
	case fault != wire.None:
		c.err = fault
	case n > 0:
		t.Used += n
	case t.N == len(t.In):
		c.err = ErrTooLarge
	default:
		return false
	}
	return true
}
