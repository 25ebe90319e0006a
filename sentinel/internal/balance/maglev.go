package balance

import (
	"cmp"
	"slices"
)

// maglevSize is the number of slots of maglev's table, the prime of the paper (Eisenbud et al., Maglev,
// NSDI 2016, section 5.3), of which every node should have a hundred.
const maglevSize = 65_537

// newMaglev fills the table as the paper's section 3.4 says: members take turns, each taking the first free
// slot of its own order of all slots. A member has a turn in each round if it is the heaviest, else in its
// part of the rounds. So a member's turns do not depend on who else there is, unless the heaviest changes,
// and its slots hardly do. With more than 65,537 members the last ones get no clients.
func newMaglev(g *group) Balancer {
	s := &slots{group: g}
	if len(g.members) == 0 {
		return s
	}
	s.table = make([]int32, maglevSize)
	for i := range s.table {
		s.table[i] = -1
	}
	queues, heaviest := newQueues(g)
	for filled := 0; ; {
		for i := range queues {
			u := &queues[i]
			if u.credit += u.weight; u.credit < heaviest {
				continue
			}
			u.credit -= heaviest
			s.table[u.next(s.table)] = u.member
			if filled++; filled == maglevSize {
				return s
			}
		}
	}
}

// queue is a member's order of the slots: every skip-th from the first one.
type queue struct {
	member         int32
	seed           uint64
	at, skip       uint64
	credit, weight int64
}

// newQueues returns the members' queues in an order of their own, so that the order in which nodes are
// listed does not matter.
func newQueues(g *group) (queues []queue, heaviest int64) {
	for _, m := range g.members {
		heaviest = max(heaviest, m.weight)
	}
	for i, m := range g.members {
		queues = append(queues, queue{
			member: int32(i), seed: g.seeds[i],
			at: g.seeds[i] % maglevSize, skip: 1 + mix(g.seeds[i])%(maglevSize-1),
			weight: m.weight, credit: heaviest - m.weight, // everybody has a turn in the first round
		})
	}
	slices.SortFunc(queues, func(a, b queue) int { return cmp.Compare(a.seed, b.seed) })
	return queues, heaviest
}

// next returns the first free slot in the queue's order. The size is prime, so the order has every slot.
func (u *queue) next(table []int32) uint64 {
	for {
		slot := u.at
		u.at = (u.at + u.skip) % maglevSize
		if table[slot] < 0 {
			return slot
		}
	}
}
