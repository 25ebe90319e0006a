package sentinel

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// exchange is one request and its answer, with every buffer they need. Exchanges are reused: reset says
// what survives.
type exchange struct {
	p          *Proxy
	c          *conn
	down       downstream
	snap       *snapshot   // nil once the request goes to an upstream: what takes long must not keep all of it
	heads      wire.Limits // of the request
	generation uint64      // of the snapshot that the route is from

	in   []byte // what the client sent: in[r:w] is not used yet
	r, w int
	head int    // in[:head] is the request head that req's slices point into, while an exchange runs
	out  []byte // what is about to be written, to either side
	up   []byte // what the upstream sent: see trip
	feed []byte // upload's own output buffer, made when first needed

	req    wire.Request
	body   wire.Body // of the request
	resp   wire.Response
	answer wire.Body // the response's
	trip   upstream.Trip
	reply  reply
	fields []wire.Field // the edited fields of the head being built
	path   []byte       // scratch for a rewritten path
	varied []byte       // what Vary fields were made to say

	started  time.Time
	hops     [maxHops]netip.Addr // what X-Forwarded-For names, from the nearest on; the last is the client
	hopCount int
	chain    []byte // scratch for X-Forwarded-For
	trace    []byte // id, in traceBuf
	traceBuf [128]byte
	route    *boundRoute
	target   *upstream.Target // of the last attempt
	visit    upstream.Visit
	trial    breaker.Ticket // of the route's breaker
	attempts int
	tried    time.Time // when the first attempt began
	sent     time.Time // when the upstream got the request
	took     time.Duration
	reused   bool
	streamed bool  // the request's body does not leave in one write with its head
	kept     int64 // bytes of body that are in the buffer for the sake of another attempt
	hinted   bool  // an interim response of the upstream has gone to the client

	upload    upload
	headEnd   tick  // when the response head must be there; 0: its wait has not begun
	bodyStart tick  // when the first byte of the rest of the body was waited for
	received  int64 // request body bytes
	delivered int64 // response body bytes
	status    int   // of the answer; 0: none begun
	reason    Reason
	cause     string   // detail of the last failure, for the error log only
	counsel   *counsel // with the route's agents; nil: it has none
	places    places   // what the exchange takes of the limits
	quota     quota
	quotaText [64]byte
	hit       *rateLimit // that the request was over; nil: none
	held      int64      // bytes of bodies that are in memory for the agents' sake
	squeeze   squeezer   // on routes with a compress filter
	seen      *witness   // on routes with a log filter; else nil
	chosen    bool       // the client chose the trace id
	delayed   bool       // a rate limit held the request back
	waited    bool       // the request did not go on at once
	closing   bool       // the connection ends with this exchange
}

// serve runs one parsed request to its end and reports whether the connection lives on. This is the
// whole life of a request: each step returns none or why it stops; one place answers, one records.
func (x *exchange) serve() (keep bool) {
	x.begin()
	defer x.finish(&keep)
	x.findClient()
	reason := x.admit()
	if reason == none {
		reason = x.match()
	}
	if reason == none {
		reason = x.throttle()
	} else {
		reason = x.charge(reason)
	}
	if reason == none && !x.isPreflight() {
		reason = x.consult()
	}
	if reason == none {
		reason = x.handle()
	}
	if reason != none {
		x.refuse(reason)
	}
	return !x.closing
}

// begin starts the clock and names the exchange.
func (x *exchange) begin() {
	x.c.awake()
	x.started = time.Now()
	x.head = x.r
	x.c.requests++
	x.p.metrics.ActiveRequests.Add(1)
	framing, length := x.req.Body()
	x.heads, x.generation = x.snap.heads, x.snap.generation
	x.body.Reset(framing, length, &x.heads)
	x.identify()
	x.closing = !x.req.KeepAlive() || x.c.ending() || x.c.l.lastRequest(x.c.requests)
}

// finish records the exchange and makes it ready for the next. A panic costs one request.
func (x *exchange) finish(keep *bool) {
	defer x.giveBack(keep) // also if there is a bug in what follows
	if bug := recover(); bug != nil {
		*keep = false
		x.panicked(bug)
	}
	x.yield()
	if !x.body.Done() { // what is left of the body must not be read as a request
		*keep = false
		x.c.lingers = true
	}
	x.leaveFilters()
	x.record()
}

// giveBack gives back what the exchange took, once.
func (x *exchange) giveBack(keep *bool) {
	x.yield()
	x.p.metrics.ActiveRequests.Add(-1)
	if x.counsel != nil {
		x.counsel.dismiss(time.Since(x.started))
	}
	x.c.serving.Store(nil)
	if *keep {
		x.reset()
	} else if x.w > x.r {
		x.c.lingers = true
	}
}

func (x *exchange) panicked(bug any) {
	x.cause = fmt.Sprintf("panic: %v\n%s", bug, debug.Stack())
	x.closing = true
	x.c.enter(busy, never) // nobody wakes the upstream any more
	if u, ok := x.c.peer.(*upstream.Conn); ok {
		u.Close()
		x.stopUpload()
	}
	x.visit.Done(upstream.Abandoned, "", 0, time.Now())
	x.settleRoute(internalError)
	x.answerBug()
}

// answerBug tells the client of a panic. If there is a bug in that, too, it cuts the connection.
func (x *exchange) answerBug() {
	defer func() {
		if bug := recover(); bug != nil {
			x.cause = fmt.Sprintf("%s\nthen panic: %v\n%s", x.cause, bug, debug.Stack())
			x.c.cut()
			if x.status == 0 {
				x.status = reasonTable[internalError].Status
			}
		}
	}()
	x.reason = internalError
	if x.status == 0 {
		x.refuse(internalError)
		return
	}
	x.down.cut()
}

