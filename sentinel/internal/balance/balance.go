package balance

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

// maxWeight is the largest weight that counts, the largest the configuration allows.
const maxWeight = 65_535

// maxTries is how often a balancer tries another node in its own way before it looks at all of them. With
// half of the weight eligible one Pick in 65,536 gets there.
const maxTries = 16

// Node is a target as a balancer sees it. Name and Weight are fixed before New; InFlight is counted by the
// owner, at any time.
type Node struct {
	Name     string       // what hashing balancers place the node by; nodes may share a name
	Weight   int          // share of the traffic, up to 65,535; 0: drained
	InFlight atomic.Int32 // requests that have the node and are not done
}

// Eligibility says whether the present request may use node i. Balancers ask as late and as seldom as
// they can.
type Eligibility interface {
	Eligible(i int) bool
}

// Query is one request's question.
type Query struct {
	Key uint64      // hash of the client, used if Keyed
	Now time.Time   // used by adaptive
	Set Eligibility // required
}

// Balancer chooses nodes. It is safe for concurrent use.
type Balancer interface {
	// Pick returns the index of an eligible node of positive weight; -1: there is none. It allocates
	// nothing. Between its answer and the caller's claim the node may fill up: the owner checks.
	Pick(q *Query) int
}

// Observer is a Balancer that learns from the answers. It is safe for concurrent use.
type Observer interface {
	// Observe tells that node i answered at now, or failed to; took is the time to the head of the
	// response, or to the failure.
	Observe(i int, now time.Time, took time.Duration, failed bool)
	// Learn takes over what another of the same algorithm knows of its node j as what is known of node i.
	Learn(i int, from Observer, j int)
}

// algorithms lists the balancers in the order of spec 6.2.
var algorithms = []struct {
	name  string
	keyed bool
	make  func(*group) Balancer
}{
	{"round_robin", false, newRoundRobin},
	{"weighted", false, newRoundRobin},
	{"least_connections", false, newLeastConnections},
	{"random", false, newRandom},
	{"ip_hash", true, newIPHash},
	{"consistent_hash", true, newRing},
	{"maglev", true, newMaglev},
	{"power_of_two_choices", false, newTwoChoices},
	{"adaptive", false, newAdaptive},
}

// Algorithms returns the names New knows.
func Algorithms() []string {
	names := make([]string, 0, len(algorithms))
	for _, a := range algorithms {
		names = append(names, a.name)
	}
	return names
}

// New makes the balancer of that name, one of Algorithms, for nodes that others may share. random must be
// safe for concurrent use; nil: math/rand/v2.Uint64. An error is an unknown name.
func New(algorithm string, nodes []*Node, random func() uint64) (Balancer, error) {
	if random == nil {
		random = rand.Uint64
	}
	for _, a := range algorithms {
		if a.name == algorithm {
			return a.make(newGroup(nodes, random)), nil
		}
	}
	return nil, fmt.Errorf("unknown load balancing %q, want one of %s", algorithm, strings.Join(Algorithms(), ", "))
}

// Keyed reports whether the algorithm looks at Query.Key.
func Keyed(algorithm string) bool {
	for _, a := range algorithms {
		if a.name == algorithm {
			return a.keyed
		}
	}
	return false
}

// member is a node that is not drained.
type member struct {
	node   *Node
	index  int   // among the caller's nodes
	weight int64 // at least 1
}

func (m *member) inFlight() int64 { return int64(m.node.InFlight.Load()) }

// group is what every balancer knows.
type group struct {
	members []member
	names   []string // of the members, made unique
	seeds   []uint64 // hashes of the names
	total   int64    // weight
	size    int      // the caller's nodes, drained ones included
	random  func() uint64
}

func newGroup(nodes []*Node, random func() uint64) *group {
	g := &group{size: len(nodes), random: random}
	names := uniqueNames(nodes)
	for i, n := range nodes {
		if n.Weight <= 0 {
			continue
		}
		w := int64(min(n.Weight, maxWeight))
		g.members = append(g.members, member{node: n, index: i, weight: w})
		g.names = append(g.names, names[i])
		g.seeds = append(g.seeds, xxhash.Sum64String(names[i]))
		g.total += w
	}
	return g
}

func (g *group) weights() []int {
	list := make([]int, 0, len(g.members))
	for _, m := range g.members {
		list = append(list, int(m.weight))
	}
	return list
}

// below returns a random number from 0 to n-1; n is positive and small, which keeps the bias negligible.
func (g *group) below(n int) int {
	high, _ := bits.Mul64(g.random(), uint64(n))
	return int(high)
}

// anyOf draws one of all eligible members, each as likely as its weight says; nil: there is none. It asks
// for every member once.
func (g *group) anyOf(set Eligibility) (drawn *member) {
	sum := 0
	for i := range g.members {
		m := &g.members[i]
		if !set.Eligible(m.index) {
			continue
		}
		// A later member takes the place with its part of the weight seen so far.
		sum += int(m.weight)
		if g.below(sum) < int(m.weight) {
			drawn = m
		}
	}
	return drawn
}

// place is the caller's index of m, -1 for nil.
func (m *member) place() int {
	if m == nil {
		return -1
	}
	return m.index
}
