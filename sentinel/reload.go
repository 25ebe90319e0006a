package sentinel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
)

var (
	errNoPath     = errors.New("the configuration did not come from a file, so there is nothing to read again")
	errNotServing = errors.New("the proxy is not serving")
	errBug        = errors.New("internal error while reloading, see the log")
)

// ReloadResult says how one reload went.
type ReloadResult struct {
	Trigger    string    `json:"trigger"` // "SIGHUP", "auto-reload" or whatever Reload was given
	At         time.Time `json:"at"`
	Millis     int64     `json:"duration_ms"`
	OK         bool      `json:"ok"`
	Generation uint64    `json:"generation"` // that is served after it
	Error      string    `json:"error,omitempty"`
	Problems   []Problem `json:"problems,omitempty"` // of a configuration that cannot be used
	Warnings   []string  `json:"warnings,omitempty"`
}

// reloads makes one reload at a time. Who asks while one runs gets the next, together with everybody else who asks
// until then: the files may have changed after the running one read them.
type reloads struct {
	mu      sync.Mutex // guards the rest
	running bool
	next    *attempt
	last    *ReloadResult // nil: there was none
	lastOK  time.Time     // of the last that succeeded; zero: none has
	counts  [2]int        // failed, succeeded
}

// attempt is a reload that somebody waits for.
type attempt struct {
	trigger string
	done    chan struct{} // closed when result and err are set
	result  *ReloadResult
	err     error
}

// Reload reads the configuration again and serves what it says, without a request failing. If anything about it is
// wrong the old one goes on, and the error, a *ConfigError or what the system said, has every reason. Reloads asked
// for while one runs become one. trigger is what logs call the cause. It waits until the reload is over, or ctx is;
// the reload goes on then. Asked for before Run, it takes place when Run serves; while the proxy drains it fails.
func (p *Proxy) Reload(ctx context.Context, trigger string) (*ReloadResult, error) {
	a := p.joinReload(trigger)
	select {
	case <-a.done:
		return a.result, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the reload: %w", ctx.Err())
	}
}

func (p *Proxy) joinReload(trigger string) *attempt {
	if a := p.enqueueReload(trigger); a != nil {
		return a
	}
	a := &attempt{trigger: trigger, done: make(chan struct{})}
	p.refuseReload(a)
	return a
}

// enqueueReload returns the attempt that somebody who asks now gets; nil: the proxy is ending.
func (p *Proxy) enqueueReload(trigger string) *attempt {
	p.lifecycle.Lock()
	defer p.lifecycle.Unlock()
	starting := p.first != nil
	if !p.serving && !starting {
		return nil
	}
	r := &p.reloads
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &attempt{trigger: trigger, done: make(chan struct{})}
	}
	a := r.next
	if !r.running && !starting {
		r.running = true
		p.background.Go(p.reloadAll)
	}
	return a
}

// reloadAll makes reloads until nobody waits for one.
func (p *Proxy) reloadAll() {
	for {
		r := &p.reloads
		r.mu.Lock()
		a := r.next
		r.next, r.running = nil, a != nil
		r.mu.Unlock()
		if a == nil {
			return
		}
		p.reload(a)
		close(a.done)
	}
}

// reload makes one, and tells of it everywhere.
func (p *Proxy) reload(a *attempt) {
	began := time.Now()
	if p.options.Reloading != nil {
		reloaded := p.options.Reloading()
		defer func() { reloaded(a.err) }()
	}
	p.log.Info("reload started", "trigger", a.trigger, "config", p.options.Path)
	p.auditReload("reload_started", "trigger", a.trigger)
	was := p.snapshot.Load()
	warnings, err := p.reloadOnce()
	now := p.snapshot.Load()
	result := &ReloadResult{
		Trigger: a.trigger, At: began, Millis: time.Since(began).Milliseconds(), OK: err == nil, Generation: now.generation, Warnings: warnings,
	}
	if err != nil {
		p.reloadFailed(result, err)
	} else {
		p.reloadDone(result, was, now)
	}
	a.result, a.err = result, err
	r := &p.reloads
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = result
	if result.OK {
		r.lastOK = began
		r.counts[1]++
	} else {
		r.counts[0]++
	}
}

