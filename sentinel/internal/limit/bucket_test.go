package limit

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// naive is a token bucket as one would explain it, in fractions.
type naive struct {
	rate   Rate
	tokens *big.Rat
	last   time.Duration
}

func newNaive(r Rate) *naive { return &naive{rate: r, tokens: big.NewRat(int64(r.Burst), 1)} }

// fill adds what came since.
func (n *naive) fill(now time.Duration) {
	if now <= n.last {
		return
	}
	n.tokens.Add(n.tokens, new(big.Rat).Mul(big.NewRat(int64(now-n.last), int64(time.Second)), big.NewRat(int64(n.rate.PerSecond), 1)))
	n.last = now
	if burst := big.NewRat(int64(n.rate.Burst), 1); n.tokens.Cmp(burst) > 0 {
		n.tokens.Set(burst)
	}
}

// until is the first nanosecond at which there are so many tokens.
func (n *naive) until(tokens int64) time.Duration {
	missing := new(big.Rat).Sub(big.NewRat(tokens, 1), n.tokens)
	if missing.Sign() <= 0 {
		return 0
	}
	missing.Mul(missing, big.NewRat(int64(time.Second), int64(n.rate.PerSecond)))
	whole, rest := new(big.Int).QuoRem(missing.Num(), missing.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	return time.Duration(whole.Int64())
}

func (n *naive) take(now, patience time.Duration) (v Verdict) {
	n.fill(now)
	v.Wait = n.until(1)
	if v.OK = v.Wait <= patience; v.OK {
		n.tokens.Sub(n.tokens, big.NewRat(1, 1))
	}
	if n.tokens.Sign() > 0 {
		v.Remaining = int(new(big.Int).Quo(n.tokens.Num(), n.tokens.Denom()).Int64())
	}
	v.Full = n.until(int64(n.rate.Burst))
	return v
}

func (n *naive) giveBack() {
	n.tokens.Add(n.tokens, big.NewRat(1, 1))
	if burst := big.NewRat(int64(n.rate.Burst), 1); n.tokens.Cmp(burst) > 0 {
		n.tokens.Set(burst)
	}
}

var rates = rapid.Custom(func(t *rapid.T) Rate {
	span := func(name string) int {
		return rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(1, 1<<31-1)).Draw(t, name)
	}
	return Rate{span("rate"), span("burst")}
})

// steps of time: none, backwards, tiny, some, and more than any bucket needs.
var steps = rapid.Custom(func(t *rapid.T) time.Duration {
	return time.Duration(rapid.OneOf(
		rapid.Just(int64(0)), rapid.Int64Range(-100, 100), rapid.Int64Range(0, int64(3*time.Second)), rapid.Int64Range(0, int64(time.Hour*24*365*100)),
	).Draw(t, "step"))
})

var patiences = rapid.Custom(func(t *rapid.T) time.Duration {
	return time.Duration(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, int64(10*time.Second))).Draw(t, "patience"))
})

// TestBucketIsExact compares every answer of a bucket with the naive one's, to the nanosecond.
func TestBucketIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rates.Draw(t, "rate")
		model, now := newNaive(r), time.Duration(0)
		var b Bucket
		for range rapid.IntRange(1, 60).Draw(t, "calls") {
			now = max(0, now+steps.Draw(t, "step"))
			if now > 1<<61 {
				return
			}
			if rapid.IntRange(0, 9).Draw(t, "what") == 0 {
				b.Return()
				model.giveBack()
				continue
			}
			patience := patiences.Draw(t, "patience")
			got, want := b.Take(r, now, patience), model.take(now, patience)
			if got != want {
				t.Fatalf("at %d with patience %d: %+v, want %+v", now, patience, got, want)
			}
			if later := model.last + got.Full; !b.FullAt(r, later) || got.Full > 0 && b.FullAt(r, later-1) {
				t.Fatalf("at %d it is said to be full in %d, and is not full then, or before", now, got.Full)
			}
		}
	})
}

// TestBucketPromise holds what operators count on: in any span of time no more pass than Burst and the rate
// allow, and one who comes no faster than the rate is never refused.
func TestBucketPromise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{rapid.IntRange(1, 1000).Draw(t, "rate"), rapid.IntRange(1, 50).Draw(t, "burst")}
		var b Bucket
		var passed []time.Duration
		now := time.Duration(0)
		for range 200 {
			now += time.Duration(rapid.Int64Range(0, int64(20*time.Millisecond)).Draw(t, "step"))
			if v := b.Take(r, now, patiences.Draw(t, "patience")); v.OK {
				passed = append(passed, now+v.Wait)
			}
		}
		for i := range passed {
			for j := i; j < len(passed); j++ {
				span := passed[j] - passed[i]
				if most := int64(r.Burst) + int64(span)*int64(r.PerSecond)/int64(time.Second) + 1; int64(j-i+1) > most {
					t.Fatalf("%d passed within %v, at most %d may", j-i+1, span, most)
				}
			}
		}
		every := time.Second/time.Duration(r.PerSecond) + 1
		for range 100 {
			now += every
			b.Take(r, now, 0)
		}
		if v := b.Take(r, now+every, 0); !v.OK {
			t.Fatalf("one who keeps to the rate is refused: %+v", v)
		}
	})
}

func TestBucketZero(t *testing.T) {
	t.Parallel()
	var b Bucket
	r := Rate{PerSecond: 2, Burst: 3}
	for want := 2; want >= 0; want-- {
		if v := b.Take(r, 0, 0); !v.OK || v.Wait != 0 || v.Remaining != want {
			t.Fatalf("%+v, want %d tokens left", v, want)
		}
	}
	if v := b.Take(r, 0, 0); v.OK || v.Wait != 500*time.Millisecond || v.Full != 1500*time.Millisecond {
		t.Fatalf("%+v, want a refusal for half a second", v)
	}
	if v := b.Take(r, 0, time.Second); !v.OK || v.Wait != 500*time.Millisecond {
		t.Fatalf("%+v, want the token that comes in half a second", v)
	}
	if v := b.Take(r, 0, time.Second); !v.OK || v.Wait != time.Second {
		t.Fatalf("%+v, want the one after it", v)
	}
	if v := b.Take(r, 0, time.Second); v.OK {
		t.Fatalf("%+v: the third comes too late", v)
	}
}
