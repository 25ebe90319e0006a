package upstream

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// maxAddresses bounds how many addresses of one name are used.
const maxAddresses = 16

// names is what a target's name resolves to. The last addresses are kept when it does not resolve any
// more: a name server's bad minute is no reason to lose an upstream.
type names struct {
	known atomic.Pointer[[]netip.Addr] // sorted; nil: never resolved
	lost  atomic.Bool                  // the last look-up failed
	turn  atomic.Uint32
}

// follow resolves the targets' names again and again until ctx is done.
func (p *Pool) follow(ctx context.Context) {
	tick := time.NewTicker(p.DNSRefresh)
	defer tick.Stop()
	for {
		for _, t := range p.targets {
			if t.host != "" {
				t.refresh(ctx)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// refresh resolves the name once more and tells of what changed.
func (t *Target) refresh(ctx context.Context) {
	before := t.names.known.Load()
	bounded, cancel := context.WithTimeout(ctx, t.pool.Connect)
	defer cancel()
	now, err := t.resolve(bounded)
	switch {
	case ctx.Err() != nil: // the pool ends
	case err != nil:
		if !t.names.lost.Swap(true) {
			t.pool.tell(Event{Target: t.Address, Kind: Unresolved, Cause: "the name does not resolve"})
		}
	case t.names.lost.Swap(false) || before != nil && !slices.Equal(*before, now):
		t.pool.tell(Event{Target: t.Address, Kind: Resolved, Cause: "the name has addresses"})
		t.evict()
	}
}

// resolve looks the name up and remembers the addresses.
func (t *Target) resolve(ctx context.Context) ([]netip.Addr, error) {
	list, err := t.pool.resolver().LookupNetIP(ctx, "ip", t.host)
	if err == nil && len(list) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: t.host, IsNotFound: true}
	}
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i] = list[i].Unmap()
	}
	slices.SortFunc(list, netip.Addr.Compare)
	list = slices.Compact(list)
	list = list[:min(len(list), maxAddresses)]
	t.names.known.Store(&list)
	return list, nil
}

// dialTCP connects to the target: to its address, or to the addresses of its name, one after the other in
// turn, each with its part of the time.
func (t *Target) dialTCP(ctx context.Context, network, _ string) (net.Conn, error) {
	// A failed connect is retried on another target, so one address is tried at a time (no Happy Eyeballs).
	d := net.Dialer{FallbackDelay: -1, KeepAliveConfig: keepAlive}
	if t.host == "" {
		return d.DialContext(ctx, network, t.Address)
	}
	list, err := t.addresses(ctx)
	if err != nil {
		return nil, err
	}
	first := int(t.names.turn.Add(1))
	var nc net.Conn
	for i := range list {
		at := net.JoinHostPort(list[(first+i)%len(list)].String(), t.port)
		if nc, err = dialPart(ctx, &d, at, len(list)-i); err == nil || ctx.Err() != nil {
			return nc, err
		}
	}
	return nil, err
}

// keepAlive finds a target that vanished without a word behind a connection that waits for its answer.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4}

// dialPart dials with an equal part of the time that is left for all.
func dialPart(ctx context.Context, d *net.Dialer, address string, left int) (net.Conn, error) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	return d.DialContext(ctx, "tcp", address)
}

// addresses returns what the name resolved to last, or looks it up for the first time.
func (t *Target) addresses(ctx context.Context) ([]netip.Addr, error) {
	if known := t.names.known.Load(); known != nil {
		return *known, nil
	}
	return t.resolve(ctx)
}

// current reports whether the connection leads to an address that the name still has.
func (t *Target) current(c *Conn) bool {
	known := t.names.known.Load()
	if known == nil {
		return true
	}
	tcp, ok := c.nc.RemoteAddr().(*net.TCPAddr)
	return !ok || slices.Contains(*known, tcp.AddrPort().Addr().Unmap())
}

// evict closes the idle connections to addresses that the name no longer has; those in use are closed when
// they are given back.
func (t *Target) evict() {
	t.mu.Lock()
	gone := slices.Clone(t.idle)
	gone = slices.DeleteFunc(gone, t.current)
	t.idle = slices.DeleteFunc(t.idle, func(c *Conn) bool { return slices.Contains(gone, c) })
	t.mu.Unlock()
	for _, c := range gone {
		c.Close()
	}
}
