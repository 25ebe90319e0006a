package sentinel

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

const (
	// oneChunk is the largest body that is shown in one piece: it fits a frame of every dialect. A larger one
	// is shown in pieces of chunkSize.
	oneChunk  = 3 << 20
	chunkSize = 1 << 20
	// maxHeld bounds the bytes of bodies that are held for agents and by buffers, over all exchanges. What is over
	// it counts as a failure of the agents that want to see it. With max-memory it may be less.
	maxHeld = 256 << 20
)

// The causes of failures that are about the body, not the agent.
const (
	causeNoRoom   = "the bodies held for agents take all the memory they may"
	causeTooLarge = "the body is larger than the agent may see"
)

// screening passes one body, the request's or the response's, by the agents that want to see it: first what
// is held back, all of it or its beginning, then, if some agent wants that, piece by piece what follows.
type screening struct {
	c        *counsel
	kind     agents.EventKind
	seats    []*viewer // those that are still asked, in the order in which they are
	rules    func(*boundAgent) *bodyRules
	within   func(func(context.Context)) Reason // waits for agents, on whichever goroutine it is
	total    int64                              // bytes of the body as it was announced; -1: unknown
	encoding string                             // what was done to the body, in lower case; empty: nothing

	held    []byte
	whole   bool        // held is the body to its end
	changed bool        // an agent has replaced a part of it
	given   bool        // next has returned held
	decoded bool        // held was decoded: the field Content-Encoding is no longer true
	open    bool        // agents may change what is not held yet: the body has no length
	halt    atomic.Bool // no more of the body is wanted
}

// viewer is an agent that looks at a body.
type viewer struct {
	*seat
	sent    int64 // bytes it was shown
	chunks  int   // pieces it was shown
	settled bool  // it has decided before the body's end, and is shown no more
}

// bodyReader returns the next piece of a body, valid until the next call. last says that nothing follows.
type bodyReader func() (piece []byte, last bool, r Reason)

// screen prepares to show a body with the given head to those of the seats that want to see such a one.
func (c *counsel) screen(kind agents.EventKind, seats []*seat, total int64, head []wire.Field) *screening {
	s := &screening{c: c, kind: kind, total: total, rules: requestRules, within: c.wait}
	if kind == agents.ResponseBody {
		s.rules = responseRules
	}
	s.encoding = strings.Join(valuesOf(head, "content-encoding"), ",")
	media := valuesOf(head, "content-type")
	for _, seat := range seats {
		if s.rules(seat.b).covers(media) {
			s.seats = append(s.seats, &viewer{seat: seat})
		}
	}
	return s
}

func requestRules(b *boundAgent) *bodyRules  { return &b.request }
func responseRules(b *boundAgent) *bodyRules { return &b.response }

// covers reports whether a body is inspected that calls itself of these media types. One that says nothing is.
func (r *bodyRules) covers(media []string) bool {
	for _, prefix := range r.types {
		if slices.ContainsFunc(media, func(m string) bool { return strings.HasPrefix(m, prefix) }) {
			return true
		}
	}
	return len(r.types) == 0 || len(media) == 0
}

// valuesOf returns the values of every field of a name, which is written in lower case; so are they.
func valuesOf(fields []wire.Field, name string) (list []string) {
	for i := range fields {
		if wire.EqualName(fields[i].Name, name) {
			list = append(list, strings.ToLower(string(fields[i].Value)))
		}
	}
	return list
}

// ahead returns how much of the body is held before any of it goes on, and whether that must be all of it.
func (s *screening) ahead() (most int64, all bool) {
	for _, seat := range s.seats {
		r := s.rules(seat.b)
		all = all || r.hold || r.decode && s.encoding != ""
	}
	for _, seat := range s.seats {
		r := s.rules(seat.b)
		if all {
			most = max(most, r.max)
		} else {
			most = max(most, min(r.ahead, r.max))
		}
	}
	return most, all
}

// begin holds what must be held and shows it.
func (s *screening) begin(read bodyReader) Reason {
	most, all := s.ahead()
	if s.total > most && all {
		return s.tooLarge()
	}
	if r := s.fill(read, most, all); r != none || len(s.seats) == 0 {
		return r
	}
	switch {
	case !s.whole && all:
		return s.tooLarge()
	case !s.whole && len(s.held) == 0:
		s.open = true
		return none
	}
	r := s.asking(s.showHeldTo)
	s.open = !s.whole && (s.changed || len(s.live()) > 0)
	return r
}

// fill reads into held until the body ends or more than most is there.
func (s *screening) fill(read bodyReader, most int64, all bool) Reason {
	for !s.whole && (all || most > 0) && int64(len(s.held)) <= most {
		piece, last, r := read()
		if r != none {
			return r
		}
		fits := false
		s.whole = last
		if s.held, fits = s.c.x.holdPiece(s.held, piece); !fits {
			return s.failAll(agentBusy, causeNoRoom)
		}
	}
	return none
}

// holdPiece appends a piece to a body that is held. It counts as the buffer that holds it, which grows in leaps;
// false: there is no room.
func (x *exchange) holdPiece(held, piece []byte) ([]byte, bool) {
	before := cap(held)
	held = append(held, piece...)
	return held, x.hold(int64(cap(held) - before))
}

// hold takes n bytes of memory off what all bodies held for agents may take, until the exchange is over.
func (x *exchange) hold(n int64) bool {
	x.held += n
	return x.p.held.Add(n) <= x.p.limits.holding.Load()
}

func (s *screening) tooLarge() Reason {
	return s.failAll(agentBodyTooLarge, causeTooLarge)
}

