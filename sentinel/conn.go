package sentinel

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// waker ends another party's pending reads and writes.
type waker interface{ Wake() }

// conn is one client's HTTP/1.1 connection. One goroutine owns it; the sweeper reads watch, upload and fd,
// and, having ended a wait, peer.
type conn struct {
	watch  watch // what the owner waits for
	upload watch // what its upload goroutine waits for, if there is one
	place  int   // in the sweeper's list
	// The sweeper's: what was queued for the client when the write that it blocks began.
	stalled struct {
		noted  bool
		since  tick
		queued int
	}
	fd    int   // -1: nothing to poll
	peer  waker // what the owner waits for: an upstream connection, a dial, an agent
	sink  waker // the upstream connection that a request body is written to
	asked waker // the agent that the upload's goroutine waits for

	p         *Proxy
	socket    *socket
	l         *listener // of the snapshot that seen names
	seen      uint64    // generation of the snapshot that l is from; 0: not looked at yet
	scheme    []byte
	announced bool                       // it began with a PROXY protocol header, as the listener wanted then
	unnamed   bool                       // by which nobody was named
	serving   atomic.Pointer[boundRoute] // what the exchange under way uses; nil: none. Who retires routes reads it
	nc        net.Conn                   // the TCP connection, or TLS on it
	raw       syscall.RawConn            // nil: read through nc
	client    netip.AddrPort
	clientIP  []byte // client's address in text
	trusted   bool   // client is a trusted proxy: what its requests say of their client is believed
	// accounted is the client on whose account the connection is; invalid: on nobody's.
	accounted netip.Addr
	x         *exchange // nil between requests
	begun     []byte    // of a head that has begun, while the connection is parked without x
	turn      turn
	requests  int
	inHead    bool    // a head has begun and its deadline runs
	aborted   bool    // end with a reset: it shows the client that its answer is not whole, and keeps nothing for it
	lingers   bool    // the client may still be sending: read on for a while before closing
	drained   bool    // the last read got all there was: the next one would fail
	first     [1]byte // where a parked connection without RawConn reads into
}

// turn is what a connection does next.
type turn uint8

const (
	more    turn = iota // wait for more bytes
	outside             // serve a parsed request whose body must be read, which the read callback cannot
	over                // close
)

func newConn(p *Proxy, l *listener, nc net.Conn) *conn {
	c := &conn{p: p, socket: l.socket, l: l, scheme: l.scheme, announced: l.announced, nc: nc, fd: -1}
	if tcp, ok := nc.(*net.TCPConn); ok {
		c.know(tcp.RemoteAddr().(*net.TCPAddr).AddrPort())
		if raw, err := tcp.SyscallConn(); err == nil {
			c.raw = raw
			_ = raw.Control(func(fd uintptr) { c.fd = int(fd) })
		}
	}
	if l.tls != nil {
		c.nc, c.raw = tls.Server(nc, l.tls), nil
	}
	return c
}

// serve runs the connection to its end.
func (c *conn) serve() {
	c.p.sweeper.add(c)
	defer c.close()
	defer c.p.survive("connection")
	switch {
	case !c.introduce(): // behind it, client is whom the connection is for
	case !c.admitted():
	case !c.handshake():
	case c.raw == nil:
		c.servePlain()
	default:
		c.serveRaw()
	}
}

// serveRaw spends the connection's life inside one RawConn.Read where it can: the wait is armed once, so
// no edge is lost, and no read fails for want of data. Only a request whose body has still to be read
// leaves the callback, since a read of a descriptor inside its own read callback deadlocks.
func (c *conn) serveRaw() {
	onReadable := c.onReadable
	for {
		c.turn = over
		_ = c.raw.Read(onReadable) // an error is the sweeper's wake-up; ended looks at its mark
		if c.turn != outside {
			c.ended()
			return
		}
		if !c.x.serve() {
			return
		}
		c.drained = false // the wait is armed anew: what came meanwhile has to be read
	}
}

// onReadable serves what is buffered and reads on; false parks the connection until more arrives.
func (c *conn) onReadable(fd uintptr) (finished bool) {
	for {
		if c.turn = c.advance(true); c.turn != more {
			return true
		}
		if c.drained && !c.inHead {
			return c.wait()
		}
		if c.x == nil {
			c.resume()
		}
		room := c.x.room()
		n, err := unix.Read(int(fd), room)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return c.wait()
		case err != nil || n == 0:
			c.turn = over
			return true
		}
		c.x.w += n
		c.drained = n < len(room)
	}
}

// wait parks the connection in its read callback.
func (c *conn) wait() (finished bool) {
	c.drained, c.turn = false, over // what a wake-up by the sweeper finds
	c.stow()
	c.park()
	return false
}

// stowMost is the longest part of a head that is stowed. A longer one stays where it is: to parse it anew for
// each byte of a slow client would cost more than its buffers.
const stowMost = 4 << 10

