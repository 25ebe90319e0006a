package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// drip writes bytes one at a time until the proxy has had enough, and returns what it answered.
func drip(nc *net.TCPConn, begin string, b byte) (*message, error) {
	if _, err := io.WriteString(nc, begin); err != nil {
		return nil, err
	}
	answer := make(chan struct{})
	go func() {
		beat := time.NewTicker(time.Second)
		defer beat.Stop()
		for {
			select {
			case <-answer:
				return
			case <-beat.C:
				_, _ = nc.Write([]byte{b}) // that it fails is what is waited for
			}
		}
	}()
	defer close(answer)
	m, err := readResponse(bufio.NewReader(nc), false)
	return m, err
}

// wantRefusal turns an answer other than the one that is due into an error.
func wantRefusal(m *message, err error, status int) error {
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	if m.status() != status || !saysClose(m) {
		return fmt.Errorf("the answer is %q, want %d and a close", m.start, status)
	}
	return nil
}

// wantClosed reads to the end, which must come by itself; nothing may come before.
func wantClosed(nc net.Conn) error {
	n, err := nc.Read(make([]byte, 1))
	switch {
	case n > 0:
		return errors.New("a byte came")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("it was not closed")
	}
	return nil
}

// slowHeads sends heads a byte each second (slowloris). Meanwhile each holds little more than its bytes.
func slowHeads(t *testing.T, f *battle) {
	var begun sync.WaitGroup
	begun.Add(f.size)
	f.midway = func() {
		begun.Wait()
		if b := f.p.holds(t); b.heap > f.before.heap+3<<20+uint64(f.size)<<11 {
			t.Errorf("%d heads that have begun hold %d bytes", f.size, b.heap-f.before.heap)
		}
	}
	f.assail(t, "main", f.size, func(nc *net.TCPConn, i int) error {
		time.AfterFunc(300*time.Millisecond, begun.Done) // the proxy has read them, or will hold less
		m, err := drip(nc, "GET / HTTP/1.1\r\nHost: a.example\r\nX-Slow: ", 'x')
		return wantRefusal(m, err, 408)
	})
}

// slowBodies sends bodies a byte each second, which is never silence.
func slowBodies(t *testing.T, f *battle) {
	f.assail(t, "main", f.size, func(nc *net.TCPConn, i int) error {
		m, err := drip(nc, "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\n", 'x')
		return wantRefusal(m, err, 408)
	})
}

// slowReaders ask for large answers and do not read them.
func slowReaders(t *testing.T, f *battle) {
	f.assail(t, "main", readers, func(nc *net.TCPConn, i int) error {
		if _, err := io.WriteString(nc, getPath("/large")); err != nil {
			return err
		}
		return ended(nc)
	})
}

// ended waits, without reading, until the proxy has closed or reset a connection: the system then knows a
// state other than established.
func ended(nc *net.TCPConn) error {
	raw, err := nc.SyscallConn()
	if err != nil {
		return err
	}
	beat := time.NewTicker(50 * time.Millisecond)
	defer beat.Stop()
	limit := time.NewTimer(3 * *patience)
	defer limit.Stop()
	for {
		var info *unix.TCPInfo
		if e := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil {
			return e
		}
		if err != nil || info.State != unix.BPF_TCP_ESTABLISHED {
			return err
		}
		select {
		case <-beat.C:
		case <-limit.C:
			return errors.New("the proxy waits for ever")
		}
	}
}

// idleFlood connects and says nothing.
func idleFlood(t *testing.T, f *battle) {
	f.assail(t, "main", f.size, func(nc *net.TCPConn, i int) error { return wantClosed(nc) })
}

// pipelineFlood sends requests without end and reads no answer.
func pipelineFlood(t *testing.T, f *battle) {
	many := []byte(strings.Repeat(getPath("/x"), 1000))
	f.assail(t, "main", floods, func(nc *net.TCPConn, i int) error {
		for {
			if _, err := nc.Write(many); errors.Is(err, os.ErrDeadlineExceeded) {
				return errors.New("the proxy waits for ever")
			} else if err != nil {
				return nil
			}
		}
	})
}

// churn connects and leaves at once, in every way there is, again and again.
func churn(t *testing.T, f *battle) {
	const rounds = 5
	begin := []string{"", "GET", getPath("/x")[:30], getPath("/x")}
	for range rounds {
		f.assail(t, "main", f.size, func(nc *net.TCPConn, i int) error {
			_, err := io.WriteString(nc, begin[i%len(begin)])
			if i/len(begin)%2 == 0 {
				_ = nc.SetLinger(0)
			}
			return err
		})
	}
}

// The bombs: requests that make a careless proxy collect without end.
var (
	chunkExtensions = "POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 64<<10)
	trailers        = "POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X-Trailer: x\r\n", 10_000)
	hugeHeader      = "GET /x HTTP/1.1\r\nHost: a.example\r\nX-Huge: " + strings.Repeat("x", 64<<10) + "\r\n\r\n"
	manyHeaders     = "GET /x HTTP/1.1\r\nHost: a.example\r\n" + strings.Repeat("X-One: x\r\n", 100) + "\r\n"
)

// bomb sends a request that has to be refused.
func bomb(t *testing.T, f *battle, request string, status int) {
	t.Helper()
	f.assail(t, "main", f.size, func(nc *net.TCPConn, i int) error {
		go func() { _, _ = io.WriteString(nc, request) }() // the proxy may not read all of it
		m, err := readResponse(bufio.NewReader(nc), false)
		return wantRefusal(m, err, status)
	})
}

// halfHandshakes begin TLS and stop.
func halfHandshakes(t *testing.T, f *battle) {
	hello := []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	f.assail(t, "secure", f.size, func(nc *net.TCPConn, i int) error {
		if _, err := nc.Write(hello[:i%(len(hello)+1)]); err != nil {
			return err
		}
		return wantClosed(nc)
	})
}

// slowAnnouncements send PROXY protocol headers a byte each second.
func slowAnnouncements(t *testing.T, f *battle) {
	f.assail(t, "balanced", f.size, func(nc *net.TCPConn, i int) error {
		m, err := drip(nc, "PROXY TCP4 ", '1')
		if err == nil {
			return fmt.Errorf("the answer is %q, want none", m.start)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("it was not closed")
		}
		return nil
	})
}
