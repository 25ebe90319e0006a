package sentinel

import (
	"context"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// bufferRequest reads the whole body of a request before a target is chosen, as agents leave it, if the route
// wants that: the target's time is not spent on a slow client.
func (x *exchange) bufferRequest() Reason {
	framing, length := x.req.Body()
	if !x.route.bufferRequests || framing == wire.NoBody || framing == wire.ByLength && length == 0 {
		return none
	}
	s := x.screened()
	switch {
	case framing == wire.ByLength && length > x.route.maxBuffer:
		return bodyOverBuffer
	case s != nil && s.whole, s == nil && x.wholeBody():
		return none // it is here
	case s == nil:
		s = x.unscreened()
	}
	var held []byte
	for !s.whole {
		piece, last, r := s.next(x.readBody)
		if r != none {
			return r
		}
		fits := false
		held, fits = x.holdPiece(held, piece)
		switch {
		case int64(len(held)) > x.route.maxBuffer:
			return bodyOverBuffer
		case !fits:
			return memoryLimit
		}
		s.whole = last
	}
	s.held, s.open, s.given = held, false, false
	return none
}

// unscreened is the way of a request body that no agent looks at, but which is held.
func (x *exchange) unscreened() *screening {
	if x.counsel == nil {
		x.counsel = &counsel{x: x}
	}
	x.bodyStart = x.p.sweeper.now()
	s := &screening{c: x.counsel, total: -1, rules: requestRules, within: func(ask func(context.Context)) Reason { return x.await(ask) }}
	x.counsel.body = s
	return s
}

// relayBuffered relays an answer whose body is held until it is complete, so that a slow client does not keep
// the upstream's connection and a broken answer becomes a 502. One that is larger than the buffer goes on from
// there piece by piece.
func (x *exchange) relayBuffered(u *upstream.Conn) Reason {
	x.partFromHead()
	var held []byte
	for last := false; !last; {
		piece, ended, r := x.readAnswer(u)
		if r != none {
			return r
		}
		fits := false
		held, fits = x.holdPiece(held, piece)
		if last = ended; last {
			break
		}
		if int64(len(held)) > x.route.maxBuffer || !fits {
			if r := x.down.respond(held); r != none {
				return r
			}
			return x.relayBulk(u)
		}
	}
	if len(x.trailers()) > 0 {
		if r := x.down.respond(held); r != none {
			return r
		}
		return x.down.end(x.trailers())
	}
	x.reply.framing, x.reply.length, x.reply.whole = wire.ByLength, int64(len(held)), true
	return x.down.respond(held)
}