// stow keeps just the bytes of a head that has begun, so that a client that sends it slowly does not hold an
// exchange's buffers, which are a thousand times what it has sent.
func (c *conn) stow() {
	if x := c.x; c.inHead && x != nil && x.w-x.r <= stowMost {
		c.begun = append([]byte(nil), x.in[x.r:x.w]...)
		c.p.exchanges.give(x)
		c.x = nil
	}
}

// resume takes an exchange, with what was stowed.
func (c *conn) resume() {
	c.x = c.p.exchanges.take(c)
	c.x.w = copy(c.x.in, c.begun)
	c.begun = nil
}

// servePlain is the same loop over ordinary reads, for TLS and for connections without a descriptor.
func (c *conn) servePlain() {
	for {
		if c.advance(false) != more {
			return
		}
		c.park()
		if !c.readPlain() {
			c.ended()
			return
		}
	}
}

func (c *conn) readPlain() bool {
	if c.x != nil {
		n, err := c.nc.Read(c.x.room())
		c.x.w += n
		return n > 0 || err == nil
	}
	n, err := c.nc.Read(c.first[:]) // a parked connection holds no buffer
	if n == 0 {
		return err == nil
	}
	c.x = c.p.exchanges.take(c)
	c.x.in[0], c.x.w = c.first[0], 1
	return true
}

// advance serves every complete request in the buffer. inside says that the caller is the read callback.
func (c *conn) advance(inside bool) turn {
	x := c.x
	for x != nil && x.r < x.w {
		n, fault := x.req.Parse(x.in[x.r:x.w], &x.snap.heads)
		if fault != wire.None {
			x.malformed(faultReasons[fault])
			return over
		}
		if n == 0 {
			if !x.makeRoom() {
				x.malformed(headerTooLarge)
				return over
			}
			if !c.inHead { // its deadline runs from its first byte, however slowly the rest comes
				c.inHead = true
				c.enter(readingHead, c.l.headTimeout)
			}
			return more
		}
		x.r += n
		c.inHead = false
		if inside && x.readsOn() {
			return outside
		}
		if !x.serve() {
			return over
		}
	}
	return more
}

// park begins the wait for the next request, unless a head has begun. A parked connection holds no buffer.
func (c *conn) park() {
	if c.inHead {
		return
	}
	if c.x != nil {
		c.p.exchanges.give(c.x)
		c.x = nil
	}
	limit := c.l.keepAlive
	if c.requests == 0 {
		limit = c.l.headTimeout // a connection that never sends anything is not kept for longer
	}
	c.enter(idle, limit)
	if c.p.leaving.Load() || c.dropped() { // after enter: a drain itself wakes whom it finds idle
		c.Wake()
	}
}

// ending reports whether the connection has to end after the exchange under way: the proxy drains, or its listener
// has left.
func (c *conn) ending() bool { return c.p.draining.Load() || c.dropped() }

// dropped reports whether the connection's listener has left the configuration, or expects connections to begin in
// another way now: with TLS, or with a PROXY protocol header.
func (c *conn) dropped() bool {
	return c.socket.leaving() || !bytes.Equal(c.scheme, c.l.scheme) || c.announced != c.l.announced
}

// follow returns the snapshot for the connection's next exchange, and takes over what it says of the listener. When
// that is gone the last one that had it serves what still comes.
func (c *conn) follow() *snapshot {
	s := c.p.snapshot.Load()
	if s.generation == c.seen {
		return s
	}
	l := s.listeners[c.l.key]
	if l == nil || l.socket != c.socket {
		s = c.socket.last.Load()
		l = s.listeners[c.l.key]
	}
	c.l, c.seen = l, s.generation
	c.trusted = !c.unnamed && l.trust.has(c.client.Addr())
	return s
}

// enter begins a wait and reports whether the sweeper had ended the one before.
func (c *conn) enter(p phase, limit tick) (mark phase) {
	if mark = c.watch.enter(p, c.p.sweeper.now(), limit); mark != busy {
		c.p.sweeper.settle()
	}
	return mark
}

// awake ends the wait for a request: its whole head is there. Who ended that wait in this very moment, or a drain that
// found the connection parked, has left a read deadline that would cut the request's body. At the end of a drain that
// is meant.
func (c *conn) awake() {
	mark := c.enter(busy, never)
	if mark == expired || mark == gone || mark == busy && c.ending() {
		_ = c.nc.SetReadDeadline(time.Time{})
	}
}

// leave ends a wait. It returns none, or why the sweeper ended it before: onExpiry at its deadline. A client
// that stopped reading gets a reset: a FIN would wait behind what it does not take, and the system would
// hold all of that for minutes.
func (c *conn) leave(onExpiry Reason) Reason {
	r := c.why(verdict(c.enter(busy, never), onExpiry))
	c.aborted = c.aborted || r == clientStalled
	return r
}

