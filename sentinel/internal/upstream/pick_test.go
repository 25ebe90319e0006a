package upstream

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/balance"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/health"
)

// pick claims a target now.
func pick(t testing.TB, p *Pool) *Visit {
	t.Helper()
	v := &Visit{Now: time.Now()}
	if err := p.Pick(v); err != nil {
		t.Fatal(err)
	}
	return v
}

// done ends a claim now.
func done(v *Visit, o Outcome) { v.Done(o, "cause", time.Millisecond, time.Now()) }

// serve makes n requests that all end as the target's entry in fate says.
func serve(t testing.TB, p *Pool, n int, fate map[*Target]Outcome) (got map[*Target]int) {
	t.Helper()
	got = map[*Target]int{}
	for range n {
		v := pick(t, p)
		got[v.Target()]++
		o, written := fate[v.Target()]
		if !written {
			o = Success
		}
		done(v, o)
	}
	return got
}

func expectPick(t *testing.T, p *Pool, want error) {
	t.Helper()
	v := &Visit{Now: time.Now()}
	if err := p.Pick(v); !errors.Is(err, want) || err == nil && want != nil {
		t.Errorf("picked %v, %v; want %v", v.Target(), err, want)
	}
	v.Done(Abandoned, "", 0, time.Now())
}

// TestEligible takes each objection to a target in turn: the other target gets everything.
func TestEligible(t *testing.T) {
	t.Parallel()
	for name, object := range map[string]func(*Target){
		"unhealthy":        func(t *Target) { t.down.Store(true) },
		"ejected":          func(t *Target) { t.ejection.Trip(time.Now(), time.Minute, "test") },
		"breaker open":     func(t *Target) { t.breaker.Trip(time.Now(), time.Minute, "test") },
		"at its limit":     func(t *Target) { t.node.InFlight.Store(int32(t.limit)) },
		"over its limit":   func(t *Target) { t.node.InFlight.Store(int32(t.limit) + 1) },
		"all of it":        func(t *Target) { t.down.Store(true); t.ejection.Trip(time.Now(), time.Minute, "test") },
		"ejected and down": func(t *Target) { t.ejection.Trip(time.Now(), time.Minute, "test"); t.down.Store(true) },
	} {
		for _, algorithm := range balance.Algorithms() {
			t.Run(name+", "+algorithm, func(t *testing.T) {
				t.Parallel()
				p := poolOfMany(t, 2, func(o *Options) { o.LoadBalancing = algorithm })
				object(p.targets[0])
				if got := serve(t, p, 50, nil); got[p.targets[1]] != 50 {
					t.Errorf("the other target got %d of 50", got[p.targets[1]])
				}
				if p.targets[0].State(time.Now()).Eligible {
					t.Error("the state calls it eligible")
				}
			})
		}
	}
}

// TestNobody says which error each way of having no target gives.
func TestNobody(t *testing.T) {
	t.Parallel()
	down := func(t *Target) { t.down.Store(true) }
	open := func(t *Target) { t.breaker.Trip(time.Now(), time.Minute, "test") }
	full := func(t *Target) { t.node.InFlight.Store(int32(t.limit)) }
	ejected := func(t *Target) { t.ejection.Trip(time.Now(), time.Minute, "test") }
	for _, test := range []struct {
		name          string
		first, second func(*Target)
		want          error
	}{
		{"all unhealthy", down, down, ErrNoTarget},
		{"all open", open, open, ErrOpen},
		{"open and unhealthy", open, down, ErrOpen},
		{"all full", full, full, ErrBusy},
		{"full and open", full, open, ErrBusy},
		{"full and ejected", full, ejected, ErrBusy}, // the guard is for ejections, not for load
		{"ejected and open", ejected, open, nil},
		{"all ejected", ejected, ejected, nil},
		{"ejected and unhealthy", ejected, down, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := poolOfMany(t, 2, nil)
			test.first(p.targets[0])
			test.second(p.targets[1])
			expectPick(t, p, test.want)
		})
	}
	t.Run("drained", func(t *testing.T) {
		t.Parallel()
		p := poolOfMany(t, 2, func(o *Options) { o.Targets[0].Weight, o.Targets[1].Weight = 0, 0 })
		expectPick(t, p, ErrNoTarget)
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		expectPick(t, poolOfMany(t, 0, nil), ErrNoTarget)
	})
}

