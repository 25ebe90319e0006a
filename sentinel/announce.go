package sentinel

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/proxyproto"
)

// introduce settles whose connection it is. With proxy-protocol the peer is a load balancer, which says so
// in a header before anything else, TLS included; without that header nothing of the connection is
// believed.
func (c *conn) introduce() bool {
	if !c.l.announced {
		c.trusted = c.l.trust.has(c.client.Addr())
		return true
	}
	if len(c.l.trust) > 0 && !c.l.trust.has(c.client.Addr()) {
		c.unannounced("the peer is not in trusted-proxies")
		return false
	}
	h, problem := c.readAnnouncement()
	if problem != "" {
		c.unannounced(problem)
		return false
	}
	if h.Size == 0 {
		return false
	}
	// Trust is for whom the header names: the balancer passes on what clients send, spoofed fields too. When
	// it names nobody, nobody is trusted.
	if c.unnamed = !h.Source.IsValid(); !c.unnamed {
		c.know(h.Source)
		c.trusted = c.l.trust.has(c.client.Addr())
	}
	return true
}

// know sets the client's address.
func (c *conn) know(client netip.AddrPort) {
	c.client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	c.clientIP = c.client.Addr().AppendTo(nil)
}

// unannounced records a connection that is closed for want of a valid PROXY protocol header.
func (c *conn) unannounced(problem string) {
	c.p.metrics.Blocked(proxyProtocol.String())
	c.l.warnRefused(slog.String("reason", proxyProtocol.String()), slog.String("peer", c.client.Addr().String()), slog.String("problem", problem))
}

// problems are what a header can suffer from.
var problems = map[proxyproto.Verdict]string{
	proxyproto.Missing: "no header", proxyproto.Malformed: "malformed header", proxyproto.TooLong: "header over 4096 bytes",
}

// readAnnouncement reads the header and not a byte more. A connection that ends or stays silent before the
// first byte has neither header nor problem, as one without proxy-protocol would not: that is how health
// checks and scanners look.
func (c *conn) readAnnouncement() (h proxyproto.Header, problem string) {
	var buf [proxyproto.MaxHead]byte
	nc, have := c.beneath(), 0
	c.park() // until the first byte it is an idle connection, which a drain may end
	for {
		h, next, v := proxyproto.Parse(buf[:have])
		switch {
		case v == proxyproto.Complete:
			return h, c.skipTLVs(nc, buf[:], h.Size-have)
		case v != proxyproto.Incomplete:
			return h, problems[v]
		}
		n, err := nc.Read(buf[have : have+next])
		if n > 0 && have == 0 {
			c.enter(handshaking, c.l.headTimeout)
		}
		if have += n; err != nil && have > 0 {
			return h, "incomplete header"
		} else if err != nil {
			return h, ""
		}
	}
}

// skipTLVs reads what else belongs to the header; nobody asks for it.
func (c *conn) skipTLVs(nc net.Conn, buf []byte, left int) (problem string) {
	for left > 0 {
		n, err := nc.Read(buf[:min(left, len(buf))])
		if left -= n; err != nil && left > 0 {
			return "incomplete header"
		}
	}
	return ""
}

// beneath is the connection without TLS.
func (c *conn) beneath() net.Conn {
	if secured, ok := c.nc.(*tls.Conn); ok {
		return secured.NetConn()
	}
	return c.nc
}
