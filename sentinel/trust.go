package sentinel

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// trust is a set of addresses: the proxies in front of a listener, whose word on their clients is believed.
// It is sorted, and no two ranges touch the same address.
type trust []addrRange

type addrRange struct{ from, to netip.Addr }

// compileTrust makes a set of networks, which may overlap.
func compileTrust(networks []netip.Prefix) (t trust) {
	for _, p := range networks {
		t = append(t, addrRange{p.Masked().Addr(), lastAddr(p)})
	}
	slices.SortFunc(t, func(a, b addrRange) int { return a.from.Compare(b.from) })
	merged := t[:0]
	for _, r := range t {
		if n := len(merged); n > 0 && r.from.Compare(merged[n-1].to) <= 0 {
			if r.to.Compare(merged[n-1].to) > 0 {
				merged[n-1].to = r.to
			}
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// lastAddr is the highest address of a network.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// has reports whether an address is in the set. A zone, which belongs to this machine, does not matter.
func (t trust) has(a netip.Addr) bool {
	if len(t) == 0 {
		return false
	}
	a = a.WithZone("")
	i, exact := slices.BinarySearchFunc(t, a, func(r addrRange, a netip.Addr) int { return r.from.Compare(a) })
	return exact || i > 0 && a.Compare(t[i-1].to) <= 0
}

// maxHops bounds how many proxies there may be between a client and us. Beyond it the last one that was
// looked at counts as the client.
const maxHops = 16

// findClient settles who the client is. If the connection's peer is a trusted proxy, X-Forwarded-For is
// read from its end, where the nearest proxy wrote, as long as the hop that wrote an element is trusted: the
// first address that is not is the client, since what it says of others is only its word. An element that
// is no address ends the walk at the hop before it.
func (x *exchange) findClient() {
	if !x.c.trusted {
		return
	}
	for i := len(x.req.Fields) - 1; i >= 0; i-- {
		if f := &x.req.Fields[i]; f.ID == wire.XForwarded && wire.EqualName(f.Name, forwardedFor) && !x.followHops(f.Value) {
			return
		}
	}
}

const forwardedFor = "x-forwarded-for"

// followHops walks one line of X-Forwarded-For and reports whether the walk may go on.
func (x *exchange) followHops(list []byte) (on bool) {
	for len(list) > 0 {
		i := bytes.LastIndexByte(list, ',')
		element := bytes.Trim(list[i+1:], " \t")
		list = list[:max(i, 0)]
		if len(element) == 0 { // RFC 9110 5.6.1.2
			continue
		}
		hop, ok := wire.ParseHop(element)
		if !ok {
			return false
		}
		x.hops[x.hopCount] = hop
		x.hopCount++
		if x.hopCount == maxHops || !x.c.l.trust.has(hop) {
			return false
		}
	}
	return true
}

// clientAddr is the client that is served: whom limits count, logs name and balancers place.
func (x *exchange) clientAddr() netip.Addr {
	if x.hopCount > 0 {
		return x.hops[x.hopCount-1]
	}
	return x.c.client.Addr()
}

// clientAddrPort is the client with its port, which is 0 when a proxy named the client.
func (x *exchange) clientAddrPort() netip.AddrPort {
	if x.hopCount > 0 {
		return netip.AddrPortFrom(x.clientAddr(), 0)
	}
	return x.c.client
}

// forwardedFor is the X-Forwarded-For that the upstream gets: the client, the trusted hops behind it, the
// peer. Whichever end an upstream reads, nothing in it is a stranger's word.
func (x *exchange) forwardedFor() []byte {
	if x.hopCount == 0 {
		return x.c.clientIP
	}
	x.chain = x.chain[:0]
	for i := x.hopCount - 1; i >= 0; i-- {
		x.chain = append(x.hops[i].AppendTo(x.chain), ", "...)
	}
	x.chain = append(x.chain, x.c.clientIP...)
	return x.chain
}

// forwardedProto is the scheme that the client used, as far as known.
func (x *exchange) forwardedProto() []byte {
	if v := x.vouchedOnce("x-forwarded-proto"); wire.EqualName(v, "http") || wire.EqualName(v, "https") {
		return v
	}
	return x.c.l.scheme
}

// forwardedHost is the authority that the client asked for, as far as known.
func (x *exchange) forwardedHost() []byte {
	if v := x.vouchedOnce("x-forwarded-host"); wire.ValidAuthority(v) {
		return v
	}
	return x.req.Authority
}

// vouchedOnce returns the value of a field that a trusted peer sent exactly once, else nil.
func (x *exchange) vouchedOnce(name string) (value []byte) {
	if !x.c.trusted {
		return nil
	}
	for i := range x.req.Fields {
		if f := &x.req.Fields[i]; f.ID == wire.XForwarded && wire.EqualName(f.Name, name) {
			if value != nil {
				return nil
			}
			value = f.Value
		}
	}
	return value
}

// vouched reports a field about the client's identity that goes on as it is because a trusted peer sent it.
// Those that are written anew are not among them, nor is Forwarded: two lists that say who the client is
// soon disagree, and only one of them is checked.
func (x *exchange) vouched(f *wire.Field) bool {
	switch {
	case !x.c.trusted:
		return false
	case f.ID == wire.XForwarded:
		return !isWrittenAnew(f.Name)
	}
	return f.ID == wire.XIdentity
}

func isWrittenAnew(name []byte) bool {
	return wire.EqualName(name, forwardedFor) || wire.EqualName(name, "x-forwarded-proto") ||
		wire.EqualName(name, "x-forwarded-host") || wire.EqualName(name, "x-forwarded-by")
}
