package sentinel

import (
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// recorder is a connection and an upstream that note what the sweeper does to them.
type recorder struct {
	net.Conn
	calls []string
}

func (r *recorder) note(what string) error { r.calls = append(r.calls, what); return nil }

func (r *recorder) SetDeadline(time.Time) error      { return r.note("both") }
func (r *recorder) SetReadDeadline(time.Time) error  { return r.note("read") }
func (r *recorder) SetWriteDeadline(time.Time) error { return r.note("write") }
func (r *recorder) Wake()                            { _ = r.note("peer") }

// other is a recorder's part that notes by another name.
type other struct {
	*recorder
	name string
}

func (o other) Wake() { _ = o.note(o.name) }

// recorded is a connection all of whose wakers note what they are.
func recorded(p *Proxy, r *recorder) *conn {
	return &conn{p: p, nc: r, fd: -1, peer: r, sink: other{r, "sink"}, asked: other{r, "asked"}}
}

// sweepable returns a proxy of nothing but a sweeper that a test ticks by hand.
func sweepable() *Proxy {
	s := newSweeper()
	s.everyTick, s.everySecond = func(time.Time) {}, func() {}
	return &Proxy{sweeper: s}
}

func sweptBy(p *Proxy) (tick func()) {
	return func() { p.sweeper.tick(time.Unix(0, 0)) }
}

// TestExpiry shows that each phase ends after its limit and not before, and what wakes its goroutine.
func TestExpiry(t *testing.T) {
	t.Parallel()
	for _, start := range []tick{0, 17, tickMask - 2, tickMask, 3 << tickBits} { // the clock wraps in the midst
		for p, want := range map[phase][]string{
			idle: {"read"}, readingHead: {"read"}, readingBody: {"read"}, lingering: {"read"},
			connecting: {"peer"}, duringUpload: {"peer"}, awaitingHead: {"peer"}, readingAnswer: {"peer"}, writingUp: {"sink"}, asking: {"asked"},
			writingDown: {"write"}, handshaking: {"both"}, tunnelling: {"peer", "both"},
			busy: nil,
		} {
			proxy := sweepable()
			proxy.sweeper.ticks.Store(uint64(start))
			r := &recorder{}
			c := recorded(proxy, r)
			proxy.sweeper.add(c)
			next := sweptBy(proxy)
			c.enter(p, 3)
			for range 3 {
				next()
			}
			if len(r.calls) > 0 {
				t.Errorf("from %d, phase %d: %q before its limit", start, p, r.calls)
			}
			next()
			if !slices.Equal(r.calls, want) {
				t.Errorf("from %d, phase %d: %q, want %q", start, p, r.calls, want)
			}
			if mark := c.enter(busy, never); (mark == expired) != (p != busy) {
				t.Errorf("from %d, phase %d: mark %d", start, p, mark)
			}
			next()
			if !slices.Equal(r.calls, want) {
				t.Errorf("from %d, phase %d: woken again: %q", start, p, r.calls)
			}
		}
	}
}

// TestNeverExpires shows that the longest wait outlives any limit, also over the clock's end.
func TestNeverExpires(t *testing.T) {
	t.Parallel()
	proxy := sweepable()
	r := &recorder{}
	c := recorded(proxy, r)
	proxy.sweeper.add(c)
	proxy.sweeper.ticks.Store(tickMask - 1)
	c.enter(tunnelling, never)
	proxy.sweeper.ticks.Add(uint64(never) - 1)
	sweptBy(proxy)()
	if len(r.calls) > 0 {
		t.Errorf("woken: %q", r.calls)
	}
}

// socketPair returns the two ends of a TCP connection over loopback.
func socketPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nl.Close() }()
	c, err := net.Dial("tcp", nl.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

var departures = map[string]func(*net.TCPConn){
	"close":      func(c *net.TCPConn) { _ = c.Close() },
	"reset":      func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	"half-close": func(c *net.TCPConn) { _ = c.CloseWrite() },
	"pipelined bytes, then close": func(c *net.TCPConn) {
		_, _ = c.Write([]byte("GET / HTTP/1.1\r\n"))
		_ = c.Close()
	},
}

// TestGone shows in which phases a client that left is noticed, and when: at the next tick while an
// upstream is waited for, within a second when the connection is parked.
func TestGone(t *testing.T) {
	t.Parallel()
	for how, leave := range departures {
		for p, within := range map[phase]int{
			awaitingHead: 2, readingAnswer: 2, connecting: 2, idle: idlePoll, readingHead: idlePoll,
			busy: 0, duringUpload: 0, readingBody: 0, writingDown: 0, tunnelling: 0, lingering: 0,
		} {
			client, server := socketPair(t)
			proxy := sweepable()
			c := newConn(proxy, &listener{p: proxy, socket: &socket{}}, server)
			r := &recorder{}
			c.nc, c.peer = r, r
			proxy.sweeper.add(c)
			next := sweptBy(proxy)
			c.enter(p, never)
			for range 3 * idlePoll {
				next()
			}
			if len(r.calls) > 0 {
				t.Fatalf("phase %d: %q while the client was there", p, r.calls)
			}
			leave(client)
			arrived(t, c.fd)
			ticks := 0
			for ; ticks < 3*idlePoll && len(r.calls) == 0; ticks++ {
				next()
			}
			mark := c.enter(busy, never)
			switch {
			case within == 0 && (mark != busy || len(r.calls) > 0):
				t.Errorf("%s, phase %d: mark %d, woken by %q", how, p, mark, r.calls)
			case within > 0 && (mark != gone || ticks > within || len(r.calls) != 1):
				t.Errorf("%s, phase %d: mark %d after %d ticks, woken by %q", how, p, mark, ticks, r.calls)
			}
		}
	}
}

// arrived waits until the end of the client's stream is at the socket.
func arrived(t *testing.T, fd int) {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	if n, err := unix.Poll(poll, 10_000); n != 1 {
		t.Fatalf("the client's end did not arrive: %v", err)
	}
}

// TestShortWaitsAreNotPolled shows that a wait of up to a tick costs no poll.
func TestShortWaitsAreNotPolled(t *testing.T) {
	t.Parallel()
	client, server := socketPair(t)
	proxy := sweepable()
	c := newConn(proxy, &listener{p: proxy, socket: &socket{}}, server)
	proxy.sweeper.add(c)
	_ = client.Close()
	arrived(t, c.fd)
	r := &recorder{}
	c.nc, c.peer = r, r
	for range 3 * idlePoll {
		c.enter(awaitingHead, never)
		sweptBy(proxy)()
		if mark := c.enter(busy, never); mark != busy || len(proxy.sweeper.poll) > 0 {
			t.Fatalf("mark %d, %d descriptors polled", mark, len(proxy.sweeper.poll))
		}
	}
}

// TestSweeperDrainAndKill shows whom the two ends of a shutdown reach.
func TestSweeperDrainAndKill(t *testing.T) {
	t.Parallel()
	proxy := sweepable()
	conns := map[phase]*recorder{}
	for p := busy; p <= handshaking; p++ {
		r := &recorder{}
		c := recorded(proxy, r)
		conns[p] = r
		proxy.sweeper.add(c)
		c.enter(p, never)
	}
	proxy.sweeper.drain(everyConn)
	for p, r := range conns {
		if woken := len(r.calls) > 0; woken != (p == idle) {
			t.Errorf("drain: phase %d: %q", p, r.calls)
		}
	}
	proxy.sweeper.kill()
	for p, r := range conns {
		if !slices.Contains(r.calls, "both") {
			t.Errorf("kill: phase %d: %q", p, r.calls)
		}
	}
}

// TestSweeperList adds and removes connections in every order.
func TestSweeperList(t *testing.T) {
	t.Parallel()
	s := newSweeper()
	var conns []*conn
	for range 5 {
		c := &conn{fd: -1}
		conns = append(conns, c)
		s.add(c)
	}
	for _, i := range []int{2, 4, 0, 1, 3} {
		s.remove(conns[i])
		for place, c := range s.conns {
			if c.place != place || c == conns[i] {
				t.Fatalf("after removing %d: connection at %d believes to be at %d", i, place, c.place)
			}
		}
	}
	if s.count(everyConn) != 0 {
		t.Errorf("%d connections are left", s.count(everyConn))
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]tick{0: 0, 1: 1, tickLength: 1, tickLength + 1: 2, time.Minute: 600} {
		if got := ticks(d); got != want {
			t.Errorf("%s is %d ticks, want %d", d, got, want)
		}
	}
}
