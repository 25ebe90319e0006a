package agents

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/breaker"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/limit"
)

// Options describe one agent. They are not changed after New.
type Options struct {
	ID           string
	Network      string        // "unix" or "grpc"
	Address      string        // socket path, or host:port
	TLS          *tls.Config   // of grpc; nil: plain
	Protocol     int           // 1, 2, or 0: find out
	Timeout      time.Duration // for a handshake, at most; calls bring their own deadlines
	MaxCalls     int           // events asked at a time
	MaxWaiting   int           // callers that may wait for that
	MaxIdle      int           // V1 connections kept without a request; one is always kept
	IdleTimeout  time.Duration // for how long
	Links        int           // connections of the other dialects
	MaxReply     int64         // bytes of a verdict without a body; 0: what the dialect allows
	Breaker      breaker.Settings
	Config       []byte // JSON of the config block; nil: none
	Base64Bodies bool   // G1 bodies as base64 text, as the Rust agents expect
	ProxyVersion string
	Notify       func(Notice) // is told of changes, with locks held: it must be quick and call no method of the agent

	dialer func(context.Context) (net.Conn, error) // of a Unix socket; nil: the address
	stray  func()                                  // counts a reply that nobody waited for; of gRPC links
}

// Notice is a change in an agent's state.
type Notice struct {
	Kind     NoticeKind
	Dialect  Dialect
	From, To breaker.State // of BreakerChanged
	Cause    string        // in our own words
	Detail   string        // may hold the agent's words: escape and cap them
}

// NoticeKind tells notices apart.
type NoticeKind uint8

// The kinds of notices.
const (
	Connected      NoticeKind = iota // the first link stands, after none did
	Disconnected                     // the last link is gone, or none could be made
	BreakerChanged                   //
	ConfigRejected                   // the agent took the connection and refused its config
	Warning                          // something an operator should know: Detail
	Message                          // the agent's own log message: Detail
)

// Agent is one agent: its connections, its breaker and the line of callers. Its methods may be called from
// any goroutine.
type Agent struct {
	Options
	breaker    *breaker.Breaker
	gate       gate
	lastNumber atomic.Uint64 // request id of dialect V2D, given out last
	unknown    atomic.Uint64 // replies that nobody waited for
	ctx        context.Context
	cancel     context.CancelFunc
	work       sync.WaitGroup
	nudge      chan struct{} // holds one wake-up of keep
	hurry      chan struct{} // holds the wish not to wait for the next attempt to connect

	mu       sync.Mutex
	pool     pool
	dialect  Dialect // the one that worked last; NoDialect: to be found out
	greeting Greeting
	standing standing
	started  bool
	closing  bool
	drained  chan struct{} // closing: closed once nobody uses a link
	lastErr  error
	lastAt   time.Time
}

const (
	maxLinks   = 64
	maxCalls   = 1 << 16
	firstIDs   = 1 << 52 // request ids start at random below this, and stay integers in a float64 for ever
	dialAtMost = 5 * time.Second
)

var (
	errClosed     = errors.New("closed")
	errNotStarted = errors.New("not started")
)

// New returns an agent that is not connected. It fails on options that contradict each other only.
func New(o Options) (*Agent, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("agent %q: %w", o.ID, err)
	}
	o.Links, o.MaxIdle = max(o.Links, 1), max(o.MaxIdle, 1)
	if o.Notify == nil {
		o.Notify = func(Notice) {}
	}
	if o.dialer == nil {
		o.dialer = dialer(&o)
	}
	a := &Agent{Options: o, nudge: make(chan struct{}, 1), hurry: make(chan struct{}, 1), lastErr: errNotStarted}
	a.stray = func() { a.unknown.Add(1) }
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.gate.line = limit.NewQueue(o.MaxWaiting)
	a.gate.resize(o.MaxCalls)
	a.lastNumber.Store(firstID())
	a.breaker = breaker.New(o.Breaker, func(c breaker.Change) {
		o.Notify(Notice{Kind: BreakerChanged, From: c.From, To: c.To, Cause: c.Cause})
	})
	return a, nil
}

// firstID returns a random number from which request ids count: proxies that share an agent, and lives of one
// proxy, shall not meet.
func firstID() uint64 {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return binary.LittleEndian.Uint64(random[:]) % firstIDs
}

func (o *Options) check() error {
	switch {
	case o.Network != "unix" && o.Network != "grpc":
		return fmt.Errorf("network %q is neither unix nor grpc", o.Network)
	case o.Address == "":
		return errors.New("no address")
	case o.Protocol < 0 || o.Protocol > 2:
		return fmt.Errorf("protocol %d", o.Protocol)
	case o.TLS != nil && o.Network != "grpc":
		return errors.New("TLS on a Unix socket")
	case o.Timeout <= 0:
		return errors.New("a timeout of 0 or less")
	case o.MaxCalls < 1 || o.MaxCalls > maxCalls || o.MaxWaiting < 0 || o.Links > maxLinks:
		return fmt.Errorf("%d calls, %d waiting or %d links at a time", o.MaxCalls, o.MaxWaiting, o.Links)
	case o.Config != nil && !jsontext.Value(o.Config).IsValid():
		return errors.New("a config that is not JSON")
	}
	return nil
}

// Start begins to connect in the background, again and again until Close. It may be called once.
func (a *Agent) Start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.started || a.closing {
		return
	}
	a.started = true
	a.pool.attempt = make(chan struct{}) // the first calls wait for it
	a.work.Go(a.keep)
}

// Close cancels what is under way, once sessions had drain to end, and ends every link. New sessions fail at
// once. It returns when none of the agent's goroutines is left.
func (a *Agent) Close(drain time.Duration) {
	a.mu.Lock()
	again := a.closing
	a.closing = true
	if !again {
		a.drained = make(chan struct{})
		a.drainedLocked()
	}
	a.mu.Unlock()
	if drain > 0 {
		timer := time.NewTimer(drain)
		defer timer.Stop()
		select {
		case <-a.drained:
		case <-timer.C:
		case <-a.ctx.Done():
		}
	}
	a.cancel()
	a.closeLinks()
	a.work.Wait()
}

// State is what an operator may see of an agent.
type State struct {
	Dialect           Dialect
	Name, Version     string // the agent's words
	MaxConcurrent     int    // as in Greeting
	Cancels           bool   // as in Greeting
	Links, Idle       int
	InFlight, Waiting int
	Breaker           breaker.State
	LastError         string // may hold the agent's words
	LastErrorAt       time.Time
	Busy              uint64 // calls that found the line full, or no slot in time
	Unknown           uint64 // replies that nobody waited for
}

// State returns the present state.
func (a *Agent) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := State{
		Dialect: a.dialect, Name: a.greeting.Name, Version: a.greeting.Version,
		MaxConcurrent: a.greeting.MaxConcurrent, Cancels: a.greeting.Cancels,
		InFlight: int(a.gate.taken.Load()), Waiting: a.gate.line.Len(), Breaker: a.breaker.State(),
		LastErrorAt: a.lastAt, Busy: a.gate.busy.Load(), Unknown: a.unknown.Load(),
	}
	for _, m := range a.pool.members {
		st.Links++
		if m.calls == 0 && m.pins == 0 {
			st.Idle++
		}
	}
	if !a.lastAt.IsZero() {
		st.LastError = a.lastErr.Error()
	}
	return st
}

// note keeps the last error for State.
func (a *Agent) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.noteLocked(err)
}

func (a *Agent) noteLocked(err error) { a.lastErr, a.lastAt = err, time.Now() }
