package config

import (
	"net/netip"
	"strconv"
)

// networks reads a list of IP addresses and networks in CIDR form.
func (b *block) networks(name string) (list []netip.Prefix) {
	vs := b.values(name)
	if len(vs) == 0 {
		b.note(name, "#null", "default")
		return nil
	}
	var texts []string
	for _, v := range vs {
		if p, ok := b.network(name, v); ok {
			list = append(list, p)
			texts = append(texts, networkText(p))
		}
	}
	b.note(name, kdlTexts(texts), vs[0].source())
	return list
}

// network reads one address or network. What is almost one is refused with what it may mean: a network
// that is larger than its writer thought would believe strangers.
func (b *block) network(name string, v value) (p netip.Prefix, ok bool) {
	expected := `expected an IP address or a network, such as "192.0.2.7" or "10.0.0.0/8"`
	s, _ := v.data.(string)
	p, err := netip.ParsePrefix(s)
	if a, addrErr := netip.ParseAddr(s); addrErr == nil {
		if err = nil; a.Zone() != "" {
			b.wrong(name, v, "expected an address without a zone")
			return p, false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case err != nil:
		b.wrong(name, v, expected)
	case p.Addr().Is4In6():
		b.wrong(name, v, "expected IPv4 addresses in the form of IPv4")
	case p != p.Masked():
		b.wrong(name, v, "expected "+strconv.Quote(p.Masked().String())+", the network, or "+strconv.Quote(p.Addr().String())+", the one address")
	default:
		return p, true
	}
	return p, false
}

// networkText is a network as short as it can be written.
func networkText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// trust warns when whoever reaches a listener can say who its client is.
func (l *linter) trust(s *Listener, path string) {
	for _, p := range s.TrustedProxies {
		if p.Bits() == 0 {
			l.warn(s.Pos, path+".trusted-proxies", p.String()+" is everybody: each client chooses its own address", "list the proxies in front of this listener only")
		}
	}
	if s.ProxyProtocol == "require" && len(s.TrustedProxies) == 0 && !isLocal(s.Address) {
		l.warn(s.Pos, path+".proxy-protocol", "anyone who reaches "+s.Address.String()+" may say whose connection it is", "list the load balancers with trusted-proxies")
	}
}
