package balance

import (
	"math"
	"time"
)

// score is the adaptive balancer of spec 6.2, one of the two that lost.
type score struct {
	*group
	states   []scoreState
	adjusted time.Time
}

type scoreState struct {
	weight, failures, latency float64 // latency in milliseconds
	requests                  int
}

func newScore(g *group) Balancer {
	s := &score{group: g, adjusted: epoch}
	for _, m := range g.members {
		s.states = append(s.states, scoreState{weight: float64(m.weight)})
	}
	return s
}

func (s *score) Observe(i int, now time.Time, took time.Duration, failed bool) {
	t := &s.states[i]
	t.requests++
	t.failures *= 0.8
	if failed {
		t.failures += 0.2
	}
	t.latency = 0.8*t.latency + 0.2*took.Seconds()*1e3
	if now.Sub(s.adjusted) >= 10*time.Second {
		s.adjusted = now
		for i := range s.states {
			s.states[i].adjust(float64(s.members[i].weight))
		}
	}
}

func (t *scoreState) adjust(configured float64) {
	if t.requests < 100 {
		return
	}
	t.requests = 0
	factor := 1.0
	if t.failures > 0.05 {
		factor = 1 - min((t.failures-0.05)*10, 0.9)
	}
	if t.latency > 500 {
		factor *= max(500/t.latency, 0.1)
	}
	if factor < 1 {
		t.weight *= 0.7 + 0.3*factor
	} else {
		t.weight *= 1.1
	}
	t.weight = min(max(t.weight, 0.1*configured), 2*configured)
}

func (s *score) Pick(q *Query) int {
	sum, drawn := 0.0, -1
	for i := range s.members {
		m, t := &s.members[i], &s.states[i]
		if !q.Set.Eligible(m.index) {
			continue
		}
		part := t.weight / (1 + float64(m.inFlight()) + 100*t.failures + t.latency/10)
		sum += part
		if float64(s.random()>>11)/(1<<53)*sum < part {
			drawn = m.index
		}
	}
	return drawn
}

// peak is peak EWMA with power of two choices, as Finagle has it: a slower answer counts at once, a faster
// one slowly. What is not in the books, failures, it treats as adaptive does.
type peak struct {
	*lottery
	states []peakState
}

type peakState struct {
	latency, failures float64
	at                time.Time
}

func newPeak(g *group) Balancer { return &peak{newLottery(g), make([]peakState, g.size)} }

func (t *peakState) fade(now time.Time) float64 { return math.Exp(-now.Sub(t.at).Seconds() / 10) }

func (p *peak) Observe(i int, now time.Time, took time.Duration, failed bool) {
	t := &p.states[i]
	fade, seconds := t.fade(now), took.Seconds()
	t.failures *= fade * 0.8
	if failed {
		t.failures += 0.2
	}
	switch {
	case failed && seconds < t.latency, failed && t.latency == 0:
	case seconds > t.latency:
		t.latency = seconds
	default:
		t.latency = seconds + (t.latency-seconds)*fade
	}
	t.at = now
}

func (p *peak) cost(m *member, now time.Time) (latency, load float64) {
	t := &p.states[m.index]
	fade := t.fade(now)
	load = float64(m.inFlight()+1) / float64(m.weight) / math.Pow(max(1-t.failures*fade, 0.01), 4)
	return t.latency * fade, load
}

func (p *peak) Pick(q *Query) int {
	a := p.draw(q.Set, nil)
	b := p.draw(q.Set, a)
	if b == nil {
		return a.index
	}
	latencyA, loadA := p.cost(a, q.Now)
	latencyB, loadB := p.cost(b, q.Now)
	if latencyA == 0 || latencyB == 0 {
		latencyA, latencyB = 1, 1
	}
	if latencyB*loadB < latencyA*loadA {
		return b.index
	}
	return a.index
}
