package agents

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lengthSize   = 4
	maxUnwritten = 1 << 20          // bytes of frames that wait while one is written; a single one may be longer
	maxSpare     = 64 << 10         // bytes of a buffer that is kept for the next frame
	firstRead    = 64 << 10         // bytes that a frame's length is believed without seeing them
	writeAtMost  = 10 * time.Second // for what one write takes; an agent that reads nothing for so long is lost
	flushAtMost  = 100 * time.Millisecond
	laterAtMost  = 2 * time.Millisecond // for which what is not urgent waits to be written with the next frame
)

var (
	errBroken  = errors.New("the connection ended")
	errNoRoom  = errors.New("too much waits to be written")
	errPoison  = errors.New("given up with a question unanswered")
	errNoWrite = errors.New("cannot write")
)

// stream is a connection that carries frames: a length of four bytes, big-endian, and as many bytes. Two
// goroutines serve it: one runs write, the other reads frames with next. Everything else may be called from any.
type stream struct {
	conn    net.Conn
	raw     syscall.RawConn // for a write that does not wait; nil: there is none
	put     func(fd uintptr) bool
	now     []byte      // what put writes: writeNow's alone
	wrote   int         // bytes of it
	later   *time.Timer // has what waits for the next frame written without one
	reader  *bufio.Reader
	frame   []byte // last read
	max     int    // bytes of a frame after its length
	wake    chan struct{}
	dying   chan struct{} // closed once cause is set
	written chan struct{} // closed when write has returned
	gone    chan struct{} // closed when both goroutines have nothing left to do
	proven  atomic.Bool   // a question was answered

	mu      sync.Mutex
	out     []byte // frames to be written
	spare   []byte // the buffer that out alternates with
	start   int    // of the frame that open began
	room    chan struct{}
	writing bool // somebody writes a batch
	waits   bool // later runs
	closing bool
	severed bool // nothing can be written any more; what the agent wrote before it left may still come
	ours    bool // the stream was ended by us, not by the agent
	cause   *Failure
}

// newStream takes over a connection, what was read from it included, and starts to write. Its owner reads
// until next fails, and calls finish then.
func newStream(conn net.Conn, reader *bufio.Reader, limit int) *stream {
	st := &stream{
		conn: conn, reader: reader, max: limit, wake: make(chan struct{}, 1), dying: make(chan struct{}),
		written: make(chan struct{}), gone: make(chan struct{}),
	}
	if c, ok := conn.(syscall.Conn); ok {
		st.raw, _ = c.SyscallConn()
		st.put = st.putOnce
	}
	st.later = time.AfterFunc(time.Hour, st.flush)
	st.later.Stop()
	go st.write()
	return st
}

// open begins a frame of about need bytes: append to what it returns and commit that, at once. It holds the
// stream's lock until then, unless it fails. It waits for room until ctx ends.
func (st *stream) open(ctx context.Context, need int) ([]byte, *Failure) {
	st.mu.Lock()
	for {
		out, f := st.beginLocked(need)
		if f == nil {
			return out, nil
		}
		if !errors.Is(f, errNoRoom) {
			st.mu.Unlock()
			return nil, f
		}
		if f := st.awaitRoom(ctx); f != nil {
			return nil, f
		}
	}
}

// openNow is open, but fails rather than wait.
func (st *stream) openNow(need int) ([]byte, *Failure) {
	st.mu.Lock()
	out, f := st.beginLocked(need)
	if f != nil {
		st.mu.Unlock()
	}
	return out, f
}

func (st *stream) beginLocked(need int) ([]byte, *Failure) {
	if st.cause != nil || st.closing || st.severed {
		return nil, st.endedLocked()
	}
	if len(st.out) > 0 && len(st.out)+need > maxUnwritten {
		return nil, unavailable(errNoRoom)
	}
	st.start = len(st.out)
	return append(st.out, 0, 0, 0, 0), nil
}

// awaitRoom returns with the lock held, unless it fails.
func (st *stream) awaitRoom(ctx context.Context) *Failure {
	if st.room == nil {
		st.room = make(chan struct{})
	}
	room := st.room
	st.mu.Unlock()
	select {
	case <-room:
	case <-st.dying:
	case <-ctx.Done():
		return expired(ctx, "the agent to read")
	}
	st.mu.Lock()
	return nil
}

