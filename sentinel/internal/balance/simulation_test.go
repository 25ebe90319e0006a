package balance

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// This file simulates a pool of targets under load, event by event, with a clock and randomness of its
// own: the same seed gives the same run. scenarios_test.go has the pools.

// simulated is how long a run is.
const simulated = 60 * time.Second

// epoch is when it begins.
var epoch = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

// work is what a request meets at a target at that time: how long it is served, and whether the answer is
// an error.
type work func(at time.Duration, dice *rand.Rand) (took time.Duration, failed bool)

// server is a target that serves some requests at once and lets the others wait in line.
type server struct {
	slots int
	work  work
	busy  int
	line  []*visit
}

// visit is one request.
type visit struct {
	arrived time.Duration
	target  int
	failed  bool
}

// event is the end of a visit, or the arrival of the next one, which is nil.
type event struct {
	at    time.Duration
	visit *visit
}

// agenda has the events to come, the next one last.
type agenda []event

func (a *agenda) add(e event) {
	i, _ := slices.BinarySearchFunc(*a, e, func(x, e event) int { return int(e.at - x.at) })
	*a = slices.Insert(*a, i, e)
}

func (a *agenda) next() event {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// outcome is what the clients saw.
type outcome struct {
	p50, p99 float64   // milliseconds to an answer that is no error
	failures float64   // share of all requests
	shares   []float64 // of the targets
	late     []float64 // the same for the last 15 s
}

// simulation is one run.
type simulation struct {
	scenario
	dice     *rand.Rand
	servers  []*server
	nodes    []*Node
	balancer Balancer
	observer Observer // nil: the balancer does not learn
	agenda   agenda
	took     []time.Duration
	visits   []int // by target
	late     []int // those of the last 15 s
	failures int
	now      time.Duration
}

func simulate(s scenario, build func(*group) Balancer, seed uint64) outcome {
	sim := &simulation{scenario: s, dice: rand.New(rand.NewPCG(seed, 0)), servers: s.pool()}
	for i := range sim.servers {
		n := &Node{Weight: 1}
		if s.weights != nil {
			n.Weight = s.weights[i]
		}
		sim.nodes = append(sim.nodes, n)
	}
	sim.visits, sim.late = make([]int, len(sim.nodes)), make([]int, len(sim.nodes))
	sim.balancer = build(newGroup(sim.nodes, rand.New(rand.NewPCG(seed, 1)).Uint64))
	sim.observer, _ = sim.balancer.(Observer)
	sim.agenda.add(event{})
	for len(sim.agenda) > 0 {
		e := sim.agenda.next()
		sim.now = e.at
		if e.visit == nil {
			sim.arrive()
		} else {
			sim.finish(e.visit)
		}
	}
	return sim.result()
}

// Eligible implements Eligibility.
func (s *simulation) Eligible(i int) bool { return s.away == nil || !s.away(s.now, i) }

func (s *simulation) arrive() {
	if next := s.now + time.Duration(s.dice.ExpFloat64()/s.rate*1e9); next < simulated {
		s.agenda.add(event{at: next})
	}
	v := &visit{arrived: s.now, target: s.balancer.Pick(&Query{Now: epoch.Add(s.now), Set: s})}
	s.visits[v.target]++
	if s.now > simulated-15*time.Second {
		s.late[v.target]++
	}
	s.nodes[v.target].InFlight.Add(1)
	if t := s.servers[v.target]; t.busy < t.slots {
		s.serve(v)
	} else {
		t.line = append(t.line, v)
	}
}

func (s *simulation) serve(v *visit) {
	t := s.servers[v.target]
	t.busy++
	took, failed := t.work(s.now, s.dice)
	v.failed = failed
	s.agenda.add(event{s.now + took, v})
}

func (s *simulation) finish(v *visit) {
	t := s.servers[v.target]
	t.busy--
	if len(t.line) > 0 {
		next := t.line[0]
		t.line = t.line[1:]
		s.serve(next)
	}
	took := s.now - v.arrived
	s.nodes[v.target].InFlight.Add(-1)
	if s.observer != nil {
		s.observer.Observe(v.target, epoch.Add(s.now), took, v.failed)
	}
	if v.failed {
		s.failures++
	} else {
		s.took = append(s.took, took)
	}
}

func (s *simulation) result() (o outcome) {
	slices.Sort(s.took)
	n := len(s.took)
	all := float64(n + s.failures)
	o.p50 = s.took[n/2].Seconds() * 1e3
	o.p99 = s.took[n*99/100].Seconds() * 1e3
	o.failures = float64(s.failures) / all
	late := 0
	for _, v := range s.late {
		late += v
	}
	for i, v := range s.visits {
		o.shares = append(o.shares, float64(v)/all)
		o.late = append(o.late, float64(s.late[i])/float64(late))
	}
	return o
}

// TestSimulationRepeats shows that a run depends on its seed only, and that it depends on that.
func TestSimulationRepeats(t *testing.T) {
	t.Parallel()
	s := scenarios()[0]
	a, b, c := simulate(s, newAdaptive, 1), simulate(s, newAdaptive, 1), simulate(s, newAdaptive, 2)
	if a.p99 != b.p99 || !slices.Equal(a.shares, b.shares) {
		t.Errorf("one seed, two runs: %+v and %+v", a, b)
	}
	if a.p99 == c.p99 {
		t.Errorf("two seeds, one run: %+v", a)
	}
}

// TestSimulationQueues compares the simulation with what is known of the queue M/M/1 at half load: half
// of the answers within ln 2 times twice the service time.
func TestSimulationQueues(t *testing.T) {
	t.Parallel()
	s := scenario{rate: 500, pool: pool(1, 1, exponential(time.Millisecond))}
	if got := simulate(s, newRoundRobin, 1); got.p50 < 1.3 || got.p50 > 1.5 || got.p99 < 8.5 || got.p99 > 10 {
		t.Errorf("p50 %.2f ms, p99 %.2f ms; want 1.39 and 9.21", got.p50, got.p99)
	}
}
