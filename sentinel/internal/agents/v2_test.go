package agents

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestV2Abandoned keeps a connection on which verdicts come too late, and gives one up on which none come.
func TestV2Abandoned(t *testing.T) {
	for name, answers := range map[string]bool{"late": true, "never": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options("pipe")
				o.Links, o.Protocol, o.Breaker.FailureThreshold = 1, 2, 1<<20
				connections := 0
				piped(&o, V2D, func(p *peer) {
					connections++
					p.greet()
					for q, err := p.next(); err == nil; q, err = p.next() {
						if answers && q.asks() {
							time.Sleep(2 * time.Millisecond)
							p.send(typeVerdict, p.echo(&q))
						}
					}
				})
				a := begin(t, o)
				for range maxAbandoned + 2 {
					_, err := one(t, a, "x", time.Millisecond)
					expectSoftly(t, err, TimedOutCall)
					time.Sleep(2 * time.Millisecond)
				}
				if kept := connections == 1; kept != answers {
					t.Errorf("%d connections", connections)
				}
				a.Close(0)
				time.Sleep(time.Second)
			})
		})
	}
}

// TestV2Cancels tells the agent of what is given up, and why.
func TestV2Cancels(t *testing.T) {
	for _, d := range []Dialect{V2D, V2R} {
		t.Run(d.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options("pipe")
				o.Links, o.Protocol = 1, 2
				reasons := make(chan any, 10)
				piped(&o, d, func(p *peer) {
					p.greet()
					for q, err := p.next(); err == nil; q, err = p.next() {
						if q.kind == typesV2D.cancel || q.kind == typesV2R.cancel {
							reasons <- q.body["reason"]
						}
					}
				})
				a := begin(t, o)
				_, err := one(t, a, "x", time.Second)
				expect(t, err, TimedOutCall)
				synctest.Wait()
				go func() {
					_, err := one(t, a, "y", time.Minute)
					expectSoftly(t, err, Unavailable)
				}()
				synctest.Wait()
				a.Close(0)
				want := []any{"timeout", "proxy_shutdown"}
				if d == V2R {
					want = []any{float64(TimedOut), float64(ProxyShutdown)}
				}
				for _, reason := range want {
					if got := <-reasons; got != reason {
						t.Errorf("%v, want %v", got, reason)
					}
				}
				if len(reasons) > 0 {
					t.Errorf("%d cancellations more", len(reasons))
				}
			})
		})
	}
}

// TestV2LargeFrames has frames that fill the socket go out whole, one after the other.
func TestV2LargeFrames(t *testing.T) {
	const events, repeats = 16, 20 << 10
	f := handling(t, V2D, func(p *peer, q *inquiry) {
		if q.kind == typeRequestHeaders+byte(RequestBody) {
			data, err := base64.StdEncoding.DecodeString(q.body["data"].(string))
			if want := bytes.Repeat([]byte(q.id()), repeats); err != nil || !bytes.Equal(data, want) {
				t.Errorf("%s: another body, %v", q.id(), err)
			}
		}
		p.send(typeVerdict, p.echo(q))
	})
	o := options(f.path)
	o.Links, o.Protocol = 1, 2
	a := begin(t, o)
	var work sync.WaitGroup
	for n := range events {
		work.Go(func() {
			id := fmt.Sprintf("request-%d", n)
			var s Session
			s.Begin(a, []byte(id))
			defer s.End(event(RequestComplete, id))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for range 2 {
				e := event(RequestBody, id)
				e.Chunk.Data = bytes.Repeat([]byte(id), repeats)
				if v, err := s.Ask(ctx, e); err != nil || v.Body != id+" 0x11" {
					t.Errorf("%s: %+v, %v", id, v, err)
					return
				}
			}
		})
	}
	work.Wait()
}