// endedLocked says that the stream had ended before an event was put on it, whatever ended it.
func (st *stream) endedLocked() *Failure {
	switch {
	case st.severed && st.cause == nil:
		return unavailable(errBroken)
	case st.cause == nil:
		return unavailable(errClosed)
	}
	return unavailable(fmt.Errorf("before the event was sent: %w", st.cause.Err))
}

// commit ends the frame that open or openNow began, and has it written: at once if nothing else is being
// written, since handing it to write costs more than the write.
func (st *stream) commit(out []byte) *Failure {
	if f := st.enterLocked(out); f != nil {
		st.mu.Unlock()
		return f
	}
	if st.raw == nil || st.writing {
		st.signal()
		st.mu.Unlock()
		return nil
	}
	st.writing = true
	batch := st.out
	st.out, st.spare = st.spare, nil
	st.mu.Unlock()
	st.writeNow(batch)
	return nil
}

// commitLater is commit for a frame that may wait for another a little: one write less.
func (st *stream) commitLater(out []byte) *Failure {
	defer st.mu.Unlock()
	if f := st.enterLocked(out); f != nil {
		return f
	}
	if !st.waits && !st.writing {
		st.waits = true
		st.later.Reset(laterAtMost)
	}
	return nil
}

// flush has written what waits.
func (st *stream) flush() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.waits = false
	st.signal()
}

// enterLocked ends a frame and puts it behind those that wait.
func (st *stream) enterLocked(out []byte) *Failure {
	size := len(out) - st.start - lengthSize
	if size > st.max {
		st.out = out[:st.start]
		return unavailable(fmt.Errorf("%w: %d bytes, at most %d", errTooLarge, size, st.max))
	}
	binary.BigEndian.PutUint32(out[st.start:], uint32(size))
	st.out = out
	return nil
}

// writeNow writes what the connection takes without waiting, and leaves the rest, and what has come meanwhile, to
// write.
func (st *stream) writeNow(batch []byte) {
	st.now, st.wrote = batch, 0
	_ = st.raw.Write(st.put) // whatever goes wrong goes wrong for write, too
	st.mu.Lock()
	defer st.mu.Unlock()
	st.writing, st.now = false, nil
	if rest := batch[st.wrote:]; len(rest) > 0 {
		st.out = append(slices.Clip(rest), st.out...)
	} else if cap(batch) <= maxSpare {
		st.spare = batch[:0]
	}
	if len(st.out) > 0 || st.closing || st.room != nil {
		st.signal()
	}
}

func (st *stream) signal() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// putOnce tries once.
func (st *stream) putOnce(fd uintptr) bool {
	n, _ := unix.Write(int(fd), st.now)
	st.wrote = max(n, 0)
	return true
}

// write writes what is committed until the stream ends: all that has come together at once.
func (st *stream) write() {
	defer close(st.written)
	for {
		select {
		case <-st.wake:
		case <-st.dying:
			return
		}
		for batch, more := st.batch(nil); more; batch, more = st.batch(batch) {
			if err := st.writeOut(batch); err != nil {
				st.sever(err)
				return
			}
		}
	}
}

// sever ends the writing. An agent that has left may have answered before that.
func (st *stream) sever(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closing || errors.Is(err, os.ErrDeadlineExceeded) {
		st.failLocked(unavailable(fmt.Errorf("%w: %w", errNoWrite, err)))
		return
	}
	st.severed = true
	if st.room != nil {
		close(st.room)
		st.room = nil
	}
	_ = st.conn.SetReadDeadline(time.Now().Add(flushAtMost))
}

// usable reports whether questions can be put on the stream.
func (st *stream) usable() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.cause == nil && !st.closing && !st.severed
}

func (st *stream) writeOut(batch []byte) error {
	if err := st.conn.SetWriteDeadline(time.Now().Add(st.patience())); err != nil {
		return err
	}
	_, err := st.conn.Write(batch)
	if err == nil {
		err = st.conn.SetWriteDeadline(time.Time{}) // writeNow sets none
	}
	return err
}

func (st *stream) patience() time.Duration {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closing {
		return flushAtMost
	}
	return writeAtMost
}

