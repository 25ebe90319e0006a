package sentinel

import (
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// startUpload sends the request head and starts the goroutine that feeds the body to the upstream, while
// the exchange waits for the answer: an upstream may answer before it has read everything.
func (x *exchange) startUpload(u *upstream.Conn) Reason {
	x.c.enter(writingUp, x.route.writeLimit)
	_, err := u.NetConn().Write(x.out)
	mark := x.c.enter(busy, never)
	x.trip.Sent = true
	switch {
	case mark == expired:
		return upstreamWriteTimeout
	case err != nil:
		return upstreamReset
	}
	if x.req.Continue && x.empty() {
		// A gateway stands for the origin here: it asks for the body once it has somebody to give it to
		// (RFC 9110 10.1.1), and does not forward the expectation.
		if r := x.down.interim(100, nil); r != none {
			return r
		}
	}
	x.bodyStart = x.p.sweeper.now()
	x.uploaded = make(chan struct{})
	go x.uploadBody(u)
	return none
}

// uploadBody runs as its own goroutine until the body has been sent or cannot be. It uses the client's
// reading side and the upstream's writing side only.
func (x *exchange) uploadBody(u *upstream.Conn) {
	r := x.feedBody(u)
	x.uploadEnd = r
	close(x.uploaded)
	switch {
	case r == none:
		x.c.watch.turn(duringUpload, awaitingHead, x.p.sweeper.now(), x.route.headLimit)
	case reasonTable[r].Source == FromClient:
		u.Wake() // there will be no answer to half a request
	}
	// An upstream that stops reading may have answered: the exchange reads that, or the end.
}

func (x *exchange) feedBody(u *upstream.Conn) Reason {
	framing, _ := x.req.Body()
	for {
		data, r := x.down.nextBody()
		if r != none {
			return r
		}
		if x.received > x.route.maxBody {
			return bodyTooLarge
		}
		out := data
		if framing == wire.ByChunks {
			x.feed = wire.AppendChunk(x.feed[:0], data)
			if x.body.Done() {
				x.feed = wire.AppendLastChunk(x.feed, x.bodyTrailers())
			}
			out = x.feed
		}
		if r := x.feedPiece(u, out); r != none || x.body.Done() {
			return r
		}
	}
}

// bodyTrailers returns the request's trailer fields, none when Connection nominates any field.
func (x *exchange) bodyTrailers() []wire.Field {
	if x.req.Nominates() {
		return nil
	}
	return x.body.Trailers()
}

func (x *exchange) feedPiece(u *upstream.Conn, out []byte) Reason {
	x.c.upload.enter(writingUp, x.p.sweeper.now(), x.route.writeLimit)
	_, err := u.NetConn().Write(out)
	switch mark := x.c.upload.enter(busy, x.p.sweeper.now(), never); {
	case mark == expired:
		x.p.sweeper.settle()
		return upstreamWriteTimeout
	case err != nil:
		return upstreamReset
	}
	return none
}

// uploadRunning reports whether the request is still being sent.
func (x *exchange) uploadRunning() bool {
	if x.uploaded == nil {
		return false
	}
	select {
	case <-x.uploaded:
		return false
	default:
		return true
	}
}

// settleUpload starts the clock of an upload that ended before the exchange began to wait.
func (x *exchange) settleUpload() {
	if !x.uploadRunning() && x.uploadEnd == none {
		x.c.watch.turn(duringUpload, awaitingHead, x.p.sweeper.now(), x.route.headLimit)
	}
}

// uploadFailure returns why the upload failed, if it ended and did.
func (x *exchange) uploadFailure() Reason {
	if x.uploaded == nil || x.uploadRunning() {
		return none
	}
	if r := x.uploadEnd; reasonTable[r].Source == FromClient || r == upstreamWriteTimeout {
		return r
	}
	return none
}

// stopUpload ends the upload and reports whether the whole body was sent.
func (x *exchange) stopUpload() (complete bool) {
	if x.uploaded == nil {
		return true
	}
	if x.uploadRunning() {
		x.closing = true
		x.c.Wake()
		x.c.peer.Wake()
	}
	<-x.uploaded
	complete = x.uploadEnd == none
	x.uploaded, x.uploadEnd = nil, none
	return complete
}
