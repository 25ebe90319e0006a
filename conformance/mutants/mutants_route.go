package main

// routeMutants break which route a request gets, and so which rules.
var routeMutants = []mutant{
	{
		Name: "route/prefix-inside-segment", File: "sentinel/internal/route/index.go", Tests: inRouting,
		Old:  "return n == len(path) || path[n] == '/' || path[n-1] == '/'",
		New:  "return true",
		Rule: "the prefix /admin does not cover /administrator",
	},
	{
		Name: "route/prefix-itself", File: "sentinel/internal/route/index.go", Tests: inRouting,
		Old:  "return n == len(path) || path[n] == '/' || path[n-1] == '/'",
		New:  "return n < len(path) && (path[n] == '/' || path[n-1] == '/')",
		Rule: "the prefix /admin covers /admin",
	},
	{
		Name: "route/wildcard-two-labels", File: "sentinel/internal/route/table.go", Tests: inRouting,
		Old:  "\tif b := t.wildcards.find(parentDomain(q.Host)); b != nil {\n\t\ts.bucket(b)\n\t}",
		New:  "\tfor d := parentDomain(q.Host); d != nil; d = parentDomain(d) {\n\t\tif b := t.wildcards.find(d); b != nil {\n\t\t\ts.bucket(b)\n\t\t}\n\t}",
		Rule: "*.a.example covers one label, as in certificates",
	},
	{
		Name: "route/wildcard-no-label", File: "sentinel/internal/route/table.go", Tests: inRouting,
		Old:  "\ts.bucket(&t.common)",
		New:  "\tif b := t.wildcards.find(q.Host); b != nil {\n\t\ts.bucket(b)\n\t}\n\ts.bucket(&t.common)",
		Rule: "*.a.example does not cover a.example",
	},
	{
		Name: "route/priority-reversed", File: "sentinel/internal/route/table.go", Tests: inRouting,
		Old:  "cmp.Compare(b.Priority, a.Priority)",
		New:  "cmp.Compare(a.Priority, b.Priority)",
		Rule: "the higher priority is tried first: a guard in front stays in front",
	},
	{
		Name: "route/specificity-reversed", File: "sentinel/internal/route/table.go", Tests: inRouting,
		Old:  "cmp.Compare(b.specificity, a.specificity)",
		New:  "cmp.Compare(a.specificity, b.specificity)",
		Rule: "the more specific rule is tried first",
	},
	{
		Name: "route/order-reversed", File: "sentinel/internal/route/table.go", Tests: inRouting,
		Old:  "cmp.Compare(b.specificity, a.specificity))",
		New:  "cmp.Compare(b.specificity, a.specificity), cmp.Compare(b.position, a.position))",
		Rule: "equal rules are tried in the order written",
	},
	{
		Name: "route/exact-path-score", File: "sentinel/internal/route/rule.go", Tests: inRouting,
		Old:  "best = 10000",
		New:  "best = 1000",
		Rule: "an exact path comes before every prefix of it",
	},
	{
		Name: "route/any-method", File: "sentinel/internal/route/rule.go", Tests: inRouting,
		Old:  "case check&methodKind != 0 && !isOneOf(q.Method, r.Methods):",
		New:  "case check&methodKind != 0 && len(q.Method) == 0:",
		Rule: "a route for GET does not take POST",
	},
	{
		Name: "route/any-header-value", File: "sentinel/internal/route/condition.go", Tests: inRouting,
		Old:  "wire.EqualName(f.Name, c.name) && (c.present || isOneOf(f.Value, c.values))",
		New:  "wire.EqualName(f.Name, c.name)",
		Rule: "a header condition with values asks for one of them",
	},
	{
		Name: "route/one-header-is-enough", File: "sentinel/internal/route/condition.go", Tests: inRouting,
		Old:  "if c := &conditions[i]; !c.heldByFields(fields) {",
		New:  "if c := &conditions[i]; !c.heldByFields(fields) && i == 0 {",
		Rule: "conditions on different headers must all hold",
	},
	{
		Name: "route/query-raw", File: "sentinel/internal/route/condition.go", Tests: inRouting,
		Old:  "decodesTo(name, c.name)",
		New:  "string(name) == c.name",
		Rule: "?%61dmin=1 is ?admin=1 to the upstream",
	},
	{
		Name: "route/path-is-all", File: "sentinel/internal/route/index.go", Tests: inRouting,
		Old:  "b.insertPath(path, entry{rank, need &^ pathKind})",
		New:  "b.insertPath(path, entry{rank, 0})",
		Rule: "the index spares the check of the path only, not of the method",
	},
	{
		Name: "route/host-is-all", File: "sentinel/internal/route/table.go", Tests: inRouting,
		Old:  "insert(rank, r, r.kinds&^hostKind)",
		New:  "insert(rank, r, 0)",
		Rule: "the index spares the check of the host only",
	},
	{
		Name: "route/host-regex-lost", File: "sentinel/internal/route/table.go", Tests: inRouting,
		Old:  "hosts == 0 || len(r.HostRegexes) > 0 || tooWide",
		New:  "hosts == 0 || tooWide",
		Rule: "hosts and host patterns of one rule are alternatives",
	},
	{
		Name: "route/first-prefix-only", File: "sentinel/internal/route/index.go", Tests: inRouting,
		Old:  "\t\t\ts.list(b.prefixes[string(path[:size.n])])",
		New:  "\t\t\ts.list(b.prefixes[string(path[:size.n])])\n\t\t\tbreak",
		Rule: "a shorter prefix with a higher priority still wins",
	},
}
