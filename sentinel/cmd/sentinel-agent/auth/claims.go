package auth

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxValue is the longest value that a claim gives a header field, in bytes.
const maxValue = 4096

// lookup returns the claim at a path; nil: there is none. A claim with the path for its name comes first,
// since names may have dots; then each dot leads into an object.
func lookup(claims map[string]any, path string) any {
	if v, ok := claims[path]; ok {
		return v
	}
	for {
		name, rest, nested := strings.Cut(path, ".")
		v := claims[name]
		if !nested {
			return v
		}
		inner, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		claims, path = inner, rest
	}
}

// scopes returns what a token allows: the words of scope (RFC 9068), or of scp, which some issuers have
// instead, as a string or an array.
func scopes(claims map[string]any) (words []string) {
	for _, name := range []string{"scope", "scp"} {
		switch v := claims[name].(type) {
		case string:
			words = append(words, strings.Fields(v)...)
		case []any:
			for _, member := range v {
				if word, ok := member.(string); ok {
					words = append(words, word)
				}
			}
		}
	}
	return words
}

// fieldValue returns a claim as the value of a header field; empty: there is nothing to say. Arrays are joined
// by commas. What a header field cannot carry without becoming something else is refused, not mended: a user
// whose name lost a character is another user.
func fieldValue(claim any) (string, error) {
	members, isArray := claim.([]any)
	if !isArray {
		return scalar(claim)
	}
	var values []string
	for _, member := range members {
		v, err := scalar(member)
		if err != nil || v == "" || strings.Contains(v, ",") {
			return "", errClaim // it would be another list
		}
		values = append(values, v)
	}
	joined := strings.Join(values, ",")
	if len(joined) > maxValue {
		return "", errClaim
	}
	return joined, nil
}

func scalar(claim any) (string, error) {
	switch v := claim.(type) {
	case nil:
		return "", nil
	case string:
		if len(v) > maxValue || !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) || strings.TrimSpace(v) != v {
			return "", errClaim
		}
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		if v {
			return "true", nil
		}
		return "false", nil
	}
	return "", errClaim
}
