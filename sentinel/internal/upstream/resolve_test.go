package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// zone is a Resolver whose answer can be changed.
type zone struct {
	mu    sync.Mutex // guards the rest
	addrs []string
	err   error
	asked int
}

func (z *zone) LookupNetIP(context.Context, string, string) (list []netip.Addr, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	for _, a := range z.addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	return list, z.err
}

func (z *zone) set(err error, addrs ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.addrs, z.err = addrs, err
}

// named is a pool of one target whose name z resolves.
func named(t *testing.T, z *zone, port string, change func(*Options)) (*Pool, *Target) {
	t.Helper()
	return poolOf(t, net.JoinHostPort("origin.test", port), func(o *Options) {
		o.Resolver = z
		if change != nil {
			change(o)
		}
	})
}

// TestNewAddress shows that connections to an address that a name no longer has are not used again, idle or
// in use at that moment, and that the new address is.
func TestNewAddress(t *testing.T) {
	t.Parallel()
	address := server(t, silent)
	_, port, _ := net.SplitHostPort(address)
	z := &zone{addrs: []string{"127.0.0.1"}}
	var events []EventKind
	p, target := named(t, z, port, func(o *Options) { o.Event = func(e Event) { events = append(events, e.Kind) } })
	idle, busy := open(t, target), open(t, target)
	idle.Put()
	target.refresh(t.Context())
	expectCounts(t, p, 2, 1)
	z.set(nil, "127.0.0.2")
	target.refresh(t.Context())
	expectCounts(t, p, 1, 0)
	busy.Put()
	expectCounts(t, p, 0, 0)
	// Nothing listens on the port there: the error says where we went.
	if _, err := target.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "127.0.0.2") {
		t.Errorf("dialled %v", err)
	}
	if !slices.Equal(events, []EventKind{Resolved}) {
		t.Errorf("events %v", events)
	}
}

// TestLastGoodAddress shows that a name that stops resolving keeps its addresses, and that one that never
// did is an error of the look-up.
func TestLastGoodAddress(t *testing.T) {
	t.Parallel()
	address := server(t, silent)
	_, port, _ := net.SplitHostPort(address)
	notFound := &net.DNSError{Err: "no such host", Name: "origin.test", IsNotFound: true}
	z := &zone{err: notFound}
	var events []EventKind
	p, target := named(t, z, port, func(o *Options) { o.Event = func(e Event) { events = append(events, e.Kind) } })
	for _, err := range []error{notFound, nil} { // nil: an answer without addresses
		z.set(err)
		var dns *net.DNSError
		if _, got := target.Dial(t.Context()); !errors.As(got, &dns) {
			t.Errorf("dialled %v", got)
		}
	}
	z.set(nil, "127.0.0.1", "127.0.0.1")
	c := open(t, target)
	z.set(notFound)
	for range 3 {
		target.refresh(t.Context())
	}
	c.Put()
	expectCounts(t, p, 1, 1)
	open(t, target).Close()
	open(t, target).Close()
	z.set(nil, "127.0.0.1")
	target.refresh(t.Context())
	if !slices.Equal(events, []EventKind{Unresolved, Resolved}) {
		t.Errorf("events %v", events)
	}
}

// TestAddressesInTurn shows that the addresses of a name share the connections, and that a dead one costs
// a try.
func TestAddressesInTurn(t *testing.T) {
	t.Parallel()
	address := server(t, silent)
	_, port, _ := net.SplitHostPort(address)
	_, target := named(t, &zone{addrs: []string{"127.0.0.1", "127.0.0.3"}}, port, nil)
	for range 4 {
		c := open(t, target)
		if got := c.nc.RemoteAddr().String(); got != address {
			t.Errorf("connected to %s", got)
		}
		c.Close()
	}
}

// TestManyAddresses bounds what a name server may make us remember.
func TestManyAddresses(t *testing.T) {
	t.Parallel()
	z := &zone{}
	for i := range 500 {
		z.addrs = append(z.addrs, netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}).String())
	}
	_, target := named(t, z, "1", nil)
	if list, err := target.resolve(t.Context()); err != nil || len(list) != maxAddresses {
		t.Errorf("%d addresses, %v", len(list), err)
	}
}

// TestFollow shows that names are looked up again and again while the pool runs, and that addresses are
// not.
func TestFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		z := &zone{addrs: []string{"127.0.0.1"}}
		p, _ := named(t, z, "1", func(o *Options) {
			o.DNSRefresh = 30 * time.Second
			o.Targets = append(o.Targets, TargetOptions{Address: "127.0.0.1:2", Weight: 1}, TargetOptions{Address: "[::1]:2", Weight: 1})
		})
		p.Start()
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		z.mu.Lock()
		asked := z.asked
		z.mu.Unlock()
		if asked != 11 {
			t.Errorf("asked %d times", asked)
		}
		p.Close()
	})
}
