package sentinel

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tickLength is how coarse deadlines of connections and transfers are.
	tickLength = 100 * time.Millisecond
	// idlePoll is how often parked connections are asked whether their client left. A FIN that came in
	// one segment with the last request raises no event of its own.
	idlePoll = 10
)

// ticks converts a duration, rounded up.
func ticks(d time.Duration) tick {
	return tick((d + tickLength - 1) / tickLength)
}

// sweeper keeps every coarse deadline of the proxy and notices clients that leave while their upstream
// is still thinking: one goroutine, one poll(2) over the waiting clients per tick, nothing on the fast path.
type sweeper struct {
	ticks atomic.Uint64
	date  atomic.Pointer[[]byte] // value of a Date field, at most a second old

	mu    sync.Mutex // guards the rest, and is held while marking and waking
	conns []*conn
	poll  []unix.PollFd
	who   []polled

	everyTick   func(now time.Time) // looks after idle upstream connections
	everySecond func()              // trims what is free
}

func newSweeper() *sweeper {
	s := &sweeper{}
	s.setDate(time.Now())
	return s
}

func (s *sweeper) now() tick { return tick(s.ticks.Load()) }

// polled is a wait of a connection whose client is asked whether it left.
type polled struct {
	c    *conn
	w    *watch
	word uint64
}

// run ticks until stop is closed.
func (s *sweeper) run(stop <-chan struct{}) {
	t := time.NewTicker(tickLength)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-t.C:
			s.tick(now)
		}
	}
}

func (s *sweeper) tick(now time.Time) {
	n := s.ticks.Add(1)
	s.mu.Lock()
	s.collect(tick(n), n%idlePoll == 0)
	s.markGone()
	s.mu.Unlock()
	if n%idlePoll == 0 {
		s.setDate(now)
		s.everySecond()
	}
	s.everyTick(now)
}

func (s *sweeper) setDate(now time.Time) {
	date := []byte(now.UTC().Format(http.TimeFormat))
	s.date.Store(&date)
}

// add registers a connection; it must be removed before its descriptor is closed.
func (s *sweeper) add(c *conn) {
	s.mu.Lock()
	c.place = len(s.conns)
	s.conns = append(s.conns, c)
	s.mu.Unlock()
}

func (s *sweeper) remove(c *conn) {
	s.mu.Lock()
	last := len(s.conns) - 1
	s.conns[c.place] = s.conns[last]
	s.conns[c.place].place = c.place
	s.conns[last] = nil
	s.conns = s.conns[:last]
	s.mu.Unlock()
}

// settle waits until a wake-up that is on its way has been delivered.
func (s *sweeper) settle() {
	s.mu.Lock()
	s.mu.Unlock() //nolint:staticcheck // SA2001: the empty section is the point
}

// collect ends the waits whose deadline has passed and lists the clients to ask whether they left: those
// that have waited for an upstream for more than a tick, and now and then the parked ones.
func (s *sweeper) collect(now tick, parked bool) {
	s.poll, s.who = s.poll[:0], s.who[:0]
	for _, c := range s.conns {
		if word, p, since := s.expire(&c.upload, c, now); p == asking && after(now, since+1) {
			s.ask(c, &c.upload, word)
		}
		word, p, since := s.expire(&c.watch, c, now)
		waiting := (p == awaitingHead || p == readingAnswer || p == connecting) && after(now, since+1)
		if waiting || parked && (p == idle || p == readingHead) {
			s.ask(c, &c.watch, word)
		}
	}
}

// ask has markGone look whether the client of a wait left.
func (s *sweeper) ask(c *conn, w *watch, word uint64) {
	s.poll = append(s.poll, unix.PollFd{Fd: int32(c.fd), Events: unix.POLLRDHUP})
	s.who = append(s.who, polled{c, w, word})
}

func (s *sweeper) expire(w *watch, c *conn, now tick) (word uint64, p phase, since tick) {
	word = w.word.Load()
	p, since, deadline := unpack(word)
	if p == writingDown && after(now, since+1) && c.takes(since, after(now, deadline)) {
		w.turn(p, p, now, (deadline-since)&tickMask) // as long again; the listener is the owner's to read
		return word, p, since
	}
	if p != busy && p < expired && after(now, deadline) && w.end(word, expired) {
		c.wake(p)
		return 0, expired, since
	}
	return word, p, since
}

// markGone polls the listed clients and ends the waits of those that left.
func (s *sweeper) markGone() {
	if len(s.poll) == 0 {
		return
	}
	if n, err := unix.Poll(s.poll, 0); err != nil || n == 0 {
		return // interrupted: the next tick looks again
	}
	for i := range s.poll {
		if s.poll[i].Revents == 0 {
			continue
		}
		who := &s.who[i]
		p, _, _ := unpack(who.word)
		if who.w.end(who.word, gone) {
			who.c.wake(p)
		}
	}
}

// drain ends the wait of every parked connection that is one of those.
func (s *sweeper) drain(those func(*conn) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if !those(c) {
			continue
		}
		word := c.watch.word.Load()
		if p, _, _ := unpack(word); p == idle && c.watch.end(word, expired) {
			c.wake(p)
		}
	}
}

// cut ends what every one of those connections is waiting for. Whoever is busy at this moment may begin another
// wait: call it again.
func (s *sweeper) cut(those func(*conn) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if those(c) {
			c.cutWaits()
		}
	}
}

// kill is cut for all, and ends their reads and writes.
func (s *sweeper) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.cutWaits()
		c.kill()
	}
}

// cutWaits is called with the sweeper's lock held.
func (c *conn) cutWaits() {
	for _, w := range [...]*watch{&c.watch, &c.upload} {
		word := w.word.Load()
		if p, _, _ := unpack(word); p != busy && p < expired && w.end(word, killed) {
			c.wake(p)
		}
	}
}

// count counts those connections.
func (s *sweeper) count(those func(*conn) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if those(c) {
			n++
		}
	}
	return n
}

// everyConn is all of them.
func everyConn(*conn) bool { return true }