func (p *Proxy) reloadFailed(result *ReloadResult, err error) {
	result.Error = err.Error()
	if bad := (*ConfigError)(nil); errors.As(err, &bad) {
		result.Problems = bad.Problems
		for _, line := range bad.lines {
			p.log.Error("configuration", "problem", line)
		}
		result.Error = fmt.Sprintf("the configuration has %d problems", len(bad.Problems))
	}
	p.log.Error("reload failed, the old configuration goes on", "trigger", result.Trigger, "generation", result.Generation, "error", result.Error)
	p.metrics.Reload(false)
	p.auditReload("reload_failed", "trigger", result.Trigger, "details", err.Error(), "generation", fmt.Sprint(result.Generation))
}

func (p *Proxy) reloadDone(result *ReloadResult, was, now *snapshot) {
	for _, w := range result.Warnings {
		p.log.Warn("configuration", "problem", w)
	}
	p.log.Info("reload done", "trigger", result.Trigger, "generation", now.generation, "duration_ms", result.Millis)
	p.metrics.Reload(true)
	p.auditReload("reload_success", "trigger", result.Trigger, "generation", fmt.Sprint(now.generation),
		"old_routes", fmt.Sprint(len(was.cfg.Routes)), "new_routes", fmt.Sprint(len(now.cfg.Routes)),
		"old_upstreams", fmt.Sprint(len(was.cfg.Upstreams)), "new_upstreams", fmt.Sprint(len(now.cfg.Upstreams)),
		"old_listeners", fmt.Sprint(len(was.cfg.Listeners)), "new_listeners", fmt.Sprint(len(now.cfg.Listeners)),
		"old_agents", fmt.Sprint(len(was.cfg.Agents)), "new_agents", fmt.Sprint(len(now.cfg.Agents)))
	if slices.ContainsFunc(now.cfg.Listeners, func(l config.Listener) bool { return l.TLS != nil }) {
		p.logs.Load().audit.Write(&telemetry.AuditEntry{
			Time: time.Now(), Event: telemetry.EventCertReload, Path: configPath, Reason: "reload_success",
		})
	}
}

// configPath stands where other audit entries have the path of a request (spec 16).
var configPath = []byte("/-/config")

func (p *Proxy) auditReload(reason string, pairs ...string) {
	p.logs.Load().audit.Write(&telemetry.AuditEntry{
		Time: time.Now(), Event: telemetry.EventConfigChange, Path: configPath, Reason: reason, Metadata: attributes(pairs...),
	})
}

// reloadOnce reads, checks, builds and swaps. Whatever fails leaves no trace. A bug costs one reload.
func (p *Proxy) reloadOnce() (warnings []string, err error) {
	defer func() {
		if bug := recover(); bug != nil {
			p.log.Error("internal error", "in", "reload", "cause", fmt.Sprint(bug), "stack", string(debug.Stack()))
			err = errBug
		}
	}()
	if p.options.Path == "" {
		return nil, errNoPath
	}
	old, rest := p.snapshot.Load(), new(pace).rest
	reading := newReading()
	cfg, problems := p.options.read(config.Options{Visit: reading.visit, Rest: rest}, "")
	defer func() { p.watching.end(reading, err != nil, p.snapshot.Load().cfg.System.AutoReload) }()
	if problems.HasErrors() {
		return nil, newConfigError(problems)
	}
	warnings = append(texts(problems), pending(cfg)...)
	warnings = append(warnings, unchangeable(old.cfg, cfg)...)
	logs := p.logs.Load()
	if err := p.swap(cfg, old, rest); err != nil {
		return warnings, err
	}
	return append(warnings, p.freshLogs(logs)...), nil
}

