package sentinel

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/health"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
)

// buildPool makes an upstream's pool. It starts with the proxy.
func (p *Proxy) buildPool(u *config.Upstream) (*upstream.Pool, error) {
	o := upstream.Options{
		ID: u.ID, LoadBalancing: u.LoadBalancing,
		MaxConnections: u.Pool.MaxConnections, MaxPending: u.Pool.MaxPending, MaxIdle: u.Pool.MaxIdle,
		IdleTimeout: u.Pool.IdleTimeout, MaxLifetime: u.Pool.MaxLifetime, Connect: u.Timeouts.Connect, DNSRefresh: u.DNSRefresh,
		Breaker: breakerSettings(&u.CircuitBreaker), CountsAnswers: u.CircuitBreaker.Written, Check: check(u.HealthCheck),
		Ramp: u.RecoveryRamp, RetryBudget: upstream.Budget(u.RetryBudget),
	}
	if p.options.Resolver != nil { // a nil *net.Resolver would be an interface that is not nil
		o.Resolver = p.options.Resolver
	}
	if u.Sticky != nil {
		o.LoadBalancing = u.Sticky.Fallback
	}
	for _, t := range u.Targets {
		o.Targets = append(o.Targets, upstream.TargetOptions{Address: t.Address, Weight: t.Weight, MaxRequests: t.MaxRequests})
	}
	if u.TLS != nil {
		var err error
		if o.TLS, err = clientTLS(u.TLS, "http/1.1"); err != nil {
			return nil, fmt.Errorf("upstream %q: %w", u.ID, err)
		}
	}
	stats, id := p.metrics.Upstream(u.ID), u.ID // not u: the pool may outlive the configuration
	o.Event = func(e upstream.Event) {
		countEvent(stats, &e)
		p.events.add(stateEvent{at: time.Now(), upstream: id, Event: e})
	}
	pool, err := upstream.New(o)
	if err != nil {
		return nil, fmt.Errorf("building: %w", err)
	}
	return pool, nil
}

func breakerSettings(c *config.CircuitBreaker) breaker.Settings {
	return breaker.Settings{
		FailureThreshold: c.FailureThreshold, SuccessThreshold: c.SuccessThreshold,
		HalfOpenMaxRequests: c.HalfOpenMaxRequests, Timeout: c.Timeout,
	}
}

func check(h *config.HealthCheck) *upstream.Check {
	if h == nil {
		return nil
	}
	return &upstream.Check{
		Probe:      health.Probe{Type: h.Type, Path: h.Path, Host: h.Host, ExpectedStatus: h.ExpectedStatus, Service: h.Service, Timeout: h.Timeout},
		Thresholds: health.Thresholds{Healthy: h.HealthyThreshold, Unhealthy: h.UnhealthyThreshold},
		Interval:   h.Interval,
	}
}

func poolStats(p *upstream.Pool) telemetry.UpstreamStats {
	now := time.Now()
	s := telemetry.UpstreamStats{
		PoolSize: p.Open(), PoolIdle: p.Idle(), Pending: p.Pending(), PendingRejected: p.PendingRejected(),
		BudgetExhausted: p.RepeatsRefused(), Panic: p.Panicked(),
	}
	for _, t := range p.Targets() {
		state := t.State(now)
		s.Targets = append(s.Targets, telemetry.TargetStats{
			Address: state.Address, Healthy: state.Healthy, Breaker: int(state.Breaker),
			InFlight: state.InFlight, Requests: state.Requests, Failures: state.Failures, Ejections: state.Ejections, Ramp: state.Ramp,
		})
	}
	return s
}

// clientTLS returns how connections to a target or an agent are secured; protocol is what is spoken over them.
func clientTLS(t *config.UpstreamTLS, protocol string) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: t.SNI, NextProtos: []string{protocol},
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // G402: off unless written; lint warns
	}
	if t.CACert != "" {
		pool, err := loadPool(t.CACert)
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if t.ClientCert != "" {
		pair, err := loadPair(t.ClientCert, t.ClientKey)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{*pair}
	}
	return c, nil
}

// routeBreaker is the breaker of one route's use of its upstream. It counts what the client gets, after
// every retry.
type routeBreaker struct {
	*breaker.Breaker
	rejected *telemetry.Counter
}

func (p *Proxy) bindBreaker(c *config.Route, stats *telemetry.UpstreamRoute) *routeBreaker {
	if c.CircuitBreaker == nil {
		return nil
	}
	id, up := c.ID, c.Upstream
	b := breaker.New(breakerSettings(c.CircuitBreaker), func(change breaker.Change) {
		stats.Breaker(change.To.String())
		e := upstream.Event{Kind: upstream.BreakerChanged, From: change.From, To: change.To, Cause: change.Cause}
		p.events.add(stateEvent{at: time.Now(), route: id, upstream: up, Event: e})
	})
	return &routeBreaker{b, &stats.Rejected}
}

// admit asks a route's breaker, if there is one, whether the exchange may go on.
func (b *routeBreaker) admit(x *exchange) (ok bool) {
	if b == nil {
		return true
	}
	if x.trial, ok = b.Admit(x.tried); !ok {
		b.rejected.Inc()
	}
	return ok
}

// cause is the word for what a breaker counted as a failure; without a Reason it was the status.
func cause(r Reason) string {
	if r == none {
		r = upstreamStatus
	}
	return r.String()
}

// settleRoute tells the route's breaker how the exchange went: r is why it failed, none if it did not.
func (x *exchange) settleRoute(r Reason) {
	if x.route == nil || x.route.breaker == nil {
		return
	}
	b := x.route.breaker
	switch x.outcome(r) {
	case upstream.Success:
		b.Success(x.trial)
	case upstream.BadAnswer, upstream.Failed:
		b.Failure(x.trial, time.Now(), cause(r))
	case upstream.Abandoned:
		b.Abandon(x.trial)
	}
	x.trial = breaker.Ticket{}
}

// sweep looks after the idle connections of every pool.
func (s *snapshot) sweep(now time.Time) {
	for _, pool := range s.pools {
		pool.Sweep(now)
	}
}
