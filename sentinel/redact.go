package sentinel

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
)

// secretWords are what names of fields and parameters contain, in any case, whose values nobody may read in a log.
// Some ordinary names contain one, too ("author", "keyboard"): an entry that says less is the smaller harm.
var secretWords = []string{"token", "secret", "password", "key", "auth", "session", "cookie", "assertion"}

// redacted stands for the value of a secret.
const redacted = "[redacted]"

func isSecret(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}

// redactPairs returns text without the values of parameters (name=value) that are secrets, as there are in queries,
// fragments and paths. Such a value ends at an ampersand only: whatever else may be a part of it. Text is left as it is.
func redactPairs(text []byte) []byte {
	var out []byte
	copied, name := 0, 0 // where the next piece to copy begins, and the name
	for i := 0; i < len(text); {
		width := equalsSign(text[i:])
		switch {
		case width == 0:
			if strings.IndexByte("?&#;, \t", text[i]) >= 0 {
				name = i + 1
			}
			i++
			continue
		case isSecretParameter(string(text[name:i])):
			out = append(append(out, text[copied:i+width]...), redacted...)
			end := bytes.IndexByte(text[i:], '&')
			if end < 0 {
				return out
			}
			i += end
			copied = i
		default:
			i += width
		}
		name = i
	}
	return append(out, text[copied:]...)
}

// equalsSign returns how many bytes an equals sign at the front has; 0: there is none. One in an address that is itself
// a parameter is escaped.
func equalsSign(text []byte) int {
	switch {
	case text[0] == '=':
		return 1
	case len(text) >= 3 && bytes.EqualFold(text[:3], []byte("%3d")):
		return 3
	}
	return 0
}

// isSecretParameter is isSecret for a name that may be escaped. Who knows what others make of a broken escape?
func isSecretParameter(name string) bool {
	plain, err := url.QueryUnescape(name)
	return err != nil || isSecret(plain)
}