// swap builds a snapshot and makes it the one that is served.
func (p *Proxy) swap(cfg *config.Config, old *snapshot, rest func()) error {
	p.lifecycle.Lock()
	defer p.lifecycle.Unlock()
	next, err := p.prepareUnlocked(cfg, old, rest)
	switch {
	case err != nil:
		p.forget()
		return err
	case !p.serving:
		next.abandon()
		return errNotServing
	}
	p.commit(next)
	return nil
}

// prepareUnlocked is prepare without the lifecycle lock, which is held before and after it, also after a bug.
func (p *Proxy) prepareUnlocked(cfg *config.Config, old *snapshot, rest func()) (*prepared, error) {
	p.preparing = true
	p.lifecycle.Unlock()
	defer func() {
		p.lifecycle.Lock()
		p.preparing = false
	}()
	return p.prepare(cfg, old, rest)
}

// pace lets a reload take a part of one processor's time only. It shares the machine with the requests, and a thousand
// routes are tens of milliseconds of work, for which they would wait.
type pace struct{ began time.Time }

const (
	workFor = 200 * time.Microsecond
	restFor = time.Millisecond
)

// rest is called often.
func (p *pace) rest() {
	if time.Since(p.began) < workFor {
		return
	}
	if !p.began.IsZero() {
		time.Sleep(restFor)
	}
	p.began = time.Now()
}

// unchangeable lists what changed and holds for the next start only.
func unchangeable(old, cfg *config.Config) (list []string) {
	was, now := &old.System, &cfg.System
	for _, s := range []struct {
		name    string
		changed bool
	}{
		{"system.user", was.User != now.User},
		{"system.group", was.Group != now.Group},
		{"system.working-directory", was.WorkingDir != now.WorkingDir},
		{"system.daemon", was.Daemon != now.Daemon},
		{"system.pid-file", was.PIDFile != now.PIDFile},
		{"system.admin-socket", was.AdminSocket != now.AdminSocket},
		{"system.worker-threads", was.WorkerThreads > 0 && now.WorkerThreads == 0},
		{"logging.format", old.Observability.Logging.Format != cfg.Observability.Logging.Format},
		{"metrics", old.Observability.Metrics != cfg.Observability.Metrics},
	} {
		if s.changed {
			list = append(list, s.name+" changed: restart required")
		}
	}
	return list
}

// prepared is a snapshot with everything that has to be opened for it.
type prepared struct {
	p       *Proxy
	snap    *snapshot
	old     *snapshot // nil: the first
	sockets []*socket // that were opened
	logs    *logs     // nil: the old ones go on
}

// prepare builds what a configuration says, and opens what can fail. An error leaves nothing open.
func (p *Proxy) prepare(cfg *config.Config, old *snapshot, rest func()) (*prepared, error) {
	s, err := p.buildSnapshot(cfg, old, rest)
	if err != nil {
		return nil, err
	}
	n := &prepared{p: p, snap: s, old: old}
	if err = n.openSockets(); err == nil {
		n.logs, err = p.nextLogs(&cfg.Observability.Logging, old)
	}
	if err != nil {
		n.abandon()
		return nil, err
	}
	return n, nil
}

// openSockets gives every listener the socket that is bound to its address, or a new one. It tries all of them, so
// that all errors are known at once.
func (n *prepared) openSockets() error {
	var failed []error
	for i := range n.snap.cfg.Listeners {
		c := &n.snap.cfg.Listeners[i]
		l := n.snap.listeners[socketKey(c)]
		if n.old != nil && n.old.listeners[l.key] != nil {
			l.socket = n.old.listeners[l.key].socket
			continue
		}
		s, err := n.p.bind(l)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", c.Pos, err))
			continue
		}
		s.current.Store(l)
		l.socket = s
		n.sockets = append(n.sockets, s)
	}
	return errors.Join(failed...)
}

