package sentinel

import (
	"context"
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
	holding     atomic.Int64                // bytes of bodies that may be held for agents and by buffers
	keeping     atomic.Int64                // bytes of bodies that may be kept for another attempt
	unrouted    atomic.Pointer[[]rateLimit] // what requests that no route takes count with; never nil

	mu        sync.Mutex // guards the rest
	rates     map[rateDef]*limit.Keys
	evictions map[string]*atomic.Uint64 // by the scope of the rates
	routes    map[string]*routeUse      // by route id
}

// routeUse counts what is under way on one route.
type routeUse struct {
	requests limit.Count
	sockets  limit.Clients // upgraded connections
}

func newLimits() *limits {
	l := &limits{
		requests: limit.NewGate(0, 0), memory: memory{read: goMemory()},
		rates: map[rateDef]*limit.Keys{}, evictions: map[string]*atomic.Uint64{}, routes: map[string]*routeUse{},
	}
	l.unrouted.Store(&[]rateLimit{})
	return l
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
	unrouted := p.unroutedRates(cfg)
	l.unrouted.Store(&unrouted)
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
		Evictions: map[string]uint64{},
	}
	for scope, n := range l.evictions {
		s.Evictions[scope] = n.Load()
	}
	for _, k := range l.rates {
		s.RateKeys += k.Len()
	}
	return s
}

// keys returns the buckets of a definition, always the same while a snapshot uses it.
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

// evicted returns the count of keys that limits of a scope had to forget, likewise.
func (l *limits) evicted(scope string) *atomic.Uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.evictions[scope]
	if n == nil {
		n = new(atomic.Uint64)
		l.evictions[scope] = n
	}
	return n
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

// own takes note of what a snapshot uses that is about to serve. Some of it may have been forgotten while it was
// built.
func (l *limits) own(s *snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ownLocked(s)
}

func (l *limits) ownLocked(s *snapshot) {
	for _, r := range s.routes {
		if r.use != nil {
			l.routes[r.id] = r.use
		}
		l.ownRatesLocked(r.rates)
	}
	l.ownRatesLocked(*l.unrouted.Load())
}

func (l *limits) ownRatesLocked(rates []rateLimit) {
	for i := range rates {
		r := &rates[i]
		l.rates[r.def], l.evictions[r.def.scope] = r.keys, r.evictions
	}
}

// keep forgets what a snapshot does not use. It is for when no other serves or drains.
func (l *limits) keep(s *snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.rates)
	clear(l.routes)
	clear(l.evictions)
	l.ownLocked(s)
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
		if r := x.spend(x.route.rates); r != none {
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

// admitted takes a place among the connections of the client; false: it has max-connections-per-client already. A
// trusted proxy needs none: its connections are those of many clients.
func (c *conn) admitted() bool {
	client, most := c.client.Addr(), c.p.limits.perClient.Load()
	switch {
	case c.trusted, !client.IsValid(): // or a connection in memory
		return true
	case c.p.limits.clients.Enter(client, int(most)):
		c.accounted = client
		return true
	}
	c.l.full(clientConnectionLimit, most, client.String())
	return false
}

func (c *conn) closeAccount() {
	if c.accounted.IsValid() {
		c.p.limits.clients.Leave(c.accounted)
		c.accounted = netip.Addr{}
	}
}
