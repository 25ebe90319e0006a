package sentinel

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
)

const (
	// spliceFrom is how many bytes of an answer must be left before the kernel moves them: below it two
	// copies cost less than the detour through a pipe.
	spliceFrom = 32 << 10
	// pipeSize is what one pipe holds, the system's default.
	pipeSize = 64 << 10
	// maxIdlePipes bounds the pipes kept for the next large answer; each is two descriptors.
	maxIdlePipes = 64
)

// splicer moves bytes from one socket to another inside the kernel, through a pipe. io.Copy could do
// that too, but would hide the progress that idle deadlines are about.
type splicer struct {
	read, write int // the pipe's ends
	in, out     func(fd uintptr) bool
	want        int   // bytes to take from the source at most
	held        int   // bytes in the pipe
	err         error // of the last splice
	ended       bool  // the source has no more
}

func newSplicer() (*splicer, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	s := &splicer{read: ends[0], write: ends[1]}
	s.in, s.out = s.fill, s.flush
	return s, nil
}

func (s *splicer) close() {
	_ = unix.Close(s.read)
	_ = unix.Close(s.write)
}

// fill takes what the source has, once; false waits for more to come.
func (s *splicer) fill(fd uintptr) bool {
	n, err := splice(int(fd), s.write, s.want)
	if errors.Is(err, unix.EAGAIN) {
		return false
	}
	s.held, s.err, s.ended = int(n), err, n == 0 && err == nil
	return true
}

// flush gives what is in the pipe to the destination; false waits until it takes more.
func (s *splicer) flush(fd uintptr) bool {
	for s.held > 0 {
		n, err := splice(s.read, int(fd), s.held)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil:
			s.err = err
			return true
		}
		s.held -= int(n)
	}
	return true
}

func splice(from, to, n int) (int64, error) {
	for {
		moved, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if !errors.Is(err, unix.EINTR) {
			return moved, err
		}
	}
}

// canSplice reports whether the rest of the answer may pass outside our buffers: a known length, nothing
// to frame, and plain sockets on both sides.
func (x *exchange) canSplice(u *upstream.Conn) bool {
	return x.answer.Left() >= spliceFrom && x.c.raw != nil && u.Raw() != nil && !x.wantsBody()
}

// spliceRest relays the rest of the answer's body inside the kernel.
func (x *exchange) spliceRest(u *upstream.Conn) Reason {
	s, err := x.p.pipes.take()
	if err != nil {
		return x.relayRest(u) // no descriptors left for a pipe
	}
	for x.answer.Left() > 0 {
		if r := x.splicePiece(s, u.Raw()); r != none {
			s.close() // it may hold bytes
			return r
		}
	}
	x.p.pipes.give(s)
	return none
}

// splicePiece moves one pipe's fill, within the idle limits of both sides.
func (x *exchange) splicePiece(s *splicer, from syscall.RawConn) Reason {
	s.want = int(min(x.answer.Left(), pipeSize))
	x.c.enter(readingAnswer, x.route.readLimit)
	waitErr := from.Read(s.in)
	if r := x.c.leave(upstreamReadTimeout); r != none {
		return r
	}
	if waitErr != nil || s.err != nil || s.ended {
		return x.brokenOff()
	}
	n := int64(s.held)
	x.c.enter(writingDown, x.c.l.bodyIdle)
	waitErr = x.c.raw.Write(s.out)
	if r := x.c.leave(clientStalled); r != none {
		return r
	}
	if waitErr != nil || s.err != nil {
		return clientGone
	}
	x.answer.Skip(n)
	x.delivered += n
	return none
}
