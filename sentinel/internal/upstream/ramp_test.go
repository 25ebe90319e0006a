package upstream

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/balance"
)

// TestRamp recovers one of n targets under steady traffic, whose requests last a while, and looks at every
// second: the target has no more than p(t)/n of it plus ten points, for every balancer, and grows.
func TestRamp(t *testing.T) {
	t.Parallel()
	for _, algorithm := range balance.Algorithms() {
		for _, n := range []int{2, 3, 10} {
			t.Run(fmt.Sprintf("%s, %d targets", algorithm, n), func(t *testing.T) {
				t.Parallel()
				testRamp(t, algorithm, n)
			})
		}
	}
}

func testRamp(t *testing.T, algorithm string, n int) {
	const seconds, rate = 20, 500
	synctest.Test(t, func(t *testing.T) {
		p := poolOfMany(t, n, func(o *Options) { o.LoadBalancing, o.Ramp = algorithm, seconds*time.Second })
		back := p.targets[0]
		back.ramp.begin(p, time.Now())
		total := 0
		for second := range seconds {
			got := 0
			for i := range rate {
				v := &Visit{Now: time.Now(), Client: client(second*rate + i)}
				if err := p.Pick(v); err != nil {
					t.Fatal(err)
				}
				if v.Target() == back {
					got++
				}
				time.AfterFunc(20*time.Millisecond, func() { done(v, Success) }) // ten in flight at any time
				time.Sleep(time.Second / rate)
			}
			total += got
			share := max(0.1, float64(second+1)/seconds)
			if most := (share/float64(n) + 0.1) * rate; float64(got) > most {
				t.Errorf("second %d: %d of %d requests, at most %.0f", second, got, rate, most)
			}
		}
		// A linear rise from 0.1 is a little over half of the full part.
		if least := seconds * rate / n * 3 / 10; total < least {
			t.Errorf("%d requests in all, want %d at least", total, least)
		}
		if time.Sleep(time.Second); back.ramp.running() && pick(t, p) != nil && back.ramp.running() {
			t.Error("the ramp does not end")
		}
	})
}

// client is a client's address.
func client(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// TestRampFloor shows the share at single moments.
func TestRampFloor(t *testing.T) {
	t.Parallel()
	p := poolOfMany(t, 1, func(o *Options) { o.Ramp = 10 * time.Second })
	r, now := &p.targets[0].ramp, time.Now()
	if got := r.share(now); got != 1 {
		t.Errorf("without a ramp %v", got)
	}
	r.begin(p, now)
	for after, want := range map[time.Duration]float64{0: 0.1, time.Second / 2: 0.1, 5 * time.Second: 0.5, 10 * time.Second: 1, time.Hour: 1} {
		if got := r.share(now.Add(after)); got != want {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
}

// TestRampRestarts shows that a failure begins the ramp anew.
func TestRampRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := poolOfMany(t, 1, func(o *Options) { o.Ramp = 10 * time.Second })
		target := p.targets[0]
		target.ramp.begin(p, time.Now())
		time.Sleep(5 * time.Second)
		done(pick(t, p), Success)
		if got := target.ramp.share(time.Now()); got != 0.5 {
			t.Errorf("share %v half-way", got)
		}
		done(pick(t, p), Failed)
		if got := target.ramp.share(time.Now()); got != 0.1 {
			t.Errorf("share %v after a failure", got)
		}
	})
}

// TestRampOfAll shows that targets which all come back at once are not held back.
func TestRampOfAll(t *testing.T) {
	t.Parallel()
	p := poolOfMany(t, 2, func(o *Options) { o.Ramp = time.Hour })
	for _, target := range p.targets {
		target.ramp.begin(p, time.Now())
	}
	if got := serve(t, p, 100, nil); got[p.targets[0]] < 40 || got[p.targets[1]] < 40 {
		t.Errorf("shares %d and %d", got[p.targets[0]], got[p.targets[1]])
	}
}

// TestRampOff shows that 0 is none.
func TestRampOff(t *testing.T) {
	t.Parallel()
	p := poolOfMany(t, 2, nil)
	p.targets[0].ramp.begin(p, time.Now())
	if got := serve(t, p, 100, nil); got[p.targets[0]] != 50 {
		t.Errorf("%d of 100", got[p.targets[0]])
	}
}
