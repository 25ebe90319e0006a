package agents

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

var unixDialects = []Dialect{V1, V2D, V2R}

// TestChecklist01V1TwoRequests has two requests interleave their events on one connection.
func TestChecklist01V1TwoRequests(t *testing.T) {
	f := echoing(t, V1)
	o := options(f.path)
	o.MaxCalls, o.Protocol = 1, 1
	a := begin(t, o)
	var s [2]Session
	ids := []string{"one", "two"}
	for i := range s {
		s[i].Begin(a, []byte(ids[i]))
	}
	for _, kind := range []EventKind{RequestHeaders, RequestBody, ResponseHeaders, ResponseBody} {
		for i := range s {
			v, err := ask(t, &s[i], event(kind, ids[i]))
			body(t, v, err, ids[i]+" "+eventTypes[kind])
		}
	}
	for i := range s {
		s[i].End(event(RequestComplete, ids[i]))
	}
	if n := f.connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestChecklist02V1Pinned has many requests at once: each uses one connection for all its events.
func TestChecklist02V1Pinned(t *testing.T) {
	var mu sync.Mutex
	where := map[string]int{}
	var astray []string
	f := handling(t, V1, func(p *peer, q *inquiry) {
		mu.Lock()
		if q.event == "request_headers" {
			where[q.id()] = p.serial
		} else if where[q.id()] != p.serial {
			astray = append(astray, q.id())
		}
		mu.Unlock()
		p.send(0, p.echo(q))
	})
	o := options(f.path)
	o.Protocol = 1
	a := begin(t, o)
	var work sync.WaitGroup
	for n := range 50 {
		work.Go(func() {
			id := fmt.Sprint("r", n)
			var s Session
			s.Begin(a, []byte(id))
			for _, kind := range []EventKind{RequestHeaders, RequestBody, ResponseHeaders} {
				v, err := ask(t, &s, event(kind, id))
				if err != nil || v.Body != id+" "+eventTypes[kind] {
					t.Errorf("%s: %+v, %v", id, v, err)
				}
			}
			s.End(event(RequestComplete, id))
		})
	}
	work.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(astray) > 0 {
		t.Errorf("on other connections: %v", astray)
	}
}

// TestChecklist03LateReply shows in every dialect that a late verdict is nobody's.
func TestChecklist03LateReply(t *testing.T) {
	for _, d := range unixDialects {
		t.Run(d.String(), func(t *testing.T) {
			slow := make(chan struct{})
			f := handling(t, d, func(p *peer, q *inquiry) {
				if q.id() == "slow" {
					<-slow
				}
				p.send(typeVerdict, p.echo(q))
			})
			o := options(f.path)
			o.Links = 1
			a := begin(t, o)
			_, err := one(t, a, "first", patience)
			if err != nil {
				t.Fatal(err)
			}
			_, err = one(t, a, "slow", 30*time.Millisecond)
			expect(t, err, TimedOutCall)
			close(slow)
			v, err := one(t, a, "next", patience)
			if err != nil || !strings.HasPrefix(v.Body, "next ") {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}

// TestChecklist04V1Versions has replies of any version, and successes where they belong.
func TestChecklist04V1Versions(t *testing.T) {
	for _, version := range []string{`"version":1,`, `"version":2,`, `"version":null,`, ""} {
		f := handling(t, V1, func(p *peer, _ *inquiry) { p.send(0, `{`+version+`"decision":"allow"}`) })
		o := options(f.path)
		o.Config = []byte(`{"a":1}`)
		a := begin(t, o)
		for range 3 { // each ends with a request_complete, whose success is nobody's verdict
			v, err := one(t, a, "x", patience)
			allowed(t, v, err)
		}
	}
}

// TestChecklist05Configure has agents without a config, with one, and rejecting it.
func TestChecklist05Configure(t *testing.T) {
	for name, test := range map[string]struct {
		config []byte
		answer string
		taken  bool
	}{
		"none":                {nil, "", true},
		"taken":               {[]byte(`{"a":1}`), `{"success":true}`, true},
		"taken by decision":   {[]byte(`{"a":1}`), `{"version":1,"decision":"allow"}`, true},
		"refused":             {[]byte(`{"a":1}`), `{"success":false,"error":"bad a"}`, false},
		"refused by decision": {[]byte(`{"a":1}`), `{"decision":{"block":{"status":500,"body":"bad a"}}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var events []string
			f := newFake(t, V1, func(p *peer) {
				for {
					q, err := p.next()
					if err != nil {
						return
					}
					mu.Lock()
					events = append(events, q.event)
					mu.Unlock()
					if q.event == "configure" {
						p.send(0, test.answer)
					} else {
						p.send(0, p.reply(&q, `"allow"`, ""))
					}
				}
			})
			n := newNotices()
			o := options(f.path)
			o.Protocol, o.Config, o.Notify = 1, test.config, n.add
			a := begin(t, o)
			if test.taken {
				v, err := one(t, a, "x", patience)
				allowed(t, v, err)
			} else {
				if notice := n.await(t, ConfigRejected); !strings.Contains(notice.Detail, "bad a") {
					t.Errorf("%+v", notice)
				}
				_, err := one(t, a, "x", patience)
				expect(t, err, Unavailable)
			}
			mu.Lock()
			defer mu.Unlock()
			configures := strings.Count(strings.Join(events, " "), "configure")
			if test.config == nil && configures > 0 || test.config != nil && (configures == 0 || events[0] != "configure") {
				t.Errorf("events %v", events)
			}
			if !test.taken && len(events) != configures {
				t.Errorf("asked an agent that rejects its config: %v", events)
			}
		})
	}
}

// TestChecklist06Auto finds out every dialect, a silent agent's too.
func TestChecklist06Auto(t *testing.T) {
	for _, d := range unixDialects {
		t.Run(d.String(), func(t *testing.T) {
			f := echoing(t, d)
			if d == V1 { // closes on what is no JSON, and so will the strict one
				f.play(closingOnV2(f))
			}
			a := begin(t, options(f.path))
			_, err := one(t, a, "x", patience)
			if err != nil || a.State().Dialect != d {
				t.Errorf("%v in %s", err, a.State().Dialect)
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		f := handling(t, V1, nil)
		f.play(func(p *peer) {
			if first, _ := p.r.Peek(5); len(first) == 5 && first[4] != '{' {
				_, _ = io.Copy(io.Discard, p.r)
				return
			}
			f.answering(func(p *peer, q *inquiry) { p.send(0, p.echo(q)) })(p)
		})
		o := options(f.path)
		o.Timeout = 50 * time.Millisecond
		a := begin(t, o)
		v, err := one(t, a, "x", patience)
		body(t, v, err, "x request_headers")
	})
}

// closingOnV2 is a V1 agent that ends the connection on a handshake.
func closingOnV2(f *fake) func(*peer) {
	return func(p *peer) {
		if first, _ := p.r.Peek(5); len(first) == 5 && first[4] == '{' {
			f.answering(func(p *peer, q *inquiry) { p.send(0, p.echo(q)) })(p)
		}
	}
}

// TestChecklist07V2DReplyZero fails the oldest inquiry, and drops replies for unknown ids and duplicates.
func TestChecklist07V2DReplyZero(t *testing.T) {
	second := make(chan struct{})
	first := make(chan struct{})
	f := handling(t, V2D, func(p *peer, q *inquiry) {
		switch q.id() {
		case "old":
			close(first)
			<-second // the young one is in the pipe
		case "young":
			p.send(typeVerdict, `{"request_id":99,"decision":"allow"}`)
			p.send(typeVerdict, `{"request_id":0,"decision":"allow"}`)
			p.send(typeVerdict, p.echo(q))
			p.send(typeVerdict, p.echo(q))
		}
	})
	o := options(f.path)
	o.Links, o.Protocol = 1, 2
	a := begin(t, o)
	var work sync.WaitGroup
	work.Go(func() {
		_, err := one(t, a, "old", patience)
		expectSoftly(t, err, BadReply)
	})
	<-first
	work.Go(func() {
		v, err := one(t, a, "young", patience)
		if err != nil || v.Body != "young 0x10" {
			t.Errorf("%+v, %v", v, err)
		}
	})
	for a.State().InFlight < 2 {
		waitABit(t)
	}
	close(second)
	work.Wait()
	for a.State().Unknown < 2 {
		waitABit(t)
	}
}

func expectSoftly(t *testing.T, err error, kind FailureKind) {
	t.Helper()
	if f := asFailure(err); err == nil || f.Kind != kind {
		t.Errorf("%v, want a failure of kind %s", err, kind)
	}
}

// waitABit yields while something is awaited that has no event; the test's own timeout bounds it.
func waitABit(t testing.TB) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal("the test is over")
	case <-time.After(time.Millisecond):
	}
}

// TestChecklist08NotAccepted closes the connection of an agent that refuses, in both dialects, or speaks
// another version.
func TestChecklist08NotAccepted(t *testing.T) {
	for name, reply := range map[string]string{
		"V2D refuses":     `{"protocol_version":2,"agent_name":"a","capabilities":null,"error":"unsupported","accepted":false}`,
		"V2D with errors": `{"protocol_version":2,"agent_name":"a","error":"unsupported"}`,
		"V2R refuses":     `{"protocol_version":2,"success":false,"error":"unsupported"}`,
		"version 3":       `{"protocol_version":3,"accepted":true}`,
		"msgpack":         `{"protocol_version":2,"success":true,"encoding":"msgpack"}`,
		"garbage":         `{`,
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan struct{}, 1)
			f := newFake(t, V2D, func(p *peer) {
				if _, err := p.next(); err != nil {
					return
				}
				p.send(typeHandshakeReply, reply)
				if _, err := io.Copy(io.Discard, p.r); err == nil {
					select {
					case closed <- struct{}{}:
					default:
					}
				}
			})
			a := begin(t, options(f.path))
			_, err := one(t, a, "x", patience)
			expect(t, err, Unavailable)
			select {
			case <-closed:
			case <-time.After(patience):
				t.Error("the connection stays open")
			}
		})
	}
}

// TestChecklist09OwnColumn runs whole requests, cancellations, pings and a shutdown past agents that fail on
// what their dialect does not have.
func TestChecklist09OwnColumn(t *testing.T) {
	for _, d := range unixDialects {
		t.Run(d.String(), func(t *testing.T) {
			f := echoing(t, d)
			o := options(f.path)
			o.Config = []byte(`{"a":[1]}`)
			o.Protocol = 2
			if d == V1 {
				o.Protocol = 1
			}
			a := begin(t, o)
			for n := range 8 {
				var s Session
				s.Begin(a, []byte("x"))
				for _, kind := range []EventKind{RequestHeaders, RequestBody, ResponseHeaders, ResponseBody} {
					v, err := ask(t, &s, event(kind, "x"))
					if err != nil || v.Body == "" {
						t.Fatalf("%+v, %v", v, err)
					}
				}
				if n%2 == 0 {
					s.End(event(RequestComplete, "x"))
				} else {
					s.Cancel(ClientDisconnect)
				}
			}
			for _, m := range a.pool.members {
				if err := m.ping(t.Context()); err != nil {
					t.Error(err)
				}
			}
			a.Close(patience)
		})
	}
}

// TestChecklist11TwoProxies has the ids of two proxies apart.
func TestChecklist11TwoProxies(t *testing.T) {
	var mu sync.Mutex
	seen := map[float64]bool{}
	f := handling(t, V2D, func(p *peer, q *inquiry) {
		mu.Lock()
		defer mu.Unlock()
		id := q.body["request_id"].(float64)
		if seen[id] || id < 1 || id > 1<<53-1 {
			t.Errorf("id %.0f again, or out of range", id)
		}
		seen[id] = true
		p.send(typeVerdict, p.echo(q))
	})
	for range 2 {
		a := begin(t, options(f.path))
		for range 50 {
			if _, err := one(t, a, "x", patience); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestChecklist16BreakerRecovers has a breaker that wants more successes than it admits probes at a time.
func TestChecklist16BreakerRecovers(t *testing.T) {
	for _, d := range unixDialects {
		t.Run(d.String(), func(t *testing.T) {
			var mu sync.Mutex
			broken := true
			f := handling(t, d, func(p *peer, q *inquiry) {
				mu.Lock()
				defer mu.Unlock()
				if broken {
					p.send(typeVerdict, p.reply(q, `"maybe"`, ""))
					return
				}
				p.send(typeVerdict, p.echo(q))
			})
			n := newNotices()
			o := options(f.path)
			o.Notify = n.add
			o.Breaker.FailureThreshold, o.Breaker.SuccessThreshold, o.Breaker.Timeout = 2, 3, time.Millisecond
			a := begin(t, o)
			for range 2 {
				_, err := one(t, a, "x", patience)
				expect(t, err, BadReply)
			}
			n.await(t, BreakerChanged)
			mu.Lock()
			broken = false
			mu.Unlock()
			for a.State().Breaker.String() != "closed" {
				if _, err := one(t, a, "x", patience); err != nil {
					waitABit(t)
				}
			}
		})
	}
}

// TestChecklist17Restart kills an agent and starts it again, its breaker being open.
func TestChecklist17Restart(t *testing.T) {
	for _, d := range unixDialects {
		t.Run(d.String(), func(t *testing.T) {
			f := echoing(t, d)
			n := newNotices()
			o := options(f.path)
			o.Notify = n.add
			o.Breaker.FailureThreshold, o.Breaker.Timeout = 1, time.Hour
			a := begin(t, o)
			n.await(t, Connected)
			f.stop()
			n.await(t, Disconnected)
			_, err := one(t, a, "x", patience)
			expect(t, err, Unavailable)
			_, err = one(t, a, "x", patience)
			expect(t, err, BreakerOpen)
			f.start()
			n.await(t, Connected)
			if _, err := one(t, a, "y", patience); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestChecklist18Drain has an agent answer what it has, and leave: what comes after goes to a new connection.
func TestChecklist18Drain(t *testing.T) {
	for _, d := range unixDialects {
		t.Run(d.String(), func(t *testing.T) {
			f := newFake(t, d, func(p *peer) { // one answer for each connection
				if !p.greet() {
					return
				}
				for {
					q, err := p.next()
					if err != nil {
						return
					}
					if q.asks() {
						p.send(typeVerdict, p.echo(&q))
						return
					}
				}
			})
			o := options(f.path)
			o.Protocol = 2
			if d == V1 {
				o.Protocol = 1
			}
			a := begin(t, o)
			for n := range 40 {
				id := fmt.Sprint("r", n)
				v, err := one(t, a, id, patience)
				if err != nil || !strings.HasPrefix(v.Body, id+" ") {
					t.Fatalf("%d: %+v, %v", n, v, err)
				}
			}
		})
	}
}
