package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// client is one connection to a proxy. What it sends goes out in the background, cut as its cutter says,
// so that a peer that stops reading cannot block the script.
type client struct {
	nc   *net.TCPConn
	br   *bufio.Reader
	got  []byte // everything read so far
	cut  cutter
	sent int // bytes handed to send so far
	out  chan []byte
	done chan struct{} // closed when the sender has ended
}

// cutter returns the pieces in which b, which starts at offset in all that the client sends, goes out.
type cutter func(b []byte, offset int) [][]byte

func whole(b []byte, _ int) [][]byte { return [][]byte{b} }

// tester is what testing.T and rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
	Cleanup(func())
}

// dial connects to a proxy.
func dial(t tester, addr string, cut cutter) *client {
	t.Helper()
	nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatalf("connecting to the proxy: %v", err)
	}
	c := &client{nc: nc.(*net.TCPConn), cut: cut, out: make(chan []byte, 64), done: make(chan struct{})}
	c.br = bufio.NewReader(io.TeeReader(nc, (*gotWriter)(c)))
	_ = nc.SetReadDeadline(time.Now().Add(*patience))
	go c.sender(c.out)
	t.Cleanup(c.close)
	return c
}

type gotWriter client

func (g *gotWriter) Write(b []byte) (int, error) {
	g.got = append(g.got, b...)
	return len(b), nil
}

// sender writes what send was given. A write may fail: the proxy has every right to close first.
func (c *client) sender(out <-chan []byte) {
	defer close(c.done)
	for b := range out {
		if b == nil {
			_ = c.nc.CloseWrite()
			continue
		}
		pieces := c.cut(b, c.sent)
		c.sent += len(b)
		for i, p := range pieces {
			if i > 0 {
				awaitRead(c.nc)
			}
			if _, err := c.nc.Write(p); err != nil {
				break
			}
		}
	}
}

// send queues bytes; fin queues the half-close behind them.
func (c *client) send(b []byte) {
	if len(b) > 0 {
		c.out <- b
	}
}

func (c *client) fin() { c.out <- nil }

// close ends the connection, and with it the sender.
func (c *client) close() {
	if c.out != nil {
		close(c.out)
		c.out = nil
	}
	_ = c.nc.Close()
	<-c.done
}

func (c *client) reset() {
	_ = c.nc.SetLinger(0)
	c.close()
}

// response reads one response.
func (c *client) response(toHead bool) (*message, error) {
	m, err := readResponse(c.br, toHead)
	return m, c.explain(err)
}

// responseHead and responseBody read one response in two steps.
func (c *client) responseHead() (*message, error) {
	m, err := readResponseHead(c.br)
	return m, c.explain(err)
}

func (c *client) responseBody(m *message, toHead bool) error {
	return c.explain(readResponseBody(c.br, m, toHead))
}

func (c *client) explain(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no complete response within %v; so far %q: %w", *patience, clip(c.got), err)
	}
	return err
}

// eof reports an error unless the proxy has closed the connection with nothing more to read.
func (c *client) eof() error {
	b, err := c.br.ReadByte()
	switch {
	case err == nil:
		rest, _ := c.br.Peek(min(c.br.Buffered(), 200))
		return fmt.Errorf("more bytes where the connection should end: %q", string(b)+string(rest))
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return nil
	}
	return fmt.Errorf("the proxy did not close the connection: %w", err)
}

// clip shortens bytes for a failure's text.
func clip(b []byte) string {
	if len(b) <= 600 {
		return string(b)
	}
	return fmt.Sprintf("%s… (%d bytes)", b[:600], len(b))
}

// request is a plain GET, for probing.
func get(path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: a.example\r\n\r\n")
}

// sendsHead reports whether a client's first request is a HEAD, whose answer has no body.
func sendsHead(b []byte) bool { return strings.HasPrefix(string(b), "HEAD ") }