// match finds the route and lets who retires routes know that it is in use. A reload in between is followed, so
// that nothing is begun on a route whose agents may be closed already.
func (x *exchange) match() Reason {
	for {
		x.snap = x.c.follow()
		x.route = x.find()
		x.c.serving.Store(x.route)
		if x.c.follow() == x.snap {
			break
		}
	}
	x.generation = x.snap.generation
	switch x.route {
	case nil:
		return noRoute
	case x.snap.server:
		return none
	}
	x.enterFilters()
	return x.routeLimits()
}

// find asks the listener's view. An OPTIONS that may not travel further is for the proxy itself (RFC 9110 7.6.2,
// 9.3.7).
func (x *exchange) find() *boundRoute {
	if x.req.MaxForwards == 0 || x.req.Path[0] == '*' {
		return x.snap.server
	}
	return x.snap.views[x.c.l.id].match(x)
}

// handle produces the answer.
func (x *exchange) handle() Reason {
	switch {
	case x.isPreflight():
		return x.answerPreflight()
	case x.route.builtin != nil:
		return x.builtin()
	case x.route.pool != nil:
		return x.forward()
	}
	return staticUnsupported
}

// readsOn reports whether serving the request means reading more from the client than is buffered.
func (x *exchange) readsOn() bool {
	return !x.wholeBody() || x.req.Upgrade() != nil
}

// wholeBody reports whether the request's body is in the buffer to its end, or there is none.
func (x *exchange) wholeBody() bool {
	framing, length := x.req.Body()
	return framing == wire.NoBody || framing == wire.ByLength && length <= int64(x.w-x.r)
}

// reset prepares for the connection's next request, which may be in the buffer already.
func (x *exchange) reset() {
	if x.r == x.w {
		x.r, x.w = 0, 0
	}
	x.req.Reset()
	x.snap = x.c.follow()
	x.route, x.target, x.trace = nil, nil, nil
	x.visit.Reset()
	x.attempts, x.took, x.reused, x.streamed, x.hinted = 0, 0, false, false, false
	if x.kept > 0 {
		x.p.kept.Add(-x.kept)
		x.kept = 0
	}
	if x.held > 0 {
		x.p.held.Add(-x.held)
		x.held = 0
	}
	x.counsel, x.varied, x.hopCount = nil, x.varied[:0], 0
	x.quota, x.hit, x.delayed, x.waited = quota{}, nil, false, false
	x.received, x.delivered, x.status, x.reason = 0, 0, 0, none
	x.sent, x.cause, x.reply = time.Time{}, "", reply{}
}

// room returns the free part of the input buffer for more of a head; makeRoom keeps it from being empty.
func (x *exchange) room() []byte {
	if x.r == x.w {
		x.r, x.w = 0, 0
	}
	return x.in[x.w:]
}

// bodyRoom returns space for more of the body, once all of it was used: behind the head, which is still
// needed. A larger buffer leaves the old one to the head.
func (x *exchange) bodyRoom() []byte {
	if len(x.in)-x.head < bufferSize/4 {
		x.in = append(x.in[:x.head:x.head], make([]byte, bufferSize)...)
	}
	x.r, x.w = x.head, x.head
	return x.in[x.w:]
}

func (x *exchange) empty() bool { return x.r == x.w }

// makeRoom lets an incomplete head grow: to the front of the buffer, then into a larger one. False: the
// head is over every limit.
func (x *exchange) makeRoom() bool {
	if x.w < len(x.in) {
		return true
	}
	if x.r > 0 {
		x.w = copy(x.in, x.in[x.r:x.w])
		x.r = 0
	} else {
		if len(x.in) >= x.snap.maxHead {
			return false
		}
		x.in = append(x.in, make([]byte, len(x.in))...)
	}
	x.req.Reset() // its slices point to where the bytes were
	return true
}

// malformed answers bytes that are no request. Where its end would be nobody can say, so the connection
// ends.
func (x *exchange) malformed(r Reason) {
	x.begin()
	x.closing, x.c.lingers = true, true
	x.body.Reset(wire.NoBody, 0, &x.heads)
	x.refuse(r)
	x.record()
	x.p.metrics.ActiveRequests.Add(-1)
	x.c.inHead = false
}

// abandoned records a head that its client did not finish.
func (x *exchange) abandoned() {
	x.begin()
	x.status, x.reason = reasonTable[clientGone].Status, clientGone
	x.record()
	x.p.metrics.ActiveRequests.Add(-1)
	x.c.inHead = false
}

// isIdempotent reports whether repeating the request has no further effect (RFC 9110 9.2.2).
func isIdempotent(method []byte) bool {
	for _, m := range [...]string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"} {
		if string(method) == m {
			return true
		}
	}
	return false
}

// clientTrace returns the first trace id the request names, or nil.
func (x *exchange) clientTrace() []byte {
	for _, id := range [...]wire.ID{wire.XTraceID, wire.XCorrelationID, wire.XRequestID} {
		if v := x.req.Find(id); len(v) > 0 {
			return v
		}
	}
	return nil
}

// acceptsHTML reports whether an error page may be HTML.
func (x *exchange) acceptsHTML() bool {
	for i := range x.req.Fields {
		if wire.EqualName(x.req.Fields[i].Name, "accept") && bytes.Contains(x.req.Fields[i].Value, []byte("text/html")) {
			return true
		}
	}
	return false
}
