// Package conformance proves, from outside, that the proxy keeps its promises about HTTP/1. It uses the
// public API of package sentinel and the data of package fixtures, nothing else.
//
//   - TestVectors plays every vector of fixtures/vectors: client bytes in, upstream bytes, client bytes
//     and the access log out.
//   - TestSegments plays them again with the client's bytes cut everywhere: the verdict may not change.
//   - TestRawVectors plays fixtures/http-vectors.json.
//   - TestConfirm replays the vectors at another proxy (make confirm REF=host:port ORIGIN=host:port).
//   - TestCoverage fails when a Reason has no vector and no scenario.
//   - The scenarios are about time, load and life cycle; the properties about any input.
//
// # Reading a failure
//
// A failing vector prints its file, its rule, the line of the transcript that was not kept, what was
// expected and what came, and the command that runs it alone:
//
//	go test ./conformance -run 'TestVectors/framing/te-and-cl$'
//
// The file says why the rule exists. Change a vector's expect line only when the rule has changed.
package conformance
