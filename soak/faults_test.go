package soak

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
	"github.com/sentinel-proxy/sentinel-go/fixtures/rogue"
)

// answerSize is that of every good answer, in bytes.
const answerSize = 2000

// What clients may get of a fault.
var (
	nothing = []result{}           // it is slow at most
	broken  = []result{"502", cut} // the connection ends, or what comes is no answer
	silent  = []result{"504", cut} // no answer in time
)

// requestLimit is how long the proxy waits for a target.
const requestLimit = time.Second

// trouble is a fault of one target or agent.
type trouble struct {
	name   string
	lanes  []string // whose requests may suffer
	gives  []result
	inject func() error
	heal   func() error
}

// world is everything behind the proxy. The lanes, each a route of its name, are
//
//   - well, whose target never fails,
//   - asked, the same behind an agent that does, and fails open,
//   - plain, with one target, no breaker and no retries,
//   - fused, whose target has a breaker,
//   - process, whose target is killed and stopped, and
//   - pair, with the targets of plain and fused and a retry-policy.
type world struct {
	well, plain, fused     *fault.Origin
	plainRelay, fusedRelay *fault.Relay
	process                *fault.Process
	agent                  *rogue.Process
}

var lanes = []string{"well", "asked", "plain", "fused", "process", "pair"}

// must ends the test when something could not be started, and otherwise closes it with the test.
func must[T interface{ Close() error }](t *testing.T, opened T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	return opened
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	for _, o := range []**fault.Origin{&w.well, &w.plain, &w.fused} {
		origin, err := fault.NewOrigin()
		*o = must(t, origin, err)
		origin.Set(fault.Script{Size: answerSize})
	}
	relay, err := fault.NewRelay(w.plain.Addr())
	w.plainRelay = must(t, relay, err)
	relay, err = fault.NewRelay(w.fused.Addr())
	w.fusedRelay = must(t, relay, err)
	process, err := fault.StartProcess()
	w.process = must(t, process, err)
	if err := process.Set(fault.Script{Size: answerSize}); err != nil {
		t.Fatal(err)
	}
	agent, err := rogue.StartProcess(rogue.Options{Path: filepath.Join(t.TempDir(), "agent"), Dialect: rogue.V1})
	w.agent = must(t, agent, err)
	return w
}

// troubles returns all faults, in the order they are played in turns.
func (w *world) troubles() (all []*trouble) {
	junk := fault.Junks()
	relayed := []struct {
		does  fault.Fault
		gives []result
	}{
		{fault.ResetAtOnce(), broken},
		{fault.Delay(100 * time.Millisecond), nothing},
		{fault.Garbage(junk[0]), broken},
		{fault.Blackhole(), silent},
		{fault.TruncateBody(100), broken},
		{fault.Refuse(), broken},
		{fault.Duplicate(), nothing},
		{fault.ResetAfterResponse(20), broken},
		{fault.HeadAndHang(), silent},
		{fault.Corrupt(0), broken},
		{fault.Drip(100 * time.Microsecond), nothing},
		{fault.Delay(time.Hour), silent},
	}
	others := w.others()
	for i, f := range relayed {
		all = append(all, relay("plain", w.plainRelay, f.does, f.gives))
		all = append(all, others[i%len(others)])
		all = append(all, relay("fused", w.fusedRelay, f.does, f.gives))
	}
	return all
}

// relay is what happens on the way to a target.
func relay(lane string, r *fault.Relay, does fault.Fault, gives []result) *trouble {
	set := func(f fault.Fault) func() error { return func() error { r.SetAll(f); return nil } }
	return &trouble{lane + ": " + does.String(), []string{lane, "pair"}, gives, set(does), set(fault.Pass())}
}

// others are what happens to processes, and answers that say that something is wrong.
func (w *world) others() []*trouble {
	status := func(lane string, o *fault.Origin, code int) *trouble {
		set := func(code int) func() error {
			return func() error { o.Set(fault.Script{Size: answerSize, Status: code}); return nil }
		}
		name, gives := fmt.Sprintf("%s: all answers are %d", lane, code), []result{result(fmt.Sprint(code))}
		return &trouble{name, []string{lane, "pair"}, gives, set(code), set(200)}
	}
	return []*trouble{
		{"process: killed", []string{"process"}, broken, w.process.Kill, w.process.Restart},
		{"agent: killed", nil, nothing, w.agent.Kill, w.agent.Restart},
		status("plain", w.plain, 500),
		{"process: stopped", []string{"process"}, silent, w.process.Stop, w.process.Cont},
		{"agent: stopped", nil, nothing, w.agent.Stop, w.agent.Cont},
		status("fused", w.fused, 503),
	}
}

// span is when a fault was there.
type span struct {
	*trouble
	from, to time.Time // to is zero while it is
}

// chronicle says which faults there were, and what they explain. Any goroutine may use it.
type chronicle struct {
	mu          sync.Mutex
	spans       []*span
	explained   map[string]int // by cause and result
	caused      map[*trouble]int
	unexplained []string
}

// play injects a fault for a time, or until the end.
func (c *chronicle) play(f *trouble, last time.Duration, end <-chan struct{}) error {
	s := &span{trouble: f, from: time.Now()}
	c.mu.Lock()
	c.spans = append(c.spans, s)
	c.mu.Unlock()
	injected := f.inject()
	select {
	case <-time.After(last):
	case <-end:
	}
	healed := f.heal()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.to = time.Now()
	if err := errors.Join(injected, healed); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	return nil
}

// breakerTail is how long after a fault the breaker of fused may refuse: the last request has a second to
// fail, the breaker is open for one, and two are for trials on a busy machine.
const breakerTail = 4 * time.Second

// short reports whether the fault may be over before a request has met its limit, so that all end well.
func (f *trouble) short() bool {
	return slices.Contains(f.gives, "504") && *faultEvery/2 <= requestLimit
}

// covers reports whether the fault explains what became of a request that began then and is over now.
func (s *span) covers(lane string, r result, began time.Time) bool {
	switch {
	case !slices.Contains(s.lanes, lane):
		return false
	case s.to.IsZero() || began.Before(s.to):
		return slices.Contains(s.gives, r) || lane == "fused" && r == "503"
	}
	return lane == "fused" && r == "503" && began.Before(s.to.Add(breakerTail))
}

// note looks for the latest fault that explains a request's failure.
func (c *chronicle) note(lane string, r result, began time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range slices.Backward(c.spans) {
		if len(s.gives) > 0 && s.covers(lane, r, began) {
			c.explained[fmt.Sprintf("%s -> /%s %s", s.name, lane, r)]++
			c.caused[s.trouble]++
			return
		}
	}
	last := "no fault yet"
	if n := len(c.spans); n > 0 {
		last = fmt.Sprintf("%s, from %s to %s", c.spans[n-1].name, c.spans[n-1].from, c.spans[n-1].to)
	}
	c.unexplained = append(c.unexplained, fmt.Sprintf("/%s: %s (%v), began %s, ended %s; the last fault: %s", lane, r, err, began, time.Now(), last))
}
