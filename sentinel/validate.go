package sentinel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
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
	maxProbes     = 32 // connections tried at once
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

// validateAgents connects to each agent and says nothing: the http transport, which is not built, is left out.
func (in *Inspection) validateAgents(ctx context.Context, r *Report) {
	for i := range in.cfg.Agents {
		a := &in.cfg.Agents[i]
		switch a.Transport {
		case "unix":
			r.checkSocket(ctx, a, in.file(a.Address))
		case "grpc":
			r.connect(ctx, []probe{{what: fmt.Sprintf("agent %q: address", a.ID), network: "tcp", address: a.Address}})
		}
	}
}

func (r *Report) checkSocket(ctx context.Context, a *config.Agent, path string) {
	info, err := os.Stat(path)
	switch {
	case len(path) > maxUnixSocket:
		r.fail("agent %q: socket path %s is over %d bytes", a.ID, path, maxUnixSocket)
	case err != nil:
		r.fail("agent %q: socket %s: %v", a.ID, path, errors.Unwrap(err))
	case info.Mode()&os.ModeSocket == 0:
		r.fail("agent %q: %s is no socket", a.ID, path)
	default:
		r.connect(ctx, []probe{{what: fmt.Sprintf("agent %q: socket", a.ID), network: "unix", address: path}})
	}
}

// file is where the proxy will find a file that the configuration names.
func (in *Inspection) file(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(in.cfg.System.WorkingDir, name)
}

func (in *Inspection) validateTargets(ctx context.Context, r *Report) {
	var probes []probe
	for i := range in.cfg.Upstreams {
		u := &in.cfg.Upstreams[i]
		for _, t := range u.Targets {
			probes = append(probes, probe{what: fmt.Sprintf("upstream %q: target", u.ID), network: "tcp", address: t.Address})
		}
	}
	r.connect(ctx, probes)
}

// probe is one address to connect to.
type probe struct {
	what, network, address string // what is the address of
	err                    error
}

// connect reports what does not answer. Many are tried at once: each may take dialTimeout.
func (r *Report) connect(ctx context.Context, probes []probe) {
	places := make(chan struct{}, maxProbes)
	var all sync.WaitGroup
	for i := range probes {
		places <- struct{}{}
		all.Go(func() {
			probes[i].dial(ctx)
			<-places
		})
	}
	all.Wait()
	for i := range probes {
		r.judge(&probes[i])
	}
}

func (p *probe) dial(ctx context.Context) {
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, p.network, p.address)
	if p.err = err; err == nil {
		_ = c.Close()
	}
}

func (r *Report) judge(p *probe) {
	var timeout net.Error
	switch {
	case p.err == nil:
	case errors.Is(p.err, syscall.ECONNREFUSED):
		r.fail("%s %s refused the connection", p.what, p.address)
	case errors.As(p.err, &timeout) && timeout.Timeout():
		r.warn("%s %s did not answer within %s", p.what, p.address, dialTimeout)
	default:
		r.fail("%s %s: %v", p.what, p.address, p.err)
	}
}
