// Package route is the compiled routing table: request in, route out. It is pure: no socket, no
// clock, no state that changes after Compile.
//
// # Rules
//
// A rule has conditions of several kinds: path, path-prefix, path-regex, host (host-regex is the same
// kind), method, header and query parameter. Values of one kind are alternatives, different kinds
// must all hold, and a rule without conditions holds for every request. Headers and query parameters
// count as one kind per name. Rules are tried by priority, then by specificity, both falling, then in
// the order given; the first that holds wins.
//
// # Cost
//
// The place of a rule in that order is its rank. Rules are indexed by host (exact, then what follows
// the first label, then the rules for all hosts) and, for each of these, by path (exact, then by
// prefix, then the rest). A look-up reads the few lists that the request's host and path select and
// keeps the lowest rank that holds, so its cost depends on those lists, not on the number of rules.
// Prefixes are looked up by each length they have, longest first, where a segment of the path ends.
// Among 10,000 rules a radix tree was measured slower for hits (by a third to three quarters), faster
// for misses (by half), and equal for a mix, so the simpler code stands. A hostile path of thousands
// of segments costs no more look-ups than the prefixes have lengths.
//
// Three things are linear, by design:
//   - rules that share one host and one path, or have neither, and differ in method, header or query
//     only: each of them is tried in turn;
//   - rules whose only path condition is a regular expression: those of the request's host are tried
//     in turn, which is meant for some ten per host;
//   - rules with a host regular expression, which stand with the rules for all hosts.
//
// A list is left as soon as its next rank is above the best found, so a rule that wins early costs
// little whatever stands behind it. The index grows with the text of the rules, never with the
// product of their hosts and paths.
package route
