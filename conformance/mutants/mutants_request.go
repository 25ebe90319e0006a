package main

// requestMutants break what is admitted, and what becomes of a request's body and connection.
var requestMutants = []mutant{
	{
		Name: "admit/trace", File: "sentinel/admit.go", Tests: vectors("target/trace"),
		Old:  `return string(method) == "CONNECT" || string(method) == "TRACE"`,
		New:  `return string(method) == "CONNECT"`,
		Rule: "RFC 9110 9.3.8: TRACE shows a browser's credentials to scripts",
	},
	{
		Name: "admit/connect", File: "sentinel/admit.go", Tests: vectors("target/connect"),
		Old:  `return string(method) == "CONNECT" || string(method) == "TRACE"`,
		New:  `return string(method) == "TRACE"`,
		Rule: "RFC 9110 9.3.6: a reverse proxy is no tunnel into the network behind it",
	},
	{
		Name: "admit/unknown-expectation", File: "sentinel/admit.go", Tests: vectors("expect/unknown"),
		Old:  "case x.req.UnknownExpect:",
		New:  "case x.req.UnknownExpect && x.req.Minor == 0:",
		Rule: "RFC 9110 10.1.1: an expectation that is not understood is not promised",
	},
	{
		Name: "admit/length-limit", File: "sentinel/admit.go", Tests: vectors("limits/body-length"),
		Old:  "length > x.route.maxBody {",
		New:  "length > x.route.maxBody+1 {",
		Rule: "a limit holds exactly: the body that Content-Length announces",
	},
	{
		Name: "admit/chunked-limit", File: "sentinel/screen_request.go", Tests: vectors("limits/body-chunked"),
		Old:  "x.received > x.route.maxBody {",
		New:  "x.received > 1<<40 {",
		Rule: "a body in chunks announces nothing and is bounded all the same",
	},
	{
		Name: "admit/encoded-slash", File: "sentinel/admit.go", Tests: vectors("path/encoded-backslash"),
		Old:  "\t\treturn none\n\t}\n\treturn encodedSlash\n}",
		New:  "\t\treturn none\n\t}\n\treturn none\n}",
		Rule: "CWE-22: unless a route says otherwise, what may hide a segment is refused",
	},
	{
		Name: "admit/encoded-slash-keep-dots", File: "sentinel/admit.go", Tests: vectors("path/encoded-slash-keep-dots"),
		Old:  "if wire.HidesDotSegment(x.req.Path) {",
		New:  "if wire.HidesDotSegment(nil) {",
		Rule: "CWE-22: /keep/..%2fadmin leaves the route when the upstream decodes it",
	},
	{
		Name: "admit/encoded-slash-other-route", File: "sentinel/admit.go", Tests: vectors("path/encoded-slash-decode-other-route"),
		Old:  ".match(x) != x.route {",
		New:  ".match(x) == nil {",
		Rule: "CWE-22: a decoded path must not get the rules of one route and the content of another",
	},
	{
		Name: "request/fault-keeps-connection", File: "sentinel/conn.go", Tests: vectors("lines"),
		Old:  "\t\t\tx.malformed(faultReasons[fault])\n\t\t\treturn over",
		New:  "\t\t\tx.malformed(faultReasons[fault])\n\t\t\tx.r, x.w, c.lingers = 0, 0, false\n\t\t\tx.reset()\n\t\t\treturn more",
		Rule: "RFC 9112 9.3: behind bytes that are no request there is no request",
	},
	{
		Name: "request/refused-body-is-next", File: "sentinel/exchange.go", Tests: vectors("limits/body-length"),
		Old:  "\tif !x.body.Done() {",
		New:  "\tx.closing = false\n\tif *keep = true; len(x.in) == 0 {",
		Rule: "RFC 9112 9.3: the body of a refused request is not the next request",
	},
	{
		Name: "request/close-not-heeded", File: "sentinel/exchange.go", Tests: vectors("connection/http10"),
		Old:  "x.closing = !x.req.KeepAlive() ||",
		New:  "x.closing =",
		Rule: "RFC 9112 9.6: after a request with `close` no further one is served",
	},
	{
		Name: "request/close-not-said", File: "sentinel/downstream.go", Tests: vectors("framing/length-fraction"),
		Old:  "return append(out, closeField...)",
		New:  "return out",
		Rule: "RFC 9112 9.6: who is about to close says so, or the client sends into the void",
	},
	{
		Name: "request/keep-alive-not-said", File: "sentinel/downstream.go", Tests: vectors("connection/http10-keep-alive"),
		Old:  "return append(out, keepAliveField...)",
		New:  "return out",
		Rule: "RFC 9112 9.3: persisting has to be said to an HTTP/1.0 client",
	},
	{
		Name: "request/length-zero-lost", File: "sentinel/forward.go", Tests: vectors("framing/length-zero"),
		Old:  "case framing == wire.ByLength || x.req.HasLength():",
		New:  "case framing == wire.ByLength:",
		Rule: "RFC 9110 8.6: upstreams answer 411 to a POST without its `Content-Length: 0`",
	},
	{
		Name: "request/query-lost", File: "sentinel/forward.go", Tests: vectors("target/query-empty"),
		Old:  "if x.req.HasQuery {",
		New:  "if len(x.req.Query) > 0 {",
		Rule: "RFC 3986 6.2.3: /x? is not /x",
	},
	{
		Name: "request/chunks-unframed", File: "sentinel/upload.go", Tests: vectors("chunked/many-small"),
		Old:  "x.feed = wire.AppendLastChunk(x.feed, x.bodyTrailers())",
		New:  "x.feed = wire.AppendLastChunk(x.feed, nil)[:len(x.feed)]",
		Rule: "RFC 9112 7.1: without the last chunk the upstream waits, and takes the next request for data",
	},
	{
		Name: "request/interim-in-http10", File: "sentinel/downstream.go", Tests: vectors("expect/early-hints-http10"),
		Old:  "if c.x.req.Minor == 0 {\n\t\treturn none",
		New:  "if c.x.req.Minor > 1 {\n\t\treturn none",
		Rule: "RFC 9110 15.2: an HTTP/1.0 client takes a 103 for its answer",
	},
	{
		Name: "request/head-gets-body", File: "sentinel/refuse.go", Tests: vectors("errors/head"),
		Old:  "\t\tbody = nil\n",
		New:  "\t\tbody = body[:1]\n",
		Rule: "RFC 9112 6.3: a body after HEAD is the start of the client's next answer",
	},
}
