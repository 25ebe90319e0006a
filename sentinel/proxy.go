package sentinel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/coding"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/telemetry"
)

// What the binary is, set when it is built.
var (
	Version = "0.1.0"
	Release = "26.11"
	Commit  = "unknown"
)

// Options say where the configuration comes from and what a test or an embedding program replaces.
type Options struct {
	Path string // configuration file or directory; empty: Text
	Text []byte // configuration text; nil: the embedded default
	Name string // what messages call Text

	// LookupEnv resolves ${NAME} in the configuration; nil: os.LookupEnv.
	LookupEnv func(string) (string, bool)
	// AccessLog, ErrorLog and AuditLog replace the files of logs that the configuration has on: one
	// Write for each line, before the exchange is over.
	AccessLog, ErrorLog, AuditLog io.Writer
	// Log is for what concerns no request; nil: standard error, in the configured format and level, which
	// Verbose lowers to debug.
	Log     *slog.Logger
	Verbose bool
	// Resolver looks up the names of targets; nil: net.DefaultResolver.
	Resolver *net.Resolver
	// Listen opens the sockets of listeners; nil: net.ListenConfig without TCP keep-alive.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)
	// Prepare is called once by New, when the configuration has been read and nothing has been opened yet, with
	// what it asks of the process. New returns its error. nil: nothing is done about that.
	Prepare func(ProcessSettings) error
	// Reloading is called when a reload begins, whoever asked for it, and what it returns when that is over, with its
	// error. One ends before the next begins, and nobody who waits for a reload hears of its end before. It is not called
	// for what is refused because the proxy does not serve. nil: nobody is told.
	Reloading func() (reloaded func(error))
}

// Proxy is one running Sentinel. New makes it, Run serves, or Close gives it up; its other methods may be called from any
// goroutine.
type Proxy struct {
	options  Options
	log      *slog.Logger
	level    slog.LevelVar // of log, if that is ours
	metrics  *telemetry.Metrics
	unrouted *telemetry.RouteMetrics
	logs     atomic.Pointer[logs]
	events   *events
	ids      atomic.Pointer[telemetry.IDs]
	instance string
	began    time.Time

	snapshot  atomic.Pointer[snapshot]
	exchanges freeList
	pipes     pipeList
	encoders  *coding.Pool // of compress filters
	notes     *notes       // of log filters
	remarks   *notes       // of the process
	sweeper   *sweeper
	acceptors sync.WaitGroup
	clients   sync.WaitGroup // connections; none is added once acceptors are gone
	scrapes   *http.Server   // the metrics endpoint; nil: none
	scrapeAt  net.Listener
	admin     *admin    // nil: no admin-socket, or not served yet
	demo      *demo     // nil: the configuration was given
	first     *prepared // until Run takes it over; guarded by lifecycle once New has returned

	reloads    reloads
	watching   watching
	background sync.WaitGroup // what reloads and retirements run
	lifecycle  sync.Mutex     // guards the next three, and every change of the snapshot once it is served
	serving    bool           // Run has begun and not begun to drain
	retiring   []*retirement  // that still drain, the oldest first
	preparing  bool           // a snapshot is being built

	limits   *limits
	open     atomic.Int64  // client connections
	kept     atomic.Int64  // bytes of bodies kept for another attempt
	held     atomic.Int64  // bytes of bodies held for agents and by buffers
	draining atomic.Bool   // answers say that their connection ends
	leaving  atomic.Bool   // connections without a request end
	stopped  chan struct{} // closed when nothing new is accepted
	finished chan struct{} // closed when everything has ended
}

