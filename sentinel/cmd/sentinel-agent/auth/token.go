package auth

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// maxKid is the longest name of a key, in bytes.
const maxKid = 256

// maxDate is the last second of the year 9999: what comes after is no date, and overflows.
const maxDate = 253402300799

// judge is a policy, and what is made of it once. It does not change.
type judge struct {
	Policy
	algorithms []string
	parser     *jwt.Parser    // verifies signatures
	validator  *jwt.Validator // compares claims
}

func newJudge(p Policy) *judge {
	options := []jwt.ParserOption{jwt.WithLeeway(p.Leeway), jwt.WithIssuer(p.Issuer), jwt.WithAudience(p.Audience...)}
	if !p.OptionalExp {
		options = append(options, jwt.WithExpirationRequired())
	}
	return &judge{
		Policy:     p,
		algorithms: allowed(p.Algorithms),
		parser:     jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding(), jwt.WithJSONNumber()),
		validator:  jwt.NewValidator(options...),
	}
}

// verify returns the claims of a token whose signature is good. Its error is a *refusal.
func (j *judge) verify(ctx context.Context, keys *ring, token string) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	_, err := j.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		kid, err := j.header(t)
		if err != nil {
			return nil, err
		}
		return keys.find(ctx, t.Method.Alg(), kid)
	})
	var r *refusal
	switch {
	case err == nil:
		return claims, nil
	case errors.As(err, &r):
		return nil, r
	case errors.Is(err, jwt.ErrTokenMalformed):
		return nil, errMalformed
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return nil, errSignature
	}
	return nil, errAlgorithm // none that the library knows
}

// header checks what is not the library's to know, and returns the name of the key, empty when there is none.
// Everything else that a header may say of keys (jwk, jku, x5c, x5u) comes from whoever sent the token, and
// is not looked at.
func (j *judge) header(t *jwt.Token) (kid string, err error) {
	if !slices.Contains(j.algorithms, t.Method.Alg()) {
		return "", errAlgorithm
	}
	if _, critical := t.Header["crit"]; critical {
		return "", errMalformed // RFC 7515 section 4.1.11: no extension is understood
	}
	name, named := t.Header["kid"]
	kid, ok := name.(string)
	if named && (!ok || kid == "" || len(kid) > maxKid) {
		return "", errMalformed
	}
	return kid, nil
}

// validation are the library's errors for claims, and their refusals. Of several, the first counts.
var validation = []struct {
	err     error
	refusal *refusal
}{
	{jwt.ErrInvalidType, errClaim},
	{jwt.ErrTokenExpired, errExpired},
	{jwt.ErrTokenNotValidYet, errNotYet},
	{jwt.ErrTokenInvalidIssuer, errIssuer},
	{jwt.ErrTokenInvalidAudience, errAudience},
	{jwt.ErrTokenRequiredClaimMissing, errMissing},
}

// approve checks what verified claims say. Its error is a *refusal.
func (j *judge) approve(claims jwt.MapClaims) error {
	for _, name := range []string{"exp", "nbf"} {
		if v, ok := claims[name]; ok && !isDate(v) {
			return errClaim
		}
	}
	if err := j.validator.Validate(claims); err != nil {
		for _, v := range validation {
			if errors.Is(err, v.err) {
				return v.refusal
			}
		}
		return errClaim
	}
	for _, path := range j.RequiredClaims {
		if lookup(claims, path) == nil {
			return errMissing
		}
	}
	have := scopes(claims)
	for _, want := range j.Scopes {
		if !slices.Contains(have, want) {
			return errScope
		}
	}
	return nil
}

func isDate(v any) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	f, err := n.Float64()
	return err == nil && f >= 0 && f <= maxDate
}
