package main

// inConformance is tests of the suite by name.
func inConformance(which string) []tests { return []tests{{conformance, "^(" + which + ")$"}} }

// filterMutants break what filters promise.
var filterMutants = []mutant{
	{
		Name: "filter/preflight-forwarded", File: "sentinel/exchange.go", Tests: vectors("cors/preflight"),
		Old:  "case x.isPreflight():\n\t\treturn x.answerPreflight()\n\tcase x.route.builtin",
		New:  "case x.route.builtin",
		Rule: "a preflight is answered here",
	},
	{
		Name: "filter/preflight-asks-agents", File: "sentinel/exchange.go", Tests: inEngine("TestPreflightBeforeAgents"),
		Old:  "if reason == none && !x.isPreflight() {",
		New:  "if reason == none {",
		Rule: "browsers send no credentials with preflights: agents that want some would refuse them all",
	},
	{
		Name: "filter/upstream-allows", File: "sentinel/cors.go", Tests: vectors("cors/upstream-replaced"),
		Old:  "return isAccessControl(f.Name)",
		New:  "return false",
		Rule: "an upstream that echoes Origin would overrule the list",
	},
	{
		Name: "filter/vary-for-allowed-only", File: "sentinel/cors.go", Tests: vectors("cors/other-origin"),
		Old:  "if allow == nil {\n\t\tf = x.vary",
		New:  "if allow == nil && o.allowed[string(x.only(\"origin\"))] != nil {\n\t\tf = x.vary",
		Rule: "a cache would give the answer without permission to an origin that has it, or the other way round",
	},
	{
		Name: "filter/first-origin-counts", File: "sentinel/cors.go", Tests: vectors("cors/two-origins"),
		Old:  "if value != nil {\n\t\t\t\treturn nil\n\t\t\t}",
		New:  "if value != nil {\n\t\t\t\treturn value\n\t\t\t}",
		Rule: "who sends two origins could be either",
	},
	{
		Name: "filter/mirrors-junk", File: "sentinel/cors.go", Tests: vectors("cors/preflight-mirrors-no-junk"),
		Old:  "if !wire.ValidName(item) {",
		New:  "if false {",
		Rule: "nothing is echoed that is no name of a field",
	},
	{
		Name: "filter/cors-before-all", File: "sentinel/filters.go", Tests: vectors("cors/order"),
		Old:  "r.lateEdits, response = compileEdits(response...), nil",
		New:  "_ = r.lateEdits",
		Rule: "answers meet filters in the reverse of the list",
	},
	{
		Name: "filter/order", File: "sentinel/filters.go", Tests: vectors("headers/filters"),
		Old:  "response = slices.Insert(response, 0, f.Headers.Edits)",
		New:  "response = append(response, f.Headers.Edits)",
		Rule: "answers meet filters in the reverse of the list",
	},
	{
		Name: "filter/stream-held-back", File: "sentinel/compress.go", Tests: inConformance("TestCompressStream"),
		Old:  "|| u.Readable() {",
		New:  "|| true {",
		Rule: "an event would arrive with the next one",
	},
	{
		Name: "filter/no-transform-ignored", File: "sentinel/compress.go", Tests: vectors("compress/no-transform"),
		Old:  "|| forbidsTransform(h.fields) {",
		New:  "{",
		Rule: "RFC 9111 5.2.2.6: whoever signs bodies relies on it",
	},
	{
		Name: "filter/encoded-twice", File: "sentinel/compress.go", Tests: vectors("compress/encoded"),
		Old:  "case f.ID == wire.ContentEncoding, !part && wire.EqualName(f.Name, \"content-range\"):",
		New:  "case !part && wire.EqualName(f.Name, \"content-range\"):",
		Rule: "RFC 9110 8.4: with two Content-Encoding fields nobody can read the body",
	},
	{
		Name: "filter/part-encoded", File: "sentinel/compress.go", Tests: vectors("compress/partial-unsaid"),
		Old:  "if h.status == http.StatusPartialContent || forbidsTransform(x.req.Fields) {",
		New:  "if forbidsTransform(x.req.Fields) {",
		Rule: "RFC 9110 14.4: a client that puts parts together would put together garbage",
	},
	{
		Name: "filter/strong-tag", File: "sentinel/compress.go", Tests: vectors("compress/etag"),
		Old:  "s.etag = append(append(s.etag[:0], \"W/\"...), f[i].Value...)",
		New:  "s.etag = append(s.etag[:0], f[i].Value...)",
		Rule: "RFC 9110 8.8.1: two bodies with one strong tag make If-Range mix them",
	},
	{
		Name: "filter/digest-kept", File: "sentinel/compress.go", Tests: vectors("compress/digests"),
		Old:  "\"Content-Digest\", \"Repr-Digest\"} {",
		New:  "\"Content-Digest\"} {",
		Rule: "RFC 9530: the digest is of other bytes",
	},
	{
		Name: "filter/trailer-digest-kept", File: "sentinel/compress.go", Tests: inConformance("TestCompressTrailers"),
		Old:  "return s.downstream.end(withoutDigests(trailers))",
		New:  "return s.downstream.end(trailers)",
		Rule: "RFC 9530: the digest is of other bytes, in a trailer too",
	},
	{
		Name: "filter/vary-missing", File: "sentinel/compress.go", Tests: vectors("compress/no-field"),
		Old:  "x.fields = x.vary(h.fields, \"Accept-Encoding\")\n\th.fields",
		New:  "x.fields = h.fields\n\th.fields",
		Rule: "a cache would give the encoded body to a client that cannot read it",
	},
	{
		Name: "filter/spliced-past", File: "sentinel/filters.go", Tests: inConformance("TestCompressLarge"),
		Old:  "return x.squeeze.enc != nil ||",
		New:  "return",
		Rule: "the rest of a large body would go out as it is, inside an encoded one",
	},
	{
		Name: "filter/encoder-lost", File: "sentinel/compress.go", Tests: inEngine("TestEncodersAreBounded"),
		Old:  "func (s *squeezer) leave() {\n\ts.release()",
		New:  "func (s *squeezer) leave() {\n\ts.enc = nil",
		Rule: "clients that leave would use up all memory for encoders",
	},
	{
		Name: "filter/weights-ignored", File: "sentinel/internal/coding/accept.go", Tests: vectors("compress/refused"),
		Old:  "a.weights[c] = lower(a.weights[c], weight)",
		New:  "a.weights[c] = 1000",
		Rule: "RFC 9110 12.5.3: q=0 refuses",
	},
	{
		Name: "filter/secret-logged", File: "sentinel/witness.go", Tests: inEngine("TestLogFilter"),
		Old:  "case isSecret(name):",
		New:  "case false:",
		Rule: "who reads the log could act as the user",
	},
	{
		Name: "filter/secret-case", File: "sentinel/redact.go", Tests: inEngine("TestLogFilterSecrets"),
		Old:  "name = strings.ToLower(name)",
		New:  "name = strings.Clone(name)",
		Rule: "who reads the log could act as the user, whatever case a parameter is written in",
	},
	{
		Name: "filter/secret-parameter", File: "sentinel/redact.go", Tests: inEngine("TestLogFilterSecrets"),
		Old:  "case isSecretParameter(string(text[name:i])):",
		New:  "case false && isSecretParameter(string(text[name:i])):",
		Rule: "a Referer has the query of another page",
	},
	{
		Name: "filter/raw-log", File: "sentinel/witness.go", Tests: inEngine("TestLogFilter"),
		Old:  "func printable(b []byte) string { return escape(b[:min(len(b), maxNoted)]) }",
		New:  "func printable(b []byte) string { return string(b[:min(len(b), maxNoted)]) }",
		Rule: "a terminal that shows the log obeys what a client wrote",
	},
}