// New reads and checks the configuration, builds everything and binds every listener, so that what can
// fail has failed before the first request. Errors are a *ConfigError or what the system said.
func New(o Options) (*Proxy, error) {
	p := &Proxy{options: o, began: time.Now(), stopped: make(chan struct{}), watching: watching{changed: make(chan struct{}, 1)}, finished: make(chan struct{}), sweeper: newSweeper(), limits: newLimits()}
	cfg, err := p.load()
	if err == nil && o.Prepare != nil {
		err = o.Prepare(processSettings(cfg, p.log))
	}
	if err == nil {
		err = p.build(cfg)
	}
	if err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

func (p *Proxy) build(cfg *config.Config) error {
	p.exchanges.p = p
	p.encoders = coding.NewPool(maxEncoders)
	p.instance = string(telemetry.NewIDs("uuid").Append(nil, p.began))
	p.metrics = telemetry.NewMetrics(telemetry.MetricsOptions{Version: Version, Reasons: reasonWords()})
	p.unrouted = p.metrics.Route(telemetry.NoRoute)
	p.metrics.SetLimits(p.limits.stats)
	p.events = newEvents(p.metrics.LogDropped("event"))
	go p.events.run(p.logEvent)
	p.notes = newNotes(p.metrics.LogDropped("filter"))
	go p.notes.run(p.logNote)
	p.remarks = newNotes(p.metrics.LogDropped("process")) // its own: a busy log filter must not hide them
	go p.remarks.run(p.logNote)
	first, err := p.prepare(cfg, nil, func() {})
	if err != nil {
		return err
	}
	p.logs.Store(first.logs)
	for _, w := range first.logs.missing {
		p.log.Warn("configuration", "problem", w)
	}
	p.apply(cfg)
	p.snapshot.Store(first.snap)
	p.attach(first.snap, nil)
	p.first = first
	p.sweeper.everyTick = func(now time.Time) {
		p.snapshot.Load().sweep(now)
		p.watchMemory(p.sweeper.now())
	}
	p.sweeper.everySecond = func() {
		p.exchanges.trim()
		p.encoders.Trim()
		p.limits.trim(p.since(time.Now()))
	}
	if cfg.System.AdminSocket != "" {
		if err = p.checkAdmin(cfg.System.AdminSocket); err != nil {
			return err
		}
	}
	return p.bindMetrics(&cfg.Observability.Metrics)
}

func reasonWords() (words []string) {
	for _, info := range Reasons() {
		words = append(words, info.Word)
	}
	return append(words, agentKinds...)
}

// load reads the configuration the options name, and starts the demo when they name none.
func (p *Proxy) load() (*config.Config, error) {
	demoAddr := ""
	if p.options.Path == "" && p.options.Text == nil {
		var err error
		if p.demo, err = startDemo(); err != nil {
			return nil, err
		}
		demoAddr = p.demo.addr
	}
	reading := newReading()
	cfg, problems := p.options.read(config.Options{Visit: reading.visit}, demoAddr)
	if problems.HasErrors() {
		return nil, newConfigError(problems)
	}
	p.watching.end(reading, false, cfg.System.AutoReload)
	p.log = p.options.Log
	if p.log == nil {
		p.level.Set(levelOf(&cfg.Observability.Logging, p.options.Verbose))
		p.log = newLogger(&cfg.Observability.Logging, &p.level)
	}
	for _, warning := range append(texts(problems), pending(cfg)...) {
		p.log.Warn("configuration", "problem", warning)
	}
	return cfg, nil
}

// bindMetrics opens the metrics endpoint unless a listener has its address: then a route serves it.
func (p *Proxy) bindMetrics(m *config.Metrics) error {
	if !m.Enabled {
		return nil
	}
	if servesMetrics(p.snapshot.Load().cfg) {
		p.log.Info("metrics address belongs to a listener, its routes serve it", "address", m.Address.String())
		return nil
	}
	open := p.options.Listen
	if open == nil {
		open = (&net.ListenConfig{}).Listen
	}
	nl, err := open(context.Background(), "tcp", m.Address.String())
	if err != nil {
		p.log.Warn("metrics endpoint cannot be opened, going on without it", "error", err.Error())
		return nil
	}
	p.scrapeAt = nl
	p.scrapes = &http.Server{
		Handler: p.metricsPage(m.Path), ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	return nil
}

func (p *Proxy) metricsPage(path string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != path:
			http.NotFound(w, r)
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", allowed(methodNotAllowed))
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", telemetry.TextContentType)
		if err := p.metrics.WriteText(w); err != nil {
			p.log.Warn("metrics cannot be written", "error", err.Error())
		}
	})
}

// Addr returns the bound address of a listener, nil when there is none of that id. "metrics" without a
// listener of that name is the metrics endpoint.
func (p *Proxy) Addr(id string) net.Addr {
	for _, l := range p.snapshot.Load().listeners {
		if l.id == id {
			return l.socket.nl.Addr()
		}
	}
	if id == "metrics" && p.scrapeAt != nil {
		return p.scrapeAt.Addr()
	}
	return nil
}

