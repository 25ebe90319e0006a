package sentinel

import (
	"log/slog"
	"slices"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
)

// maxGenerations bounds the configurations that are in memory: the one that is served, and those that still have
// exchanges to end. One more, and the oldest is cut.
const maxGenerations = 4

// retirement is what a reload dropped or changed and exchanges may still use. What did not change is in the new
// snapshot as well and never part of one.
type retirement struct {
	generation uint64 // of the snapshot it was in
	routes     map[*boundRoute]bool
	sockets    map[*socket]bool
	pools      []*upstream.Pool
	agents     []*agents.Agent
	logs       *logs         // nil: they did not change
	drain      time.Duration // for exchanges to end
	forced     chan struct{} // closed: newer ones need the place
}

// retires lists what is in the old snapshot and not in the new one.
func (n *prepared) retires() *retirement {
	r := &retirement{routes: map[*boundRoute]bool{}, sockets: map[*socket]bool{}, forced: make(chan struct{})}
	if n.old == nil {
		return r
	}
	r.generation, r.drain = n.old.generation, n.snap.cfg.System.ReloadDrain
	for id, route := range n.old.routes {
		// With other limits a route is another object, but exchanges on the old one need nothing that is closed.
		if now := n.snap.routes[id]; now != route && !sameRoute(n.old, n.snap, route, now) {
			r.routes[route] = true
		}
	}
	for key, l := range n.old.listeners {
		if n.snap.listeners[key] == nil {
			r.sockets[l.socket] = true
		}
	}
	for _, pool := range n.old.pools {
		if !slices.Contains(n.snap.pools, pool) {
			r.pools = append(r.pools, pool)
		}
	}
	for id, a := range n.old.agents {
		if n.snap.agents[id] != a {
			r.agents = append(r.agents, a)
		}
	}
	return r
}

func (r *retirement) empty() bool {
	return len(r.routes) == 0 && len(r.sockets) == 0 && len(r.pools) == 0 && len(r.agents) == 0 && r.logs == nil
}

// uses reports whether a connection needs any of it. One whose listener has left may still begin an exchange on any
// route of the last snapshot that had it.
func (r *retirement) uses(c *conn) bool {
	last := c.socket.last.Load()
	return r.routes[c.serving.Load()] || last != nil && last.generation <= r.generation
}

// retire ends what a reload left behind, once nobody needs it. The lifecycle lock is held.
func (p *Proxy) retire(r *retirement) {
	if r.empty() {
		p.forget()
		return
	}
	p.retiring = append(p.retiring, r)
	if len(p.retiring) >= maxGenerations {
		oldest := p.retiring[0]
		p.retiring = p.retiring[1:]
		p.remark(slog.LevelWarn, "too many generations drain, the oldest is cut",
			slog.Uint64("generation", oldest.generation), slog.Int("limit", maxGenerations))
		close(oldest.forced)
	}
	p.metrics.Generations(1 + len(p.retiring))
	p.background.Go(func() { p.drainRetired(r) })
}

// drainRetired waits for the exchanges that need what is retired, cuts those that are left when its time is over,
// and closes it then. A pool is closed at once: that ends its probes and what is idle, and keeps nobody from using it.
func (p *Proxy) drainRetired(r *retirement) {
	for _, pool := range r.pools {
		pool.Close()
	}
	limit := time.NewTimer(r.drain)
	defer limit.Stop()
	ticks := time.NewTicker(tickLength)
	defer ticks.Stop()
	cutting, forced := false, r.forced
	for {
		select {
		case <-ticks.C:
		case <-limit.C:
			cutting = true
			p.warnCut(r)
		case <-forced:
			forced, cutting = nil, true
			p.warnCut(r)
		case <-p.finished:
			p.dispose(r)
			return
		}
		if p.sweeper.count(r.uses) == 0 {
			break
		}
		if cutting {
			p.sweeper.cut(r.uses)
		}
	}
	p.dispose(r)
	p.lifecycle.Lock()
	defer p.lifecycle.Unlock()
	p.retiring = slices.DeleteFunc(p.retiring, func(other *retirement) bool { return other == r })
	p.metrics.Generations(1 + len(p.retiring))
	p.forget()
}

func (p *Proxy) warnCut(r *retirement) {
	if n := p.sweeper.count(r.uses); n > 0 {
		p.log.Warn("reload drain is over: cutting connections", "generation", r.generation, "open", n)
	}
}

func (p *Proxy) dispose(r *retirement) {
	for _, a := range r.agents {
		a.Close(0) // nobody asks it any more
	}
	if r.logs != nil {
		r.logs.close()
	}
}

// forget drops the counts and metrics of what no configuration in memory has, so that reloads with ever new ids need
// no more memory. A snapshot that is being built may have taken some already. The lifecycle lock is held.
func (p *Proxy) forget() {
	if len(p.retiring) > 0 || p.preparing {
		return
	}
	s := p.snapshot.Load()
	p.limits.keep(s)
	p.metrics.Keep(func(id string) bool { return s.routes[id] != nil }, func(id string) bool { return s.pool(id) != nil },
		func(id string) bool { return s.agents[id] != nil })
}
