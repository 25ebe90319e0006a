package limit

import (
	"net/netip"
	"sync"
	"testing"
)

func TestClient(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"192.0.2.7":           "192.0.2.7",
		"::ffff:192.0.2.7":    "192.0.2.7",
		"2001:db8:1:2:3::4":   "2001:db8:1:2::",
		"2001:db8:1:2:ffff::": "2001:db8:1:2::",
		"fe80::1%eth0":        "fe80::",
		"::1":                 "::",
	} {
		if got := Client(netip.MustParseAddr(text)); got != netip.MustParseAddr(want) {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	if Client(netip.Addr{}).IsValid() {
		t.Error("no address is an address")
	}
}

func TestClients(t *testing.T) {
	t.Parallel()
	var c Clients
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	if !c.Enter(a, 2) || !c.Enter(netip.MustParseAddr("::ffff:192.0.2.1"), 2) || c.Enter(a, 2) {
		t.Error("not two of a client get in")
	}
	if !c.Enter(b, 1) || c.Enter(netip.MustParseAddr("2001:db8::ffff"), 1) {
		t.Error("another client's account is not its own, or a network of IPv6 has two")
	}
	if !c.Enter(a, 3) || c.Len() != 2 {
		t.Error("the bound is not that of the call")
	}
	for range 3 {
		c.Leave(a)
	}
	c.Leave(b)
	if c.Len() != 0 || c.n != nil {
		t.Errorf("%d clients are left", c.Len())
	}
}

// TestClientsTogether holds that accounts balance under concurrency.
func TestClientsTogether(t *testing.T) {
	t.Parallel()
	var c Clients
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			who := netip.AddrFrom4([4]byte{10, 0, 0, byte(w % 3)})
			for range 2000 {
				if c.Enter(who, 2) {
					c.Leave(who)
				}
			}
		})
	}
	all.Wait()
	if c.Len() != 0 {
		t.Errorf("%d clients are left", c.Len())
	}
}
