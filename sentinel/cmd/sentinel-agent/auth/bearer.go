package auth

import (
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// maxToken is the longest token that is looked at, in bytes: what one header field holds.
const maxToken = 8192

// token returns the one token of a request, of a form that may be a token. Its error is a *refusal.
func (j *judge) token(r *agent.Request) (string, error) {
	var found []string
	switch {
	case j.Cookie != "":
		found = cookies(r, j.Cookie)
	case j.Header != "":
		found = r.Headers[strings.ToLower(j.Header)]
	default:
		found = bearers(r)
	}
	switch {
	case len(found) == 0:
		return "", errNoToken
	case len(found) > 1:
		return "", errTwoTokens // which of them the upstream would take is anybody's guess
	case len(found[0]) > maxToken:
		return "", errTooLarge
	case strings.ContainsFunc(found[0], outsideToken):
		return "", errMalformed
	}
	return found[0], nil
}

// outsideToken reports whether a compact token never has a character. Decoders of base64 skip line ends.
func outsideToken(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
}

// bearers returns the credentials of all Authorization fields, if one of them is for a Bearer. Two fields are
// two tokens, whatever their schemes.
func bearers(r *agent.Request) (tokens []string) {
	bearer := false
	for _, value := range r.Headers["authorization"] {
		scheme, credentials, _ := strings.Cut(strings.Trim(value, " \t"), " ")
		bearer = bearer || strings.EqualFold(scheme, "Bearer")
		tokens = append(tokens, strings.TrimLeft(credentials, " "))
	}
	if !bearer {
		return nil
	}
	return tokens
}

// cookies returns the values of a cookie: RFC 6265 section 5.4. Quotes around a value are not of the token.
func cookies(r *agent.Request, name string) (values []string) {
	for _, field := range r.Headers["cookie"] {
		for pair := range strings.SplitSeq(field, ";") {
			if got, value, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && got == name {
				values = append(values, strings.Trim(value, `"`))
			}
		}
	}
	return values
}