// abandon closes what was opened. What the old snapshot shares was not.
func (n *prepared) abandon() {
	for _, s := range n.sockets {
		_ = s.nl.Close()
	}
	if n.logs != nil {
		n.logs.close()
	}
	for _, pool := range n.snap.pools {
		if n.old == nil || !slices.Contains(n.old.pools, pool) {
			pool.Close()
		}
	}
	for id, a := range n.snap.agents {
		if n.old == nil || n.old.agents[id] != a {
			a.Close(0)
		}
	}
}

// apply sets what is not part of a snapshot.
func (p *Proxy) apply(cfg *config.Config) {
	p.setLimits(cfg)
	p.ids.Store(telemetry.NewIDs(cfg.System.TraceIDFormat))
	p.level.Set(levelOf(&cfg.Observability.Logging, p.options.Verbose))
	if n := cfg.System.WorkerThreads; n > 0 {
		runtime.GOMAXPROCS(n)
	}
}

// commit makes a prepared snapshot the one that is served. Nothing of it can fail, and it waits for nothing, not even
// for the log. The lifecycle lock is held.
func (p *Proxy) commit(n *prepared) {
	s, old := n.snap, n.old
	r := n.retires()
	p.apply(s.cfg)
	p.limits.own(s)
	n.startShared()
	for leaving := range r.sockets {
		leaving.last.Store(old) // before connections can see that their listener is gone
	}
	p.snapshot.Store(s)
	for _, l := range s.listeners {
		l.socket.current.Store(l)
	}
	for _, opened := range n.sockets {
		p.serve(opened)
	}
	for leaving := range r.sockets {
		_ = leaving.nl.Close()
		p.remark(slog.LevelInfo, "listener left", slog.String("address", leaving.address))
	}
	p.sweeper.drain(func(c *conn) bool { return r.sockets[c.socket] })
	if n.logs != nil {
		r.logs = p.logs.Swap(n.logs)
	}
	p.attach(s, old)
	p.retire(r)
}

// startShared lets the snapshot's new upstreams and agents run. An upstream that had another definition before
// inherits what was known of its targets.
func (n *prepared) startShared() {
	for _, pool := range n.snap.pools {
		if n.old != nil && slices.Contains(n.old.pools, pool) {
			continue
		}
		if n.old != nil && n.old.pool(pool.ID) != nil {
			pool.Inherit(n.old.pool(pool.ID), connectable(n.old, n.snap, pool.ID))
		}
		pool.Start()
	}
	for id, a := range n.snap.agents {
		if n.old == nil || n.old.agents[id] != a {
			a.Start()
		}
	}
}

// attach lets the gauges of the metrics read the objects of a snapshot. What is gone shows none any more.
func (p *Proxy) attach(s, old *snapshot) {
	for _, pool := range s.pools {
		p.metrics.Upstream(pool.ID).SetStats(func() telemetry.UpstreamStats { return poolStats(pool) })
	}
	for id, a := range s.agents {
		p.metrics.Agent(id).SetStats(func() telemetry.AgentStats { return agentStats(a) })
	}
	for _, r := range s.routes {
		if r.breaker != nil {
			r.attempts.SetBreaker(func() int { return int(r.breaker.State()) })
		} else if r.attempts != nil {
			r.attempts.SetBreaker(nil)
		}
	}
	p.metrics.Generation(s.generation)
	if old == nil {
		return
	}
	for _, pool := range old.pools {
		if s.pool(pool.ID) == nil {
			p.metrics.Upstream(pool.ID).SetStats(nil)
		}
	}
	for id, r := range old.routes {
		if now := s.routes[id]; r.breaker != nil && (now == nil || now.attempts != r.attempts) {
			r.attempts.SetBreaker(nil)
		}
	}
	for id := range old.agents {
		if s.agents[id] == nil {
			p.metrics.Agent(id).SetStats(nil)
		}
	}
}