// leaveUpload is leave for the upload goroutine's wait.
func (c *conn) leaveUpload(onExpiry Reason) Reason {
	mark := c.upload.enter(busy, c.p.sweeper.now(), never)
	if mark != busy {
		c.p.sweeper.settle()
	}
	return c.why(verdict(mark, onExpiry))
}

// endQuestion ends what the upload's goroutine waits for if that is an agent.
func (c *conn) endQuestion() {
	word := c.upload.word.Load()
	if p, _, _ := unpack(word); p == asking && c.upload.end(word, killed) {
		c.asked.Wake()
	}
}

// verdict is the Reason a mark stands for.
func verdict(mark phase, onExpiry Reason) Reason {
	switch mark {
	case expired:
		return onExpiry
	case gone:
		return clientGone
	case killed:
		return shuttingDown
	}
	return none
}

// why tells a wait that the end of the proxy cut from one that a reload did.
func (c *conn) why(r Reason) Reason {
	if r == shuttingDown && !c.p.draining.Load() {
		return reloadDrained
	}
	return r
}

// ended answers a head that did not become complete; a connection that ends between requests needs no
// answer.
func (c *conn) ended() {
	r := c.leave(headTimeout)
	if c.inHead && c.x == nil {
		c.resume()
		_, _ = c.x.req.Parse(c.x.in[:c.x.w], &c.x.snap.heads) // once more, for what the log says of it
	}
	switch {
	case !c.inHead:
	case r == headTimeout:
		c.x.malformed(r)
	default:
		c.x.abandoned()
	}
}

// takes tells, of a write that began to wait at since, whether the client still takes bytes: the kernel
// lets a writer go on only when a third of its queue is free, which a slow client may need longer for
// than the idle limit. The first call notes the queue, the one at the deadline compares.
func (c *conn) takes(since tick, late bool) bool {
	noted := c.stalled.noted && c.stalled.since == since
	if noted && !late || c.fd < 0 {
		return false
	}
	queued, err := unix.IoctlGetInt(c.fd, unix.SIOCOUTQ)
	moving := noted && err == nil && queued < c.stalled.queued
	c.stalled.noted, c.stalled.since, c.stalled.queued = true, since, queued
	return moving
}

// wake ends the wait that the sweeper has just marked.
func (c *conn) wake(p phase) {
	past := time.Unix(1, 0)
	switch p {
	case connecting, duringUpload, awaitingHead, readingAnswer:
		c.peer.Wake()
	case writingUp:
		c.sink.Wake()
	case asking:
		c.asked.Wake()
	case writingDown:
		_ = c.nc.SetWriteDeadline(past)
	case handshaking:
		_ = c.nc.SetDeadline(past)
	case tunnelling:
		c.peer.Wake()
		_ = c.nc.SetDeadline(past)
	default:
		_ = c.nc.SetReadDeadline(past)
	}
}

// kill ends the connection from outside, at shutdown.
func (c *conn) kill() { _ = c.nc.SetDeadline(time.Unix(1, 0)) }

// Wake makes the connection's pending and later reads fail.
func (c *conn) Wake() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

func (c *conn) close() {
	if c.lingers && !c.aborted {
		c.linger()
	}
	if c.x != nil {
		c.p.exchanges.give(c.x)
		c.x = nil
	}
	c.p.sweeper.remove(c)
	if c.aborted {
		c.reset()
	}
	_ = c.nc.Close()
	c.closeAccount()
	c.p.closed()
}

// handshake completes TLS within the head timeout; without TLS there is nothing to do.
func (c *conn) handshake() bool {
	secured, ok := c.nc.(*tls.Conn)
	if !ok {
		return true
	}
	c.enter(handshaking, c.l.headTimeout)
	start := time.Now()
	if err := secured.Handshake(); err != nil { //nolint:noctx // the sweeper's deadline bounds it
		c.p.remark(slog.LevelDebug, "tls handshake failed", slog.String("listener", c.l.id), slog.String("client", c.client.Addr().String()), slog.String("error", err.Error()))
		return false
	}
	c.p.metrics.TLSHandshake(secured.ConnectionState().Version, time.Since(start))
	return true
}

// secured names the connection's TLS version and cipher suite; both empty without TLS.
func (c *conn) secured() (version, cipher string) {
	secured, ok := c.nc.(*tls.Conn)
	if !ok {
		return "", ""
	}
	state := secured.ConnectionState()
	return tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite)
}

// lingerTime and lingerBytes bound how long and how much an ending connection is still read, so that
// bytes the client has on the way do not reset its answer away (RFC 9112 9.6).
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 256 << 10
)

// linger closes the sending side and reads what still comes, within bounds.
func (c *conn) linger() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Time{})
	c.enter(lingering, ticks(lingerTime))
	buf := c.x.in
	for total := 0; total < lingerBytes; {
		n, err := c.nc.Read(buf)
		if err != nil {
			return
		}
		total += n
	}
}
