package agents

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRedial waits longer after each failure, at most a second, and never gives up.
func TestRedial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		o := options("nowhere")
		o.dialer = func(context.Context) (net.Conn, error) {
			at = append(at, time.Now())
			return nil, errors.New("refused")
		}
		a := begin(t, o)
		time.Sleep(time.Hour)
		a.Close(0)
		if len(at) < 3600 {
			t.Fatalf("%d attempts in an hour", len(at))
		}
		most := 10 * time.Millisecond
		for i := range len(at) - 1 {
			if gap := at[i+1].Sub(at[i]); gap < most/2 || gap > most {
				t.Fatalf("%v before attempt %d, want %v at most", gap, i+1, most)
			}
			most = min(2*most, time.Second)
		}
	})
}

// TestDeadlines has calls end when their contexts do, whatever they wait for.
func TestDeadlines(t *testing.T) {
	for name, d := range map[string]Dialect{"v1": V1, "v2d": V2D, "v2r": V2R, "connection": NoDialect, "slot": V2D} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options("pipe")
				o.Protocol = min(int(d), 2)
				piped(&o, d, func(p *peer) {
					for p.greet(); ; {
						if _, err := p.next(); err != nil {
							return
						}
					}
				})
				if name == "connection" {
					o.Protocol, o.Timeout = 2, time.Minute
					piped(&o, V1, func(p *peer) { _, _ = p.r.ReadByte(); <-t.Context().Done() })
				}
				if name == "slot" {
					o.MaxCalls = 1
				}
				a := begin(t, o)
				calls := 1
				if name == "slot" {
					calls = 2
				}
				done := make(chan error, calls)
				for range calls {
					go func() {
						start := time.Now()
						_, err := one(t, a, "x", 300*time.Millisecond)
						if took := time.Since(start); took != 300*time.Millisecond {
							t.Errorf("%v", took)
						}
						done <- err
					}()
				}
				for range calls {
					expect(t, <-done, TimedOutCall)
				}
			})
		})
	}
}

// TestPing notices an agent that has gone silent while nobody asks it.
func TestPing(t *testing.T) {
	for _, d := range []Dialect{V2D, V2R} {
		t.Run(d.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var connections, pings atomic.Int64
				var mute atomic.Bool
				o := options("pipe")
				o.Protocol, o.Links = 2, 1
				n := newNotices()
				o.Notify = n.add
				piped(&o, d, func(p *peer) {
					connections.Add(1)
					for p.greet(); ; {
						q, err := p.next()
						if err != nil {
							return
						}
						pings.Add(1)
						if !mute.Load() {
							p.send(q.kind+1, string(q.raw))
						}
					}
				})
				begin(t, o)
				time.Sleep(time.Minute + time.Second)
				synctest.Wait()
				if c, p := connections.Load(), pings.Load(); c != 1 || p < 5 || p > 6 {
					t.Errorf("%d connections, %d pings in a minute", c, p)
				}
				mute.Store(true)
				time.Sleep(pingEvery + pingAtMost + time.Second)
				synctest.Wait()
				n.await(t, Disconnected)
				n.await(t, Connected)
				if connections.Load() < 2 {
					t.Error("a link that does not answer is kept")
				}
			})
		})
	}
}

// TestIdleV1 keeps few connections, and one for good.
func TestIdleV1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options("pipe")
		o.Protocol, o.MaxIdle, o.IdleTimeout = 1, 3, time.Minute
		piped(&o, V1, func(p *peer) {
			for {
				q, err := p.next()
				if err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
				p.send(0, p.echo(&q))
			}
		})
		a := begin(t, o)
		synctest.Wait()
		done := make(chan error)
		for range 10 {
			go func() {
				_, err := one(t, a, "x", time.Second)
				done <- err
			}()
		}
		for range 10 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		links := []int{a.State().Links}
		for _, wait := range []time.Duration{3 * time.Second, time.Minute} {
			time.Sleep(wait)
			links = append(links, a.State().Links)
		}
		if links[0] != 10 || links[1] != 3 || links[2] != 1 {
			t.Errorf("%v links, want 10, 3, 1", links)
		}
	})
}

// TestDrain has Close wait for sessions, and no longer than it was told.
func TestDrain(t *testing.T) {
	for name, ends := range map[string]bool{"ends": true, "does not end": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options("pipe")
				o.Protocol = 2
				piped(&o, V2D, func(p *peer) {
					for p.greet(); ; {
						q, err := p.next()
						if err != nil {
							return
						}
						switch q.kind {
						case typesV2D.cancel:
						case typesV2D.ping:
							p.send(q.kind+1, string(q.raw))
						default:
							p.send(typeVerdict, p.echo(&q))
						}
					}
				})
				a := begin(t, o)
				var s Session
				s.Begin(a, []byte("x"))
				if _, err := s.Ask(t.Context(), event(RequestHeaders, "x")); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				closed := make(chan time.Duration)
				go func() {
					a.Close(time.Minute)
					closed <- time.Since(start)
				}()
				time.Sleep(time.Second)
				_, err := one(t, a, "new", time.Second)
				expect(t, err, Unavailable)
				if _, err := s.Ask(t.Context(), event(RequestBody, "x")); err != nil {
					t.Errorf("a session that has begun: %v", err)
				}
				want := time.Minute
				if ends {
					want = time.Second
					s.End(event(RequestComplete, "x"))
				}
				if took := <-closed; took != want {
					t.Errorf("closed after %v, want %v", took, want)
				}
			})
		})
	}
}

// TestRestartedWithConfig configures an agent again before anything is asked on any of its connections.
func TestRestartedWithConfig(t *testing.T) {
	configured := make(chan bool, 100)
	var mu sync.Mutex
	ready := false
	f := newFake(t, V1, func(p *peer) {
		for {
			q, err := p.next()
			if err != nil {
				return
			}
			mu.Lock()
			if q.event == "configure" {
				ready = true
				p.send(0, `{"success":true}`)
			} else {
				configured <- ready
				p.send(0, p.reply(&q, `"allow"`, ""))
			}
			mu.Unlock()
		}
	})
	n := newNotices()
	o := options(f.path)
	o.Protocol, o.Config, o.Notify = 1, []byte(`{"a":1}`), n.add
	a := begin(t, o)
	for range 3 {
		n.await(t, Connected)
		if _, err := one(t, a, "x", patience); err != nil || !<-configured {
			t.Errorf("asked before it was configured, or %v", err)
		}
		f.stop()
		n.await(t, Disconnected)
		mu.Lock()
		ready = false
		mu.Unlock()
		for len(configured) > 0 {
			<-configured
		}
		f.start()
	}
}
