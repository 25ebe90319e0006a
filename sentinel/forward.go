package sentinel

import (
	"context"
	"crypto/tls"
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

const (
	// maxAttempts is how many targets a request is offered to while nothing of it was sent.
	maxAttempts = 3
	// maxInterim bounds the 1xx heads before a final one.
	maxInterim = 16
)

// upstreamHeads are the limits of response heads; over them the answer is a bad one.
var upstreamHeads = wire.Limits{Line: 8 << 10, Size: 64 << 10, Count: 200, Name: 8 << 10, Value: 64 << 10}

// forward offers the request to targets until one answers, and relays the answer.
func (x *exchange) forward() Reason {
	x.editRequest()
	x.encodeRequest()
	var triedArray [maxAttempts]*upstream.Target
	tried := triedArray[:0]
	var stale *upstream.Target // whose idle connection turned out to be dead: the next one is new
	last := noHealthyTarget
	for {
		t, err := stale, error(nil)
		if t == nil {
			t, err = x.route.pool.Pick(tried)
		}
		if err != nil {
			return last
		}
		r := x.attempt(t, t == stale)
		if r == none || !x.mayRetry(r) {
			return r
		}
		last, stale = r, nil
		if reasonTable[r].Retry == RetryReusedOnly {
			stale = t
		} else {
			tried = append(tried, t)
		}
	}
}

// mayRetry applies the retry rule of the Reason. Nothing is retried once the client got a byte, and no
// request whose body went out in pieces.
func (x *exchange) mayRetry(r Reason) bool {
	if x.status != 0 || x.attempts >= maxAttempts {
		return false
	}
	switch reasonTable[r].Retry {
	case RetryUnsent:
		return true
	case RetryReusedOnly:
		return x.reused && !x.trip.Received && x.whole && isIdempotent(x.req.Method)
	}
	return false
}

// attempt sends the request to one target and relays what it answers.
func (x *exchange) attempt(t *upstream.Target, fresh bool) Reason {
	x.attempts++
	x.target = t
	x.route.attempts.Attempts.Inc()
	if x.attempts > 1 {
		x.route.attempts.Retries.Inc()
	}
	u, r := x.connect(t, fresh)
	if r != none {
		x.route.attempts.Failure(r.String())
		return r
	}
	x.reused = u.Reused
	x.route.acquired.Inc()
	r = x.exchangeWith(u)
	if r != none && reasonTable[r].Source == FromUpstream {
		x.route.attempts.Failure(r.String())
	}
	return r
}

// connect takes an idle connection to the target or opens one.
func (x *exchange) connect(t *upstream.Target, fresh bool) (*upstream.Conn, Reason) {
	u, err := t.Get()
	for fresh && u != nil {
		u.Close()
		u, err = t.Get()
	}
	if u != nil {
		return u, none
	}
	if err != nil {
		return nil, upstreamBusy
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	x.c.peer = cancelWaker(cancel)
	x.c.enter(connecting, never) // the pool's own timeout bounds it; the client may still leave
	u, err = t.Dial(ctx)
	if r := x.c.leave(upstreamConnectTimeout); r != none {
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

type cancelWaker context.CancelFunc

func (c cancelWaker) Wake() { c() }

// connectReason says why a connection could not be opened.
func connectReason(err error) Reason {
	var dns *net.DNSError
	var secure *upstream.TLSError
	switch {
	case errors.As(err, &dns):
		return upstreamDNS
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return upstreamConnectTimeout
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
	if r != none {
		u.Close()
		x.stopUpload()
		x.c.peer = nil
		return r
	}
	reuse := false
	if x.resp.Status == 101 {
		r = x.upgrade(u)
	} else {
		r = x.relay(u)
		reuse = x.stopUpload() && r == none && x.reusable()
	}
	x.c.peer = nil
	if reuse {
		u.Put()
	} else {
		u.Close()
	}
	return r
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
	switch framing, length := x.req.Body(); {
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
	if x.whole = x.wholeBody(); x.whole {
		data, n, _ := x.body.Next(x.in[x.r:x.w])
		out = append(out, data...)
		x.r += n
		x.received = int64(n)
	}
	x.out = out
}

// roundTrip sends the request and waits for a final response head.
func (x *exchange) roundTrip(u *upstream.Conn) Reason {
	x.trip = upstream.Trip{Out: x.out, In: x.up, Head: &x.resp, Lim: &upstreamHeads}
	x.resp.Reset(string(x.req.Method) == "HEAD")
	if !x.whole {
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
		return upstreamClosed
	case isTLSAlert(err):
		return upstreamTLS
	}
	return upstreamReset
}

func isTLSAlert(err error) bool {
	var alert tls.AlertError
	return errors.As(err, &alert)
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
