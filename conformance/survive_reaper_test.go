package conformance

import (
	"bytes"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// fate is what becomes of one request at a reaper, or of its connection.
type fate int

const (
	answered    fate = iota
	thenClosed       // answered, and the connection is closed while it is idle
	unread           // killed when a byte of the request has come
	partly           // killed at a random byte of the request
	unanswered       // killed when all of the request was read
	halfAnswers      // killed at a random byte of the answer
	fates
)

// reaper is an origin that kills connections: each request is a new chance. It counts the ids of all
// requests it has read far enough to know them.
type reaper struct {
	ln      net.Listener
	decide  func(r *rand.Rand, nth int) fate // nth request of a connection, from 0
	running sync.WaitGroup

	mu      sync.Mutex // guards the rest
	random  *rand.Rand
	conns   map[net.Conn]bool
	seen    map[string]int
	kills   [fates]int
	replays int // requests that were not the first of their connection
}

func newReaper(t testing.TB, decide func(*rand.Rand, int) fate) *reaper {
	t.Helper()
	o := &reaper{ln: listen(t), decide: decide, random: rand.New(rand.NewPCG(1, 2)), conns: map[net.Conn]bool{}, seen: map[string]int{}}
	o.running.Go(o.accept)
	t.Cleanup(o.close)
	return o
}

func (o *reaper) addr() string { return o.ln.Addr().String() }

func (o *reaper) accept() {
	for {
		nc, err := o.ln.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns[nc] = true
		o.mu.Unlock()
		o.running.Go(func() { o.serve(nc) })
	}
}

func (o *reaper) close() {
	_ = o.ln.Close()
	o.mu.Lock()
	for nc := range o.conns {
		_ = nc.Close()
	}
	o.mu.Unlock()
	o.running.Wait()
}

// draw is everything that chance says about one request.
type draw struct {
	fate   fate
	at     int // byte
	resets bool
}

const (
	reaperAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	longestPart  = 400 // bytes of a request, of which the proxy makes about as many
)

func (o *reaper) draw(nth int) draw {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := draw{o.decide(o.random, nth), 1, o.random.IntN(2) == 0}
	switch d.fate {
	case partly:
		d.at = 1 + o.random.IntN(longestPart)
	case halfAnswers:
		d.at = 1 + o.random.IntN(len(reaperAnswer)-1)
	case thenClosed:
		d.resets = false // a reset could destroy the answer on its way
	default:
	}
	return d
}

func (o *reaper) serve(nc net.Conn) {
	defer func() {
		_ = nc.Close()
		o.mu.Lock()
		delete(o.conns, nc)
		o.mu.Unlock()
	}()
	for nth := 0; ; nth++ {
		d := o.draw(nth)
		limit := -1
		if d.fate == unread || d.fate == partly {
			limit = d.at
		}
		got, ok := readUpTo(nc, limit)
		if !ok {
			return
		}
		o.note(got, nth, d.fate)
		switch d.fate {
		case answered:
			_, _ = nc.Write([]byte(reaperAnswer))
			continue
		case thenClosed:
			_, _ = nc.Write([]byte(reaperAnswer))
		case halfAnswers:
			_, _ = nc.Write([]byte(reaperAnswer)[:d.at])
		default:
		}
		if d.resets {
			_ = nc.(*net.TCPConn).SetLinger(0)
		}
		return
	}
}

// note counts a request, and the kill it is about to get.
func (o *reaper) note(got []byte, nth int, f fate) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kills[f]++
	if nth > 0 {
		o.replays++
	}
	if line, _, whole := bytes.Cut(got, []byte("\r\n")); whole {
		o.seen[string(line)]++
	}
}

// killed returns how many connections were killed in all.
func (o *reaper) killed() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return sum(o.kills[thenClosed:])
}

// readUpTo reads a request, or limit bytes of it; not ok: the peer ended before.
func readUpTo(nc net.Conn, limit int) (got []byte, ok bool) {
	buf := make([]byte, 4096)
	for !isWhole(got) {
		room := len(buf)
		if limit >= 0 {
			if room = min(room, limit-len(got)); room == 0 {
				break
			}
		}
		n, err := nc.Read(buf[:room])
		got = append(got, buf[:n]...)
		if err != nil {
			return got, false
		}
	}
	return got, true
}

// isWhole reports whether b is a whole request, whose body has a Content-Length or there is none.
func isWhole(b []byte) bool {
	head, body, found := bytes.Cut(b, []byte("\r\n\r\n"))
	if !found {
		return false
	}
	_, length, found := bytes.Cut(head, []byte("\r\nContent-Length: "))
	if !found {
		return true
	}
	length, _, _ = bytes.Cut(length, []byte("\r\n"))
	n, err := strconv.Atoi(string(length))
	return err == nil && len(body) >= n
}
