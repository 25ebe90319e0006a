package sentinel

import "sync/atomic"

// phase says what an exchange or connection is waiting for, and so what the sweeper may do about it.
type phase uint64

const (
	busy          phase = iota // not waiting for any peer
	idle                       // between requests
	readingHead                // a request head has begun
	readingBody                // request body
	connecting                 // to a target
	duringUpload               // the upstream's response head, while the request is still being sent
	awaitingHead               // the upstream's response head
	readingAnswer              // the upstream's response body
	writingUp                  // request bytes to the upstream
	asking                     // an agent about a piece of the request's body, on the upload's goroutine
	writingDown                // response bytes to the client
	tunnelling                 // an upgraded connection, both ways
	lingering                  // closing; the client may still be sending
	handshaking                // TLS

	expired // the sweeper ended the wait: its deadline passed
	gone    // the sweeper ended the wait: the client left
	killed  // the sweeper ended the wait: the shutdown timeout is over
)

// tick is the sweeper's clock, in steps of tickLength since the proxy started. It wraps after ten
// months; only differences count, and no wait is longer than half of that.
type tick uint64

const (
	tickBits      = 28
	tickMask      = 1<<tickBits - 1
	never    tick = 1<<(tickBits-1) - 1 // the longest wait there is
)

// watch is one wait: its phase, when it began and when it must end, in one word. The waiting goroutine
// swaps in each new wait; the sweeper may replace a wait by a mark, once, and wakes the
// goroutine then. Whoever's swap returns a mark knows that a wake-up is on its way.
type watch struct{ word atomic.Uint64 }

func pack(p phase, since, deadline tick) uint64 {
	return uint64(p)<<(2*tickBits) | uint64(since&tickMask)<<tickBits | uint64(deadline&tickMask)
}

func unpack(w uint64) (p phase, since, deadline tick) {
	return phase(w >> (2 * tickBits)), tick(w >> tickBits & tickMask), tick(w & tickMask)
}

// enter begins a wait of at most limit ticks and returns the mark the sweeper left on the one before
// (expired, gone, killed), or busy.
func (w *watch) enter(p phase, now, limit tick) (mark phase) {
	old, _, _ := unpack(w.word.Swap(pack(p, now, now+min(limit, never))))
	if old >= expired {
		return old
	}
	return busy
}

// turn replaces a wait in phase from, if it is still running, by one in phase to.
func (w *watch) turn(from, to phase, now, limit tick) {
	for {
		old := w.word.Load()
		if p, _, _ := unpack(old); p != from {
			return
		}
		if w.word.CompareAndSwap(old, pack(to, now, now+min(limit, never))) {
			return
		}
	}
}

// end marks a running wait as ended by the sweeper; false means that it has just ended by itself.
func (w *watch) end(word uint64, mark phase) bool {
	return w.word.CompareAndSwap(word, pack(mark, 0, 0))
}

// after reports whether a is later than b.
func after(a, b tick) bool {
	d := (a - b) & tickMask
	return d != 0 && d <= tickMask/2
}
