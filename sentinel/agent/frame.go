package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Frames begin with their length, four bytes, the most significant one first; it does not count itself.
const (
	prefix    = 4
	maxFrame1 = 10 << 20 // of V1, and of any connection's first
	maxFrame2 = 16 << 20 // the type's byte included

	smallBuffer  = 32 << 10 // what a connection keeps to read into
	frameTime    = 10 * time.Second
	writeTime    = 10 * time.Second
	flushAt      = 64 << 10              // bytes of replies that are sent although more requests are there
	flushAge     = time.Millisecond      // of replies, likewise
	lastCallTime = 20 * time.Millisecond // for what the proxy sends before it sees that the agent leaves
)

var errFrameLength = errors.New("a frame of an impossible length")

// frames reads frames, as many with one system call as there are. One goroutine at a time uses it; drain may
// be called by any.
type frames struct {
	conn   net.Conn
	buffer []byte
	from   int // what is buffered begins here
	to     int // and ends here

	mu       sync.Mutex // guards the rest
	draining bool
	called   bool // by lastCall
}

// next returns the next frame, of 1 to limit bytes, without its length. It is valid until the next call. A
// frame may begin at any time; what follows its first byte has frameTime.
func (f *frames) next(limit int) ([]byte, error) {
	if f.from == f.to {
		f.from, f.to = 0, 0
		if len(f.buffer) > smallBuffer {
			f.buffer = nil // a large frame's: it would be kept for as long as the connection lives
		}
	}
	if err := f.fill(prefix); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(f.buffer[f.from:])
	if n == 0 || int64(n) > int64(limit) {
		return nil, errFrameLength
	}
	end := prefix + int(n)
	if err := f.fill(end); err != nil {
		return nil, err
	}
	frame := f.buffer[f.from+prefix : f.from+end : f.from+end]
	f.from += end
	return frame, nil
}

// back makes the frame that next has just returned the next one again.
func (f *frames) back(frame []byte) { f.from -= prefix + len(frame) }

// ready reports whether next would return without reading.
func (f *frames) ready() bool {
	have := f.to - f.from
	return have >= prefix && have-prefix >= int(binary.BigEndian.Uint32(f.buffer[f.from:]))
}

// fill reads until n bytes are buffered.
func (f *frames) fill(n int) error {
	waiting := false
	for f.to-f.from < n {
		f.makeRoom(n)
		if !waiting && f.to > f.from {
			waiting = true
			f.setDeadline(time.Now().Add(frameTime))
		}
		got, err := f.conn.Read(f.buffer[f.to:])
		f.to += got
		if errors.Is(err, os.ErrDeadlineExceeded) && f.lastCall() {
			continue
		}
		if err != nil && f.to-f.from < n {
			return fmt.Errorf("reading: %w", err)
		}
	}
	if waiting {
		f.setDeadline(time.Time{})
	}
	return nil
}

// makeRoom makes room for at least one more byte of a frame of n. What a peer announces costs nothing: the
// buffer doubles as it fills.
func (f *frames) makeRoom(n int) {
	switch {
	case f.buffer == nil:
		f.buffer = make([]byte, smallBuffer)
	case f.to == len(f.buffer) || f.from+n > len(f.buffer) && f.from > 0:
		target := f.buffer
		if f.to-f.from == len(f.buffer) {
			target = make([]byte, min(2*len(f.buffer), max(n, smallBuffer)))
		}
		f.to = copy(target, f.buffer[f.from:f.to])
		f.buffer, f.from = target, 0
	}
}

// setDeadline sets the time by which reading must succeed. When the connection drains it stays as it is.
func (f *frames) setDeadline(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.draining {
		_ = f.conn.SetReadDeadline(t) // fails on a closed connection only: reading says that
	}
}

// drain ends reading shortly: what has been sent is still read.
func (f *frames) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining = true
	_ = f.conn.SetReadDeadline(time.Now()) // as above
}

// lastCall lets who was interrupted by drain read for lastCallTime, once. The time runs from here: a goroutine that
// was kept waiting by others shall read what has come meanwhile.
func (f *frames) lastCall() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.draining || f.called {
		return false
	}
	f.called = true
	return f.conn.SetReadDeadline(time.Now().Add(lastCallTime)) == nil
}

// drains reports whether drain was called.
func (f *frames) drains() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.draining
}

// replies collects frames and sends them together. Its methods may be called from any goroutine.
type replies struct {
	conn net.Conn

	mu       sync.Mutex // guards the rest
	buffer   []byte
	since    time.Time // when the first frame of the buffer was added
	deadline time.Time // for writing, as set
	err      error     // once writing failed: nothing can be sent any more
}

// add adds a frame. encode appends what follows its length.
func (r *replies) add(encode func([]byte) []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.buffer) == 0 {
		r.since = time.Now()
	}
	start := len(r.buffer)
	r.buffer = encode(append(r.buffer, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(r.buffer[start:], uint32(len(r.buffer)-start-prefix))
}

// due reports whether what is collected has to be sent even if more is to come.
func (r *replies) due() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.buffer) > flushAt || len(r.buffer) > 0 && time.Since(r.since) > flushAge
}

// flush sends what is collected. A peer that does not read it within writeTime, or half of that, has failed.
func (r *replies) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.buffer) == 0 || r.err != nil {
		return r.err
	}
	if now := time.Now(); r.deadline.Sub(now) < writeTime/2 { // setting it for every write would show in profiles
		r.deadline = now.Add(writeTime)
		r.err = r.conn.SetWriteDeadline(r.deadline)
	}
	if r.err == nil {
		_, r.err = r.conn.Write(r.buffer)
	}
	r.buffer = r.buffer[:0]
	if cap(r.buffer) > 2*flushAt {
		r.buffer = nil
	}
	return r.err
}
