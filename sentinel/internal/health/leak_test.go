package health

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// target is somebody to probe, in whatever state.
type target struct {
	name    string
	kind    string
	address string
	secure  *tls.Config
	hangs   bool
}

// allSorts returns targets that serve, fail, hang and flood, for every type of probe.
func allSorts(t *testing.T) (targets []target) {
	t.Helper()
	good, trusting := identity(t, certificate{})
	named, _ := identity(t, certificate{name: "b.test"})
	for _, h := range hostileTargets() {
		targets = append(targets, target{name: h.name, kind: "http", address: serve(t, h.script)})
	}
	return append(targets,
		target{"served", "http", serve(t, answering(okAnswer)), nil, false},
		target{"served over TLS", "http", serve(t, secureWith(good, answering(okAnswer))), trusting, false},
		target{"wrong certificate", "http", serve(t, secureWith(named, answering(okAnswer))), trusting, false},
		target{"refused", "http", closedPort(t), nil, false},
		target{"silent", "http", serve(t, silent), nil, true},
		target{"silent over TLS", "http", serve(t, silent), trusting, true},
		target{"served", "tcp", serve(t, silent), nil, false},
		target{"refused", "tcp", closedPort(t), nil, false},
		target{"served", "grpc", serveGRPC(t, nil, serving), nil, false},
		target{"served over TLS", "grpc", serveGRPC(t, good, serving), trusting, false},
		target{"wrong certificate", "grpc", serveGRPC(t, named, serving), trusting, false},
		target{"refused", "grpc", closedPort(t), nil, false},
		target{"garbage", "grpc", serve(t, answering(okAnswer)), nil, false},
		target{"silent", "grpc", serve(t, silent), nil, true},
		target{"silent over TLS", "grpc", serve(t, silent), trusting, true},
		target{"unknown frames for ever", "grpc", serve(t, floods("", frame(99, 0, hostile))), nil, true},
	)
}

// noted is a dialler that keeps what it opened.
type noted struct {
	mu     sync.Mutex // guards opened
	opened []*counted
}

func (n *noted) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened = append(n.opened, &counted{Conn: c})
	return n.opened[len(n.opened)-1], nil
}

// TestNothingIsLeft probes all sorts of targets many times, some of the probes being cancelled midway. Each
// connection is closed when its probe returns, and in the end the process holds what it held before. It is
// not parallel, so that nobody else's resources come and go meanwhile.
func TestNothingIsLeft(t *testing.T) {
	before := held()
	t.Run("probes", func(t *testing.T) {
		for _, target := range allSorts(t) {
			rounds := 20
			if target.hangs {
				rounds = 4
			}
			for round := range rounds {
				probeOnce(t, target, round%4 == 3)
			}
		}
	})
	if !settles(before) {
		t.Error(leftBehind(before))
	}
}

// probeOnce probes the target, and cancels the probe when the connection stands if cancelled says so.
func probeOnce(t *testing.T, target target, cancelled bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n noted
	p := Probe{Type: target.kind, Address: target.address, TLS: target.secure, Timeout: patience, Dial: n.dial}
	if target.hangs {
		p.Timeout = brief
	}
	if cancelled {
		p.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			defer cancel()
			return n.dial(ctx, network, address)
		}
	}
	err := p.Do(ctx)
	if served := strings.HasPrefix(target.name, "served"); served && err != nil && !cancelled {
		t.Errorf("%s %s: %v", target.kind, target.name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.opened) > 1 {
		t.Errorf("%s %s: %d connections for one probe", target.kind, target.name, len(n.opened))
	}
	for _, c := range n.opened {
		if c.closed.Load() == 0 {
			t.Errorf("%s %s: the connection is open after the probe", target.kind, target.name)
		}
	}
}

// TestClosedOnce shows that a probe which ends by itself leaves no second closing to its context, which
// would be a goroutine after Do.
func TestClosedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []string{"http", "tcp"} {
			dial, _, stop := inMemory(answering(okAnswer))
			var near *counted
			p := Probe{Type: kind, Address: "a.test:80", Timeout: patience}
			p.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := dial(ctx, network, address)
				near = &counted{Conn: c}
				return near, err
			}
			expect(t, p.Do(t.Context()), "")
			synctest.Wait()
			if n := near.closed.Load(); n != 1 {
				t.Errorf("%s: closed %d times", kind, n)
			}
			stop()
		}
	})
}
