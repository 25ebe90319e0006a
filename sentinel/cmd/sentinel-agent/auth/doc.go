// Package auth is the agent that lets only requests with a good JSON Web Token pass, and tells the upstream
// who they are from.
//
// A request is answered in one step, from its head alone (auth.go): find the one token (bearer.go), verify
// it with the keys there are (token.go, algorithm.go, keys.go), and turn its claims into header fields
// (claims.go). What is refused is answered as RFC 6750 says (refusal.go):
//
//	no token                             401, a bare challenge
//	more than one token                  400 invalid_request
//	a token that is not good, any cause  401 invalid_token; the cause is a reason code in the audit data
//	a good token without a scope         403 insufficient_scope
//	the keys are not known               undecided: the failure mode that the proxy has for the agent decides
//
// Keys come from files, which are read again when they change, and from a JWKS URL, which is fetched again
// from time to time and, at a bounded rate, when a token names a key that is not known (source.go, files.go,
// fetch.go). Where keys come from is set on the command line only: a proxy must not make the agent read
// files or URLs. The rest may be changed by the proxy's config block (options.go, configure.go).
//
// The header fields that claims are mapped to are taken from every request that passes, whatever it claims
// itself: also from those on anonymous paths, and when the token lacks the claim.
package auth
