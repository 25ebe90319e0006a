package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// benchKinds are the kinds of rule in a benchmark table, in equal shares.
var benchKinds = []string{"exact", "prefix", "host", "wildcard", "header"}

// benchMix is what requests are for: a kind of rule, no rule, or the last one.
var benchMix = append(slices.Clone(benchKinds), "miss", "last")

// benchRule is rule number i of a benchmark table.
func benchRule(i int) Rule {
	r := Rule{ID: fmt.Sprintf("r%d", i), Priority: 50}
	switch benchKinds[i%len(benchKinds)] {
	case "exact":
		r.Paths = []string{fmt.Sprintf("/api/v1/status-%d/check", i)}
	case "prefix":
		r.Prefixes = []string{fmt.Sprintf("/api/v1/service-%d", i)}
	case "host":
		r.Hosts, r.Prefixes = []string{fmt.Sprintf("shop-%d.example.test", i)}, []string{"/"}
	case "wildcard":
		r.Hosts, r.Prefixes = []string{fmt.Sprintf("*.tenant-%d.example.test", i)}, []string{"/app"}
	case "header":
		r.Prefixes = []string{fmt.Sprintf("/internal/job-%d", i)}
		r.Headers = []Condition{{Name: "X-Tenant", Values: []string{fmt.Sprintf("t%d", i)}}}
	}
	return r
}

// benchTable has n rules: the last one, of the lowest priority, is for what nothing else takes.
func benchTable(n int) *Table {
	rules := make([]Rule, n)
	for i := range n - 1 {
		rules[i] = benchRule(i)
	}
	rules[n-1] = Rule{ID: "last", Priority: 1, Prefixes: []string{"/last"}}
	return Compile(rules)
}

// benchRequest is a request that rule i wins, or with "miss" and "last" none or the last.
func benchRequest(kind string, i int) Request {
	host, path, tenant := "www.example.test", "/", "none"
	switch kind {
	case "exact":
		path = fmt.Sprintf("/api/v1/status-%d/check", i)
	case "prefix":
		path = fmt.Sprintf("/api/v1/service-%d/orders/4711/lines", i)
	case "host":
		host, path = fmt.Sprintf("shop-%d.example.test", i), "/cart/items/17"
	case "wildcard":
		host, path = fmt.Sprintf("www.tenant-%d.example.test", i), "/app/session/new"
	case "header":
		path, tenant = fmt.Sprintf("/internal/job-%d/run/now", i), fmt.Sprintf("t%d", i)
	case "miss":
		path = fmt.Sprintf("/nothing/here/%d/at/all", i)
	case "last":
		path = fmt.Sprintf("/last/resort/%d/at/all", i)
	}
	return Request{
		Host: []byte(host), Path: []byte(path), Query: []byte("page=2&sort=name"), Method: []byte("GET"),
		Fields: []wire.Field{
			{Name: []byte("User-Agent"), Value: []byte("Mozilla/5.0 (X11; Linux x86_64)")},
			{Name: []byte("Accept"), Value: []byte("*/*")},
			{Name: []byte("Accept-Encoding"), Value: []byte("gzip, br")},
			{Name: []byte("X-Tenant"), Value: []byte(tenant)},
		},
	}
}

// benchRequests are requests for random rules of the kind, the same number for every size of table: a
// table must not look fast because one entry stays in the CPU's cache, nor a small one because the
// branch predictor learns a short round by heart. They lie in memory in the order of use, because a
// proxy's request is in the cache when it is matched.
func benchRequests(kind string, n int) []Request {
	random := rand.New(rand.NewPCG(1, 2))
	requests := make([]Request, 8192)
	for at := range requests {
		wanted := kind
		if kind == "mix" {
			wanted = benchMix[random.IntN(len(benchMix))]
		}
		i := random.IntN(n - 1)
		if of := slices.Index(benchKinds, wanted); of >= 0 {
			i = random.IntN((n-1-of+len(benchKinds)-1)/len(benchKinds))*len(benchKinds) + of
		}
		requests[at] = benchRequest(wanted, i)
	}
	return requests
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 100, 10000} {
		table := benchTable(n)
		for _, kind := range append(slices.Clone(benchMix), "mix") {
			b.Run(fmt.Sprintf("%d/%s", n, kind), func(b *testing.B) {
				requests := benchRequests(kind, n)
				if got := table.Match(&requests[0]); (got < 0) != (kind == "miss") && kind != "mix" {
					b.Fatalf("Match = %d", got)
				}
				b.ReportAllocs()
				next := 0
				for b.Loop() {
					table.Match(&requests[next])
					if next++; next == len(requests) {
						next = 0
					}
				}
			})
		}
	}
}

// BenchmarkMatchRegex is a look-up that has to try ten path-regex rules of its host.
func BenchmarkMatchRegex(b *testing.B) {
	var rules []Rule
	for i := range 10000 {
		rules = append(rules, benchRule(i))
	}
	for i := range 10 {
		rules = append(rules, Rule{
			Hosts: []string{"www.example.test"}, PathRegexes: regexes(fmt.Sprintf(`^/v%d/[a-z]+/\d+$`, i)),
		})
	}
	table, request := Compile(rules), get("GET www.example.test /v9/orders/4711")
	if got := table.Match(request); got != len(rules)-1 {
		b.Fatalf("Match = %d, want the last rule", got)
	}
	b.ReportAllocs()
	for b.Loop() {
		table.Match(request)
	}
}

func BenchmarkCompile(b *testing.B) {
	rules := make([]Rule, 10000)
	for i := range rules {
		rules[i] = benchRule(i)
	}
	b.ReportAllocs()
	for b.Loop() {
		Compile(rules)
	}
}
