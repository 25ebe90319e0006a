package sentinel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

// ValidateOptions say what Validate leaves out.
type ValidateOptions struct {
	SkipNetwork, SkipAgents, SkipCerts bool
	Progress                           func(step string) // told before each step; nil: nobody
}

// Report is what Validate found.
type Report struct{ Errors, Warnings []string }

func (r *Report) fail(format string, args ...any) {
	r.Errors = append(r.Errors, fmt.Sprintf(format, args...))
}

func (r *Report) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

const (
	dialTimeout   = 5 * time.Second
	expiresSoon   = 30 * 24 * time.Hour
	maxUnixSocket = 107 // bytes of a Unix socket's path, unix(7)
)

// Validate looks at the world the configuration needs: certificates, agents, targets. Agents and targets are
// connected to, and sent nothing.
func (in *Inspection) Validate(ctx context.Context, o ValidateOptions) *Report {
	r := &Report{}
	for _, step := range []struct {
		name string
		skip bool
		run  func()
	}{
		{"certificates", o.SkipCerts, func() { in.validateCerts(r) }},
		{"agents", o.SkipAgents, func() { in.validateAgents(ctx, r) }},
		{"upstream connectivity", o.SkipNetwork, func() { in.validateTargets(ctx, r) }},
	} {
		if step.skip {
			continue
		}
		if o.Progress != nil {
			o.Progress(step.name)
		}
		step.run()
	}
	return r
}

func (in *Inspection) validateCerts(r *Report) {
	for i := range in.cfg.Listeners {
		l := &in.cfg.Listeners[i]
		if l.TLS == nil {
			continue
		}
		r.checkCert(l.ID, l.TLS.CertFile, l.TLS.KeyFile)
		for _, sni := range l.TLS.SNI {
			r.checkCert(l.ID, sni.CertFile, sni.KeyFile)
		}
	}
}

func (r *Report) checkCert(listener, certFile, keyFile string) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		r.fail("listener %q: certificate %s: %v", listener, certFile, err)
		return
	}
	switch left := time.Until(pair.Leaf.NotAfter); {
	case left < 0:
		r.fail("listener %q: certificate %s expired on %s", listener, certFile, pair.Leaf.NotAfter.Format(time.DateOnly))
	case left < expiresSoon:
		r.warn("listener %q: certificate %s expires on %s", listener, certFile, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
}

// validateAgents connects to each agent and says nothing: the http transport, which is not built, is left out.
func (in *Inspection) validateAgents(ctx context.Context, r *Report) {
	for i := range in.cfg.Agents {
		a := &in.cfg.Agents[i]
		switch a.Transport {
		case "unix":
			r.checkSocket(ctx, a)
		case "grpc":
			r.connect(ctx, fmt.Sprintf("agent %q: address", a.ID), "tcp", a.Address)
		}
	}
}

func (r *Report) checkSocket(ctx context.Context, a *config.Agent) {
	info, err := os.Stat(a.Address)
	switch {
	case len(a.Address) > maxUnixSocket:
		r.fail("agent %q: socket path %s is over %d bytes", a.ID, a.Address, maxUnixSocket)
	case err != nil:
		r.fail("agent %q: socket %s: %v", a.ID, a.Address, errors.Unwrap(err))
	case info.Mode()&os.ModeSocket == 0:
		r.fail("agent %q: %s is no socket", a.ID, a.Address)
	default:
		r.connect(ctx, fmt.Sprintf("agent %q: socket", a.ID), "unix", a.Address)
	}
}

func (in *Inspection) validateTargets(ctx context.Context, r *Report) {
	for i := range in.cfg.Upstreams {
		u := &in.cfg.Upstreams[i]
		for _, t := range u.Targets {
			r.connect(ctx, fmt.Sprintf("upstream %q: target", u.ID), "tcp", t.Address)
		}
	}
}

// connect reports whether something answers at an address. what names it.
func (r *Report) connect(ctx context.Context, what, network, address string) {
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, network, address)
	var timeout net.Error
	switch {
	case err == nil:
		_ = c.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		r.fail("%s %s refused the connection", what, address)
	case errors.As(err, &timeout) && timeout.Timeout():
		r.warn("%s %s did not answer within %s", what, address, dialTimeout)
	default:
		r.fail("%s %s: %v", what, address, err)
	}
}
