package attack

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// conn is one keep-alive connection with at most one request in flight. It is a bare descriptor, because the Go
// runtime's poller would compete with ppoll for its events.
type conn struct {
	fd     int
	due    time.Time // of the request in flight
	answer response
}

func dial(to netip.AddrPort) (*conn, error) {
	family, address := sockaddr(to)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a socket: %w", err)
	}
	c := &conn{fd: fd}
	if err := c.connect(address); err != nil {
		c.close()
		return nil, fmt.Errorf("connecting to %v: %w", to, err)
	}
	return c, nil
}

// connect waits for the connection, then makes the descriptor non-blocking.
func (c *conn) connect(to unix.Sockaddr) error {
	if err := unix.Connect(c.fd, to); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	return unix.SetNonblock(c.fd, true)
}

func sockaddr(a netip.AddrPort) (family int, address unix.Sockaddr) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// send writes one request. It fits the empty socket buffer, so a short write is a failure.
func (c *conn) send(request []byte, due time.Time) error {
	c.due = due
	c.answer = response{}
	n, err := unix.Write(c.fd, request)
	if err != nil {
		return fmt.Errorf("sending a request: %w", err)
	}
	if n < len(request) {
		return fmt.Errorf("sent %d of %d bytes of a request", n, len(request))
	}
	return nil
}

// read takes what has arrived; done reports that the answer is complete. buf is scratch space.
func (c *conn) read(buf []byte) (done bool, err error) {
	n, err := unix.Read(c.fd, buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading an answer: %w", err)
	}
	if n == 0 {
		return false, errors.New("the connection was closed")
	}
	return c.answer.feed(buf[:n])
}

func (c *conn) close() {
	_ = unix.Close(c.fd) // nothing is left to be written
}
