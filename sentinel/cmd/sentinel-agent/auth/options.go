package auth

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Options say which tokens are good.
type Options struct {
	Keys
	Policy
}

// Keys say where keys come from: at least one place. Tokens may be signed with the keys of any of them.
type Keys struct {
	SecretFile    string // a shared secret of 32 bytes or more, for HS256; HS384 and HS512 need 48 and 64
	PublicKeyFile string // PEM: public keys, certificates
	JWKSFile      string
	JWKSURL       string // https, or http on a loopback address

	Refresh    time.Duration // between fetches of JWKSURL; 1 s or more, 0: 5 min
	MinRefresh time.Duration // between fetches because of unknown keys; 0: 10 s
	MaxStale   time.Duration // for which fetched keys are used after the last good fetch; 0: 24 h
	Timeout    time.Duration // of a fetch; 0: 5 s
}

// Policy is what a config block may change too.
type Policy struct {
	Algorithms []string // the only ones allowed; none: all that are known

	Issuer         string        // iss must be this; empty: anything
	Audience       []string      // aud must have one of these; none: anything
	Scopes         []string      // scope or scp must have all of these
	RequiredClaims []string      // paths of claims that must be there
	Leeway         time.Duration // how far clocks may be apart: 0 to 1 h; the command's default is 30 s
	OptionalExp    bool          // a token without exp is good for ever

	Header     string // carries the token and nothing else; empty: Authorization, after Bearer
	Cookie     string // carries the token; not with Header
	StripToken bool   // takes the field with the token from the request; not with Cookie

	Claims    map[string]string // path of a claim: the header field that gets its value
	Anonymous []string          // paths that need no token; a final * stands for any rest
	Realm     string            // in challenges; empty: none
}

// defaultLeeway is how far clocks may be apart.
const defaultLeeway = 30 * time.Second

// Bounds of options. Lists and names go into every decision or answer.
const (
	maxList   = 64
	maxName   = 256 // bytes of an issuer, an audience, a claim's path and the like
	maxLeeway = time.Hour
)

func (k Keys) withDefaults() Keys {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&k.Refresh, 5 * time.Minute},
		{&k.MinRefresh, 10 * time.Second},
		{&k.MaxStale, 24 * time.Hour},
		{&k.Timeout, 5 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return k
}

func (k Keys) check() error {
	if k.SecretFile == "" && k.PublicKeyFile == "" && k.JWKSFile == "" && k.JWKSURL == "" {
		return errors.New("no keys: want a secret file, a public key file, a JWKS file or a JWKS URL")
	}
	for name, d := range map[string]time.Duration{
		"jwks-refresh": k.Refresh, "jwks-min-refresh": k.MinRefresh, "jwks-max-stale": k.MaxStale, "jwks-timeout": k.Timeout,
	} {
		if d < time.Second || d > 30*24*time.Hour {
			return fmt.Errorf("%s is %v: want 1s to 720h", name, d)
		}
	}
	if k.JWKSURL == "" {
		return nil
	}
	u, err := url.Parse(k.JWKSURL)
	if err != nil {
		return fmt.Errorf("jwks-url: %w", err)
	}
	if u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return fmt.Errorf("jwks-url %q: want https, or http to a loopback address", u.Redacted())
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (p Policy) check() error {
	switch {
	case p.Leeway < 0 || p.Leeway > maxLeeway:
		return fmt.Errorf("leeway is %v: want 0 to %v", p.Leeway, maxLeeway)
	case p.Header != "" && p.Cookie != "":
		return errors.New("header and cookie: want one of them")
	case p.Cookie != "" && p.StripToken:
		return errors.New("strip-token: not with cookie")
	case p.Header != "" && !isToken(p.Header):
		return fmt.Errorf("header %.40q is not a field name", p.Header)
	case p.Cookie != "" && !isToken(p.Cookie):
		return fmt.Errorf("cookie %.40q is not a cookie name", p.Cookie)
	case len(p.Realm) > maxName || strings.ContainsFunc(p.Realm, unquotable):
		return errors.New("realm: want up to 256 printable characters without quotes and backslashes")
	}
	return errors.Join(p.checkLists(), p.checkClaims())
}

func (p Policy) checkLists() error {
	for name, list := range map[string][]string{
		"issuer": {p.Issuer}, "audience": p.Audience, "scopes": p.Scopes, "required-claims": p.RequiredClaims, "anonymous": p.Anonymous,
	} {
		if len(list) > maxList {
			return fmt.Errorf("%s has %d members, more than %d", name, len(list), maxList)
		}
		for _, v := range list {
			if len(v) > maxName || v == "" && name != "issuer" {
				return fmt.Errorf("%s: want 1 to %d bytes, not %d", name, maxName, len(v))
			}
		}
	}
	for _, a := range p.Algorithms {
		if _, known := algorithms[a]; !known {
			return fmt.Errorf("algorithm %.40q: known are %v", a, slices.Sorted(maps.Keys(algorithms)))
		}
	}
	for _, s := range p.Scopes {
		if strings.ContainsFunc(s, unquotable) || strings.Contains(s, " ") {
			return fmt.Errorf("scope %q has characters that RFC 6749 forbids", s)
		}
	}
	for _, path := range p.Anonymous {
		if path[0] != '/' || strings.Contains(path[:len(path)-1], "*") {
			return fmt.Errorf("anonymous %q: want a path, with * at its end if at all", path)
		}
	}
	return nil
}

// unquotable reports whether a quoted string cannot have a character as it is.
func unquotable(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }

func (p Policy) checkClaims() error {
	if len(p.Claims) > maxList {
		return fmt.Errorf("claims has %d members, more than %d", len(p.Claims), maxList)
	}
	taken := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(p.Claims)) {
		name := normal(p.Claims[path])
		switch {
		case path == "" || len(path) > maxName:
			return fmt.Errorf("claims: want a path of 1 to %d bytes, not %d", maxName, len(path))
		case !isToken(name) || slices.Contains(reserved, name):
			return fmt.Errorf("claims: %.40q cannot be set", p.Claims[path])
		case taken[name] != "":
			return fmt.Errorf("claims: %q and %q both go to %s", taken[name], path, p.Claims[path])
		}
		taken[name] = path
	}
	return nil
}

// reserved are fields that are not the agent's to write: they frame, route or authenticate.
var reserved = []string{
	"authorization", "connection", "content-length", "cookie", "host", "keep-alive", "proxy-connection", "te", "trailer",
	"transfer-encoding", "upgrade",
}

// isToken reports whether s is an RFC 9110 token of at most maxName bytes.
func isToken(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
	})
}

// normal is a field name as an origin may see it: many take _ for -.
func normal(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }
