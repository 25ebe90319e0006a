package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	socketMode  = 0o660
	staleWithin = time.Second // for a socket to say whether anybody serves it
)

// ListenUnix listens on a path with mode 0660, after removing a socket that nobody serves any more. It fails
// when the path is anything but a socket, and when somebody answers there. Closing the listener removes the
// socket. Paths of more than 107 bytes are too long.
func ListenUnix(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := bind(path)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil { // gives back what the umask took
		return nil, errors.Join(fmt.Errorf("agent: %w", err), l.Close())
	}
	return l, nil
}

// bind listens on a path. Whoever may write to the socket may connect, and listening begins before a chmod
// of the path could come. So the mode is set before: the kernel gives a new socket file the mode of the
// descriptor, less the umask. It is never wider than 0660, and no other thread's umask is touched.
func bind(path string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var chmod error
		err := raw.Control(func(fd uintptr) { chmod = syscall.Fchmod(int(fd), socketMode) })
		return errors.Join(err, chmod)
	}}
	return config.Listen(context.Background(), "unix", path)
}

// removeStale removes a socket that refuses connections: its process is gone.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("agent: %w", err)
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("agent: %s exists and is no socket", path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), staleWithin)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("agent: %s is served by somebody else", path), c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("agent: cannot tell whether anybody serves %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("agent: a stale socket stays: %w", err)
	}
	return nil
}