// batch takes what is to be written, and gives back the buffer of what was. A closing stream ends when there
// is nothing more.
func (st *stream) batch(done []byte) ([]byte, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if done == nil && st.writing {
		return nil, false // by writeNow, which has more to say
	}
	if cap(done) > 0 && cap(done) <= maxSpare {
		st.spare = done[:0]
	}
	if st.room != nil {
		close(st.room)
		st.room = nil
	}
	st.writing = false
	if len(st.out) == 0 {
		if st.closing {
			st.failLocked(unavailable(errClosed))
		}
		return nil, false
	}
	st.writing = true
	batch := st.out
	st.out, st.spare = st.spare, nil
	return batch, true
}

// next reads a frame. It is valid until the next call. The stream is of no more use after an error.
func (st *stream) next() ([]byte, *Failure) {
	var length [lengthSize]byte
	if n, err := io.ReadFull(st.reader, length[:]); err != nil {
		return nil, readFailure(n, err)
	}
	size := int(binary.BigEndian.Uint32(length[:]))
	if size < 1 || size > st.max {
		return nil, badReply("a frame of %d bytes, at most %d", size, st.max)
	}
	if cap(st.frame) > maxSpare {
		st.frame = nil
	}
	st.frame = st.frame[:0]
	for len(st.frame) < size { // a buffer as large as what came, not as what was announced
		have := len(st.frame)
		part := min(size-have, max(firstRead, have))
		st.frame = append(st.frame, make([]byte, part)...)
		if n, err := io.ReadFull(st.reader, st.frame[have:]); err != nil {
			return nil, readFailure(lengthSize+have+n, err)
		}
	}
	return st.frame, nil
}

// readFailure is the failure of a read that ended with n bytes of a frame.
func readFailure(n int, err error) *Failure {
	if n > 0 {
		return badReply("half a frame, then: %w", err)
	}
	return unavailable(fmt.Errorf("%w: %w", errBroken, err))
}

// surplus reports whether more than the last frame has come, and whether that is a whole frame.
func (st *stream) surplus() (some, whole bool) {
	n := st.reader.Buffered()
	if n < lengthSize {
		return n > 0, false
	}
	length, _ := st.reader.Peek(lengthSize)
	return true, uint32(n-lengthSize) >= binary.BigEndian.Uint32(length)
}

// fail ends the stream at once; the first cause stays.
func (st *stream) fail(f *Failure) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.failLocked(f)
}

func (st *stream) failLocked(f *Failure) {
	if st.cause != nil {
		return
	}
	st.cause = f
	st.ours = st.ours || st.closing
	close(st.dying)
	st.later.Stop()
	_ = st.conn.Close()
}

// poison ends the stream because a question on it was given up.
func (st *stream) poison() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.cause == nil {
		st.ours = true
		st.failLocked(unavailable(errPoison))
	}
}

// close ends the stream once what is committed was written, which takes flushAtMost at most.
func (st *stream) close() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closing || st.cause != nil {
		return
	}
	st.closing = true
	_ = st.conn.SetWriteDeadline(time.Now().Add(flushAtMost))
	st.signal()
}

// finish waits for write to return.
func (st *stream) finish(f *Failure) {
	st.fail(f)
	<-st.written
	close(st.gone)
}

// dead is closed when the stream has ended.
func (st *stream) dead() <-chan struct{} { return st.gone }

// obituary is what is to be known of a stream that is not usable any more.
type obituary struct {
	ours      bool // we ended it
	restarted bool // the agent ended it: a process that has ended, most likely
	nonsense  bool // it was ended because of what the agent said: nothing tells that it is another process now
	proven    bool // it had brought an answer
}

func (st *stream) obituary() obituary {
	st.mu.Lock()
	defer st.mu.Unlock()
	broken := st.severed
	for _, end := range [...]error{errBroken, errNoWrite, io.EOF, io.ErrUnexpectedEOF} {
		broken = broken || st.cause != nil && errors.Is(st.cause, end)
	}
	nonsense := !broken && st.cause != nil && st.cause.Kind == BadReply
	return obituary{ours: st.ours, restarted: !st.ours && broken, nonsense: nonsense, proven: st.proven.Load()}
}

// end returns why a stream that is dead has ended.
func (st *stream) end() *Failure {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.cause
}
