// Package balance chooses the target a request goes to: the load balancers of spec 6.2. It is pure: no
// socket, no goroutine; the clock and randomness come from the caller.
//
// A Balancer knows its nodes by index. Which of them a request may use is the caller's business: the
// balancer asks Query.Set, lazily, and the answers may change at any time.
//
// # What all balancers share
//
// Weights are respected, and the nodes that stay eligible share the traffic in proportion to theirs. Most
// balancers pass over an ineligible node by trying another one the way they found it (the next turn of the
// rotation, another draw, another hash), never by taking its neighbour, which would get two shares then.
// After a few such tries few nodes can be eligible, and one look at all of them decides. So a Pick finds
// the only eligible node, whatever others pick at the same time, and its cost is bounded.
//
// Balancers that compare load (least_connections, power_of_two_choices, adaptive) compare requests in
// flight per weight, this request included: an idle node of weight 3 comes before an idle node of weight 1.
//
// # Which client goes where
//
// ip_hash, consistent_hash and maglev look at Query.Key. As long as a client's node is eligible the client
// stays there; when it is not, only its clients move. They differ when the list of nodes changes:
// consistent_hash and maglev move about the share of the node that came or went (maglev a little more, in
// exchange for even shares and one look-up), ip_hash moves nearly everybody. consistent_hash also bounds
// the load: clients of a node that has too much in flight go to their next node meanwhile.
//
// # Files
//
// balance.go has the names and the shared parts; rotation.go round_robin, weighted and random; load.go
// least_connections and power_of_two_choices; hash.go ip_hash and what hashing shares; maglev.go and
// ring.go the other two; adaptive.go the one that learns.
package balance
