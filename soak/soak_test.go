package soak

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

var (
	length      = flag.Duration("soak", 12*time.Second, "how long requests are sent; the first fifth warms up")
	rate        = flag.Int("rate", 500, "requests per second")
	reloadEvery = flag.Duration("reload-every", 0, "between two reloads; 0: 10s, or 1s in runs of less than 2 minutes")
	faultEvery  = flag.Duration("fault-every", 0, "between two faults, each of which lasts half of it; 0: 5s, or 500ms in runs of less than 2 minutes")
	program     = flag.String("binary", "", "the proxy to run; empty: it is built")
)

// What may be left when the load has gone, over what there was after the warm-up. The requests and the
// connections of a run are thousands of times as many.
const slack = 3

// What memory may gain in the main part, from the mean of its first tenth to that of its last. Between two
// collections the heap has megabytes that come and go, and what a run of seconds gains is the first use of
// everything: only after half an hour is the gain a leak or none.
const (
	longRun   = 30 * time.Minute
	longGain  = 2 << 20
	shortGain = 64 << 20
)

func TestMain(m *testing.M) {
	fault.OriginMain()
	rogue.AgentMain()
	os.Exit(m.Run())
}

// soak is one run.
type soak struct {
	*testing.T
	proxy    *proxy
	client   *client
	troubles []*trouble
	chronicle

	requests, reloads, faults int // begun
	well                      atomic.Int64
	answered                  atomic.Int64
}

// TestSoak is RES-04.
func TestSoak(t *testing.T) {
	setPeriods()
	if *rate < 1 || *length < 5*time.Second {
		t.Fatal("a soak takes at least 5s and a request a second")
	}
	w := newWorld(t)
	p := startProxy(t, w)
	s := &soak{T: t, proxy: p, client: &client{addr: p.addr}, troubles: w.troubles()}
	s.explained, s.caused = map[string]int{}, map[*trouble]int{}
	s.run(*length / 5)
	before := s.rest(nil)
	samples := s.run(*length * 4 / 5)
	after := s.rest(&before)
	s.checkRequests()
	s.checkMemory(samples)
	t.Logf("idle after the warm-up %s; at the end %s", before, after)
}

func setPeriods() {
	reload, between := 10*time.Second, 5*time.Second
	if *length < 2*time.Minute {
		reload, between = time.Second, 500*time.Millisecond
	}
	if *reloadEvery == 0 {
		*reloadEvery = reload
	}
	if *faultEvery == 0 {
		*faultEvery = between
	}
}

func (s sample) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %.1f MB", s.goroutines, s.descriptors, float64(s.resident)/(1<<20))
}

// run sends requests for a time, with faults and reloads, and returns a sample of every second.
func (s *soak) run(d time.Duration) (samples []sample) {
	end := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { s.every(*faultEvery, end, s.nextFault) })
	all.Go(func() { s.every(*reloadEvery, end, s.nextReload) })
	all.Go(func() {
		s.every(time.Second, end, func(<-chan struct{}) error {
			now, err := s.proxy.sample()
			samples = append(samples, now)
			if len(samples)%60 == 0 {
				s.Logf("%d min: %d requests answered, %s", len(samples)/60, s.answered.Load(), now)
			}
			return err
		})
	})
	s.send(d)
	close(end)
	all.Wait()
	if s.Failed() {
		s.FailNow()
	}
	return samples
}

// every does something in turns until the end, or until it fails.
func (s *soak) every(period time.Duration, end <-chan struct{}, do func(end <-chan struct{}) error) {
	turns := time.NewTicker(period)
	defer turns.Stop()
	for {
		select {
		case <-turns.C:
		case <-end:
			return
		}
		if err := do(end); err != nil {
			s.Error(err)
			return
		}
	}
}

func (s *soak) nextFault(end <-chan struct{}) error {
	f := s.troubles[s.faults%len(s.troubles)]
	s.faults++
	return s.play(f, *faultEvery/2, end)
}

func (s *soak) nextReload(<-chan struct{}) error {
	s.reloads++
	return s.proxy.reload(s.reloads - 1)
}

