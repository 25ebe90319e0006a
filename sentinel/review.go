package sentinel

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// relayReviewed is relay for an exchange with agents: they see the answer, in the reverse of their order, before
// any of it leaves.
func (x *exchange) relayReviewed(u *upstream.Conn) Reason {
	c := x.counsel
	if r := x.endScreening(u); r != none {
		return r
	}
	if r := c.reviewHead(); r != none {
		return r
	}
	s, r := c.reviewBody(u)
	switch {
	case r != none:
		return r
	case s != nil:
		return x.relayScreened(u, s)
	}
	x.editByAgents()
	return x.relayAnswer(u)
}

// editByAgents makes the agents' changes to the answer's head, which is about to leave.
func (x *exchange) editByAgents() {
	c := x.counsel
	x.fields = c.editedByAgents(x.fields, ofResponse)
	if s := c.answer; s != nil && s.changed {
		x.fields = withoutValidators(x.fields)
	}
	if s := c.answer; s != nil && s.decoded {
		x.fields = without(x.fields, nameContentEncoding)
	}
	x.reply.fields, c.begun = x.fields, true
}

// withoutValidators drops the fields that are about the bytes that the upstream sent (RFC 9110 8.8, 14; RFC 9530).
func withoutValidators(f []wire.Field) []wire.Field {
	for _, name := range [...]string{"ETag", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest", "Content-Range", "Accept-Ranges"} {
		f = without(f, []byte(name))
	}
	return f
}

// reviewHead asks the agents about the head of the answer, as the client would get it.
func (c *counsel) reviewHead() (r Reason) {
	seats := c.those(agents.ResponseHeaders)
	if len(seats) == 0 {
		return none
	}
	x := c.x
	framing, _ := x.resp.Body()
	e := agents.Event{Kind: agents.ResponseHeaders, Request: &c.request, Status: x.resp.Status, Fields: x.fields, HasBody: framing != wire.NoBody}
	wait := c.wait(func(ctx context.Context) {
		for _, s := range slices.Backward(seats) {
			if r = s.reviewHead(ctx, &e); r != none {
				return
			}
		}
	})
	if wait != none {
		return wait
	}
	return r
}

// reviewHead asks one agent. It may change the head, not refuse it: the upstream has acted already.
func (s *seat) reviewHead(ctx context.Context, e *agents.Event) Reason {
	shown := *e
	if s.b.asks[agents.ResponseBody] && s.b.response.decode {
		shown.Fields = without(slices.Clone(e.Fields), nameContentEncoding)
	}
	s.askWithin(ctx, &shown, s.b.timeout)
	switch {
	case s.verdict == nil:
		return s.settle(agents.ResponseHeaders)
	case s.refuses():
		s.c.x.noteIgnored(s)
	default:
		s.c.accept(s, agents.ResponseHeaders)
	}
	return none
}

// reviewBody shows the body of the answer to the agents that want to see it, as far as it must be seen before
// the client sees any of the answer. nil: none wants to.
func (c *counsel) reviewBody(u *upstream.Conn) (*screening, Reason) {
	x := c.x
	framing, length := x.resp.Body()
	seats := c.those(agents.ResponseBody)
	if len(seats) == 0 || framing == wire.NoBody || framing == wire.ByLength && length == 0 {
		return nil, none
	}
	slices.Reverse(seats)
	if framing != wire.ByLength {
		length = -1
	}
	s := c.screen(agents.ResponseBody, seats, length, x.fields)
	if len(s.seats) == 0 {
		return nil, none
	}
	c.answer = s
	x.partFromHead()
	return s, s.begin(func() (piece []byte, last bool, r Reason) { return x.readAnswer(u) })
}

// askForAll keeps the upstream from answering in a way that would hide the body from an agent that wants to see it:
// in part, or in a coding that cannot be undone.
func (c *counsel) askForAll(f []wire.Field) []wire.Field {
	for _, s := range c.those(agents.ResponseBody) {
		f = without(without(f, []byte("Range")), []byte("If-Range"))
		if s.b.response.decode {
			return withOnlyKnownCodings(f)
		}
	}
	return f
}

// withOnlyKnownCodings takes the codings out of Accept-Encoding that decode does not know.
func withOnlyKnownCodings(f []wire.Field) []wire.Field {
	for i := range f {
		if !wire.EqualName(f[i].Name, "accept-encoding") {
			continue
		}
		var kept [][]byte
		for item, rest := wire.NextItem(f[i].Value); item != nil; item, rest = wire.NextItem(rest) {
			coding, _, _ := bytes.Cut(item, []byte(";"))
			if isKnownCoding(strings.ToLower(string(bytes.TrimSpace(coding)))) {
				kept = append(kept, item)
			}
		}
		f[i].Value = bytes.Join(kept, []byte(", ")) // empty: as it is (RFC 9110 12.5.3)
	}
	return f
}

// partFromHead gives the answer's body a buffer of its own: the head points into the one that it came in, and is
// still to be sent.
func (x *exchange) partFromHead() {
	rest := x.up[x.trip.Used:x.trip.N]
	up := make([]byte, max(bufferSize, len(rest)))
	x.trip.Used, x.trip.N = 0, copy(up, rest)
	x.up = up
}

// relayScreened passes on an answer whose body agents look at.
func (x *exchange) relayScreened(u *upstream.Conn, s *screening) Reason {
	x.reply = reply{status: x.resp.Status, phrase: x.resp.Reason, framing: wire.ByChunks, length: -1}
	if x.upload.reading() {
		x.closing = true // the rest of the request may never be read
	}
	switch {
	case s.whole:
		x.reply.framing, x.reply.length, x.reply.whole = wire.ByLength, int64(len(s.held)), true
		x.editByAgents()
		return x.down.respond(s.held)
	case s.open:
		return x.relayPieces(u, s)
	}
	x.reply.framing, _ = x.resp.Body() // nobody looks any more
	x.reply.length = x.resp.DeclaredLength()
	rest, r := x.bufferedPiece()
	if r != none {
		return r
	}
	x.editByAgents()
	if r := x.down.respond(append(s.held, rest...)); r != none {
		return r
	}
	return x.relayBulk(u)
}

// relayPieces passes on the answer's body piece by piece, as the agents leave it.
func (x *exchange) relayPieces(u *upstream.Conn, s *screening) Reason {
	read := func() (piece []byte, last bool, r Reason) { return x.readAnswer(u) }
	for {
		piece, last, r := s.next(read)
		switch {
		case r != none:
			return r
		case !s.c.begun:
			x.editByAgents()
			r = x.down.respond(piece)
		case len(piece) > 0:
			r = x.down.send(piece)
		}
		if r != none {
			return r
		}
		if last {
			return x.down.end(x.trailers())
		}
	}
}
