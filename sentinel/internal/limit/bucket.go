package limit

import (
	"math"
	"time"
)

// Rate is what fills a Bucket: PerSecond tokens a second, until it holds Burst. Both are from 1 to 2^31-1.
type Rate struct{ PerSecond, Burst int }

// token is one token in a Bucket's debt: time in nanoseconds times PerSecond counts the same, so that
// nothing is ever rounded.
const token = int64(time.Second)

// Bucket is a token bucket. The zero value is full. It does not lock.
type Bucket struct {
	debt int64         // what is missing from a full bucket, in parts of a token; may be over Burst
	last time.Duration // when that was so
}

// Verdict is what a Bucket says to one who wants a token.
type Verdict struct {
	OK        bool
	Wait      time.Duration // OK: until the token may be used, 0 for at once. Else: until there is one
	Remaining int           // whole tokens left, from 0 to Burst
	Full      time.Duration // until the bucket is full if nobody takes any more
}

// Take takes a token at the time now, or one that will be there within patience: then it is taken, too, and
// its owner has to wait for it. Tokens are promised in the order of the calls. Who is refused takes nothing.
// A now before that of an earlier call counts as that.
func (b *Bucket) Take(r Rate, now, patience time.Duration) (v Verdict) {
	b.settle(r, now)
	room := int64(r.Burst) * token
	v.Wait = ceil(b.debt+token-room, r)
	v.OK = v.Wait <= patience && b.debt <= math.MaxInt64-2*token
	if v.OK {
		b.debt += token
	}
	v.Remaining = int(max(0, room-b.debt) / token)
	v.Full = ceil(b.debt, r)
	return v
}

// Return gives back a token that was taken and not used.
func (b *Bucket) Return() { b.debt = max(0, b.debt-token) }

// FullAt reports whether the bucket is full at the time now: then it is as good as a new one.
func (b *Bucket) FullAt(r Rate, now time.Duration) bool {
	return now-b.last >= ceil(b.debt, r)
}

// settle counts what has come in since the last call.
func (b *Bucket) settle(r Rate, now time.Duration) {
	passed := now - b.last
	if passed <= 0 {
		return
	}
	b.last = now
	if passed >= ceil(b.debt, r) { // so that the product below cannot overflow
		b.debt = 0
		return
	}
	b.debt -= int64(passed) * int64(r.PerSecond)
}

// ceil is how long it takes until a debt is paid, at least 0.
func ceil(debt int64, r Rate) time.Duration {
	if debt <= 0 {
		return 0
	}
	return time.Duration((debt-1)/int64(r.PerSecond) + 1)
}
