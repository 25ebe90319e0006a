package sentinel

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// downstream is the client's side of one exchange: an HTTP/1.1 connection. An exchange knows its client
// through these methods only, so that another protocol's stream can take its place.
type downstream interface {
	// nextBody returns the next piece of the request body, valid until the next call; after the last one
	// the exchange's body is Done. One goroutine may call it while another calls the rest.
	nextBody() (data []byte, r Reason)
	// gather reads the request body, of length bytes, into the exchange's buffer.
	gather(length int) Reason
	// interim sends a 1xx response to clients that know them.
	interim(status int, fields []wire.Field) Reason
	// respond sends the exchange's reply head and the first piece of its body.
	respond(piece []byte) Reason
	// send sends the next piece of the body.
	send(piece []byte) Reason
	// end completes the body.
	end(trailers []wire.Field) Reason
	// cut makes the client see that the response is incomplete.
	cut()
}

// reply is a response head on its way to the client.
type reply struct {
	status  int
	phrase  []byte // empty: the registered one
	fields  []wire.Field
	framing wire.Framing
	length  int64 // the Content-Length to state; -1: none
	whole   bool  // the piece given to respond is the whole body
	upgrade []byte
}

var (
	continueLine   = []byte("HTTP/1.1 100 Continue\r\n\r\n")
	statusLines    = buildStatusLines()
	closeField     = []byte("Connection: close\r\n")
	keepAliveField = []byte("Connection: keep-alive\r\n")
	upgradeField   = []byte("Connection: Upgrade\r\nUpgrade: ")
	chunkedField   = []byte("Transfer-Encoding: chunked\r\n")
	crlf           = []byte("\r\n")
)

func buildStatusLines() (t [600][]byte) {
	for status := 100; status < 600; status++ {
		t[status] = []byte("HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n")
	}
	return t
}

func (c *conn) nextBody() (data []byte, r Reason) {
	x := c.x
	for {
		data, n, fault := unframe(&x.body, x.in[x.r:x.w])
		x.r += n
		x.received += int64(len(data))
		if fault != wire.None {
			return nil, faultReasons[fault]
		}
		if len(data) > 0 || x.body.Done() {
			return data, none
		}
		if r := c.fill(); r != none {
			return nil, r
		}
	}
}

// fill reads more of the request body into the empty buffer.
func (c *conn) fill() Reason { return c.read(c.x.bodyRoom()) }

// read reads request body bytes into room, which is the buffer behind in[w].
func (c *conn) read(room []byte) Reason {
	c.upload.enter(readingBody, c.p.sweeper.now(), c.bodyLimit())
	n, err := c.nc.Read(room)
	r := c.leaveUpload(bodyTimeout)
	c.x.w += n
	switch {
	case r != none: // also with bytes in hand: the read deadline has passed for good
		return r
	case n > 0:
		return c.slow()
	case errors.Is(err, io.EOF):
		return truncated
	}
	return clientGone
}

// bodyLimit is how long the request's body may pause: what the route's timeout filter says, or the listener.
func (c *conn) bodyLimit() tick {
	if c.x.route != nil && c.x.route.bodyIdle > 0 {
		return c.x.route.bodyIdle
	}
	return c.l.bodyIdle
}

func (c *conn) gather(length int) Reason {
	x := c.x
	for x.w-x.r < length {
		if x.w == len(x.in) { // it grows with what came, not with what was announced
			grown := make([]byte, x.w+min(x.r+length-x.w, len(x.in))) // append would add spare room, which nobody counts
			copy(grown, x.in)
			x.in = grown
		}
		if r := c.read(x.in[x.w:]); r != none {
			return r
		}
	}
	return none
}

// slow reports a body that comes at less than the listener's minimum rate, once it has had the idle time.
func (c *conn) slow() Reason {
	elapsed := int64((c.p.sweeper.now() - c.x.bodyStart) & tickMask)
	if c.l.minRate == 0 || elapsed <= int64(c.bodyLimit()) {
		return none
	}
	if (c.x.received+int64(c.x.w-c.x.r))*int64(ticks(time.Second)) < elapsed*c.l.minRate {
		return bodyTimeout
	}
	return none
}

