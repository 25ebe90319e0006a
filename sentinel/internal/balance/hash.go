package balance

import (
	"math"
	"net/netip"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// ClientKey is the hash of a client's address for Query.Key: the address without port and zone, an IPv4
// address the same in both notations. It allocates nothing.
func ClientKey(addr netip.Addr) uint64 {
	b := addr.As16() // writes IPv4 as IPv4-mapped IPv6
	return xxhash.Sum64(b[:])
}

// mix turns one hash into another that has nothing to do with it (the finaliser of splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// uniqueNames returns the nodes' names. Equal names would be placed equally, and all but one node get
// nothing: from the second on they get their number, behind a byte that no address has.
func uniqueNames(nodes []*Node) []string {
	names := make([]string, 0, len(nodes))
	seen := map[string]int{}
	for _, n := range nodes {
		name := n.Name
		if k := seen[n.Name]; k > 0 {
			name += "\x00" + strconv.Itoa(k)
		}
		seen[n.Name]++
		names = append(names, name)
	}
	return names
}

// slots is ip_hash and maglev: a client's node stands in a table.
type slots struct {
	*group
	table []int32
}

// newIPHash makes the table a plain rotation, so that the table changes altogether when the list of nodes
// does.
func newIPHash(g *group) Balancer { return &slots{g, rotation(g.weights())} }

// Pick implements Balancer. For a client of an ineligible node the hash is hashed again, so that these
// clients spread over all the others.
func (s *slots) Pick(q *Query) int {
	if len(s.table) == 0 {
		return -1
	}
	key := q.Key
	for range maxTries {
		m := &s.members[s.table[key%uint64(len(s.table))]]
		if q.Set.Eligible(m.index) {
			return m.index
		}
		key = mix(key)
	}
	return s.rendezvous(q, nil).place()
}

// rendezvous returns the eligible member that scores highest for the client, among those that fit; nil
// fits: all do. Shares follow the weights, and a member that goes takes only its own clients with it.
func (g *group) rendezvous(q *Query, fits func(*member, Eligibility) bool) (best *member) {
	lowest := math.Inf(1)
	for i := range g.members {
		m := &g.members[i]
		if !q.Set.Eligible(m.index) || fits != nil && !fits(m, q.Set) {
			continue
		}
		// Of exponential variables with these rates, each is the smallest as often as its rate says.
		u := float64(mix(q.Key^g.seeds[i])>>11|1) / (1 << 53)
		if score := -math.Log(u) / float64(m.weight); best == nil || score < lowest {
			best, lowest = m, score
		}
	}
	return best
}
