package sentinel

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/upstream"
)

// adoption finds what a new configuration defines just as the one that is being served: that goes on as it is, with
// its connections, its health and its breakers. Where a definition stands in its file does not matter; what is in the
// files that it names does.
type adoption struct {
	old    *snapshot // nil: nothing is being served yet
	files  digests
	shared bool // what every route depends on is the same
	rest   func()
}

// digests are what is to be found under names: a definition that names a file has changed when its content has.
type digests map[string][sha256.Size]byte

func (d digests) add(names ...string) {
	for _, name := range names {
		if _, known := d[name]; !known && name != "" {
			d[name] = digest(name)
		}
	}
}

// maxDigested bounds the files whose content is looked at, in bytes: no part of a configuration may be larger.
const maxDigested = 16 << 20

// digest is the content of a file, the names in a directory, or of anything else what the system tells of it without
// its being read: a pipe would be waited for.
func digest(name string) (sum [sha256.Size]byte) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return sha256.Sum256([]byte(errors.Unwrap(err).Error()))
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		names, _ := f.Readdirnames(-1) // what cannot be read now may be readable later: then it differs
		slices.Sort(names)
		_, _ = io.WriteString(h, strings.Join(names, "\n"))
	case info.Mode().IsRegular() && info.Size() <= maxDigested:
		_, _ = io.Copy(h, io.LimitReader(f, maxDigested))
	default:
		_, _ = fmt.Fprint(h, info.Mode(), info.Size(), info.ModTime())
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// differ reports whether any of the files has another content than in before.
func (d digests) differ(before digests, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return name != "" && d[name] != before[name] })
}

func adopt(old *snapshot, cfg *config.Config, rest func()) *adoption {
	a := &adoption{old: old, files: digests{}, rest: rest}
	for i := range cfg.Upstreams {
		a.files.add(upstreamFiles(cfg.Upstreams[i].TLS)...)
	}
	for i := range cfg.Agents {
		a.files.add(agentFiles(cfg.Agents[i].TLS)...)
	}
	if old != nil {
		a.shared = config.Same(&old.cfg.Limits, &cfg.Limits) && config.Same(old.cfg.WAF, cfg.WAF) &&
			config.Same(old.cfg.RateLimits, cfg.RateLimits)
	}
	return a
}

func upstreamFiles(t *config.UpstreamTLS) []string {
	if t == nil {
		return nil
	}
	return []string{t.CACert, t.ClientCert, t.ClientKey}
}

func agentFiles(t *config.AgentTLS) []string {
	if t == nil {
		return nil
	}
	return []string{t.CACert, t.ClientCert, t.ClientKey}
}

// pool returns the pool that serves an upstream of this definition already, nil if there is none.
func (a *adoption) pool(c *config.Upstream) *upstream.Pool {
	if a.old == nil {
		return nil
	}
	i, ok := a.old.upstreams[c.ID]
	if !ok || !config.Same(&a.old.cfg.Upstreams[i], c) || a.files.differ(a.old.files, upstreamFiles(c.TLS)...) {
		return nil
	}
	return a.old.pools[i]
}

// connectable reports whether the idle connections of an upstream's old pool are such as its new one would open.
func connectable(old, s *snapshot, id string) bool {
	was, now := &old.cfg.Upstreams[old.upstreams[id]], &s.cfg.Upstreams[s.upstreams[id]]
	return config.Same(was.TLS, now.TLS) && config.Same(&was.Pool, &now.Pool) && config.Same(&was.Timeouts, &now.Timeouts) &&
		!s.files.differ(old.files, upstreamFiles(now.TLS)...)
}

// agent returns the agent of this definition that is connected already, nil if there is none.
func (a *adoption) agent(c *config.Agent, l *config.Limits) *agents.Agent {
	if a.old == nil || a.files.differ(a.old.files, agentFiles(c.TLS)...) {
		return nil
	}
	i := slices.IndexFunc(a.old.cfg.Agents, func(other config.Agent) bool { return other.ID == c.ID })
	was := &a.old.cfg.Limits
	if i < 0 || !config.Same(&a.old.cfg.Agents[i], c) || was.MaxAgentQueue != l.MaxAgentQueue || was.MaxAgentResponse != l.MaxAgentResponse {
		return nil
	}
	return a.old.agents[c.ID]
}

// route returns the old route in place of r if nothing that it was made of has changed.
func (a *adoption) route(s *snapshot, r *boundRoute) *boundRoute {
	if a.old != nil && a.shared && sameRoute(a.old, s, a.old.routes[r.id], r) {
		return a.old.routes[r.id]
	}
	return r
}

// sameRoute reports whether two routes of one id are defined in the same way and use the same objects. What every
// route depends on may differ.
func sameRoute(before, s *snapshot, old, r *boundRoute) bool {
	if old == nil || r == nil || old.pool != r.pool || !config.Same(old.cfg, r.cfg) || !config.Same(&old.errorPages, &r.errorPages) {
		return false
	}
	// What a route says to its agents follows from definitions that are compared here and in agent.
	sameAgent := func(x, y *boundAgent) bool { return x.agent != nil && x.agent == y.agent }
	if !slices.EqualFunc(old.agents, r.agents, sameAgent) {
		return false
	}
	changed := func(id string) bool { return !config.Same(filterOf(before.cfg, id), filterOf(s.cfg, id)) }
	return !slices.ContainsFunc(r.cfg.Filters, changed)
}

// breaker returns the breaker of a route's use of its upstream, if both are still there and its numbers are the same.
func (a *adoption) breaker(c *config.Route) *routeBreaker {
	if a.old == nil {
		return nil
	}
	old := a.old.routes[c.ID]
	if old == nil || old.breaker == nil || old.upstream != c.Upstream || !config.Same(old.cfg.CircuitBreaker, c.CircuitBreaker) {
		return nil
	}
	return old.breaker
}
