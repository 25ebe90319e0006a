package route

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// Outcome is what became of a rule in the evaluation of one request.
type Outcome uint8

// The outcomes.
const (
	Failed     Outcome = iota // a condition does not hold
	Won                       // the first rule that holds
	NotReached                // an earlier rule won
)

// String returns the outcome in words.
func (o Outcome) String() string {
	return [...]string{"failed", "won", "not reached"}[o]
}

// Verdict is the outcome for one rule, and why.
type Verdict struct {
	Rule                  int // index in the slice given to Compile
	ID                    string
	Priority, Specificity int
	Outcome               Outcome
	Why                   string // one line for people; bytes of the request are quoted
}

// Explain returns a verdict on every rule in the order of evaluation. It tries the rules one by one,
// without the index, and allocates: it is for people, not for requests.
func (t *Table) Explain(q *Request) []Verdict {
	verdicts := make([]Verdict, len(t.rules))
	var winner *rule
	for rank := range t.rules {
		r := &t.rules[rank]
		v := Verdict{Rule: r.position, ID: r.ID, Priority: r.Priority, Specificity: r.specificity}
		if winner != nil {
			v.Outcome, v.Why = NotReached, fmt.Sprintf("%q comes first", winner.ID)
		} else if kind := r.failing(q, r.kinds); kind != 0 {
			v.Outcome, v.Why = Failed, r.explain(q, kind)
		} else {
			v.Outcome, v.Why = Won, "every condition holds"
			winner = r
		}
		verdicts[rank] = v
	}
	return verdicts
}

// explain says what the rule wants and what the request has, for a kind that does not hold.
func (r *rule) explain(q *Request, failing kinds) string {
	switch failing {
	case methodKind:
		return contrast("method", quoted(r.Methods), quote(q.Method))
	case hostKind:
		return contrast("host", append(quoted(r.Hosts), patterns(r.HostRegexes)...), quote(q.Host))
	case pathKind:
		return contrast("path", quoted(r.Paths), quote(q.Path))
	case prefixKind:
		return contrast("path-prefix", quoted(r.Prefixes), quote(q.Path))
	case headerKind:
		c := missingField(r.headers, q.Fields)
		return contrast("header "+strconv.Quote(c.name), c.wanted(), valuesOf(q.Fields, c.name))
	case queryKind:
		c := missingParameter(r.query, q.Query)
		return contrast("query-param "+strconv.Quote(c.name), c.wanted(), "query "+quote(q.Query))
	default:
		return contrast("path-regex", patterns(r.PathRegexes), quote(q.Path))
	}
}

func contrast(what string, alternatives []string, got string) string {
	return what + ": want " + strings.Join(alternatives, " or ") + ", got " + got
}

func quote(got []byte) string {
	return strconv.Quote(string(got))
}

func quoted(alternatives []string) []string {
	var words []string
	for _, a := range alternatives {
		words = append(words, strconv.Quote(a))
	}
	return words
}

func patterns(regexes []*regexp.Regexp) []string {
	var words []string
	for _, re := range regexes {
		words = append(words, "/"+re.String()+"/")
	}
	return words
}

func (c *condition) wanted() []string {
	if c.present {
		return []string{"any value"}
	}
	return quoted(c.values)
}

// valuesOf lists the values of the fields of that name.
func valuesOf(fields []wire.Field, name string) string {
	var values []string
	for _, f := range fields {
		if wire.EqualName(f.Name, name) {
			values = append(values, quote(f.Value))
		}
	}
	if values == nil {
		return "none"
	}
	return strings.Join(values, ", ")
}