// failAll settles, for every agent, what it means that the body cannot be shown. If all of them let it pass,
// it passes unseen.
func (s *screening) failAll(why Reason, cause string) Reason {
	for _, seat := range s.seats {
		if r := seat.fail(why, s.kind, cause); r != none {
			return r
		}
	}
	s.seats = nil
	return none
}

// asking calls one with every agent that is still asked, until a Reason ends the request.
func (s *screening) asking(one func(context.Context, *viewer) Reason) (r Reason) {
	ended := s.within(func(ctx context.Context) {
		for _, seat := range s.live() {
			if r = one(ctx, seat); r != none {
				return
			}
		}
	})
	if ended != none {
		return ended
	}
	return r
}

// live returns the agents that are still asked.
func (s *screening) live() []*viewer {
	s.seats = slices.DeleteFunc(s.seats, func(v *viewer) bool { return v.out || v.settled })
	return s.seats
}

// showHeldTo asks one agent about what is held, as those before it left it.
func (s *screening) showHeldTo(ctx context.Context, seat *viewer) Reason {
	data, decoded, r := s.readable(seat)
	if r != none || seat.out {
		return r
	}
	if int64(len(data)) > s.rules(seat.b).max {
		return seat.fail(agentBodyTooLarge, s.kind, causeTooLarge)
	}
	size := oneChunk
	if len(data) > oneChunk {
		size = chunkSize
	}
	total := s.total
	if s.whole {
		total = int64(len(data))
	}
	var out []byte // what becomes of data, from the first piece on that an agent replaces
	for from, done := 0, false; !done; {
		piece := data[from:min(from+size, len(data))]
		done = from+len(piece) == len(data)
		made, differs, r := s.show(ctx, seat, piece, total, s.whole && done, seat.b.timeout)
		if r != none {
			return r
		}
		if differs && out == nil {
			out = append(make([]byte, 0, len(data)), data[:from]...)
		}
		if out != nil {
			out = append(out, made...)
		}
		from += len(piece)
	}
	if out != nil {
		s.replace(out, decoded)
	}
	return none
}

// replace puts what agents made of it in the place of what is held.
func (s *screening) replace(held []byte, decoded bool) {
	s.c.x.hold(int64(cap(held)))
	s.held, s.changed, s.total = held, true, -1
	if decoded {
		s.encoding, s.decoded = "", true
	}
}

// readable returns what an agent is shown of held: decoded if it wants that.
func (s *screening) readable(seat *viewer) (data []byte, decoded bool, r Reason) {
	if s.encoding == "" || !s.rules(seat.b).decode {
		return s.held, false, none
	}
	rules := s.rules(seat.b)
	data, err := decode(s.encoding, s.held, rules.decoded, rules.ratio)
	if err != nil {
		return nil, false, seat.fail(decodeReason(err), s.kind, err.Error())
	}
	if !s.c.x.hold(int64(cap(data))) {
		return nil, false, seat.fail(agentBusy, s.kind, causeNoRoom)
	}
	return data, true, none
}

// show asks one agent about one piece and returns what becomes of it.
func (s *screening) show(ctx context.Context, seat *viewer, piece []byte, total int64, last bool, limit time.Duration) (made []byte, differs bool, r Reason) {
	if seat.settled || seat.out {
		return piece, false, none
	}
	seat.sent += int64(len(piece))
	e := agents.Event{Kind: s.kind, Request: &s.c.request, Chunk: agents.Chunk{
		Data: piece, Index: seat.chunks, Last: last, Total: total, Sent: seat.sent,
	}}
	seat.chunks++
	seat.askWithin(ctx, &e, limit)
	if seat.verdict == nil {
		return piece, false, seat.settle(s.kind)
	}
	return s.take(seat, piece, last)
}

// take makes of a piece what the verdict on it says. A response cannot be refused any more.
func (s *screening) take(seat *viewer, piece []byte, last bool) (made []byte, differs bool, r Reason) {
	v := seat.verdict
	seat.settled = !v.NeedsMore && !last
	switch {
	case !seat.refuses():
		s.c.accept(seat.seat, s.kind)
	case s.kind == agents.ResponseBody:
		s.c.x.noteIgnored(seat.seat)
	case last || !v.NeedsMore: // else it may yet change its mind
		return nil, false, s.c.rule(seat.seat)
	}
	if v.Replace == nil || bytes.Equal(*v.Replace, piece) {
		return piece, false, none
	}
	return *v.Replace, true, none
}

// next returns the body as the agents leave it: what was held, then piece by piece the rest.
func (s *screening) next(read bodyReader) (piece []byte, last bool, r Reason) {
	if !s.given {
		s.given = true
		if s.whole || len(s.held) > 0 {
			return s.held, s.whole, none
		}
	}
	if s.halt.Load() {
		return nil, false, internalError // nobody looks at how the upload ended
	}
	piece, last, r = read()
	if r != none || len(s.seats) == 0 || len(piece) == 0 && !last {
		return piece, last, r
	}
	r = s.asking(func(ctx context.Context, seat *viewer) (r Reason) {
		piece, r = s.pass(ctx, seat, piece, last)
		return r
	})
	return piece, last, r
}

// pass shows an agent one piece of a body that is on its way.
func (s *screening) pass(ctx context.Context, seat *viewer, piece []byte, last bool) ([]byte, Reason) {
	if seat.sent+int64(len(piece)) > s.rules(seat.b).max {
		return piece, seat.fail(agentBodyTooLarge, s.kind, causeTooLarge)
	}
	made, differs, r := s.show(ctx, seat, piece, s.total, last, seat.b.chunkTimeout)
	if differs {
		s.changed, s.total = true, -1
	}
	return made, r
}
