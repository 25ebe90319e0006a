package config

import (
	"net/netip"
	"strconv"
)

// listener reads one `listener`.
func (r *reader) listener(n *node) Listener {
	id, b := r.define(aListener, n)
	l := Listener{
		Pos: n.pos, ID: id,
		Address:              b.address("address"),
		RequestTimeout:       b.seconds("request-timeout-secs", 60, secondsMax),
		KeepAliveTimeout:     b.seconds("keepalive-timeout-secs", 75, secondsMax),
		KeepAliveMaxRequests: int(b.bound("keepalive-max-requests", positive)),
		MaxConcurrentStreams: b.integer("max-concurrent-streams", 100, positive),
		BodyIdleTimeout:      b.seconds("body-idle-timeout-secs", 30, secondsMax),
		MinBodyRate:          b.integer("min-body-rate-bytes", 240, orZero),
		DefaultRoute:         b.refer("default-route", aRoute),
		TrustedProxies:       b.networks("trusted-proxies"),
		ProxyProtocol:        b.choice("proxy-protocol", "off", oneOf("off", "require")),
	}
	if !b.written("address") {
		b.fail("address", `missing setting "address"`, "expected IP:PORT or [IPv6]:PORT")
	}
	b.claimAddress(l)
	t, hasTLS := b.block("tls")
	if hasTLS {
		l.TLS = r.listenerTLS(t)
	}
	var known bool
	l.Protocol, known = b.protocol()
	switch {
	case hasTLS && l.Protocol == "http":
		b.fail("tls", "a tls block on a listener that speaks plain http", `expected protocol "https", or no tls block`)
	case !hasTLS && known && l.Protocol != "http":
		b.fail("protocol", "protocol "+l.Protocol+" without a tls block", "expected tls { cert-file …; key-file … }")
	}
	b.unsupported("namespace")
	b.done()
	return l
}

// address reads IP:PORT. Host names are refused: what they resolve to could change under a reload.
func (b *block) address(name string) netip.AddrPort {
	v, ok := b.lookup(name)
	if !ok {
		return netip.AddrPort{}
	}
	s, _ := v.data.(string)
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		b.wrong(name, v, "expected IP:PORT or [IPv6]:PORT, such as \"0.0.0.0:8080\"; a host name is no address")
		return netip.AddrPort{}
	}
	b.note(name, kdlText(a.String()), v.source())
	return a
}

var protocols = oneOf("http", "https", "h2").refusing("h3")

// protocol reads the protocol; known is false when it is not one we speak.
func (b *block) protocol() (p string, known bool) {
	v, ok := b.lookup("protocol")
	if !ok {
		b.note("protocol", kdlText("http"), "default")
		return "http", true
	}
	p, known = b.word("protocol", v, protocols)
	b.note("protocol", kdlText(p), v.source())
	return p, known
}

// claimAddress refuses a second listener on one address. Port 0 is a new port each time.
func (b *block) claimAddress(l Listener) {
	if l.Address.Port() == 0 {
		return
	}
	if other, taken := b.r.addresses[l.Address]; taken {
		b.fail("address", "duplicate listener address "+l.Address.String(),
			"listener "+strconv.Quote(other.ID)+" at "+other.Pos.String()+" has it already")
		return
	}
	b.r.addresses[l.Address] = l
}
