package waf

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// Options are what an operator can choose. The zero value of every field stands for its default.
type Options struct {
	Mode       Mode
	Paranoia   int    // 1 to 4: how much CRS looks at, and how much of it is innocent; 0: 1
	Threshold  int    // 1 to 1000: the anomaly score that is refused; 0: 5, which is one critical rule
	RulesFile  string // more SecLang directives, of at most 1 MiB; empty: none
	MaxFields  int    // 1 to 16 MiB: bytes of arguments, of query and body, or of XML; 0: 64 KiB
	MaxBody    int    // 1 to 16 MiB: bytes of a body; 0: 1 MiB
	MaxPending int    // 1 to 65536: bodies that are not complete; the one that waited longest makes room; 0: 1024
}

// Mode is what becomes of an attack.
type Mode string

// The modes.
const (
	Prevention Mode = "prevention" // it is refused
	Detection  Mode = "detection"  // it passes, and the audit data says what was found
)

// Bounds of Options.
const (
	maxParanoia  = 4
	maxThreshold = 1000
	maxBody      = 16 << 20
	maxPending   = 1 << 16
)

func (o Options) withDefaults() Options {
	if o.Mode == "" {
		o.Mode = Prevention
	}
	orInt := func(n *int, def int) {
		if *n == 0 {
			*n = def
		}
	}
	orInt(&o.Paranoia, 1)
	orInt(&o.Threshold, 5)
	orInt(&o.MaxFields, 64<<10)
	orInt(&o.MaxBody, 1<<20)
	orInt(&o.MaxPending, 1024)
	return o
}

// check returns an error that names what is out of range by its word in flags and config blocks.
func (o Options) check() error {
	if o.Mode != Prevention && o.Mode != Detection {
		return fmt.Errorf("mode %.40q is neither %q nor %q", o.Mode, Prevention, Detection)
	}
	for _, b := range []struct {
		name   string
		n, max int
	}{
		{"paranoia-level", o.Paranoia, maxParanoia},
		{"anomaly-threshold", o.Threshold, maxThreshold},
		{"max-field-bytes", o.MaxFields, maxBody},
		{"max-body-bytes", o.MaxBody, maxBody},
		{"max-pending", o.MaxPending, maxPending},
	} {
		if b.n < 1 || b.n > b.max {
			return fmt.Errorf("%s is %d, want 1 to %d", b.name, b.n, b.max)
		}
	}
	return nil
}

// handler is the agent. Its methods may be called from any goroutine.
type handler struct {
	agent.Base
	options Options // of the command line; a config block starts from them
	engine  atomic.Pointer[engine]
	pending *pending

	mu sync.Mutex // held by Configure
}

// New returns the agent. It compiles the rules, which takes a second or so of one core.
func New(o Options) (agent.Handler, error) { return newHandler(o) }

func newHandler(o Options) (*handler, error) {
	o = o.withDefaults()
	e, err := newEngine(o)
	if err != nil {
		return nil, err
	}
	h := &handler{options: o, pending: newPending(o.MaxPending)}
	h.engine.Store(e)
	return h, nil
}

// RequestHeaders judges the head of a request.
func (h *handler) RequestHeaders(_ context.Context, r *agent.Request) *agent.Verdict {
	in := h.engine.Load().inspect(r)
	defer in.close()
	return in.finish()
}

// RequestBody gathers the parts of a body and judges it at the last. A part that does not follow the one before
// it, or whose forerunners had to make room, is a failure: what was not seen cannot be judged.
func (h *handler) RequestBody(_ context.Context, r *agent.Request, c *agent.Chunk) *agent.Verdict {
	in := h.pending.take(r.CorrelationID)
	if c.Index == 0 {
		in.close() // of a request that went by the same id before
		in = h.engine.Load().inspect(r)
	}
	if in == nil || in.chunks != c.Index {
		in.close()
		return nil
	}
	v := in.add(c.Data)
	switch {
	case v != nil:
	case c.Last:
		v = in.finish()
	default:
		h.pending.put(r.CorrelationID, in)
		v = agent.Allow()
		v.NeedsMore = true
		return v
	}
	in.close()
	return v
}

// Close gives back what the agent holds. It must not be used afterwards.
func (h *handler) Close() error {
	h.pending.close()
	return h.engine.Load().close()
}

// Complete forgets the request.
func (h *handler) Complete(_ context.Context, r *agent.Request, _ *agent.Complete) {
	h.pending.take(r.CorrelationID).close()
}
