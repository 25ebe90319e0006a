package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// relief is after how long a handler no longer keeps the next frame from being read.
	relief = time.Millisecond
	// maxCalls bounds the calls of one connection at a time.
	maxCalls = 100
)

// conn is one connection of a proxy.
//
// One goroutine reads frames and answers them, one after the other: with quick handlers that is the cheapest
// way, and many replies leave in one write. When a handler takes longer than relief, a timer lets a new
// goroutine read on, and the old one ends with its call. So a slow request blocks the others of its
// connection for a moment only, and a proxy that cancels or leaves is heard.
type conn struct {
	dispatcher *dispatcher
	server     *Server
	number     uint64
	net        net.Conn
	in         frames
	out        replies
	since      time.Time
	dialect    dialect            // set by the first frame, before there is a second goroutine
	ctx        context.Context    // ends with the connection
	cancel     context.CancelFunc // ends ctx
	heard      atomic.Bool        // a frame has come

	turn  sync.Mutex     // of ordered dialects: held from a call to its reply
	calls atomic.Int64   // goroutines that read or call
	all   sync.WaitGroup // for them
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{
		dispatcher: s.dispatcher(), server: s, number: s.conns.Add(1), net: nc,
		in: frames{conn: nc}, out: replies{conn: nc}, since: time.Now(),
	}
}

// serve answers until the connection ends, on either side.
func (c *conn) serve(ctx context.Context) {
	c.ctx, c.cancel = context.WithCancel(ctx)
	defer c.cancel()
	defer c.close()
	c.enter()
	if err := c.greet(); err != nil {
		c.leave()
		c.dispatcher.log.Debug("a proxy's connection ended at its beginning", "error", err)
	} else {
		c.read()
	}
	c.all.Wait()
	c.dispatcher.disconnect(c.number, "disconnected")
}

// enter counts a goroutine that reads or calls; leave ends that.
func (c *conn) enter() {
	c.all.Add(1)
	c.calls.Add(1)
}

func (c *conn) leave() {
	c.calls.Add(-1)
	c.all.Done()
}

// close ends the connection at once.
func (c *conn) close() {
	_ = c.net.Close() // nothing can be done about its error
}

// drain ends the connection once what has been sent is answered.
func (c *conn) drain() { c.in.drain() }

// silent reports whether the proxy has had time to say something, and has not.
func (c *conn) silent() bool { return !c.heard.Load() && time.Since(c.since) > frameTime }

// read reads frames and answers them until there are no more, or until it is relieved.
func (c *conn) read() {
	defer c.leave()
	timer := time.AfterFunc(time.Hour, func() {
		if c.out.flush() != nil {
			c.close()
		}
		c.read()
	})
	timer.Stop()
	var now call
	for {
		frame, err := c.in.next(c.dialect.maxFrame())
		if err != nil {
			c.stop(err)
			return
		}
		now = call{}
		if err := c.dialect.decode(frame, &now); err != nil {
			c.stop(err)
			return
		}
		relieved := c.answer(&now, timer)
		if relieved || !c.in.ready() || c.out.due() {
			if err := c.out.flush(); err != nil {
				c.stop(err)
				return
			}
		}
		if relieved {
			return
		}
	}
}

// answer makes a call and adds the reply to it. relieved: another goroutine reads meanwhile.
func (c *conn) answer(now *call, timer *time.Timer) (relieved bool) {
	if c.dialect.ordered() {
		c.turn.Lock()
		defer c.turn.Unlock()
	}
	watched := now.asksHandler() && c.calls.Load() < maxCalls
	if watched {
		c.enter() // for who relieves this goroutine
		timer.Reset(relief)
	}
	v := now.do(c.ctx, c.dispatcher)
	if watched {
		if relieved = !timer.Stop(); !relieved {
			c.leave()
		}
	}
	if now.needsReply() {
		c.out.add(func(dst []byte) []byte { return c.reply(dst, now, v) })
	}
	return relieved
}

// reply appends the reply to a call. One that is too large for a frame is none.
func (c *conn) reply(dst []byte, now *call, v *Verdict) []byte {
	start := len(dst)
	dst = c.dialect.encode(dst, now, v)
	if len(dst)-start > c.dialect.maxFrame() {
		c.dispatcher.log.Error("a verdict is too large for the protocol", "bytes", len(dst)-start)
		dst = c.dialect.encode(dst[:start], now, &Verdict{})
	}
	return dst
}

// stop ends reading. Unless the agent drains, calls under way learn that nobody waits for them. What was
// answered is still sent.
func (c *conn) stop(err error) {
	if c.in.drains() && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.out.flush() // the connection ends anyway
		return
	}
	c.cancel()
	_ = c.out.flush() // as above
	c.dispatcher.log.Debug("a proxy's connection ended", "error", err)
}

// errDialect is the end of a connection whose first frame is in no dialect that the server speaks.
var errDialect = errors.New("the first frame is in no dialect that is spoken here")

// greet reads the first frame, which tells the dialect, and answers it.
func (c *conn) greet() error {
	frame, err := c.in.next(maxFrame1)
	if err != nil {
		return err
	}
	c.heard.Store(true)
	only := c.server.Dialect
	if frame[0] == '{' && (only == "" || only == V1) {
		c.dialect = v1{conn: c.number}
		c.in.back(frame)
		return nil
	}
	if frame[0] != typeHandshake || only == V1 {
		return errDialect
	}
	d, reply, err := c.shake(only, frame[1:])
	if reply != nil {
		c.out.add(func(dst []byte) []byte { return append(dst, reply...) })
		err = errors.Join(err, c.out.flush())
	}
	c.dialect = d
	return err
}
