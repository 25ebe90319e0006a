package balance

import (
	"cmp"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

const (
	// pointsPerWeight is how many points of the ring a weight of 1 gets (spec 6.2).
	pointsPerWeight = 150
	// maxPoints bounds the ring, unless there are more than 218 members: 12 bytes a point.
	maxPoints = 1 << 15
)

// ring is consistent_hash: a client goes to the first point at or after its key, round and round, whose
// member is eligible and has room.
type ring struct {
	*group
	hashes   []uint64 // of the points, rising
	owners   []int32  // their members
	least    *leastConnections
	inFlight late // requests at all members
	eligible late // weight of the eligible members
}

func newRing(g *group) Balancer {
	r := &ring{group: g, least: newLeast(g, rotation(g.weights()))}
	type point struct {
		hash  uint64
		owner int32
	}
	var points []point
	var key []byte
	shift := ringShift(g)
	for i, m := range g.members {
		for k := range max(1, pointsPerWeight*m.weight>>shift) {
			key = strconv.AppendInt(append(append(key[:0], g.names[i]...), '-'), k, 10)
			points = append(points, point{xxhash.Sum64(key), int32(i)})
		}
	}
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.owner, b.owner))
	})
	for _, p := range points {
		r.hashes = append(r.hashes, p.hash)
		r.owners = append(r.owners, p.owner)
	}
	return r
}

// ringShift is how often everyone's points are halved to stay within maxPoints. Halving keeps most points
// where they are while nodes come and go; scaling to fit would move some of everyone's each time.
func ringShift(g *group) (shift int) {
	most := max(maxPoints, pointsPerWeight*int64(len(g.members)))
	for pointsPerWeight*g.total>>shift > most {
		shift++
	}
	return shift
}

// Pick implements Balancer.
func (r *ring) Pick(q *Query) int {
	if len(r.hashes) == 0 {
		return -1
	}
	at, _ := slices.BinarySearch(r.hashes, q.Key)
	for range maxTries {
		if at == len(r.hashes) {
			at = 0
		}
		m := &r.members[r.owners[at]]
		if q.Set.Eligible(m.index) && r.hasRoom(m, q.Set) {
			return m.index
		}
		at++
	}
	if m := r.rendezvous(q, r.hasRoom); m != nil {
		return m.index
	}
	return r.least.Pick(q) // others fill the nodes meanwhile
}

// hasRoom reports whether one more request keeps m within its bound: 1.25 times its part, by weight, of all
// requests in flight and this one, rounded up. Parts are of the eligible weight: with half of the nodes
// away, the others are not too full at twice their usual load. The whole weight, which is no smaller, is
// tried first, since it needs no questions.
func (r *ring) hasRoom(m *member, set Eligibility) bool {
	f := m.inFlight()
	if f == 0 {
		return true // rounded up, every bound is at least 1
	}
	sum := 1 + r.inFlight.value(1+len(r.members)/8, r.countInFlight)
	// f+1 <= ceil(1.25 * sum * weight / total), in integers.
	if 4*f*r.total < 5*sum*m.weight {
		return true
	}
	total := r.eligible.value(len(r.members), func() int64 { return r.countEligible(set) })
	return 4*f*total < 5*sum*m.weight
}

func (r *ring) countInFlight() (sum int64) {
	for i := range r.members {
		sum += r.members[i].inFlight()
	}
	return sum
}

func (r *ring) countEligible(set Eligibility) (sum int64) {
	for i := range r.members {
		if set.Eligible(r.members[i].index) {
			sum += r.members[i].weight
		}
	}
	return sum
}

// late is a sum over all members that is counted anew at every so many looks only, so that one look costs
// little however many members there are. For a bound that is good enough: the eligible weight changes
// rarely, and between two counts of what is in flight an eighth of a request a member can come.
type late struct {
	looks atomic.Uint64
	last  atomic.Int64
}

func (l *late) value(every int, count func() int64) int64 {
	if (l.looks.Add(1)-1)%uint64(every) == 0 {
		l.last.Store(count())
	}
	return l.last.Load()
}
