package sentinel

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// retryRules say when a request is offered once more: a route's retry-policy, or what is done without one.
type retryRules struct {
	attempts int // in all
	unsent   bool
	sent     bool             // what was sent and got no answer
	late     bool             // what was sent and not answered in time
	statuses map[int]bool     // what was answered so
	again    bool             // a target may be tried twice
	backoff  [2]time.Duration // before the first repeat, and at most
	jitter   bool
	within   time.Duration // no attempt begins later after the first one; 0: no bound
	replay   int64         // bytes of body that are kept for another attempt
}

// noPolicy is what holds for a route without a retry-policy: what was not sent is offered to two other
// targets.
var noPolicy = retryRules{attempts: 3, unsent: true}

func bindRetries(c *config.RetryPolicy, maxBuffer int64) *retryRules {
	if c == nil {
		return &noPolicy
	}
	r := &retryRules{
		attempts: c.MaxAttempts, unsent: c.ConnectionError, sent: c.ConnectionError, late: c.OnTimeout, again: true,
		statuses: map[int]bool{}, backoff: [2]time.Duration{c.BackoffBase, c.BackoffMax}, jitter: c.BackoffJitter, within: c.Timeout, replay: maxBuffer,
	}
	for _, status := range c.StatusCodes {
		r.statuses[status] = status >= 200 // interim heads are no answers, and behind a 101 there is no HTTP
	}
	for status := 500; c.On5xx && status < 600; status++ {
		r.statuses[status] = true
	}
	return r
}

// delay is how long to wait after so many attempts: it doubles each time.
func (r *retryRules) delay(attempts int) time.Duration {
	d, most := r.backoff[0], r.backoff[1]
	for range attempts - 1 {
		if d >= most {
			break
		}
		d *= 2
	}
	return min(d, most)
}

// mayRetry applies the retry rule of the Reason, and takes what is repeated off the upstream's budget.
// Nothing is repeated once the client got a byte, or if repeating it could do something twice (RFC 9110
// 9.2.2).
func (x *exchange) mayRetry(r Reason) bool {
	rules := x.route.retries
	if x.status != 0 || x.hinted || x.attempts >= rules.attempts || !x.inTime(rules) {
		return false
	}
	switch reasonTable[r].Retry {
	case RetryUnsent:
		return rules.unsent
	case RetryStale: // the target saw none of it, in all likelihood: nothing to melt
		return x.repeatable()
	}
	return rules.cover(reasonTable[r].Retry, x.resp.Status) && x.repeatable() && x.route.pool.MayRepeat()
}

// cover reports whether the policy wants a request repeated that was sent.
func (r *retryRules) cover(why Retry, status int) bool {
	switch why {
	case RetrySent:
		return r.sent
	case RetryLate:
		return r.late
	case RetryStatus:
		return r.statuses[status]
	}
	return false
}

// repeatable reports whether the request may be sent twice, and is still here to be.
func (x *exchange) repeatable() bool {
	return (!x.streamed || x.kept > 0 || x.bodyHeld()) && isIdempotent(x.req.Method)
}

// inTime reports whether another attempt would begin within the policy's time.
func (x *exchange) inTime(rules *retryRules) bool {
	return rules.within == 0 || time.Since(x.tried)+rules.delay(x.attempts) < rules.within
}

// pause waits before the next attempt. A connection that had died idle is made up for at once.
func (x *exchange) pause(after Reason) Reason {
	d := x.route.retries.delay(x.attempts)
	if d == 0 || after == upstreamStale {
		return none
	}
	if x.route.retries.jitter {
		d = jittered(d, rand.Float64()) //nolint:gosec // G404: nobody gains by guessing a wait
	}
	return x.await(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		<-ctx.Done()
	})
}

// jittered is d, up to a fifth shorter or longer as chance, from 0 to 1, says: requests that failed together
// do not come back together.
func jittered(d time.Duration, chance float64) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*chance))
}

// await runs wait, which must end with its context. The sweeper ends it when the client leaves.
func (x *exchange) await(wait func(context.Context)) Reason {
	ctx, cancel := context.WithCancel(context.Background())
	return x.awaitIn(ctx, cancel, wait)
}

// awaitWithin is await with a context that has a deadline.
func (x *exchange) awaitWithin(d time.Duration, wait func(context.Context)) Reason {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	return x.awaitIn(ctx, cancel, wait)
}

func (x *exchange) awaitIn(ctx context.Context, cancel context.CancelFunc, wait func(context.Context)) Reason {
	defer cancel()
	peer := x.c.peer
	defer func() { x.c.peer = peer }()
	x.c.peer = &cancelWaker{cancel, peer}
	x.c.enter(connecting, never) // what is waited for has its own end; the client may still leave
	wait(ctx)
	return x.c.leave(internalError)
}

// cancelWaker ends a wait, and what else was being waited for: an upload may still write to an upstream.
type cancelWaker struct {
	cancel context.CancelFunc
	peer   waker // nil: nothing else
}

func (w *cancelWaker) Wake() {
	w.cancel()
	if w.peer != nil {
		w.peer.Wake()
	}
}

// maxKept bounds the bodies that are kept for another attempt, over all requests. Over it a request is
// streamed, and not repeated once its body has begun to leave.
const maxKept = 64 << 20

// gather reads a body into the buffer that the route's policy may want to send again.
func (x *exchange) gather() Reason {
	framing, length := x.req.Body()
	if framing != wire.ByLength || length > x.route.retries.replay || x.screened() != nil || x.wholeBody() || !isIdempotent(x.req.Method) || !x.keep(length) {
		return none
	}
	if r := x.askForBody(); r != none {
		return r
	}
	x.bodyStart = x.p.sweeper.now()
	r := x.down.gather(int(length))
	x.tried = time.Now() // the client took its time, not the targets
	return r
}

// keep takes n bytes off what all kept bodies may take, until reset.
func (x *exchange) keep(n int64) bool {
	if x.p.kept.Add(n) > maxKept {
		x.p.kept.Add(-n)
		return false
	}
	x.kept = n
	return true
}

// rewind goes back to the first byte of a body that is here to its end. A kept one stands behind the head.
func (x *exchange) rewind() {
	if s := x.screened(); s != nil {
		s.given = s.given && !s.whole
		s.halt.Store(false)
		return
	}
	if x.kept > 0 {
		x.r, x.received = x.head, 0
		x.body.Reset(wire.ByLength, x.kept, &x.heads)
	}
}

// outcome is what an attempt says of its target: r is why it failed, none if it did not.
func (x *exchange) outcome(r Reason) upstream.Outcome {
	switch r {
	case none, upstreamStatus:
		if x.resp.Status >= 500 {
			return upstream.BadAnswer
		}
		return upstream.Success
	case upstreamBadResponse:
		return upstream.BadAnswer
	case upstreamStale, noHealthyTarget, breakerOpen, upstreamBusy: // nobody was asked
		return upstream.Abandoned
	}
	if reasonTable[r].Source != FromUpstream {
		return upstream.Abandoned
	}
	return upstream.Failed
}
