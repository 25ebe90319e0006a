package sentinel

import (
	"errors"
	"io"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// relay passes the upstream's answer to the client: the head with what came of the body in one write,
// then piece by piece as it comes, one buffer at a time.
func (x *exchange) relay(u *upstream.Conn) Reason {
	framing, length := x.resp.Body()
	x.answer.Reset(framing, length, &upstreamHeads)
	x.editResponse()
	if x.counsel != nil {
		return x.relayReviewed(u)
	}
	return x.relayAnswer(u)
}

// relayAnswer is relay once the head is edited.
func (x *exchange) relayAnswer(u *upstream.Conn) Reason {
	framing, length := x.resp.Body()
	x.reply = reply{status: x.resp.Status, phrase: x.resp.Reason, fields: x.fields, framing: framing, length: x.resp.DeclaredLength()}
	if x.upload.reading() {
		x.closing = true // the rest of the request may never be read
	}
	if framing == wire.ByLength && length == int64(x.trip.N-x.trip.Used) || framing == wire.NoBody {
		return x.relayWhole()
	}
	if x.route.bufferResponses {
		return x.relayBuffered(u)
	}
	piece, r := x.bufferedPiece()
	if r != none {
		return r
	}
	x.reply.whole = x.answer.Done() && len(x.trailers()) == 0
	if r := x.down.respond(piece); r != none || x.reply.whole {
		return r
	}
	return x.relayBulk(u)
}

// relayBulk relays what follows the first piece by the cheapest way there is. Nothing of it is in the buffer.
func (x *exchange) relayBulk(u *upstream.Conn) Reason {
	if x.canSplice(u) {
		return x.spliceRest(u)
	}
	return x.relayRest(u)
}

// relayWhole is the common case: the whole answer is in the buffer.
func (x *exchange) relayWhole() Reason {
	data, n, _ := x.answer.Next(x.up[x.trip.Used:x.trip.N])
	x.trip.Used += n
	x.reply.whole = true
	return x.down.respond(data)
}

// bufferedPiece returns what is in the buffer of the answer's body as one piece, possibly empty.
func (x *exchange) bufferedPiece() (piece []byte, r Reason) {
	piece, n, fault := unframe(&x.answer, x.up[x.trip.Used:x.trip.N])
	x.trip.Used += n
	if fault != wire.None {
		return nil, upstreamBadResponse
	}
	return piece, none
}

// trailers returns the answer's trailer fields. Connection may nominate those too, in a head that is gone
// by now: then none is relayed (RFC 9110 7.6.1).
func (x *exchange) trailers() []wire.Field {
	if x.resp.Nominates() {
		return nil
	}
	return x.answer.Trailers()
}

// unframe takes the body's data out of buf. Chunks are moved together over their framing, so that many
// small ones make one write.
func unframe(b *wire.Body, buf []byte) (data []byte, used int, fault wire.Fault) {
	start, end := -1, 0
	for used < len(buf) && !b.Done() {
		piece, n, fault := b.Next(buf[used:])
		if fault != wire.None {
			return nil, used + n, fault
		}
		used += n
		switch {
		case len(piece) == 0:
		case start < 0:
			start, end = used-len(piece), used
		default:
			end += copy(buf[end:], piece)
		}
	}
	return buf[max(start, 0):end], used, wire.None
}

// relayRest relays what follows the first piece.
func (x *exchange) relayRest(u *upstream.Conn) Reason {
	for last := x.answer.Done(); !last; {
		piece, ended, r := x.readAnswer(u)
		if r == none && len(piece) > 0 {
			r = x.down.send(piece)
		}
		if r != none {
			return r
		}
		last = ended
	}
	return x.down.end(x.trailers())
}

// readAnswer returns the next piece of the answer's body as the upstream sends it. last says that nothing
// follows.
func (x *exchange) readAnswer(u *upstream.Conn) (piece []byte, last bool, r Reason) {
	if x.trip.Used == x.trip.N && !x.answer.Done() {
		ended, r := x.refill(u)
		if r != none || ended {
			return nil, ended, r
		}
	}
	piece, r = x.bufferedPiece()
	return piece, x.answer.Done(), r
}

// brokenOff says why the answer ended early: an upstream that gets half a request ends it, too.
func (x *exchange) brokenOff() Reason {
	if r := x.uploadFailure(); r != none {
		return r
	}
	return upstreamTruncated
}

// refill reads the next part of the answer into the buffer; ended says that it was complete before.
func (x *exchange) refill(u *upstream.Conn) (ended bool, r Reason) {
	if r := x.flushIdle(u); r != none {
		return false, r
	}
	x.c.enter(readingAnswer, x.route.readLimit)
	n, err := u.NetConn().Read(x.up)
	x.trip.Used, x.trip.N = 0, n
	r = x.c.leave(upstreamReadTimeout)
	switch {
	case r != none:
		return false, r
	case n > 0:
		return false, none
	case errors.Is(err, io.EOF) && x.answer.Ended() == wire.None:
		return true, none
	}
	return false, x.brokenOff()
}
