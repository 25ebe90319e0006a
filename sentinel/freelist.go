package sentinel

import (
	"runtime/debug"
	"sync"
)

const (
	// bufferSize is what one read or write of an exchange handles at most, unless a head needs more.
	bufferSize = 16 << 10
	// maxIdleExchanges bounds how many exchanges wait for a request to use them.
	maxIdleExchanges = 1024
	// trimAfter is how many unused exchanges the sweeper frees before it asks for their memory back.
	trimAfter = 64
)

// freeList holds exchanges nobody uses. It is not a sync.Pool: with nothing allocating there is no
// garbage collection, and a Pool would keep a burst's memory for ever.
type freeList struct {
	p     *Proxy
	mu    sync.Mutex
	free  []*exchange
	least int // fewest free since the last trim: that many nobody needed
	freed int // since memory was last returned
}

// take returns an exchange for c's next request.
func (f *freeList) take(c *conn) *exchange {
	f.mu.Lock()
	var x *exchange
	if n := len(f.free); n > 0 {
		x = f.free[n-1]
		f.free[n-1] = nil
		f.free = f.free[:n-1]
		f.least = min(f.least, n-1)
	}
	f.mu.Unlock()
	if x == nil {
		x = &exchange{p: f.p, in: make([]byte, bufferSize), up: make([]byte, bufferSize), out: make([]byte, 0, bufferSize)}
		x.req.Reset()
	}
	x.c, x.down = c, c
	x.snap = c.follow()
	return x
}

// give takes an exchange back.
func (f *freeList) give(x *exchange) {
	x.reset()
	x.seen = nil
	if x.squeeze.rules != nil { // a bug kept it from leaving
		x.squeeze.leave()
	}
	x.r, x.w, x.c, x.down = 0, 0, nil, nil
	if len(x.in) > bufferSize || cap(x.out) > 4*bufferSize || len(x.up) > bufferSize {
		return // grown for one large head: not worth keeping
	}
	f.mu.Lock()
	if len(f.free) < maxIdleExchanges {
		f.free = append(f.free, x)
	}
	f.mu.Unlock()
}

// trim frees what was not needed since the last call, and hands the memory back to the system once that
// is worth a collection.
func (f *freeList) trim() {
	f.mu.Lock()
	n := min(f.least, len(f.free))
	clear(f.free[len(f.free)-n:])
	f.free = f.free[:len(f.free)-n]
	f.least = len(f.free)
	f.freed += n
	release := f.freed >= trimAfter && n < trimAfter
	if release {
		f.freed = 0
	}
	f.mu.Unlock()
	if release {
		go debug.FreeOSMemory() // it stops for a collection, which the sweeper's clock should not
	}
}

// pipeList holds the pipes nobody uses.
type pipeList struct {
	mu   sync.Mutex
	free []*splicer
}

func (l *pipeList) take() (*splicer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.free)
	if n == 0 {
		return newSplicer()
	}
	s := l.free[n-1]
	l.free = l.free[:n-1]
	return s, nil
}

// give takes an empty pipe back.
func (l *pipeList) give(s *splicer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == maxIdlePipes {
		s.close()
		return
	}
	l.free = append(l.free, s)
}

// close closes the pipes that are free; it is for the end of the proxy.
func (l *pipeList) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.free {
		s.close()
	}
	l.free = nil
}
