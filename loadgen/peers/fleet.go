package peers

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// fleet is the origin and one process per subject, all running.
type fleet struct {
	dir     string
	origin  *process
	proxies []*process
	agents  []*process // that the proxies ask
}

// startFleet starts the origin and the subjects and checks that all treat headers alike.
// With logs, access log and metrics are on.
func (b *bench) startFleet(ctx context.Context, name string, logs bool) (_ *fleet, err error) {
	dir := filepath.Join(b.dir, name)
	f := &fleet{dir: dir}
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	if f.origin, err = startOrigin(ctx, filepath.Join(dir, origin)); err != nil {
		return nil, err
	}
	if err := b.keepConfig(name, f.origin); err != nil {
		return nil, err
	}
	for _, s := range b.subjects {
		p, err := b.join(ctx, f, s, logs)
		if err != nil {
			return nil, err
		}
		if err := b.keepConfig(name, p); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// join starts a subject, with the agent it asks, and checks what it does.
func (b *bench) join(ctx context.Context, f *fleet, s subject, logs bool) (*process, error) {
	st := setup{Backend: f.origin.Listen, Dir: filepath.Join(f.dir, s.name), Connections: proxyConnections, Guarded: s.guarded}
	var asked *process
	if s.agent != nil {
		var err error
		if asked, err = s.agent.start(ctx, &st); err != nil {
			return nil, err
		}
		f.agents = append(f.agents, asked)
	}
	p, err := b.startProxy(ctx, s, st, logs)
	if err != nil {
		return nil, err
	}
	f.proxies = append(f.proxies, p)
	p.asks = asked
	if err := checkHeaders(ctx, p); err != nil {
		return nil, err
	}
	return p, checkAgent(ctx, p)
}

// startProxy fills in the addresses and the log of st and starts s with it.
func (b *bench) startProxy(ctx context.Context, s subject, st setup, logs bool) (*process, error) {
	var err error
	if st.Listen, err = freePort(ctx); err != nil {
		return nil, err
	}
	if st.Metrics, err = freePort(ctx); err != nil {
		return nil, err
	}
	if logs {
		st.AccessLog = filepath.Join(st.Dir, "access.log")
		if s.name == haproxy {
			st.AccessLog = outputFile(st) // HAProxy cannot write a file; its standard output is one
		}
	}
	return start(ctx, s, st, smallPath)
}

func startOrigin(ctx context.Context, dir string) (*process, error) {
	www := filepath.Join(dir, "www")
	if err := os.MkdirAll(www, 0o755); err != nil { //nolint:gosec // nginx's worker may be another user.
		return nil, fmt.Errorf("preparing the origin: %w", err)
	}
	large := make([]byte, 64<<10)
	for i := range large {
		large[i] = body[i%len(body)]
	}
	if err := os.WriteFile(filepath.Join(www, "64k"), large, 0o644); err != nil { //nolint:gosec // Likewise.
		return nil, fmt.Errorf("preparing the origin: %w", err)
	}
	listen, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	return start(ctx, originSubject(), setup{Listen: listen, Backend: netip.AddrPort{}, Dir: dir, Connections: proxyConnections}, smallPath)
}

func (f *fleet) stop() {
	for _, p := range f.proxies {
		p.stop()
	}
	for _, p := range f.agents {
		p.stop()
	}
	if f.origin != nil {
		f.origin.stop()
	}
}