func (c *conn) interim(status int, fields []wire.Field) Reason {
	if c.x.req.Minor == 0 {
		return none // HTTP/1.0 knows none (RFC 9110 15.2)
	}
	if status == 100 {
		return c.write(continueLine)
	}
	out := append(c.x.out[:0], statusLines[status]...)
	out = appendFields(out, fields)
	c.x.out = append(out, crlf...)
	return c.write(c.x.out)
}

func (c *conn) respond(piece []byte) Reason {
	x := c.x
	h := &x.reply
	if h.framing == wire.ByChunks && x.req.Minor == 0 {
		h.framing = wire.UntilClose // HTTP/1.0 knows no chunks (RFC 9112 6.1)
	}
	if h.framing == wire.UntilClose || c.ending() {
		x.closing = true
	}
	out := appendStatusLine(x.out[:0], h)
	out = appendFields(out, h.fields)
	out = c.appendFraming(out, h)
	out = append(out, crlf...)
	x.status = h.status
	x.delivered += int64(len(piece))
	out = appendPiece(out, h.framing, piece)
	if h.whole && h.framing == wire.ByChunks {
		out = wire.AppendLastChunk(out, nil)
	}
	x.out = out
	return c.write(out)
}

func appendStatusLine(out []byte, h *reply) []byte {
	if len(h.phrase) == 0 {
		return append(out, statusLines[h.status]...)
	}
	out = append(out, statusLines[h.status][:len("HTTP/1.1 200 ")]...)
	out = append(out, h.phrase...)
	return append(out, crlf...)
}

func appendFields(out []byte, fields []wire.Field) []byte {
	for i := range fields {
		out = wire.AppendField(out, fields[i].Name, fields[i].Value)
	}
	return out
}

// appendFraming appends the fields about this connection and the body's length.
func (c *conn) appendFraming(out []byte, h *reply) []byte {
	switch {
	case h.upgrade != nil:
		out = append(append(out, upgradeField...), h.upgrade...)
		return append(out, crlf...)
	case h.framing == wire.ByChunks:
		out = append(out, chunkedField...)
	case h.length >= 0:
		out = append(out, "Content-Length: "...)
		out = append(strconv.AppendInt(out, h.length, 10), crlf...)
	}
	switch {
	case c.x.closing:
		return append(out, closeField...)
	case c.x.req.Minor == 0: // persisting has to be said in 1.0 (RFC 9112 9.3)
		return append(out, keepAliveField...)
	}
	return out
}

func appendPiece(out []byte, f wire.Framing, piece []byte) []byte {
	if f == wire.ByChunks {
		return wire.AppendChunk(out, piece)
	}
	return append(out, piece...)
}

func (c *conn) send(piece []byte) Reason {
	c.x.delivered += int64(len(piece))
	if c.x.reply.framing != wire.ByChunks {
		return c.write(piece)
	}
	c.x.out = wire.AppendChunk(c.x.out[:0], piece)
	return c.write(c.x.out)
}

func (c *conn) end(trailers []wire.Field) Reason {
	if c.x.reply.framing != wire.ByChunks {
		return none
	}
	c.x.out = wire.AppendLastChunk(c.x.out[:0], trailers)
	return c.write(c.x.out)
}

// write sends bytes to the client within the listener's idle time.
func (c *conn) write(b []byte) Reason {
	c.enter(writingDown, c.l.bodyIdle)
	_, err := c.nc.Write(b)
	r := c.leave(clientStalled)
	if r == none && err != nil {
		return clientGone
	}
	return r
}

// cut ends the connection. A missing length or last chunk tells the client that something is missing;
// a body that ends with the connection needs a reset for that.
func (c *conn) cut() {
	c.x.closing = true
	c.aborted = c.aborted || c.x.status != 0 && c.x.reply.framing == wire.UntilClose
}

// reset ends the TCP connection beneath, without a TLS goodbye or a FIN.
func (c *conn) reset() {
	nc := c.beneath()
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = nc.Close()
}
