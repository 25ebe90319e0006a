package balance

import "sync/atomic"

// maxRotation bounds the length of one round; larger weights are scaled down to it, each keeping at least
// one turn.
const maxRotation = 10_000

// roundRobin is round_robin and weighted: a shared counter steps through one laid-out round.
type roundRobin struct {
	*group
	order []int32
	turn  atomic.Uint64
}

func newRoundRobin(g *group) Balancer { return &roundRobin{group: g, order: rotation(g.weights())} }

// Pick implements Balancer. When the turn is an ineligible node's, the next one is taken off the counter:
// to look at its neighbour without counting would give the neighbour the turns of both.
func (r *roundRobin) Pick(q *Query) int {
	for range min(maxTries, len(r.order)) {
		turn := (r.turn.Add(1) - 1) % uint64(len(r.order))
		if i := r.members[r.order[turn]].index; q.Set.Eligible(i) {
			return i
		}
	}
	return r.anyOf(q.Set).place()
}

// lottery is random: a random turn of the round.
type lottery struct {
	*group
	order []int32
}

func newLottery(g *group) *lottery { return &lottery{g, rotation(g.weights())} }

func newRandom(g *group) Balancer { return newLottery(g) }

// Pick implements Balancer.
func (l *lottery) Pick(q *Query) int {
	if m := l.draw(q.Set, nil); m != nil {
		return m.index
	}
	return l.anyOf(q.Set).place()
}

// draw returns a random eligible member other than not; nil: none was met in a few tries, so there are few.
func (l *lottery) draw(set Eligibility, not *member) *member {
	if len(l.order) == 0 {
		return nil
	}
	for range maxTries {
		m := &l.members[l.order[l.below(len(l.order))]]
		if m != not && set.Eligible(m.index) {
			return m
		}
	}
	return nil
}

// rotation lays out one round of smooth weighted round robin: each index as often as its weight says,
// spread as evenly as possible, so that no node gets a burst. A request costs one counter step then,
// whatever the weights, which are positive.
func rotation(weights []int) []int32 {
	scaled, total := scale(weights)
	current := make([]int, len(scaled))
	order := make([]int32, 0, total)
	for range total {
		best := 0
		for i, w := range scaled {
			current[i] += w
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		order = append(order, int32(best))
	}
	return order
}

// scale returns the weights divided by what they have in common and cut to maxRotation in all.
func scale(weights []int) (scaled []int, total int) {
	common := 0
	for _, w := range weights {
		common = gcd(common, w)
	}
	for _, w := range weights {
		scaled = append(scaled, w/common)
		total += w / common
	}
	if total <= maxRotation {
		return scaled, total
	}
	sum := 0
	for i, w := range scaled {
		scaled[i] = max(1, w*maxRotation/total)
		sum += scaled[i]
	}
	return scaled, sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