// TestPanicGuard shows that ejections are ignored while everybody is ejected, and are no longer once
// somebody is well.
func TestPanicGuard(t *testing.T) {
	t.Parallel()
	var events []EventKind
	p := poolOfMany(t, 2, func(o *Options) { o.Event = func(e Event) { events = append(events, e.Kind) } })
	for _, target := range p.targets {
		target.ejection.Trip(time.Now(), time.Minute, "test")
	}
	got := serve(t, p, 10, nil)
	if !p.Panicked() || got[p.targets[0]] == 0 || got[p.targets[1]] == 0 {
		t.Errorf("panic %t, shares %v", p.Panicked(), got)
	}
	p.targets[1].ejection.Close("test")
	if got = serve(t, p, 10, nil); p.Panicked() || got[p.targets[1]] != 10 {
		t.Errorf("panic %t, shares %v", p.Panicked(), got)
	}
	if want := []EventKind{Ejected, Ejected, PanicBegan, Readmitted, PanicEnded}; !slices.Equal(events, want) {
		t.Errorf("events %v, want %v", events, want)
	}
}

// TestUntriedFirst shows in which order a visit goes to targets.
func TestUntriedFirst(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		p := poolOfMany(t, 3, nil)
		v, seen := &Visit{Now: time.Now(), Again: again}, map[*Target]int{}
		for range 3 {
			if err := p.Pick(v); err != nil {
				t.Fatal(err)
			}
			seen[v.Target()]++
			done(v, Abandoned)
		}
		if len(seen) != 3 {
			t.Errorf("three attempts went to %d targets", len(seen))
		}
		if err := p.Pick(v); again && err != nil || !again && !errors.Is(err, ErrNoTarget) {
			t.Errorf("again %t: %v", again, err)
		}
		done(v, Abandoned)
		v.Reset()
		if v.Now = time.Now(); p.Pick(v) != nil {
			t.Error("after a reset nothing is tried")
		}
	}
}

// TestClaims shows that targets never have more in flight than they may, and nothing stays behind.
func TestClaims(t *testing.T) {
	t.Parallel()
	p := poolOfMany(t, 3, func(o *Options) { o.MaxConnections, o.MaxPending, o.Targets[0].MaxRequests = 3, 1000, 1 })
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			v := &Visit{}
			for range 200 {
				v.Now = time.Now()
				err := p.Pick(v)
				if errors.Is(err, ErrBusy) {
					err = p.Wait(context.Background(), v)
				}
				if err != nil {
					t.Errorf("no target: %v", err)
					return
				}
				for i, most := range []int32{1, 3, 3} {
					if n := p.targets[i].node.InFlight.Load(); n > most || n < 0 {
						t.Errorf("target %d has %d in flight", i, n)
					}
				}
				done(v, Success)
				v.Reset()
			}
		})
	}
	all.Wait()
	for _, target := range p.targets {
		if s := target.State(time.Now()); s.InFlight != 0 || !s.Eligible || s.Requests == 0 {
			t.Errorf("left behind: %+v", s)
		}
	}
	if p.Pending() != 0 {
		t.Errorf("%d still wait", p.Pending())
	}
}

// TestEnter shows that the last place is given once.
func TestEnter(t *testing.T) {
	t.Parallel()
	target := poolOfMany(t, 1, func(o *Options) { o.MaxConnections = 2 }).targets[0]
	for i, want := range []bool{true, true, false, false} {
		if got := target.enter(); got != want {
			t.Errorf("place %d: %t", i+1, got)
		}
	}
	target.leave()
	if !target.enter() || target.enter() {
		t.Error("one place given back is one to give")
	}
}

// TestLineComesFirst shows that a place which has just become free is for who waits, not for a newcomer.
func TestLineComesFirst(t *testing.T) {
	t.Parallel()
	p := poolOfMany(t, 1, nil)
	w, _ := p.pending.Join()
	expectPick(t, p, ErrBusy)
	w.Leave()
	expectPick(t, p, nil)
}

// TestWait covers the line: first come, first served, its end, its bound, and that whoever waits gets any
// target.
func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := poolOfMany(t, 1, func(o *Options) { o.MaxConnections, o.MaxPending, o.Connect = 1, 2, 5*time.Second })
		holder := pick(t, p)
		served := make(chan int, 2)
		var all sync.WaitGroup
		for i := range 2 {
			all.Go(func() {
				v := &Visit{Now: time.Now()}
				if err := p.Wait(context.Background(), v); err != nil {
					t.Errorf("waiter %d: %v", i, err)
				}
				served <- i
				time.Sleep(time.Second) // the request's work, in the bubble's time
				done(v, Success)
			})
			synctest.Wait()
		}
		if err := p.Wait(context.Background(), &Visit{Now: time.Now()}); !errors.Is(err, ErrBusy) || p.PendingRejected() != 1 {
			t.Errorf("a third in a line of two: %v, %d rejected", err, p.PendingRejected())
		}
		expectPick(t, p, ErrBusy)
		done(holder, Success)
		if first, second := <-served, <-served; first != 0 || second != 1 {
			t.Errorf("served %d before %d", first, second)
		}
		all.Wait()
	})
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := poolOfMany(t, 1, func(o *Options) { o.MaxConnections, o.Connect = 1, 5*time.Second })
		pick(t, p)
		start := time.Now()
		if err := p.Wait(context.Background(), &Visit{Now: start}); !errors.Is(err, ErrBusy) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, leave := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, leave)
		start = time.Now()
		if err := p.Wait(ctx, &Visit{Now: start}); !errors.Is(err, ErrBusy) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if p.Pending() != 0 {
			t.Errorf("%d still wait", p.Pending())
		}
	})
}

