package lua

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// maxWait bounds how long a request waits for its turn.
const maxWait = time.Second

var errBusy = errors.New("no turn in time")

// Options describe the agent. They are not changed after New.
type Options struct {
	Script       string        // path of the file
	Timeout      time.Duration // of one call, up to 10 s; 0: 10 ms
	Instructions int           // of one call, up to 100,000,000; 0: 100,000
	States       int           // scripts that run at a time, up to 1000; 0: one for each CPU
	Log          *slog.Logger  // nil: slog.Default
}

func (o Options) withDefaults() (Options, error) {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Millisecond)
	o.Instructions = cmp.Or(o.Instructions, 100_000)
	o.States = cmp.Or(o.States, runtime.GOMAXPROCS(0))
	if o.Log == nil {
		o.Log = slog.Default()
	}
	switch {
	case o.Script == "":
		return o, errors.New("no script")
	case o.Timeout < 0 || o.Timeout > 10*time.Second:
		return o, fmt.Errorf("timeout %v: want up to 10s", o.Timeout)
	case o.Instructions < 0 || o.Instructions > 100_000_000:
		return o, fmt.Errorf("instructions %d: want up to 100,000,000", o.Instructions)
	case o.States < 0 || o.States > 1000:
		return o, fmt.Errorf("states %d: want up to 1000", o.States)
	}
	return o, nil
}

// Script is the agent. Its methods may be called from any goroutine.
type Script struct {
	agent.Base
	options Options
	program atomic.Pointer[program]
	turns   chan struct{} // holds one for each script that runs

	failures atomic.Uint64
	complain rate.Sometimes // about the script
	speak    *rate.Limiter  // lines of the script
}

// New reads the script, runs its top level once, and returns the agent. Its errors name the line.
func New(o Options) (agent.Handler, error) { return newScript(o) }

func newScript(o Options) (*Script, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Script{
		options: o, turns: make(chan struct{}, o.States), complain: rate.Sometimes{Interval: time.Second}, speak: rate.NewLimiter(10, 100),
	}
	return s, s.Reload()
}

// Reload reads the script again. With an error the one in use stays.
func (s *Script) Reload() error {
	proto, err := load(s.options.Script)
	if err != nil {
		return err
	}
	p, err := s.newCall(context.Background(), "", s.say).inspect(proto)
	if err != nil {
		return fmt.Errorf("%s: %w", s.options.Script, err)
	}
	s.program.Store(p)
	return nil
}

// Failures returns how many calls ended without a verdict.
func (s *Script) Failures() uint64 { return s.failures.Load() }

// Configure takes no configuration: which script runs is not the proxy's to say.
func (s *Script) Configure(_ context.Context, config json.RawMessage) error {
	var settings map[string]json.RawMessage
	if len(config) > 0 {
		if err := json.Unmarshal(config, &settings); err != nil {
			return fmt.Errorf("reading the configuration: %w", err)
		}
	}
	if len(settings) > 0 {
		return errors.New("this agent is configured by its command line only")
	}
	return nil
}

// RequestHeaders asks on_request_headers.
func (s *Script) RequestHeaders(ctx context.Context, r *agent.Request) *agent.Verdict {
	return s.ask(ctx, onRequest, r, nil)
}

// ResponseHeaders asks on_response_headers.
func (s *Script) ResponseHeaders(ctx context.Context, r *agent.Request, resp *agent.Response) *agent.Verdict {
	return s.ask(ctx, onResponse, r, resp)
}

// ask runs the script. Without a verdict of it the proxy's failure mode decides.
func (s *Script) ask(ctx context.Context, event string, r *agent.Request, resp *agent.Response) *agent.Verdict {
	p := s.program.Load()
	if !p.handlers[event] {
		return agent.Allow()
	}
	v, err := s.inTurn(ctx, func() (*agent.Verdict, error) { return s.newCall(ctx, event, s.say).run(p, r, resp) })
	if err != nil {
		s.failed(event, err)
		return (&agent.Verdict{}).WithReason("script_failed")
	}
	return v
}

// inTurn runs a script when not too many run.
func (s *Script) inTurn(ctx context.Context, run func() (*agent.Verdict, error)) (*agent.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
		return run()
	case <-ctx.Done():
		return nil, errBusy
	}
}

func (s *Script) failed(event string, err error) {
	count := s.failures.Add(1)
	s.complain.Do(func() {
		s.options.Log.Warn("the script failed", "event", event, "error", err.Error(), "failures_so_far", count)
	})
}

// say logs a line of the script, unless there were too many lately.
func (s *Script) say(line string) {
	if s.speak.Allow() {
		s.options.Log.Info("the script says", "line", line)
	}
}
