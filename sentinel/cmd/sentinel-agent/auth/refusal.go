package auth

import (
	"net/http"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// refusal is why a request does not pass: an error with the answer that it gets.
type refusal struct {
	reason string // for the audit log
	status int    // 0: undecided
	code   string // RFC 6750 section 3.1; empty: the request had no token, and the client learns no more
}

// Error returns the reason code.
func (r *refusal) Error() string { return r.reason }

// The refusals.
var (
	errNoToken     = &refusal{"missing_token", http.StatusUnauthorized, ""}
	errTwoTokens   = &refusal{"multiple_tokens", http.StatusBadRequest, "invalid_request"}
	errTooLarge    = invalid("token_too_large")
	errMalformed   = invalid("malformed_token")
	errAlgorithm   = invalid("algorithm_not_allowed")
	errUnknownKey  = invalid("unknown_key")
	errSignature   = invalid("bad_signature")
	errExpired     = invalid("expired")
	errNotYet      = invalid("not_yet_valid")
	errIssuer      = invalid("wrong_issuer")
	errAudience    = invalid("wrong_audience")
	errMissing     = invalid("missing_claim")
	errClaim       = invalid("bad_claim") // of a type or with a value that cannot be used
	errScope       = &refusal{"insufficient_scope", http.StatusForbidden, "insufficient_scope"}
	errUnavailable = &refusal{"keys_unavailable", 0, ""}
)

func invalid(reason string) *refusal {
	return &refusal{reason, http.StatusUnauthorized, "invalid_token"}
}

// refusalBodies are all that the client is told beside the challenge.
var refusalBodies = map[int]string{
	http.StatusBadRequest:   "The request has more than one token.\n",
	http.StatusUnauthorized: "The request needs a valid token.\n",
	http.StatusForbidden:    "The token does not allow this.\n",
}

// refuse returns the verdict for a refusal.
func (j *judge) refuse(r *refusal) *agent.Verdict {
	if r.status == 0 {
		return (&agent.Verdict{}).WithReason(r.reason)
	}
	return agent.Block(r.status, refusalBodies[r.status]).
		SetHeader("WWW-Authenticate", j.challenge(r)).
		SetHeader("Cache-Control", "no-store").
		SetHeader("Content-Type", "text/plain; charset=utf-8").
		WithReason(r.reason)
}

// challenge returns what WWW-Authenticate says: RFC 6750 section 3. The parameters need no quoting, the
// policy's check has seen to that.
func (j *judge) challenge(r *refusal) string {
	var params []string
	if j.Realm != "" {
		params = append(params, `realm="`+j.Realm+`"`)
	}
	if r.code != "" {
		params = append(params, `error="`+r.code+`"`)
	}
	if r == errScope {
		params = append(params, `scope="`+strings.Join(j.Scopes, " ")+`"`)
	}
	if len(params) == 0 {
		return "Bearer"
	}
	return "Bearer " + strings.Join(params, ", ")
}
