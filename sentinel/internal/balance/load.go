package balance

import (
	"math"
	"sync/atomic"
)

// leastConnections is least_connections: the eligible node with the fewest requests in flight per weight.
type leastConnections struct {
	*group
	order []int32 // in which nodes take turns
	turn  atomic.Uint64
}

func newLeast(g *group, order []int32) *leastConnections {
	return &leastConnections{group: g, order: order}
}

func newLeastConnections(g *group) Balancer { return newLeast(g, rotation(g.weights())) }

// Pick implements Balancer. Equally loaded nodes take turns, as often as their weights say. In a quiet pool,
// where most are idle all the time, the turn of a busy one is passed over, as in roundRobin, so that the
// node behind it does not get the turns of both. In a busy pool the first one met wins: that ends the tie.
func (l *leastConnections) Pick(q *Query) int {
	n := uint64(len(l.order))
	if n == 0 {
		return -1
	}
	var first int32
	for range min(idleTries, n) {
		first = l.order[(l.turn.Add(1)-1)%n]
		if m := &l.members[first]; m.inFlight() == 0 && q.Set.Eligible(m.index) {
			return m.index // nobody is lighter
		}
	}
	w := winner{index: -1, load: math.MaxInt32, weight: 1}
	w.challenge(l.members[first:], q.Set)
	w.challenge(l.members[:first], q.Set)
	return w.index
}

// idleTries is how many turns may find nobody idle before all members are compared.
const idleTries = 4

// winner is the lightest member met.
type winner struct {
	index        int
	load, weight int64 // load is what it has in flight
}

// challenge looks at more members. It asks for those only that are lighter than the winner so far.
func (w *winner) challenge(members []member, set Eligibility) {
	for i := range members {
		m := &members[i]
		// Two loads per weight are compared by multiplying crosswise.
		if load := m.inFlight(); load*w.weight < w.load*m.weight && set.Eligible(m.index) {
			w.index, w.load, w.weight = m.index, load, m.weight
		}
	}
}

// twoChoices is power_of_two_choices: the less loaded of two distinct random nodes.
type twoChoices struct {
	*lottery
	least *leastConnections
}

func newTwoChoices(g *group) Balancer {
	l := newLottery(g)
	return &twoChoices{l, newLeast(g, l.order)}
}

// Pick implements Balancer. When draws do not meet two eligible nodes there are few, or one has nearly all
// the weight: then the best of all costs no more than the search for a second.
func (t *twoChoices) Pick(q *Query) int {
	a := t.draw(q.Set, nil)
	if a == nil {
		return t.least.Pick(q)
	}
	b := t.draw(q.Set, a)
	if b == nil {
		return t.least.Pick(q)
	}
	if b.inFlight()*a.weight < a.inFlight()*b.weight {
		return b.index
	}
	return a.index
}
