package soak

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// result is what became of a request: its status, or one of these.
type result string

const (
	good     result = "2xx"
	cut      result = "cut"      // the connection ended inside the answer's body
	stranger result = "stranger" // a 2xx that does not carry the request's id, or is not of its size
	lost     result = "lost"     // no answer
)

// client keeps idle connections and repeats nothing: net/http would hide a connection that is closed on a
// request, and loadgen/attack stops at the first answer that is not 200. Any goroutine may use it.
type client struct {
	addr string

	mu   sync.Mutex
	idle []*keptConn
}

type keptConn struct {
	net.Conn
	in *bufio.Reader
}

// ask sends the nth request for a path. Every fourth is a POST. The ids come again when their requests are
// long over, so that ledgers stay small.
func (c *client) ask(path string, n int) (result, error) {
	conn, err := c.take()
	if err != nil {
		return lost, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	id := strconv.Itoa(n % 100_000)
	head, body := "GET", ""
	if n%4 == 0 {
		head, body = "POST", strings.Repeat("x", 2000)
	}
	head = fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a.example\r\n%s: %s\r\nContent-Length: %d\r\n\r\n", head, path, fault.IDHeader, id, len(body))
	if _, err := io.WriteString(conn, head+body); err != nil {
		_ = conn.Close()
		return lost, err
	}
	r, keep, err := conn.receive(id)
	if !keep {
		_ = conn.Close()
		return r, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, conn)
	return r, err
}

// receive reads an answer; keep: the connection can be used again.
func (k *keptConn) receive(id string) (r result, keep bool, err error) {
	answer, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return lost, false, err
	}
	size, err := io.Copy(io.Discard, answer.Body)
	switch {
	case err != nil:
		return cut, false, err
	case answer.StatusCode/100 != 2:
		return result(strconv.Itoa(answer.StatusCode)), !answer.Close, nil
	case answer.Header.Get(fault.IDHeader) != id || size != answerSize:
		return stranger, false, fmt.Errorf("id %q of %q, %d bytes", answer.Header.Get(fault.IDHeader), id, size)
	}
	return good, !answer.Close, nil
}

// take returns the connection that was idle last, or a new one.
func (c *client) take() (*keptConn, error) {
	if kept := c.pop(); kept != nil {
		return kept, nil
	}
	conn, err := net.DialTimeout("tcp", c.addr, patience)
	if err != nil {
		return nil, err
	}
	return &keptConn{conn, bufio.NewReader(conn)}, nil
}

// pop returns nil when no connection is idle.
func (c *client) pop() (kept *keptConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := len(c.idle) - 1; last >= 0 {
		kept, c.idle = c.idle[last], c.idle[:last]
	}
	return kept
}

// close ends the idle connections.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.idle {
		_ = conn.Close()
	}
	c.idle = nil
}
