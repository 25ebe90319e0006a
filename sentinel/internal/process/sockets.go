package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

var errNoListener = errors.New("no listening TCP socket")

// sockets are the listening sockets of the process: those it was given and nobody has asked for yet, and those in
// use. Its methods may be called from any goroutine.
type sockets struct {
	names map[string]string // listener id: address; set before the first listen

	mu     sync.Mutex
	spare  []*socket
	inUse  []*socket
	failed map[string]error // by address: what reserve could not open
}

// socket is a listening socket. Its Close really closes it: nothing else holds its descriptor.
type socket struct {
	*net.TCPListener
	set     *sockets
	address string // it was opened for, as the configuration writes it; empty: systemd opened it
	name    string // systemd's; empty: none
}

// adopt takes a socket that another process opened. It closes the file.
func (s *sockets) adopt(f *os.File, address, name string) error {
	nl, err := net.FileListener(f)
	_ = f.Close() // FileListener has its own descriptor
	if err != nil {
		return fmt.Errorf("inherited socket %q: %w", name, err)
	}
	tcp, ok := nl.(*net.TCPListener)
	if !ok {
		_ = nl.Close()
		return fmt.Errorf("inherited socket %q: %w", name, errNoListener)
	}
	s.spare = append(s.spare, &socket{TCPListener: tcp, set: s, address: address, name: name})
	return nil
}

// activated takes the sockets that systemd opened, sd_listen_fds(3), and clears its variables.
func (s *sockets) activated() error {
	var all []error
	for _, f := range activation.Files(true) {
		all = append(all, s.adopt(f, "", f.Name()))
	}
	return errors.Join(all...)
}

// listen returns the inherited socket for an address, or a new one.
func (s *sockets) listen(ctx context.Context, network, address string) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(address); i >= 0 {
		l := s.spare[i]
		l.address = address
		s.spare = slices.Delete(s.spare, i, i+1)
		s.inUse = append(s.inUse, l)
		return l, nil
	}
	if err := s.failed[address]; err != nil {
		return nil, err
	}
	l, err := s.open(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.inUse = append(s.inUse, l)
	return l, nil
}

// open makes a socket. Deadlines find dead peers here, so TCP keep-alive would only cost system calls.
func (s *sockets) open(ctx context.Context, network, address string) (*socket, error) {
	nl, err := (&net.ListenConfig{KeepAlive: -1}).Listen(ctx, network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the operation and the address
	}
	return &socket{TCPListener: nl.(*net.TCPListener), set: s, address: address}, nil //nolint:forcetypeassert // of a TCP network
}

// find returns the index of the spare socket for an address: by what its opener called it, by where it listens,
// by the listener's id.
func (s *sockets) find(address string) int {
	for _, fits := range []func(*socket) bool{
		func(l *socket) bool { return l.address == address },
		func(l *socket) bool { return sameAddress(l.Addr(), address) },
		func(l *socket) bool { return l.address == "" && l.name != "" && s.names[l.name] == address },
	} {
		if i := slices.IndexFunc(s.spare, fits); i >= 0 {
			return i
		}
	}
	return -1
}

// sameAddress reports whether a socket that listens at bound serves what an address asks for. systemd's
// ListenStream=443 is [::], which takes IPv4 too.
func sameAddress(bound net.Addr, address string) bool {
	a, errA := netip.ParseAddrPort(bound.String())
	b, errB := netip.ParseAddrPort(address)
	if errA != nil || errB != nil || a.Port() != b.Port() {
		return false
	}
	return a.Addr().Unmap() == b.Addr().Unmap() || a.Addr() == netip.IPv6Unspecified() && b.Addr().IsUnspecified()
}

// reserve opens what will be asked for, while the process still may.
func (s *sockets) reserve(ctx context.Context, addresses []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = map[string]error{}
	for _, address := range addresses {
		if s.find(address) >= 0 {
			continue
		}
		l, err := s.open(ctx, "tcp", address)
		if err != nil {
			s.failed[address] = err
			continue
		}
		s.spare = append(s.spare, l)
	}
}

// settle closes what nobody asked for and returns where that listened.
func (s *sockets) settle() (unused []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.spare {
		unused = append(unused, l.Addr().String())
		_ = l.TCPListener.Close()
	}
	s.spare, s.failed = nil, nil
	return unused
}

// Close makes the socket stop listening, unless another process has it too.
func (l *socket) Close() error {
	l.set.mu.Lock()
	if i := slices.Index(l.set.inUse, l); i >= 0 {
		l.set.inUse = slices.Delete(l.set.inUse, i, i+1)
	}
	l.set.mu.Unlock()
	return l.TCPListener.Close() //nolint:wrapcheck // it names the operation and the address
}

// copies are descriptors of the sockets, for a child.
type copies struct {
	fds       []int
	addresses []string // each socket's, as the configuration writes it
}

// copy duplicates the descriptors of all sockets, those in use and those that nobody asked for yet. They exist
// only until the child has them: a listener that a reload removes must not go on listening in a copy.
func (s *sockets) copy() (c copies, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range slices.Concat(s.inUse, s.spare) {
		raw, err := l.SyscallConn()
		if err != nil {
			c.close()
			return c, fmt.Errorf("socket %v: %w", l.Addr(), err)
		}
		fd := -1
		var failed error
		err = raw.Control(func(own uintptr) { fd, failed = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
		if err = errors.Join(err, failed); err != nil {
			c.close()
			return c, fmt.Errorf("socket %v: %w", l.Addr(), err)
		}
		c.fds, c.addresses = append(c.fds, fd), append(c.addresses, l.writtenAs())
	}
	return c, nil
}

// writtenAs is what the configuration calls the socket's address.
func (l *socket) writtenAs() string {
	if l.address != "" {
		return l.address
	}
	return l.Addr().String()
}

func (c *copies) close() {
	for _, fd := range c.fds {
		_ = unix.Close(fd)
	}
	c.fds, c.addresses = nil, nil
}
