package sentinel

import (
	"errors"
	"log/slog"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

// ErrReplaced is the cause of the end of Run's context when another process has taken the sockets over.
var ErrReplaced = errors.New("another process has taken over")

// farewellTime is how long a replaced proxy waits for one more request on connections that are idle: the answer
// tells the client to open another one. A client that sends just as the connection is closed would lose its
// request, so a connection is closed only when it has been silent for this long.
const farewellTime = 5 * time.Second

// ProcessSettings are what a configuration asks of the process that serves it.
type ProcessSettings struct {
	Log              *slog.Logger
	Daemon           bool
	PIDFile          string // relative to the working directory; empty: none
	User, Group      string
	WorkingDirectory string            // absolute, or empty: stay
	UpgradeTimeout   time.Duration     // until a program that takes over must be ready
	StopTimeout      time.Duration     // until a drain is over, delay included
	Listeners        map[string]string // id: address
	Addresses        []string          // that will be asked of Options.Listen, in that order
}

func processSettings(c *config.Config, log *slog.Logger) ProcessSettings {
	s := ProcessSettings{
		Log: log, Daemon: c.System.Daemon, PIDFile: c.System.PIDFile, User: c.System.User, Group: c.System.Group,
		WorkingDirectory: c.System.WorkingDir, UpgradeTimeout: c.System.UpgradeTimeout,
		StopTimeout: c.System.ShutdownDelay + c.System.ShutdownTimeout, Listeners: map[string]string{},
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		s.Listeners[l.ID] = l.Address.String()
		s.Addresses = append(s.Addresses, l.Address.String())
	}
	if m := &c.Observability.Metrics; m.Enabled && !servesMetrics(c) {
		s.Addresses = append(s.Addresses, m.Address.String())
	}
	return s
}

// servesMetrics reports whether a listener has the metrics endpoint's address.
func servesMetrics(c *config.Config) bool {
	m := c.Observability.Metrics.Address
	for i := range c.Listeners {
		if c.Listeners[i].Address == m && m.Port() != 0 {
			return true
		}
	}
	return false
}

// ProcessSettings returns what the configuration asks of the process that will serve it.
func (in *Inspection) ProcessSettings() ProcessSettings {
	return processSettings(in.cfg, slog.New(slog.DiscardHandler))
}

// ProcessSettings returns what the configuration that is served asks of the process. It may be called from any
// goroutine.
func (p *Proxy) ProcessSettings() ProcessSettings {
	return processSettings(p.snapshot.Load().cfg, p.log)
}

// Pulse returns a number that grows ten times a second while the proxy's clock runs, for a watchdog.
func (p *Proxy) Pulse() uint64 { return p.sweeper.ticks.Load() }

// farewell waits for one more request on every connection, or for the end of the last one. Who asks for metrics asks
// the other process from now on.
func (p *Proxy) farewell(all <-chan struct{}) {
	if p.scrapes != nil {
		_ = p.scrapes.Close()
	}
	end := time.NewTimer(min(farewellTime, p.snapshot.Load().cfg.System.ShutdownTimeout))
	defer end.Stop()
	select {
	case <-all:
	case <-end.C:
	}
}
