package main

import (
	"bufio"
	"flag"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The full run, whose outcome docs/operations.md has, is -upgrade-rate 5000 -upgrades 10 -upgrade-every 25000.
var (
	upgradeRate  = flag.Int("upgrade-rate", 400, "requests per second during upgrades")
	upgradeCount = flag.Int("upgrades", 2, "how many upgrades")
	upgradeEvery = flag.Int64("upgrade-every", 100, "requests between two upgrades")
)

// crowd is 50 clients that send at a fixed rate and repeat nothing. Every other one keeps its connection.
type crowd struct {
	answered, failed atomic.Int64
	connections      atomic.Int64
	mu               sync.Mutex
	took             []time.Duration // from when a request was due
	stop             chan struct{}
	all              sync.WaitGroup
}

const crowdSize = 50

func gather(t *testing.T, addr string, rate int) *crowd {
	t.Helper()
	c := &crowd{stop: make(chan struct{})}
	interval := time.Duration(crowdSize) * time.Second / time.Duration(rate)
	for i := range crowdSize {
		first := time.Now().Add(interval * time.Duration(i) / crowdSize)
		c.all.Go(func() { c.client(t, addr, first, interval, i%2 == 0) })
	}
	return c
}

func (c *crowd) client(t *testing.T, addr string, due time.Time, interval time.Duration, keeps bool) {
	var nc net.Conn
	var r *bufio.Reader
	for ; ; due = due.Add(interval) {
		select {
		case <-c.stop:
			if nc != nil {
				_ = nc.Close()
			}
			return
		case <-time.After(time.Until(due)):
		}
		var err error
		if nc == nil {
			if nc, err = net.Dial("tcp", addr); err != nil {
				c.failed.Add(1)
				t.Errorf("after %d answers: %v", c.answered.Load(), err)
				return
			}
			c.connections.Add(1)
			r = bufio.NewReader(nc)
		}
		keep, err := request(nc, r)
		if err != nil {
			c.failed.Add(1)
			t.Errorf("after %d answers: %v", c.answered.Load(), err)
		}
		c.answered.Add(1)
		c.mu.Lock()
		c.took = append(c.took, time.Since(due))
		c.mu.Unlock()
		if !keep || !keeps || err != nil {
			_ = nc.Close()
			nc = nil
		}
	}
}

// more waits until the requests between two upgrades are answered.
func (c *crowd) more(t *testing.T) {
	t.Helper()
	goal := c.answered.Load() + *upgradeEvery
	limit := patience + 2*time.Second*time.Duration(*upgradeEvery)/time.Duration(*upgradeRate)
	within(t, limit, "more answers", func() bool { return c.answered.Load() >= goal })
}

// TestUpgradeAtRate upgrades again and again by the command while requests come at a fixed rate: none fails.
func TestUpgradeAtRate(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	p := s.start(t)
	c := gather(t, p.addr, *upgradeRate)
	defer c.all.Wait()
	stop := sync.OnceFunc(func() { close(c.stop) })
	defer stop()
	for range *upgradeCount {
		c.more(t)
		if out, err := s.command(t, "--upgrade", "-c", s.config); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	c.more(t)
	stop()
	c.all.Wait()
	slices.Sort(c.took)
	t.Logf("%d requests over %d connections, %d upgrades: %d failed; p50 %v, p99 %v, longest %v", c.answered.Load(), c.connections.Load(),
		*upgradeCount, c.failed.Load(), c.took[len(c.took)/2], c.took[len(c.took)*99/100], c.took[len(c.took)-1])
}
