package route

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// Rule is one route's conditions, and what decides its place among the others.
type Rule struct {
	ID              string
	Priority        int              // higher is tried first
	Paths, Prefixes []string         // canonical (wire.CanonicalPath); a prefix ends at a segment boundary
	PathRegexes     []*regexp.Regexp // searched in the canonical path, not anchored
	Hosts           []string         // lower case; exact, or "*.x" for exactly one label more than x
	HostRegexes     []*regexp.Regexp // searched in the lower-case host, not anchored
	Methods         []string         // upper case
	Headers, Query  []Condition
}

// Condition asks for a header field or query parameter: any of Values, or mere presence when there
// are none. Header names are case-insensitive; everything else is compared byte for byte, query
// parameters after decoding. Conditions of the same name are alternatives.
type Condition struct {
	Name   string
	Values []string
}

// Request is what a rule can see of a request. The table keeps none of it.
type Request struct {
	Host   []byte // lower case, no port, no trailing dot
	Path   []byte // canonical (wire.CanonicalPath)
	Query  []byte // raw, without the question mark
	Method []byte
	Fields []wire.Field
}

// Table is a compiled list of rules. It never changes: any number of goroutines may use it.
type Table struct {
	rules     []rule // in the order of evaluation: the index is the rank
	positions []int  // of the rules in the slice given to Compile, by rank
	hosts     buckets
	wildcards buckets // by the host without its first label
	common    bucket  // rules for all hosts, and those that check the host themselves
}

// Compile builds the table. It keeps the slices of the rules, which must not change any more.
func Compile(rules []Rule) *Table {
	t := &Table{
		rules:     evaluationOrder(rules),
		positions: make([]int, len(rules)),
		hosts:     buckets{byName: map[string]*bucket{}},
		wildcards: buckets{byName: map[string]*bucket{}},
	}
	for rank := range t.rules {
		t.positions[rank] = t.rules[rank].position
		t.insert(rank)
	}
	return t
}

// evaluationOrder compiles the rules one by one and sorts them: rules equal in priority and
// specificity stay in the order given.
func evaluationOrder(rules []Rule) []rule {
	compiled := make([]rule, len(rules))
	for i := range rules {
		compiled[i] = compileRule(i, &rules[i])
	}
	slices.SortStableFunc(compiled, func(a, b rule) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(b.specificity, a.specificity))
	})
	return compiled
}

// maxSpread bounds how often a rule is listed, in entries per host or path it names. Rules with at
// most that many hosts, or that many paths, never reach it.
const maxSpread = 8

// insert lists the rule of that rank in the buckets of its hosts.
func (t *Table) insert(rank int) {
	r := &t.rules[rank]
	hosts, keys := len(r.Hosts), len(r.Paths)
	if keys == 0 {
		keys = len(r.Prefixes)
	}
	tooWide := hosts*keys > maxSpread*(hosts+keys)
	if hosts == 0 || len(r.HostRegexes) > 0 || tooWide {
		t.common.insert(rank, r, r.kinds)
		return
	}
	for _, host := range r.Hosts {
		in := &t.hosts
		if domain, ok := strings.CutPrefix(host, "*."); ok {
			in, host = &t.wildcards, domain
		}
		in.of(host).insert(rank, r, r.kinds&^hostKind)
	}
}

// Match returns the index, in the slice given to Compile, of the rule that wins, or -1 when none
// holds. It allocates nothing of its own; a regular expression may, when the pool of package regexp
// is empty.
func (t *Table) Match(q *Request) int {
	s := search{rules: t.rules, request: q, best: len(t.rules)}
	if b := t.hosts.find(q.Host); b != nil {
		s.bucket(b)
	}
	if b := t.wildcards.find(parentDomain(q.Host)); b != nil {
		s.bucket(b)
	}
	s.bucket(&t.common)
	if s.best == len(t.rules) {
		return -1
	}
	return t.positions[s.best]
}

// parentDomain is the host without its first label, or nil when it has only one.
func parentDomain(host []byte) []byte {
	dot := bytes.IndexByte(host, '.')
	if dot <= 0 {
		return nil
	}
	return host[dot+1:]
}
