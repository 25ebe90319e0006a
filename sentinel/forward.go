package sentinel

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// maxInterim bounds the 1xx heads before a final one.
const maxInterim = 16

// upstreamHeads are the limits of response heads; over them the answer is a bad one.
var upstreamHeads = wire.Limits{Line: 8 << 10, Size: 64 << 10, Count: 200, Name: 8 << 10, Value: 64 << 10}

// forward offers the request to targets until one answers, and relays the answer.
func (x *exchange) forward() Reason {
	x.snap = nil
	if r := x.screenRequest(); r != none {
		return r
	}
	if r := x.bufferRequest(); r != none {
		return r
	}
	x.editRequest()
	x.tried = x.started
	if x.counsel != nil || x.waited {
		x.tried = time.Now() // agents, limits or the client took their time
	}
	if r := x.gather(); r != none {
		return r
	}
	if !x.route.breaker.admit(x) {
		return breakerOpen
	}
	x.encodeRequest()
	r := x.offer()
	x.settleRoute(r)
	return r
}

// offer makes attempts until one succeeds or must not be followed by another.
func (x *exchange) offer() Reason {
	x.visit.Client = x.clientAddr()
	for last := none; ; {
		if r := x.pick(last); r != none {
			return r
		}
		r, again := x.attempt(last == upstreamStale)
		if !again {
			return r
		}
		last = r
		if r := x.pause(last); r != none {
			return r
		}
	}
}

// pick claims a target, which may mean to wait for one. last is why the attempt before failed: with nobody
// left, that is the answer.
func (x *exchange) pick(last Reason) Reason {
	x.visit.Now = x.tried
	if last != none {
		x.visit.Now = time.Now()
	}
	x.visit.Again = x.route.retries.again || last == upstreamStale
	err := x.route.pool.Pick(&x.visit)
	if errors.Is(err, upstream.ErrBusy) {
		r := x.await(func(ctx context.Context) { err = x.route.pool.Wait(ctx, &x.visit) })
		if r != none {
			x.visit.Done(upstream.Abandoned, "", 0, x.started)
			return r
		}
	}
	switch {
	case err == nil:
		return none
	case last != none:
		return last
	case errors.Is(err, upstream.ErrBusy):
		return upstreamBusy
	case errors.Is(err, upstream.ErrOpen):
		return breakerOpen
	}
	return noHealthyTarget
}

// attempt sends the request to the claimed target and relays what it answers. again says that another
// attempt may follow.
func (x *exchange) attempt(fresh bool) (r Reason, again bool) {
	x.attempts++
	x.target, x.took, x.cause = x.visit.Target(), 0, ""
	x.route.attempts.Attempts.Inc()
	if x.attempts > 1 {
		x.route.attempts.Retries.Inc()
	}
	u, r := x.connect(x.target, fresh)
	if r == none {
		x.reused = u.Reused
		x.route.acquired.Inc()
		r = x.exchangeWith(u)
	}
	if r != none && reasonTable[r].Source == FromUpstream {
		x.route.attempts.Failure(r.String())
	}
	x.settle(r)
	return r, r == upstreamStatus || r != none && x.mayRetry(r)
}

// settle ends the claim on the target and tells how the attempt went. The clock is read for failures only:
// a success needs no exact time.
func (x *exchange) settle(r Reason) {
	o, word, now := x.outcome(r), "", x.sent.Add(x.took)
	if o != upstream.Success {
		word, now = cause(r), time.Now()
	}
	if o == upstream.BadAnswer && r == none {
		x.route.attempts.Failure(word)
	}
	x.visit.Done(o, word, x.timed(), now)
}

// answered tells the breakers, as soon as the head of the answer is there, how a trial went: the rest may
// take hours.
func (x *exchange) answered() {
	x.visit.Answered(x.outcome(none), cause(none), x.timed(), x.sent.Add(x.took))
	if x.trial.Probe() {
		x.settleRoute(none)
	}
}

// timed is how long the target took to the head of its answer; 0: the client's upload is in that time, too.
func (x *exchange) timed() time.Duration {
	if x.streamed {
		return 0
	}
	return x.took
}

