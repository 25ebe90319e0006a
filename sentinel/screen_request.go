package sentinel

import (
	"context"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// screenRequest shows the request's body to the agents that want to see it, as far as it must be seen before the
// upstream sees any of the request.
func (x *exchange) screenRequest() Reason {
	framing, length := x.req.Body()
	c := x.counsel
	if c == nil || framing == wire.NoBody || framing == wire.ByLength && length == 0 {
		return none
	}
	if framing == wire.ByChunks {
		length = -1
	}
	s := c.screen(agents.RequestBody, c.those(agents.RequestBody), length, x.req.Fields)
	if len(s.seats) == 0 {
		return none
	}
	c.body = s
	x.bodyStart = x.p.sweeper.now()
	return s.begin(x.readBody)
}

// readBody returns the next piece of the request body as the client sends it.
func (x *exchange) readBody() (piece []byte, last bool, r Reason) {
	if x.body.Done() {
		return nil, true, none
	}
	if r := x.askForBody(); r != none {
		return nil, false, r
	}
	piece, r = x.down.nextBody()
	if r == none && x.received > x.route.maxBody {
		r = bodyTooLarge
	}
	return piece, x.body.Done(), r
}

// askForBody tells a client that waits for it to send its body. A gateway stands for the origin here: it asks once it
// has somebody to give the body to (RFC 9110 10.1.1), and does not forward the expectation.
func (x *exchange) askForBody() Reason {
	wanted := x.req.Continue && x.empty()
	x.req.Continue = false
	if !wanted {
		return none
	}
	return x.down.interim(100, nil)
}

// nextPiece returns the next piece of what the upstream gets as the request's body.
func (x *exchange) nextPiece() (piece []byte, last bool, r Reason) {
	if s := x.screened(); s != nil {
		return s.next(x.readBody)
	}
	return x.readBody()
}

// looksOn lets agents look at the rest of the body from the upload's goroutine. The sweeper ends such a wait when
// the client leaves.
func (s *screening) looksOn() {
	s.within = func(ask func(context.Context)) Reason {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		x := s.c.x
		began := x.p.sweeper.now()
		x.c.asked = &cancelWaker{cancel: cancel}
		x.c.upload.enter(asking, began, never)
		ask(ctx)
		r := x.c.leaveUpload(internalError)
		x.bodyStart += x.p.sweeper.now() - began // the client is not slow while an agent thinks
		return r
	}
}

// endScreening ends the upload of a body that agents are still looking at, because the answer is there: no more of
// the body is wanted. A question under way is answered first, and what it comes to counts.
func (x *exchange) endScreening(u *upstream.Conn) Reason {
	s := x.screened()
	if s == nil || !s.open || x.upload.done == nil {
		return none
	}
	s.halt.Store(true)
	if !x.upload.nearlyDone() {
		_ = u.NetConn().SetWriteDeadline(time.Unix(1, 0))
		x.closing = true
		x.c.Wake()
	}
	r := x.await(func(ctx context.Context) {
		select {
		case <-x.upload.done:
		case <-ctx.Done():
		}
	})
	switch {
	case r != none:
		return r
	case s.c.decided != nil:
		return x.upload.reason()
	}
	return none
}

// halted reports whether the upload was ended because its answer had come.
func (x *exchange) halted() bool {
	s := x.screened()
	return s != nil && s.halt.Load()
}

// endQuestion ends the question that the upload's goroutine is asking, if it is.
func (x *exchange) endQuestion() {
	if s := x.screened(); s != nil {
		s.halt.Store(true)
		x.c.endQuestion()
	}
}

// screened returns what agents made of the request's body; nil: none looked.
func (x *exchange) screened() *screening {
	if x.counsel == nil {
		return nil
	}
	return x.counsel.body
}

// bodyHeld reports whether the request's body is held to its end: it can be sent again.
func (x *exchange) bodyHeld() bool {
	s := x.screened()
	return s != nil && s.whole
}

// outFraming returns the framing of the body that the upstream gets. What agents may still change on its way has
// no length yet.
func (x *exchange) outFraming() (wire.Framing, int64) {
	s := x.screened()
	switch {
	case s == nil:
		return x.req.Body()
	case s.whole:
		return wire.ByLength, int64(len(s.held))
	case s.open:
		return wire.ByChunks, 0
	}
	return x.req.Body()
}
