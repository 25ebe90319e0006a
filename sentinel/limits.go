package sentinel

import (
	"context"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/limit"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
)

// limits is what bounds the proxy's work, and what it has counted so far. It outlives configurations: a new one
// finds its clients, requests and buckets as they are.
type limits struct {
	connections atomic.Int64 // max-connections or max-total-connections
	perClient   atomic.Int64 // max-connections-per-client
	clients     limit.Clients
	requests    *limit.Gate  // max-in-flight-requests, max-queued-requests
	patience    atomic.Int64 // queue-timeout-ms, a time.Duration
	memory      memory
	holding     atomic.Int64 // bytes of bodies that may be held for agents and by buffers
	keeping     atomic.Int64 // bytes of bodies that may be kept for another attempt

	mu     sync.Mutex // guards the rest
	rates  map[rateDef]*limit.Keys
	routes map[string]*routeUse // by route id
}

// routeUse counts what is under way on one route.
type routeUse struct {
	requests limit.Count
	sockets  limit.Clients // upgraded connections
}

func newLimits() *limits {
	return &limits{
		requests: limit.NewGate(0, 0), memory: memory{read: goMemory()},
		rates: map[rateDef]*limit.Keys{}, routes: map[string]*routeUse{},
	}
}

// setLimits puts the limits of a configuration into force, at the start and whenever another one begins to
// serve. What is over a new limit already stays.
func (p *Proxy) setLimits(cfg *config.Config) {
	l, c := p.limits, &cfg.Limits
	l.connections.Store(int64(min(cfg.System.MaxConnections, c.MaxTotalConnections)))
	l.perClient.Store(int64(c.MaxConnectionsPerClient))
	l.patience.Store(int64(c.QueueTimeout))
	l.requests.Resize(c.MaxInFlight, c.MaxQueued)
	memory := p.memoryLimit(c)
	l.memory.Resize(memory)
	l.holding.Store(share(maxHeld, memory, 4))
	l.keeping.Store(share(maxKept, memory, 8))
}

// share is what bodies may take of the memory there is: most, but no more than one part of it. What is measured a
// tick later comes too late for them.
func share(most, memory, part int64) int64 {
	if memory == 0 {
		return most
	}
	return min(most, memory/part)
}

// stats is what a scrape shows of the limits.
func (l *limits) stats() telemetry.LimitStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := telemetry.LimitStats{
		Clients: l.clients.Len(), InFlight: l.requests.Inside(), Queued: l.requests.Waiting(), MemoryShort: l.memory.Short(),
	}
	for _, k := range l.rates {
		s.RateKeys += k.Len()
	}
	return s
}

// keys returns the buckets of a definition, always the same while some snapshot that keep was told of uses it.
func (l *limits) keys(d rateDef) *limit.Keys {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.rates[d]
	if k == nil {
		k = limit.NewKeys(d.rate, d.maxKeys)
		l.rates[d] = k
	}
	return k
}

// use returns what is under way on a route, likewise.
func (l *limits) use(route string) *routeUse {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.routes[route]
	if u == nil {
		u = &routeUse{}
		l.routes[route] = u
	}
	return u
}

// keep forgets what none of the live snapshots uses: all that still serve or are about to must be named.
func (l *limits) keep(live ...*snapshot) {
	rates, routes := map[rateDef]bool{}, map[string]bool{}
	for _, s := range live {
		for _, r := range s.bound() {
			routes[r.id] = true
			for i := range r.rates {
				rates[r.rates[i].def] = true
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.rates, func(d rateDef, _ *limit.Keys) bool { return !rates[d] })
	maps.DeleteFunc(l.routes, func(id string, _ *routeUse) bool { return !routes[id] })
}

// bound returns the routes of a snapshot, some of them more than once.
func (s *snapshot) bound() (all []*boundRoute) {
	for _, v := range s.views {
		all = append(all, v.routes...)
		if v.fallback != nil {
			all = append(all, v.fallback)
		}
	}
	return all
}

// trim lets go of keys that say nothing any more.
func (l *limits) trim(now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.rates {
		k.Trim(now)
	}
}

// bindLimits finds what bounds a route. A handler of our own does next to nothing, and an operator needs it most
// when there is too much of everything: it has only those limits that its route names itself.
func (r *boundRoute) bindLimits(p *Proxy, cfg *config.Config) {
	r.rates = p.bindRates(cfg, r.cfg)
	if r.builtin == nil {
		r.use = p.limits.use(r.id)
		r.maxRequests, r.maxSockets = cfg.Limits.MaxConnectionsPerRoute, r.cfg.WebSocket.MaxConnectionsPerIP
	}
}

// places are what an exchange has taken of the limits until it is over.
type places struct {
	route, request bool
	socket         netip.Addr // the client an upgrade is counted for
}

// throttle asks every limit whether the request may go on, the cheapest first; nothing has been done for it
// yet. It may mean to wait.
func (x *exchange) throttle() Reason {
	if x.route.use != nil && x.p.limits.memory.Short() {
		return memoryLimit
	}
	if len(x.route.rates) > 0 {
		if r := x.spend(); r != none {
			return r
		}
	}
	if x.route.use == nil {
		return none
	}
	return x.enter()
}

// enter takes the request's places: among its route's requests, its client's WebSockets, and all requests.
func (x *exchange) enter() Reason {
	r := x.route
	if x.places.route = r.use.requests.Enter(r.maxRequests); !x.places.route {
		return routeLimit
	}
	if r.maxSockets > 0 && x.upgrading() {
		who := x.clientAddr()
		if !r.use.sockets.Enter(who, r.maxSockets) {
			return websocketLimit
		}
		x.places.socket = who
	}
	if x.places.request = x.p.limits.requests.Enter(); x.places.request {
		return none
	}
	return x.queue()
}

// queue waits in line for a place among all requests.
func (x *exchange) queue() Reason {
	l := x.p.limits
	var err error
	x.waited = true
	r := x.awaitWithin(time.Duration(l.patience.Load()), func(ctx context.Context) { err = l.requests.Wait(ctx) })
	x.places.request = err == nil
	switch {
	case r != none:
		return r
	case err != nil:
		return inFlightLimit
	}
	return none
}

// yield gives the exchange's places back.
func (x *exchange) yield() {
	if x.places.request {
		x.p.limits.requests.Leave()
	}
	if x.places.socket.IsValid() {
		x.route.use.sockets.Leave(x.places.socket)
	}
	if x.places.route {
		x.route.use.requests.Leave()
	}
	x.places = places{}
}

// account puts the connection on a client's account, and off the one it was on. False: the client has
// max-connections-per-client already, and the connection is on nobody's account. It is for the connection's
// owner, once it knows better whom it serves.
func (c *conn) account(client netip.Addr) bool {
	c.closeAccount()
	if !client.IsValid() { // a connection in memory
		return true
	}
	if !c.p.limits.clients.Enter(client, int(c.p.limits.perClient.Load())) {
		return false
	}
	c.accounted = client
	return true
}

func (c *conn) closeAccount() {
	if c.accounted.IsValid() {
		c.p.limits.clients.Leave(c.accounted)
		c.accounted = netip.Addr{}
	}
}