// connect takes an idle connection to the target or opens one; fresh: opens one.
func (x *exchange) connect(t *upstream.Target, fresh bool) (u *upstream.Conn, r Reason) {
	if !fresh {
		u = t.Get()
	}
	if u != nil {
		return u, none
	}
	var err error
	r = x.await(func(ctx context.Context) { u, err = t.DialWithin(ctx, x.route.connectLimit) })
	if r != none {
		if u != nil {
			u.Close()
		}
		return nil, r
	}
	if err != nil {
		x.cause = err.Error()
		return nil, connectReason(err)
	}
	return u, none
}

// connectReason says why a connection could not be opened.
func connectReason(err error) Reason {
	var dns *net.DNSError
	var secure *upstream.TLSError
	switch {
	case errors.As(err, &dns):
		return upstreamDNS
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return upstreamConnectTimeout
	case isOurs(err):
		return localResources
	case errors.As(err, &secure):
		return upstreamTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return upstreamRefused
	}
	return upstreamUnreachable
}

// exchangeWith does one request on one connection and settles what becomes of the connection.
func (x *exchange) exchangeWith(u *upstream.Conn) Reason {
	x.c.peer = u
	r := x.roundTrip(u)
	reuse := false
	switch {
	case r != none:
		x.stopUpload()
	case x.route.retries.statuses[x.resp.Status] && x.mayRetry(upstreamStatus):
		whole := x.stopUpload()
		r, reuse = upstreamStatus, x.dropAnswer() && whole
	default:
		x.answered()
		r, reuse = x.passOn(u)
	}
	x.c.peer = nil
	if reuse {
		u.Put()
	} else {
		u.Close()
	}
	return r
}

// passOn gives the client what the upstream answers. reuse says that the upstream's connection is as good
// as before.
func (x *exchange) passOn(u *upstream.Conn) (r Reason, reuse bool) {
	if x.resp.Status == 101 {
		return x.upgrade(u), false
	}
	r = x.relay(u)
	return r, x.stopUpload() && r == none && x.reusable()
}

// dropAnswer forgets an answer that another attempt is to replace, and reports whether it was here to its
// end: only then can its connection serve again.
func (x *exchange) dropAnswer() bool {
	framing, length := x.resp.Body()
	x.answer.Reset(framing, length, &upstreamHeads)
	_, fault := x.bufferedPiece()
	return fault == none && x.reusable()
}

// reusable reports whether the upstream's connection is at the end of the answer, with nothing behind
// it: surplus bytes would become the answer to somebody else's request.
func (x *exchange) reusable() bool {
	return x.resp.KeepAlive() && x.answer.Done() && x.trip.Used == x.trip.N
}

// encodeRequest builds the request head, and the body behind it when that is in the buffer.
func (x *exchange) encodeRequest() {
	out := append(x.out[:0], x.req.Method...)
	out = append(out, ' ')
	out = append(out, x.req.Path...)
	if x.req.HasQuery {
		out = append(append(out, '?'), x.req.Query...)
	}
	out = append(out, " HTTP/1.1\r\n"...)
	out = appendFields(out, x.fields)
	switch framing, length := x.outFraming(); {
	case framing == wire.ByChunks:
		out = append(out, chunkedField...)
	case framing == wire.ByLength || x.req.HasLength():
		out = append(out, "Content-Length: "...)
		out = append(strconv.AppendInt(out, length, 10), crlf...)
	}
	if x.upgrading() {
		out = append(append(out, upgradeField...), x.req.Upgrade()...)
		out = append(out, crlf...)
	}
	out = append(out, crlf...)
	x.out = x.encodeBody(out)
}

// encodeBody appends the body if all of it is here and small enough to leave in one write with its head.
func (x *exchange) encodeBody(out []byte) []byte {
	if s := x.screened(); s != nil {
		x.streamed = !s.whole || len(s.held) > bufferSize
		if !x.streamed {
			out = append(out, s.held...)
		}
		return out
	}
	x.streamed = !x.wholeBody() || x.kept > bufferSize
	if !x.streamed {
		data, n, _ := x.body.Next(x.in[x.r:x.w])
		out = append(out, data...)
		x.r += n
		x.received = int64(n)
		if x.seen != nil {
			x.seen.takeRequest(data, 0)
		}
	}
	return out
}

