package sentinel

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
)

// upgrade relays a 101 and then bytes both ways until both sides have ended.
func (x *exchange) upgrade(u *upstream.Conn) Reason {
	x.editResponse()
	if x.counsel != nil {
		x.editByAgents()
	}
	x.closing = true
	x.reply = reply{status: x.resp.Status, phrase: x.resp.Reason, fields: x.fields, length: -1, upgrade: x.resp.Upgrade()}
	if r := x.down.respond(x.up[x.trip.Used:x.trip.N]); r != none {
		return r
	}
	keepAlive(x.c.nc)
	keepAlive(u.NetConn())
	x.c.enter(tunnelling, x.route.tunnelLimit)
	done := make(chan struct{})
	go x.tunnelUp(u, done)
	x.delivered += x.carry(x.c.nc, u.NetConn(), x.up)
	<-done
	return x.c.leave(tunnelIdle)
}

// keepAlive makes the kernel find a vanished peer, which a tunnel without an idle limit would wait for for
// ever.
func keepAlive(nc net.Conn) {
	if secured, ok := nc.(*tls.Conn); ok {
		nc = secured.NetConn()
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 10 * time.Second, Count: 3})
	}
}

// tunnelUp runs as its own goroutine: the client's bytes to the upstream, those first that came behind
// the request head.
func (x *exchange) tunnelUp(u *upstream.Conn, done chan<- struct{}) {
	defer close(done)
	defer x.p.survive("tunnel")
	early := x.in[x.r:x.w]
	x.r = x.w
	if _, err := u.NetConn().Write(early); err != nil {
		u.Wake()
		return
	}
	x.received = int64(len(early)) + x.carry(u.NetConn(), x.c.nc, x.bodyRoom()) // the log needs the head
}

// carry copies src to dst until src ends, and ends dst's direction then: both directions end on their own
// (RFC 6455 7.1.1). A side that was reset or cannot be written ends both.
func (x *exchange) carry(dst, src net.Conn, buf []byte) (total int64) {
	for {
		n, err := src.Read(buf)
		if n > 0 {
			x.c.watch.turn(tunnelling, tunnelling, x.p.sweeper.now(), x.route.tunnelLimit)
			if _, werr := dst.Write(buf[:n]); werr != nil {
				x.endTunnel()
				return total
			}
			total += int64(n)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			x.endTunnel()
			return total
		}
		if err != nil {
			// What the other direction still has to say it must say soon.
			x.c.watch.turn(tunnelling, tunnelling, x.p.sweeper.now(), min(x.route.tunnelLimit, x.route.readLimit))
			if half, ok := dst.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
			return total
		}
	}
}

// endTunnel ends both directions.
func (x *exchange) endTunnel() {
	x.c.kill()
	x.c.peer.Wake()
}
