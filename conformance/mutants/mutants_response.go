package main

// responseMutants break what is taken from an upstream, when it is asked again, and when its connection
// serves another request.
var responseMutants = []mutant{
	{
		Name: "response/surplus-reused", File: "sentinel/forward.go", Tests: inEngine("TestResponseFraming|TestConnectionsNotReused"),
		Old:  "x.resp.KeepAlive() && x.answer.Done() && x.trip.Used == x.trip.N",
		New:  "x.resp.KeepAlive() && x.answer.Done()",
		Rule: "RFC 9112 9.2: bytes behind an answer become the answer to somebody else's request",
	},
	{
		Name: "response/closing-reused", File: "sentinel/forward.go", Tests: inEngine("TestResponseFraming|TestConnectionsNotReused"),
		Old:  "x.resp.KeepAlive() && x.answer.Done() && x.trip.Used == x.trip.N",
		New:  "x.answer.Done() && x.trip.Used == x.trip.N",
		Rule: "RFC 9112 9.6: a connection that the upstream is about to close is not reused",
	},
	{
		Name: "response/half-upload-reused", File: "sentinel/forward.go", Tests: inEngine("TestEarlyAnswer"),
		Old:  "return r, x.stopUpload() && r == none && x.reusable()",
		New:  "x.stopUpload()\n\treturn r, r == none && x.reusable()",
		Rule: "RFC 9112 9.3: on a connection with half a request, the next one is its body",
	},
	{
		Name: "response/idle-talk", File: "sentinel/internal/upstream/conn.go", Tests: inPools("TestGetSkipsTouched"),
		Old:  "return errors.Is(err, unix.EAGAIN)",
		New:  "return err == nil || errors.Is(err, unix.EAGAIN)",
		Rule: "RFC 9112 9.2: what an idle connection says unasked is no answer to the next request",
	},
	{
		Name: "response/idle-talk-tls", File: "sentinel/internal/upstream/conn.go", Tests: inPools("TestGetSkipsTouchedTLS"),
		Old:  "n != 0 || err != nil {",
		New:  "n < 0 || err != nil {",
		Rule: "RFC 9112 9.2: the same over TLS",
	},
	{
		Name: "response/read-ahead-tls", File: "sentinel/internal/upstream/conn.go", Tests: inPools("TestGetSkipsTouchedTLS|TestGetSkipsReadAhead"),
		Old:  "return errors.Is(err, os.ErrDeadlineExceeded) &&",
		New:  "return (err == nil || errors.Is(err, os.ErrDeadlineExceeded)) &&",
		Rule: "RFC 9112 9.2: over TLS, bytes may have been read ahead while the socket is quiet",
	},
	{
		Name: "response/uninvited-101", File: "sentinel/forward.go", Tests: vectors("upgrade"),
		Old:  `if !x.upgrading() || !wire.EqualName(x.resp.Upgrade(), "websocket") {`,
		New:  `if !wire.EqualName(x.resp.Upgrade(), "websocket") {`,
		Rule: "RFC 9110 15.2.2: a 101 nobody asked for opens a tunnel past every rule",
	},
	{
		Name: "response/other-protocol", File: "sentinel/forward.go", Tests: vectors("upgrade/other-protocol"),
		Old:  `if !x.upgrading() || !wire.EqualName(x.resp.Upgrade(), "websocket") {`,
		New:  "if !x.upgrading() {",
		Rule: "RFC 9110 7.8: a switch to a protocol that was not offered is refused",
	},
	{
		Name: "response/upgrade-not-enabled", File: "sentinel/forward.go", Tests: inEngine("TestUpgradeRefused"),
		Old:  "return x.route.websocket && framing",
		New:  "return framing",
		Rule: "an upgrade happens on routes whose operator allowed it",
	},
	{
		Name: "response/upgrade-post", File: "sentinel/forward.go", Tests: vectors("upgrade"),
		Old:  `framing == wire.NoBody && string(x.req.Method) == "GET" &&`,
		New:  "framing == wire.NoBody &&",
		Rule: "RFC 6455 4.1: a handshake is a GET",
	},
	{
		Name: "response/upgrade-with-body", File: "sentinel/forward.go", Tests: vectors("upgrade"),
		Old:  `framing == wire.NoBody && string(x.req.Method) == "GET" &&`,
		New:  `framing <= wire.ByChunks && string(x.req.Method) == "GET" &&`,
		Rule: "a body and a tunnel on one connection: nobody can say where the one ends",
	},
	{
		Name: "response/interim-flood", File: "sentinel/forward.go", Tests: vectors("response/interim-flood"),
		Old:  "maxInterim = 16",
		New:  "maxInterim = 1 << 20",
		Rule: "RFC 9110 15.2: interim answers are bounded, or an upstream holds a client for ever",
	},
	{
		Name: "response/continue-relayed", File: "sentinel/forward.go", Tests: inEngine("TestInterim"),
		Old:  "if x.resp.Status != 100 {",
		New:  "if x.resp.Status != 101 {",
		Rule: "RFC 9110 15.2.1: the expectation was met here; a second 100 is not for this client",
	},
	{
		Name: "response/post-again", File: "sentinel/exchange.go", Tests: inEngine("TestMayRetry"),
		Old:  `"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"`,
		New:  `"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "POST"`,
		Rule: "RFC 9110 9.2.2: a POST that was sent is not sent again: it may have been done",
	},
	{
		Name: "response/get-not-again", File: "sentinel/forward.go", Tests: inEngine("TestStaleConnection"),
		Old:  "if x.reused && !x.trip.Received {",
		New:  "if !x.reused && !x.trip.Received {",
		Rule: "RFC 9112 9.3.1: a kept connection may close at any time; an idempotent request survives that",
	},
	{
		Name: "response/again-on-fresh", File: "sentinel/forward.go", Tests: inEngine("TestFreshConnectionIsNotRetried"),
		Old:  "if x.reused && !x.trip.Received {",
		New:  "if !x.trip.Received {",
		Rule: "a request that kills an upstream is not given to it again and again",
	},
	{
		Name: "response/again-after-answer", File: "sentinel/retry.go", Tests: inEngine("TestMayRetry"),
		Old:  "if x.status != 0 || x.hinted ||",
		New:  "if x.hinted ||",
		Rule: "a request whose answer began is not sent again",
	},
	{
		Name: "response/streamed-again", File: "sentinel/retry.go", Tests: inEngine("TestMayRetry"),
		Old:  "return (!x.streamed || x.kept > 0 || x.bodyHeld()) && isIdempotent(x.req.Method)",
		New:  "return isIdempotent(x.req.Method)",
		Rule: "a body that went out in pieces is gone: sent again, the request would have half of it",
	},
	{
		Name: "response/endless-attempts", File: "sentinel/retry.go", Tests: inEngine("TestMayRetry"),
		Old:  "x.attempts >= rules.attempts ||",
		New:  "x.attempts >= 1<<20 ||",
		Rule: "retries are bounded: they multiply the load of an outage",
	},
	{
		Name: "response/answer-after-answer", File: "sentinel/refuse.go", Tests: vectors("response"),
		Old:  "case x.status != 0:",
		New:  "case x.status == 1:",
		Rule: "an error page behind half an answer is a second answer, or data",
	},
	{
		Name: "response/truncation-hidden", File: "sentinel/relay.go", Tests: vectors("response/truncated-chunked"),
		Old:  "errors.Is(err, io.EOF) && x.answer.Ended() == wire.None:",
		New:  "errors.Is(err, io.EOF):",
		Rule: "RFC 9112 8: half an answer must not look like a whole one to a cache",
	},
	{
		Name: "response/chunks-in-http10", File: "sentinel/downstream.go", Tests: vectors("hop/response-to-http10"),
		Old:  "if h.framing == wire.ByChunks && x.req.Minor == 0 {",
		New:  "if h.framing == wire.ByChunks && x.req.Minor > 1 {",
		Rule: "RFC 9112 6.1: an HTTP/1.0 client takes chunk sizes for data",
	},
	{
		Name: "response/endless-kept-open", File: "sentinel/downstream.go", Tests: vectors("response/until-close"),
		Old:  "if h.framing == wire.UntilClose || c.ending() {",
		New:  "if c.ending() {",
		Rule: "RFC 9112 6.3: a body without a length ends with the connection",
	},
	{
		Name: "response/cut-looks-complete", File: "sentinel/downstream.go", Tests: inEngine("TestTruncatedResponse|TestOldClient"),
		Old:  "_ = tcp.SetLinger(0)",
		New:  "_ = tcp.SetLinger(-1)",
		Rule: "RFC 9112 8: a body that ends with the connection is cut by a reset, or it looks complete",
	},
	{
		Name: "response/trailers-lost", File: "sentinel/relay.go", Tests: vectors("response/trailers"),
		Old:  "x.reply.whole = x.answer.Done() && len(x.trailers()) == 0",
		New:  "x.reply.whole = x.answer.Done()",
		Rule: "RFC 9110 6.5: trailers of an answer that came at once are part of it too",
	},
	{
		Name: "response/bad-chunk-passed", File: "sentinel/relay.go", Tests: vectors("response/bad-chunk"),
		Old:  "if fault != wire.None {\n\t\treturn nil, upstreamBadResponse",
		New:  "if fault == wire.Truncated {\n\t\treturn nil, upstreamBadResponse",
		Rule: "RFC 9112 7.1: an answer whose chunks break is broken off, not ended",
	},
	{
		Name: "response/small-chunks-mixed", File: "sentinel/relay.go", Tests: vectors("chunked/many-small"),
		Old:  "end += copy(buf[end:], piece)",
		New:  "end += copy(buf[end+1:], piece)",
		Rule: "chunks moved together keep every byte in its place",
	},
}
