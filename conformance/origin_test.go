package conformance

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

// origin is the scripted upstream: it reads requests strictly, remembers them in order of arrival, and
// answers nothing until it is told to.
type origin struct {
	board
	ln       net.Listener
	requests []*request
	open     int            // connections
	auto     func(*request) // answers each complete request; nil: the script does. Set before any arrives
}

// request is one request at the origin. Everything in it is guarded by the origin's lock.
type request struct {
	message
	o     *origin
	nc    net.Conn
	gone  bool  // the connection has ended, or will be used no more
	fault error // the request was malformed
	raw   []byte

	switched bool // the answer was a 101: what follows is no request, it goes to raw
}

// newOrigin starts an origin on addr, "127.0.0.1:0" for any port.
func newOrigin(t testing.TB, addr string) *origin {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatalf("starting the origin: %v", err)
	}
	return serveOrigin(t, ln)
}

// serveOrigin starts an origin on a listener of the test's own.
func serveOrigin(t testing.TB, ln net.Listener) *origin {
	o := &origin{ln: ln}
	go o.accept()
	t.Cleanup(func() { _ = ln.Close() })
	return o
}

func (o *origin) addr() string { return o.ln.Addr().String() }

func (o *origin) accept() {
	for {
		nc, err := o.ln.Accept()
		if err != nil {
			return
		}
		o.update(func() { o.open++ })
		go o.serve(nc)
	}
}

// serve reads requests until the connection ends or is a tunnel.
func (o *origin) serve(nc net.Conn) {
	defer o.update(func() { o.open-- })
	tap := &tap{Reader: nc}
	br := bufio.NewReader(tap)
	var last *request
	for {
		if _, err := br.Peek(1); err != nil || o.isSwitched(last) {
			o.tunnel(last, tap)
			return
		}
		last = &request{o: o, nc: nc, raw: tap.held}
		o.update(func() { o.requests = append(o.requests, last) })
		tap.to, tap.held = last, nil
		err := last.read(br)
		tap.to = nil
		o.update(func() {
			last.complete = err == nil
			last.gone = err != nil
			if errors.Is(err, errMalformed) {
				last.fault = err
			}
		})
		if err != nil {
			_ = nc.Close()
			return
		}
		if o.auto != nil {
			o.auto(last)
		}
	}
}

func (o *origin) isSwitched(r *request) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return r != nil && r.switched
}

// tunnel reads a switched connection to its end and leaves it half open: the script closes it. Other
// connections have ended already.
func (o *origin) tunnel(last *request, t *tap) {
	if !o.isSwitched(last) {
		_ = t.Reader.(net.Conn).Close()
	} else {
		o.update(func() { last.raw = append(last.raw, t.held...) })
		t.to = last
		_, _ = io.Copy(io.Discard, t)
	}
	if last != nil {
		o.update(func() { last.gone = true })
	}
}

// tap copies what is read to the request it belongs to.
type tap struct {
	io.Reader
	to   *request
	held []byte // read before its request was known
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Reader.Read(b)
	if t.to == nil {
		t.held = append(t.held, b[:n]...)
		return n, err
	}
	t.to.o.update(func() { t.to.raw = append(t.to.raw, b[:n]...) })
	return n, err
}

func (r *request) read(br *bufio.Reader) error {
	start, err := readLine(br)
	if err != nil {
		return err
	}
	fields, err := readFields(br)
	if err != nil {
		return err
	}
	f, _, err := framingOf(fields)
	r.o.update(func() { r.start, r.fields, r.headDone = start, fields, true })
	if err != nil {
		return err
	}
	trailers, err := readBody(br, f, func(b []byte) {
		r.o.update(func() { r.body = append(r.body, b...) })
	})
	r.o.update(func() { r.trailers = trailers })
	return err
}

// request waits for the nth request since the start to satisfy holds; nil: it never did.
func (o *origin) request(n int, holds func(*request) bool) *request {
	var r *request
	o.await(func() bool {
		if len(o.requests) > n && (o.requests[n].fault != nil || holds(o.requests[n])) {
			r = o.requests[n]
		}
		return r != nil
	})
	return r
}

func headDone(r *request) bool { return r.headDone }
func complete(r *request) bool { return r.complete }

// count returns how many requests have begun and how many are complete.
func (o *origin) count() (begun, complete int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.requests {
		if r.complete {
			complete++
		}
	}
	return len(o.requests), complete
}

// seen returns a copy of the request as it is now.
func (r *request) seen() *message {
	r.o.mu.Lock()
	defer r.o.mu.Unlock()
	return r.clone()
}

// answer sends bytes on the request's connection. The peer may be gone: what it sees is checked elsewhere.
func (r *request) answer(b []byte) {
	if bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) {
		r.o.update(func() { r.switched = true })
	}
	_, _ = r.nc.Write(b)
}

func (r *request) close() { _ = r.nc.Close() }

func (r *request) reset() {
	_ = r.nc.(*net.TCPConn).SetLinger(0)
	_ = r.nc.Close()
}
