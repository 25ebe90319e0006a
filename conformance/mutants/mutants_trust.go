package main

// trustMutants break who the client is taken for.
var trustMutants = []mutant{
	{
		Name: "trust/stranger-believed", File: "sentinel/trust.go", Tests: vectors("identity/spoofed-for"),
		Old:  "if !x.c.trusted {\n\t\treturn\n\t}",
		New:  "",
		Rule: "CWE-348: only a trusted proxy may name the client",
	},
	{
		Name: "trust/walks-on", File: "sentinel/trust.go", Tests: vectors("trust/chain"),
		Old:  "x.hopCount == maxHops || !x.c.l.trust.has(hop)",
		New:  "x.hopCount == maxHops",
		Rule: "CWE-348: what an untrusted hop says of others is only its word",
	},
	{
		Name: "trust/hops-unbounded", File: "sentinel/trust.go", Tests: inEngine("TestFindClient"),
		Old:  "x.hopCount == maxHops || !x.c.l.trust.has(hop)",
		New:  "!x.c.l.trust.has(hop)",
		Rule: "CWE-770: the walk is bounded",
	},
	{
		Name: "trust/garbage-skipped", File: "sentinel/trust.go", Tests: vectors("trust/garbage"),
		Old:  "if !ok {\n\t\t\treturn false\n\t\t}",
		New:  "if !ok {\n\t\t\tcontinue\n\t\t}",
		Rule: "CWE-20: behind what cannot be read nothing is known",
	},
	{
		Name: "trust/forwarded-kept", File: "sentinel/trust.go", Tests: inEngine("TestVouched"),
		Old:  "return f.ID == wire.XIdentity",
		New:  "return f.ID == wire.XIdentity || f.ID == wire.Forwarded",
		Rule: "two lists of clients disagree, and one of them is not checked",
	},
	{
		Name: "trust/any-proto", File: "sentinel/trust.go", Tests: vectors("trust/proto-and-host-malformed"),
		Old:  `wire.EqualName(v, "http") || wire.EqualName(v, "https")`,
		New:  `v != nil`,
		Rule: "X-Forwarded-Proto is a scheme, or upstreams build links of it",
	},
	{
		Name: "trust/two-values", File: "sentinel/trust.go", Tests: vectors("trust/proto-and-host-twice"),
		Old:  "if value != nil {\n\t\t\t\treturn nil\n\t\t\t}",
		New:  "",
		Rule: "of two values upstreams choose differently",
	},
	{
		Name: "trust/balancer-is-client", File: "sentinel/conn.go", Tests: vectors("announce/v1-spoofed"),
		Old:  "c.trusted = !c.unnamed && l.trust.has(c.client.Addr())",
		New:  "c.trusted = true",
		Rule: "CWE-348: a balancer of connections passes on what clients spoof",
	},
	{
		Name: "trust/any-sender", File: "sentinel/announce.go", Tests: []tests{{conformance, "^TestProxyProtocolSenders$"}},
		Old:  "len(c.l.trust) > 0 && !c.l.trust.has(c.client.Addr())",
		New:  "false",
		Rule: "CWE-290: who is not trusted may not say whose connection it is",
	},
	{
		Name: "trust/tlvs-left", File: "sentinel/announce.go", Tests: vectors("announce/v2-tcp4-tlvs"),
		Old:  "return h, c.skipTLVs(nc, buf[:], h.Size-have)",
		New:  `return h, ""`,
		Rule: "what belongs to the header is no request",
	},
}