// send sends each request when it is due, whatever became of those before, and returns when all have ended.
func (s *soak) send(d time.Duration) {
	interval, began := time.Second/time.Duration(*rate), time.Now()
	var all sync.WaitGroup
	defer all.Wait()
	for n := range int(d / interval) {
		<-time.After(time.Until(began.Add(time.Duration(n) * interval)))
		if s.Failed() {
			return
		}
		s.requests++
		nth := s.requests
		all.Go(func() { s.one(nth) })
	}
}

// one sends a request. Lanes take turns, and each gets GET and POST.
func (s *soak) one(n int) {
	began, lane := time.Now(), lanes[n%len(lanes)]
	r, err := s.client.ask("/"+lane, n/len(lanes))
	s.answered.Add(1)
	if r == good {
		s.well.Add(1)
		return
	}
	s.note(lane, r, began, err)
}

// rest waits until the proxy holds only what it has without clients: as much as then, or, the first time, the
// least there is when it has not become less for two seconds, in which idle connections would have ended. The
// admin socket's last connection may be in it or not.
func (s *soak) rest(then *sample) (now sample) {
	s.client.close()
	least, same := sample{goroutines: math.MaxInt, descriptors: math.MaxInt}, 0
	await(s.T, "the proxy lets go of what it holds", func() bool {
		var err error
		if now, err = s.proxy.sample(); err != nil {
			s.Fatal(err)
		}
		if then != nil {
			least = now
			return now.goroutines <= then.goroutines+slack && now.descriptors <= then.descriptors+slack
		}
		if same++; now.goroutines < least.goroutines || now.descriptors < least.descriptors {
			same = 0
		}
		least.goroutines, least.descriptors = min(least.goroutines, now.goroutines), min(least.descriptors, now.descriptors)
		least.resident = now.resident
		return same == 20
	}, func() string { return fmt.Sprintf("%s; after the warm-up %v", now, then) })
	return least
}

// checkRequests demands that every request ended well or has its fault, and that the faults were felt.
func (s *soak) checkRequests() {
	total := 0
	for _, cause := range slices.Sorted(maps.Keys(s.explained)) {
		s.Logf("%6d %s", s.explained[cause], cause)
		total += s.explained[cause]
	}
	s.Logf("%d requests: %d answered well, %d failed by one of %d faults, %d unexplained; %d reloads, half of them refused",
		s.requests, s.well.Load(), total, s.faults, len(s.unexplained), s.reloads)
	for _, u := range s.unexplained[:min(20, len(s.unexplained))] {
		s.Errorf("unexplained: %s", u)
	}
	if sum := int(s.well.Load()) + total + len(s.unexplained); sum != s.requests {
		s.Errorf("%d requests were sent, %d ended", s.requests, sum)
	}
	for _, f := range s.troubles[:min(s.faults, len(s.troubles))] {
		if len(f.gives) > 0 && !f.short() && s.caused[f] == 0 {
			s.Errorf("nobody felt the fault %q: that proves nothing", f.name)
		}
	}
}

// checkMemory looks at the samples of the main part.
func (s *soak) checkMemory(samples []sample) {
	if len(samples) < 2 {
		s.Fatalf("%d samples say nothing: let it run longer", len(samples))
	}
	tenth := max(1, len(samples)/10)
	first, last := mean(samples[:tenth]), mean(samples[len(samples)-tenth:])
	allowed := float64(shortGain)
	if samples[len(samples)-1].at.Sub(samples[0].at) >= longRun*4/5 {
		allowed = longGain
	}
	s.Logf("memory: %.2f MB in the first tenth, %.2f in the last; slope %.3f MB/h", first/(1<<20), last/(1<<20), slope(samples)/(1<<20))
	if last-first > allowed {
		s.Errorf("memory grew by %.1f MB", (last-first)/(1<<20))
	}
}

func mean(samples []sample) (m float64) {
	for _, s := range samples {
		m += float64(s.resident) / float64(len(samples))
	}
	return m
}

// slope is that of the least squares' line, in bytes per hour.
func slope(samples []sample) float64 {
	var t, tt, ty float64
	for _, s := range samples {
		t += s.at.Sub(samples[0].at).Hours() / float64(len(samples))
	}
	level := mean(samples)
	for _, s := range samples {
		x := s.at.Sub(samples[0].at).Hours() - t
		tt += x * x
		ty += x * (float64(s.resident) - level)
	}
	return ty / tt
}
