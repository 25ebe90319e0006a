package main

// pathMutants break targets, hosts and the canonical path.
var pathMutants = []mutant{
	{
		Name: "host/repeated", File: "sentinel/internal/wire/target.go", Tests: inCodec("TestHost"),
		Old:  "if r.hosts != 1 {",
		New:  "if r.hosts == 0 {",
		Rule: "RFC 9112 3.2: with two Hosts the proxy routes by one and the upstream by the other",
	},
	{
		Name: "host/list", File: "sentinel/internal/wire/chars.go", Tests: inCodec("TestHost"),
		Old:  "mark(alpha+digits+\"-._~\"+\"!$&'()*+;=\", isReg)",
		New:  "mark(alpha+digits+\"-._~\"+subDelims, isReg)",
		Rule: "a list of hosts is no host: readers take its first or its last (Host of Troubles)",
	},
	{
		Name: "host/userinfo", File: "sentinel/internal/wire/chars.go", Tests: inCodec("TestHost"),
		Old:  "mark(alpha+digits+\"-._~\"+\"!$&'()*+;=\", isReg)",
		New:  "mark(alpha+digits+\"-._~\"+\"!$&'()*+;=@\", isReg)",
		Rule: "RFC 9110 4.2.4: `trusted@evil` names another host to every reader",
	},
	{
		Name: "host/absolute-ignored", File: "sentinel/internal/wire/target.go", Tests: inCodec("TestTarget"),
		Old:  "r.Authority = rest[:end]",
		New:  "r.Authority = nil",
		Rule: "RFC 9112 3.2.2: the authority of an absolute target replaces Host",
	},
	{
		Name: "host/port-range", File: "sentinel/internal/wire/target.go", Tests: inCodec("TestHost"),
		Old:  "return n <= 65535",
		New:  "return true",
		Rule: "RFC 9110 4.2: a port over 65535 wraps to another one",
	},
	{
		Name: "host/by-case", File: "sentinel/internal/wire/target.go", Tests: inCodec("TestHost"),
		Old:  "authority[i] = lower(c)",
		New:  "authority[i] = c",
		Rule: "RFC 9110 4.2.3: A.example and a.example are one host, with the same rules",
	},
	{
		Name: "host/trailing-dot", File: "sentinel/internal/wire/target.go", Tests: inCodec("TestHost"),
		Old:  `r.Host = bytes.TrimSuffix(host, []byte("."))`,
		New:  "r.Host = host",
		Rule: "`a.example.` is a.example, with the same rules",
	},
	{
		Name: "host/zone", File: "sentinel/internal/wire/target.go", Tests: inCodec("TestHost"),
		Old:  "a, ok := ParseAddr(b)",
		New:  "a, ok := ParseHop(b)",
		Rule: "RFC 6874: a zone means an interface of the sender's machine, and nothing here",
	},
	{
		Name: "target/any-query", File: "sentinel/internal/wire/target.go", Tests: inCodec("TestTarget"),
		Old:  "if !all(r.Query, isTarget) {",
		New:  "if len(r.Query) > 1<<20 {",
		Rule: "RFC 3986 3.4: control characters in a query split request lines and logs",
	},
	{
		Name: "target/fragment", File: "sentinel/internal/wire/chars.go", Tests: inCodec("TestTarget"),
		Old:  `mark("/?%", isTarget)`,
		New:  `mark("/?%#", isTarget)`,
		Rule: "RFC 9112 3.2: a target has no fragment; some readers cut there, some do not",
	},
	{
		Name: "path/dot-segments", File: "sentinel/internal/wire/path.go", Tests: inCodec("TestCanonicalPath"),
		Old:  `case string(segment) == "..":`,
		New:  `case string(segment) == "...":`,
		Rule: "RFC 3986 6.2.2.3: /public/../admin passes the rules for /public",
	},
	{
		Name: "path/plain-dot-segments", File: "sentinel/internal/wire/path.go", Tests: inCodec("TestCanonicalPath"),
		Old:  "(raw[i+1] == '/' || raw[i+1] == '.')",
		New:  "raw[i+1] == '/'",
		Rule: "RFC 3986 6.2.2.3: also in a path that has nothing else to normalise",
	},
	{
		Name: "path/escaped-dot", File: "sentinel/internal/wire/path.go", Tests: inCodec("TestCanonicalPath"),
		Old:  "if class[v]&isUnres != 0 {",
		New:  "if class[v]&isUnres != 0 && v != '.' {",
		Rule: "RFC 3986 6.2.2.2: /public/%2e%2e/admin is /admin to the upstream",
	},
	{
		Name: "path/escaped-letter", File: "sentinel/internal/wire/path.go", Tests: inCodec("TestCanonicalPath"),
		Old:  "if class[v]&isUnres != 0 {",
		New:  "if v == '.' {",
		Rule: "RFC 3986 6.2.2.2: /%61dmin is /admin",
	},
	{
		Name: "path/double-decode", File: "sentinel/internal/wire/path.go", Tests: inCodec("TestCanonicalPath"),
		Old:  "if class[v]&isUnres != 0 {",
		New:  "if class[v]&isUnres != 0 || v == '%' {",
		Rule: "RFC 3986 2.4: %252e is decoded once, or dots appear behind the checks",
	},
	{
		Name: "path/merged-slashes", File: "sentinel/internal/wire/path.go", Tests: inCodec("TestCanonicalPath"),
		Old:  `case len(segment) == 0, string(segment) == ".":`,
		New:  `case string(segment) == ".":`,
		Rule: "//admin is /admin to most upstreams",
	},
	{
		Name: "path/escaped-nul", File: "sentinel/internal/wire/path.go", Tests: inCodec("TestCanonicalPath"),
		Old:  "if !ok || v == 0 {",
		New:  "if !ok {",
		Rule: "a path ends at %00 for upstreams written in C",
	},
	{
		Name: "path/escaped-backslash", File: "sentinel/internal/wire/path.go", Tests: inCodec("TestCanonicalPath"),
		Old:  "escaped = escaped || v == '/' || v == '\\\\'",
		New:  "escaped = escaped || v == '/'",
		Rule: "%5C separates segments for some upstreams: the rule for encoded slashes covers it",
	},
	{
		Name: "path/escaped-slash", File: "sentinel/internal/wire/path.go", Tests: inCodec("TestCanonicalPath|TestCanonicalPathProperties"),
		Old:  "escaped = escaped || v == '/' || v == '\\\\'",
		New:  "escaped = v == '/' || v == '\\\\'",
		Rule: "an encoded slash is noted wherever it stands, not only as the last escape",
	},
	{
		Name: "path/hidden-dots-backslash", File: "sentinel/internal/wire/path.go", Tests: inCodec("TestHidesDotSegment"),
		Old:  "|| isEscape(path[i:], '5', 'c'); {",
		New:  "; {",
		Rule: "/a/..%5Cadmin hides a dot segment from us and not from the upstream",
	},
	{
		Name: "path/hidden-dots-case", File: "sentinel/internal/wire/path.go", Tests: inCodec("TestDecodeSlashes"),
		Old:  "lower(b[2]) == lo",
		New:  "b[2] == lo",
		Rule: "RFC 3986 6.2.2.1: %2F and %2f are the same",
	},
}