// Run serves until ctx is done, then drains: after shutdown-delay-secs nothing new is accepted, requests in
// flight end, and what has not ended within graceful-shutdown-timeout-secs after that is cut. It may be called
// once. With worker-threads set it sets GOMAXPROCS, with max-memory the limit of the garbage collector.
// ErrReplaced as the cause of ctx's end says that another process accepts already.
func (p *Proxy) Run(ctx context.Context) {
	defer p.release()
	go p.sweeper.run(p.finished)
	p.lifecycle.Lock()
	p.serveAdmin() // who asks gets no answer before the lock is free
	p.first.startShared()
	for _, s := range p.first.sockets {
		p.serve(s)
	}
	p.first, p.serving = nil, true
	p.resumeReloads()
	if p.options.Path != "" {
		p.background.Go(p.watch)
	}
	p.lifecycle.Unlock()
	if p.scrapes != nil {
		p.remark(slog.LevelInfo, "listening", slog.String("metrics", p.scrapeAt.Addr().String()))
		go func() { _ = p.scrapes.Serve(p.scrapeAt) }() // ends with Close
	}
	<-ctx.Done()
	p.drain(errors.Is(context.Cause(ctx), ErrReplaced))
}

// serve accepts connections on a socket. The lifecycle lock is held.
func (p *Proxy) serve(s *socket) {
	l := s.current.Load()
	p.acceptors.Go(s.accept)
	p.remark(slog.LevelInfo, "listening",
		slog.String("listener", l.id), slog.String("address", s.nl.Addr().String()), slog.Bool("tls", l.tls != nil))
}

// drain ends every connection, gently first.
func (p *Proxy) drain(replaced bool) {
	p.lifecycle.Lock()
	p.serving = false
	p.lifecycle.Unlock()
	p.draining.Store(true)
	if !replaced {
		time.Sleep(p.snapshot.Load().cfg.System.ShutdownDelay) // whoever balances load sees that we are not ready
	}
	close(p.stopped)
	p.closeSockets()
	p.acceptors.Wait() // no connection is added after this
	timeout := time.NewTimer(p.snapshot.Load().cfg.System.ShutdownTimeout)
	defer timeout.Stop()
	all := make(chan struct{})
	go func() {
		defer close(all)
		p.clients.Wait()
	}()
	if replaced {
		p.farewell(all)
	}
	p.leaving.Store(true)
	p.sweeper.drain(everyConn)
	select {
	case <-all:
		p.log.Info("drained")
		return
	case <-timeout.C:
	}
	p.log.Warn("shutdown timeout: cutting connections", "open", p.sweeper.count(everyConn))
	again := time.NewTicker(tickLength)
	defer again.Stop()
	for {
		p.sweeper.kill()
		select {
		case <-all:
			return
		case <-again.C:
		}
	}
}

func (p *Proxy) closeSockets() {
	for _, l := range p.snapshot.Load().listeners {
		_ = l.socket.nl.Close()
	}
}

// survive ends a panicking goroutine's work but not the process, and says what happened.
func (p *Proxy) survive(what string) {
	if bug := recover(); bug != nil {
		p.remark(slog.LevelError, "internal error", slog.String("in", what), slog.String("cause", fmt.Sprint(bug)), slog.String("stack", string(debug.Stack())))
	}
}

// ReopenLogs starts fresh log files, after a rotation.
func (p *Proxy) ReopenLogs() error {
	if err := p.logs.Load().reopen(); err != nil {
		return fmt.Errorf("reopening logs: %w", err)
	}
	return nil
}

// Close frees what New acquired, when Run is not to be called: nothing is accepted, and what another process owns of
// the same sockets and names stays. It may be called once.
func (p *Proxy) Close() {
	p.dropReloads()
	p.release()
}

// release frees what New and Run acquired; it may run after a New that failed half-way.
func (p *Proxy) release() {
	close(p.finished)
	p.background.Wait()
	if p.snapshot.Load() != nil {
		p.closeSockets()
	}
	if p.scrapes != nil {
		_ = p.scrapes.Close()
		_ = p.scrapeAt.Close()
	}
	if p.admin != nil {
		p.admin.close()
	}
	if s := p.snapshot.Load(); s != nil {
		for _, pool := range s.pools {
			pool.Close()
		}
		for _, a := range s.agents {
			a.Close(0) // nobody asks it any more
		}
	}
	if p.events != nil {
		p.events.close()
	}
	for _, q := range []*notes{p.notes, p.remarks} {
		if q != nil {
			q.close()
		}
	}
	if p.demo != nil {
		p.demo.close()
	}
	p.pipes.close()
	if l := p.logs.Load(); l != nil {
		l.close()
	}
}