// TestWaitersHearOfHealth shows that whoever waits does so no longer when nobody is left to wait for.
func TestWaitersHearOfHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := poolOfMany(t, 1, func(o *Options) {
			o.MaxConnections, o.Check = 1, &Check{Thresholds: health.Thresholds{Healthy: 1, Unhealthy: 1}}
		})
		pick(t, p)
		time.AfterFunc(time.Second, func() { p.targets[0].turned(false, "test", time.Now()) })
		start := time.Now()
		if err := p.Wait(context.Background(), &Visit{Now: start}); !errors.Is(err, ErrNoTarget) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestTargetBreaker walks a target's breaker with requests: it opens, its time passes, one request at a
// time tries it, and it closes; what ended without a word gives its place back.
func TestTargetBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := poolOfMany(t, 1, nil)
		target := p.targets[0]
		serve(t, p, 5, map[*Target]Outcome{target: Failed})
		expectPick(t, p, ErrOpen)
		time.Sleep(30 * time.Second)
		trial := pick(t, p)
		if !trial.OnTrial() {
			t.Error("the first request after the time is no trial")
		}
		expectPick(t, p, ErrOpen)
		done(trial, Abandoned)
		trial = pick(t, p)
		trial.Answered(Success, "", 0, time.Now()) // its body goes on
		second := pick(t, p)
		done(second, Success)
		if s := target.breaker.State(); s != breaker.Closed {
			t.Errorf("state %v after two successes", s)
		}
		done(trial, Success)
		if n := target.node.InFlight.Load(); n != 0 {
			t.Errorf("%d in flight", n)
		}
	})
}

// TestStatusCounts shows which failures a breaker counts without and with a written block.
func TestStatusCounts(t *testing.T) {
	t.Parallel()
	for counts, want := range map[bool]breaker.State{false: breaker.Closed, true: breaker.Open} {
		p := poolOfMany(t, 1, func(o *Options) { o.CountsAnswers = counts })
		serve(t, p, 5, map[*Target]Outcome{p.targets[0]: BadAnswer})
		if got := p.targets[0].breaker.State(); got != want {
			t.Errorf("counting %t: %v, want %v", counts, got, want)
		}
	}
}

// TestSticksToClient shows that a hashing balancer gets the client's address without its port.
func TestSticksToClient(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"ip_hash", "consistent_hash", "maglev"} {
		p := poolOfMany(t, 5, func(o *Options) { o.LoadBalancing = algorithm })
		seen := map[*Target]bool{}
		for i := range 50 {
			v := &Visit{Now: time.Now(), Client: netip.AddrFrom4([4]byte{127, 0, 0, byte(i)})}
			var first *Target
			for range 3 {
				if err := p.Pick(v); err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = v.Target()
				}
				if v.Target() != first {
					t.Errorf("%s: client %d moved", algorithm, i)
				}
				done(v, Success)
				v.tried = v.tried[:0]
			}
			seen[first] = true
		}
		if len(seen) < 4 {
			t.Errorf("%s: 50 clients use %d of 5 targets", algorithm, len(seen))
		}
	}
}

func BenchmarkVisit(b *testing.B) {
	for _, algorithm := range balance.Algorithms() {
		b.Run(algorithm, func(b *testing.B) {
			p := poolOfMany(b, 3, func(o *Options) { o.LoadBalancing = algorithm })
			v, now := &Visit{Client: netip.MustParseAddr("127.0.0.1")}, time.Now()
			b.ReportAllocs()
			for b.Loop() {
				v.Now = now
				if err := p.Pick(v); err != nil {
					b.Fatal(err)
				}
				v.Done(Success, "", time.Millisecond, now)
				v.tried = v.tried[:0]
			}
		})
	}
}

// TestVisitAllocatesNothing holds what the benchmark reports.
func TestVisitAllocatesNothing(t *testing.T) {
	for _, algorithm := range balance.Algorithms() {
		p := poolOfMany(t, 3, func(o *Options) { o.LoadBalancing = algorithm })
		v, now := &Visit{}, time.Now()
		if n := testing.AllocsPerRun(1000, func() {
			v.Now = now
			_ = p.Pick(v)
			v.Done(Success, "", time.Millisecond, now)
			v.Reset()
		}); n != 0 {
			t.Errorf("%s: %.1f allocations", algorithm, n)
		}
	}
}
