package upstream

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/health"
)

// fails makes n attempts at a target fail.
func fails(t *Target, n int, now time.Time) {
	for range n {
		v := Visit{}
		v.ticket, _ = t.breaker.Admit(now)
		v.trial, _ = t.ejection.Admit(now)
		t.requests.Add(1)
		t.settle(&v, Failed, "upstream_reset", now)
		t.record(Failed, "upstream_reset", now)
	}
}

// TestInherit shows that a pool knows of a target what the one before it knew, and that time goes on from there.
func TestInherit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old := poolOfMany(t, 3, func(o *Options) { o.LoadBalancing = "adaptive" })
		began := time.Now()
		fails(old.targets[0], 20, began)
		old.observer.Observe(1, began, time.Second, false)
		time.Sleep(10 * time.Second)
		p := poolOfMany(t, 2, func(o *Options) { o.LoadBalancing, o.MaxPending = "adaptive", 7 })
		p.Inherit(old, true)
		was, now := old.targets[0].State(time.Now()), p.targets[0].State(time.Now())
		if now.Requests != 20 || now.Failures != 20 || now.Breaker != breaker.Open || !now.Ejected || now.Share != 1 || *now.Failure != *was.Failure ||
			!now.Since.Equal(was.Since) || now.Ejections != was.Ejections {
			t.Errorf("the target is %+v, was %+v", now, was)
		}
		if left := p.targets[0].breaker.Left(time.Now()); left != 20*time.Second {
			t.Errorf("the breaker stays open for %s, want the 20 s that are left", left)
		}
		if p.targets[1].State(time.Now()).Failures != 0 {
			t.Error("another target inherited")
		}
		time.Sleep(20 * time.Second)
		if !p.targets[0].usable(time.Now(), false) {
			t.Error("the target is not tried once the time of the old pool's decisions is over")
		}
	})
}

// TestInheritHealth shows that an unhealthy target stays so until the new check says otherwise, and that nobody waits
// for a check that there is none of.
func TestInheritHealth(t *testing.T) {
	t.Parallel()
	checked := func(o *Options) {
		o.Check = &Check{Thresholds: health.Thresholds{Healthy: 2, Unhealthy: 3}, Interval: time.Second}
	}
	old := poolOfMany(t, 1, checked)
	old.targets[0].turned(false, "connection refused", time.Now())
	fails(old.targets[0], 20, time.Now())
	with, without := poolOfMany(t, 1, checked), poolOfMany(t, 1, nil)
	with.Inherit(old, false)
	without.Inherit(old, false)
	if s := with.targets[0].State(time.Now()); s.Healthy || s.Since.IsZero() || !s.Ejected {
		t.Errorf("with a check: %+v", s)
	}
	if s := without.targets[0].State(time.Now()); !s.Healthy || s.Ejected {
		t.Errorf("without a check: %+v", s)
	}
}

// TestInheritConnections moves idle connections, as many as the new pool keeps, and leaves those in use.
func TestInheritConnections(t *testing.T) {
	t.Parallel()
	addr := server(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	old, from := poolOf(t, addr, nil)
	var all []*Conn
	for range 3 {
		c, err := from.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	all[0].Put()
	all[1].Put()
	p, to := poolOf(t, addr, func(o *Options) { o.MaxIdle = 1 })
	p.Inherit(old, true)
	if p.Idle() != 1 || p.Open() != 1 || old.Idle() != 1 || old.Open() != 2 {
		t.Errorf("%d idle of %d here, %d of %d there", p.Idle(), p.Open(), old.Idle(), old.Open())
	}
	if c := to.Get(); c == nil || c.Target != to || c != all[1] {
		t.Error("the connection does not belong to the new target")
	}
}
