package sentinel

import (
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// startUpload sends the request head and starts the goroutine that feeds the body to the upstream, while
// the exchange waits for the answer: an upstream may answer before it has read everything.
func (x *exchange) startUpload(u *upstream.Conn) Reason {
	x.c.sink = u
	x.c.enter(writingUp, x.route.writeLimit)
	_, err := u.NetConn().Write(x.out)
	x.trip.Sent = true
	if r := x.c.leave(upstreamWriteTimeout); r != none {
		return r
	}
	if err != nil {
		return x.died(upstreamReset)
	}
	if r := x.askForBody(); r != none {
		return r
	}
	x.bodyStart = x.p.sweeper.now()
	if s := x.screened(); s != nil {
		s.looksOn()
	}
	x.upload.begin()
	go x.uploadBody(u)
	return none
}

// upload is how the goroutine that sends a request body and its exchange know of each other.
type upload struct {
	read atomic.Bool   // the body was read to its end, if not all of it sent yet
	end  atomic.Uint32 // 0 while it runs, then one more than the Reason why it ended
	done chan struct{} // closed as the goroutine's last act; nil: there is none
}

func (u *upload) begin() {
	u.read.Store(false)
	u.end.Store(0)
	u.done = make(chan struct{})
}

// running reports whether the request is still being sent.
func (u *upload) running() bool { return u.done != nil && u.end.Load() == 0 }

// reading reports whether the client's side of the body is not at its end. It is false by the time an
// upstream that saw the whole request can answer.
func (u *upload) reading() bool { return u.done != nil && !u.read.Load() }

// reason returns why the upload ended; none while it runs.
func (u *upload) reason() Reason {
	if end := u.end.Load(); u.done != nil && end > 0 {
		return Reason(end - 1)
	}
	return none
}

// uploadBody runs as its own goroutine until the body has been sent or cannot be. It uses the client's
// reading side and the upstream's writing side only. The exchange is its owner's again once done is closed.
func (x *exchange) uploadBody(u *upstream.Conn) {
	r := internalError // unless feedBody returns
	defer func() {
		x.upload.end.Store(uint32(r) + 1)
		switch {
		case r == none:
			x.startHeadClock()
		case reasonTable[r].Source != FromUpstream && !x.halted():
			u.Wake() // there will be no answer to half a request
		}
		// An upstream that stops reading may have answered: the exchange reads that, or the end.
		close(x.upload.done)
	}()
	defer x.p.survive("upload")
	r = x.feedBody(u)
}

// startHeadClock begins the wait for the response head, if the exchange waits already. It does so itself
// if the upload ended before.
func (x *exchange) startHeadClock() {
	x.c.watch.turn(duringUpload, awaitingHead, x.p.sweeper.now(), x.route.headLimit)
}

func (x *exchange) feedBody(u *upstream.Conn) Reason {
	framing, _ := x.outFraming()
	for {
		out, last, r := x.nextPiece()
		if r != none {
			return r
		}
		if framing == wire.ByChunks {
			x.feed = wire.AppendChunk(x.feed[:0], out)
			if last {
				x.feed = wire.AppendLastChunk(x.feed, x.bodyTrailers())
			}
			out = x.feed
		}
		if last {
			x.upload.read.Store(true)
		}
		if r := x.feedPiece(u, out); r != none || last {
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

// feedPiece writes out, in pieces small enough for each to be progress.
func (x *exchange) feedPiece(u *upstream.Conn, out []byte) Reason {
	for len(out) > 0 {
		n := min(len(out), 2*bufferSize)
		x.c.upload.enter(writingUp, x.p.sweeper.now(), x.route.writeLimit)
		_, err := u.NetConn().Write(out[:n])
		if r := x.c.leaveUpload(upstreamWriteTimeout); r != none {
			return r
		}
		if err != nil {
			return upstreamReset
		}
		out = out[n:]
	}
	return none
}

// uploadFailure returns why the upload failed, if it ended and that is why there is no answer.
func (x *exchange) uploadFailure() Reason {
	if x.halted() {
		return none
	}
	if r := x.upload.reason(); reasonTable[r].Source != FromUpstream || r == upstreamWriteTimeout {
		return r
	}
	return none
}

// stopUpload ends the upload and reports whether the whole body was sent and the upstream's connection is
// as good as before.
func (x *exchange) stopUpload() (complete bool) {
	if x.upload.done == nil {
		return true
	}
	woken := x.upload.running() && !x.upload.nearlyDone()
	if woken {
		x.c.peer.Wake()
		if x.upload.reading() {
			x.closing = true
			x.c.Wake()
		}
		x.endQuestion()
	}
	<-x.upload.done
	complete = !woken && x.upload.reason() == none
	x.upload.done = nil
	return complete
}

// nearlyDone gives an upload that has only to return from its last write the time to do so.
func (u *upload) nearlyDone() bool {
	if u.reading() {
		return false
	}
	patience := time.NewTimer(tickLength)
	defer patience.Stop()
	select {
	case <-u.done:
		return true
	case <-patience.C:
		return false
	}
}
