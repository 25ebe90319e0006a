package process

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notify tells the service manager something, sd_notify(3). Without one it does nothing; that a message is lost
// must not keep the proxy from serving.
func (h *Host) notify(states ...string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	if err := tell(name, strings.Join(states, "\n")); err != nil {
		h.log().Warn("the service manager cannot be told", "error", err.Error())
	}
}

// patience is how long a message may take: daemon.SdNotify would wait for ever for a manager that does not read.
const patience = time.Second

func tell(socket, message string) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err //nolint:wrapcheck // it names the operation and the address
	}
	defer func() { _ = c.Close() }()
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	_, err = c.Write([]byte(message))
	return err //nolint:wrapcheck // it names the operation and the address
}

// Reloading tells the service manager that a reload begins; Reloaded must follow. Nothing is said by a process that is
// ending.
func (h *Host) Reloading() {
	h.notifyUnlessEnding(daemon.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", monotonic()/1000), "STATUS=reloading")
}

// Reloaded tells the service manager that a reload is over, and how it went. From a process that is ending, "ready" would
// take back that it is.
func (h *Host) Reloaded(status string) {
	h.notifyUnlessEnding(daemon.SdNotifyReady, "STATUS="+oneLine(status))
}

func (h *Host) notifyUnlessEnding(states ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state == serving || h.state == upgrading {
		h.notify(states...)
	}
}

// monotonic is the clock that systemd compares with, in nanoseconds.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it has no reason to fail
	return t.Nano()
}

// oneLine keeps a text from becoming another state.
func oneLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// Watch feeds the service manager's watchdog until ctx is done, twice as often as it asks for, while pulse, which
// counts something's life signs, goes on. Without WATCHDOG_USEC it returns at once.
func (h *Host) Watch(ctx context.Context, pulse func() uint64) {
	within, err := daemon.SdWatchdogEnabled(false)
	if err != nil || within <= 0 {
		return
	}
	t := time.NewTicker(within / 2)
	defer t.Stop()
	last := pulse()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if now := pulse(); now != last {
			last = now
			h.notify(daemon.SdNotifyWatchdog)
		}
	}
}
