package route

import (
	"regexp"
	"slices"
	"strings"
)

// kinds is a set of kinds of condition. The order is that of checking, cheap ones first.
type kinds uint8

const (
	methodKind kinds = 1 << iota
	hostKind
	pathKind
	prefixKind
	headerKind
	queryKind
	pathRegexKind
)

// rule is a compiled Rule.
type rule struct {
	Rule
	headers, query []condition // Headers and Query, one condition per name
	kinds          kinds       // those it has conditions of
	specificity    int
	position       int // in the slice given to Compile
}

func compileRule(position int, source *Rule) rule {
	r := rule{
		Rule:     *source,
		headers:  mergeByName(source.Headers, strings.ToLower),
		query:    mergeByName(source.Query, func(name string) string { return name }),
		position: position,
	}
	r.kinds = r.kindsPresent()
	r.specificity = r.score()
	return r
}

func (r *rule) kindsPresent() kinds {
	var present kinds
	for i, conditions := range [...]int{ // in the order of the kinds
		len(r.Methods),
		len(r.Hosts) + len(r.HostRegexes),
		len(r.Paths),
		len(r.Prefixes),
		len(r.headers),
		len(r.query),
		len(r.PathRegexes),
	} {
		if conditions > 0 {
			present |= 1 << i
		}
	}
	return present
}

// score is the rule's specificity: its best path alternative, its best host alternative, and the
// sum of the rest. It does not depend on the request, so that the order is fixed.
func (r *rule) score() int {
	sum := r.pathScore() + r.hostScore()
	if len(r.Methods) > 0 {
		sum += 10
	}
	for _, c := range r.headers {
		sum += c.score(30, 20)
	}
	for _, c := range r.query {
		sum += c.score(25, 15)
	}
	return sum
}

func (r *rule) pathScore() int {
	best := 0
	if len(r.Paths) > 0 {
		best = 10000
	}
	if len(r.PathRegexes) > 0 {
		best = max(best, 5000)
	}
	for _, prefix := range r.Prefixes {
		best = max(best, 1000+len(prefix))
	}
	return best
}

func (r *rule) hostScore() int {
	best := 0
	if len(r.HostRegexes) > 0 {
		best = 60
	}
	for _, host := range r.Hosts {
		if strings.HasPrefix(host, "*.") {
			best = max(best, 50)
		} else {
			best = 70
		}
	}
	return best
}

// failing returns the first kind, of those to check, that does not hold; 0 when all do.
func (r *rule) failing(q *Request, check kinds) kinds {
	switch {
	case check&methodKind != 0 && !isOneOf(q.Method, r.Methods):
		return methodKind
	case check&hostKind != 0 && !r.hostHolds(q.Host):
		return hostKind
	case check&pathKind != 0 && !isOneOf(q.Path, r.Paths):
		return pathKind
	case check&prefixKind != 0 && !hasOnePrefix(q.Path, r.Prefixes):
		return prefixKind
	case check&headerKind != 0 && missingField(r.headers, q.Fields) != nil:
		return headerKind
	case check&queryKind != 0 && missingParameter(r.query, q.Query) != nil:
		return queryKind
	case check&pathRegexKind != 0 && !matchesOne(q.Path, r.PathRegexes):
		return pathRegexKind
	}
	return 0
}

func (r *rule) hostHolds(host []byte) bool {
	if isOneOf(host, r.Hosts) {
		return true
	}
	if domain := parentDomain(host); domain != nil {
		for _, want := range r.Hosts {
			if suffix, ok := strings.CutPrefix(want, "*."); ok && suffix == string(domain) {
				return true
			}
		}
	}
	return matchesOne(host, r.HostRegexes)
}

func isOneOf(got []byte, alternatives []string) bool {
	for _, want := range alternatives {
		if want == string(got) {
			return true
		}
	}
	return false
}

func hasOnePrefix(path []byte, prefixes []string) bool {
	for _, prefix := range prefixes {
		n := len(prefix)
		if n <= len(path) && prefix == string(path[:n]) && endsSegment(path, n) {
			return true
		}
	}
	return false
}

func matchesOne(got []byte, patterns []*regexp.Regexp) bool {
	return slices.ContainsFunc(patterns, func(re *regexp.Regexp) bool { return re.Match(got) })
}