// roundTrip sends the request and waits for a final response head.
func (x *exchange) roundTrip(u *upstream.Conn) Reason {
	x.trip = upstream.Trip{Out: x.out, In: x.up, Head: &x.resp, Lim: &upstreamHeads}
	x.resp.Reset(string(x.req.Method) == "HEAD")
	if x.streamed {
		x.rewind()
		if r := x.startUpload(u); r != none {
			return r
		}
	}
	x.sent, x.headEnd = time.Now(), 0
	for range maxInterim {
		if r := x.awaitHead(u); r != none {
			return r
		}
		if x.resp.Status >= 200 || x.resp.Status == 101 {
			return x.acceptable()
		}
		if x.resp.Status != 100 { // we answered the expectation ourselves
			x.editResponse()
			x.hinted = true
			if r := x.down.interim(x.resp.Status, x.fields); r != none {
				return r
			}
		}
		x.resp.Reset(string(x.req.Method) == "HEAD")
	}
	return upstreamBadResponse
}

// awaitHead waits for one response head.
func (x *exchange) awaitHead(u *upstream.Conn) Reason {
	if x.upload.running() {
		x.c.enter(duringUpload, never)
		if !x.upload.running() && x.upload.reason() == none {
			x.startHeadClock()
		}
	} else {
		x.c.enter(awaitingHead, x.headLeft())
	}
	err := u.RoundTrip(&x.trip)
	for errors.Is(err, upstream.ErrTooLarge) && len(x.up) < upstreamHeads.MaxHead() {
		x.up = append(x.up, make([]byte, len(x.up))...)
		x.trip.In = x.up
		x.resp.Reset(string(x.req.Method) == "HEAD")
		err = u.RoundTrip(&x.trip)
	}
	x.took = time.Since(x.sent)
	if r := x.c.leave(upstreamTimeout); r != none || err == nil {
		return r
	}
	return x.tripReason(err)
}

// headLeft is what is left of the time for the response head; interim heads do not extend it.
func (x *exchange) headLeft() tick {
	now := x.p.sweeper.now()
	if x.headEnd == 0 {
		x.headEnd = (now + x.route.headLimit) & tickMask
	}
	if after(now, x.headEnd) {
		return 0
	}
	return (x.headEnd - now) & tickMask
}

// tripReason says why no response head came. A request whose upload failed on the client's side failed
// for that reason.
func (x *exchange) tripReason(err error) Reason {
	if x.upload.done != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		<-x.upload.done // it was the upload's end that woke us
	}
	if r := x.uploadFailure(); r != none {
		return r
	}
	var fault wire.Fault
	x.cause = err.Error()
	switch {
	case errors.As(err, &fault), errors.Is(err, upstream.ErrTooLarge):
		return upstreamBadResponse
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		if x.trip.Received {
			return upstreamBadResponse
		}
		return x.died(upstreamClosed)
	}
	return x.died(upstreamReset)
}

// died tells the death of a connection that had been idle from that of a new one: the first is a race that
// nobody lost but the connection, and says nothing of the target.
func (x *exchange) died(r Reason) Reason {
	if x.reused && !x.trip.Received {
		return upstreamStale
	}
	return r
}

// isOurs reports whether the system refused a connection for what the proxy itself lacks.
func isOurs(err error) bool {
	for _, lack := range [...]error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}

// acceptable refuses a 101 that nobody asked for (RFC 9110 15.2.2).
func (x *exchange) acceptable() Reason {
	if x.resp.Status != 101 {
		return none
	}
	if !x.upgrading() || !wire.EqualName(x.resp.Upgrade(), "websocket") {
		return upstreamBadResponse
	}
	return none
}

// upgrading reports whether the request asks for an upgrade that the route allows.
func (x *exchange) upgrading() bool {
	framing, _ := x.req.Body() // with a body, two would read what the client sends
	return x.route.websocket && framing == wire.NoBody && string(x.req.Method) == "GET" && wire.EqualName(x.req.Upgrade(), "websocket")
}
