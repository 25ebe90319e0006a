// Package waf is an agent that looks for attacks in requests: Coraza with the OWASP Core Rule Set (CRS), which
// is part of the binary.
//
// # What is looked at
//
// RequestHeaders evaluates the whole rule set on the head: method, URI, query arguments, cookies, headers. So
// an agent that the proxy never shows a body still judges the head by all rules. RequestBody evaluates head and
// body together, once the last part of the body is there. A request with a body costs two evaluations. The
// rules about responses are not loaded: a verdict on a response cannot refuse it.
//
// Bodies are taken apart by their Content-Type: forms, multipart, JSON (application/json and any
// application/*+json) and XML. Other types are refused by rule 920420, except those of Git over HTTP on its own
// paths, whose bodies are not looked at. Of a file in a multipart body, only the name is. Compressed bodies are
// refused by rule 920450: the proxy has to decompress.
//
// # How it decides
//
// As CRS does: every rule that matches adds to an anomaly score, and a score that reaches the threshold is
// refused with 403. A body that cannot be parsed as what it claims to be is refused with 400, one over MaxBody or
// with more than MaxFields bytes of arguments with 413. The audit data has the ids of the rules, the classes of the
// attacks (attack-sqli, ...), and anomaly_score. Neither the answer nor the audit data has any byte of the request.
//
// directives.go lists where this differs from the defaults of CRS; the methods PUT, PATCH and DELETE are allowed, for
// example. A rules file is read after the setup of CRS and before its rules. It may have rules of its own, set
// variables of CRS like tx.allowed_methods and tx.allowed_request_content_type, and make exceptions with ctl actions.
// testdata/known has requests that are innocent and need one.
//
// # What bounds it
//
// Go's regular expressions run in time linear in the input, so there is no backtracking to limit:
// SecPcreMatchLimit and its like are accepted by Coraza, and do nothing. What an evaluation costs is bounded by the
// size of its input: the proxy's limits for heads, MaxFields, 1000 arguments, JSON 1024 levels deep. A small head
// takes about 1 ms of one core, arguments about 6 ms per KiB: 0.4 s for 64 KiB. Coraza cannot be interrupted; when a
// proxy no longer waits, the evaluation ends in vain.
//
// Bodies are kept in memory, at most MaxBody for each of MaxPending, beside those under evaluation. The files
// of a multipart body are on disk, in the system's temporary directory, while they are evaluated.
package waf
