package limit

import (
	"net/netip"
	"sync"
)

// Client returns the address that stands for a client: an IPv6 host has a network of 2^64 addresses to choose
// from, so it is that network.
func Client(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	network, err := a.Prefix(64)
	if err != nil {
		return a // an IPv6 address has a prefix of 64 bits
	}
	return network.Addr()
}

// Clients counts what is under way for each client. It is as large as the number of clients with something
// under way, and its memory goes with the last of them. The zero value is empty; its methods are safe for
// concurrent use.
type Clients struct {
	mu sync.Mutex // guards n
	n  map[netip.Addr]int
}

// Enter adds one for a client unless there are most already; then Leave must follow.
func (c *Clients) Enter(who netip.Addr, most int) bool {
	who = Client(who)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[who] >= most {
		return false
	}
	if c.n == nil {
		c.n = map[netip.Addr]int{}
	}
	c.n[who]++
	return true
}

// Leave takes one away.
func (c *Clients) Leave(who netip.Addr) {
	who = Client(who)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[who]--; c.n[who] > 0 {
		return
	}
	delete(c.n, who)
	if len(c.n) == 0 {
		c.n = nil
	}
}

// Len returns the number of clients with something under way.
func (c *Clients) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.n)
}
