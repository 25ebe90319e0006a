package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// signers are the keys that sign for each algorithm.
var signers = map[string]any{
	"HS256": secret, "HS384": secret, "HS512": secret,
	"RS256": rsaKey, "RS384": rsaKey, "RS512": rsaKey,
	"PS256": rsaKey, "PS384": rsaKey, "PS512": rsaKey,
	"ES256": p256Key, "ES384": p384Key, "ES512": p521Key,
	"EdDSA": edKey,
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	all := withKeys(t, Policy{})
	for algorithm := range algorithms {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			token := sign(t, algorithm, signers[algorithm], claims(nil), nil)
			v := ask(t, all, token)
			check(t, v, "")
			if got := string(v.Audit.Custom["user_id"]); got != `"alice"` {
				t.Errorf("the user is %s", got)
			}
			check(t, ask(t, withKeys(t, Policy{Algorithms: []string{algorithm}}), token), "")
			others := []string{"RS256", "ES256"}
			if algorithm == "RS256" || algorithm == "ES256" {
				others = []string{"EdDSA"}
			}
			check(t, ask(t, withKeys(t, Policy{Algorithms: others}), token), "algorithm_not_allowed")
		})
	}
	if len(signers) != len(algorithms) {
		t.Errorf("%d of %d algorithms are tested", len(signers), len(algorithms))
	}
}

// TestRefused holds every cause for which a token is refused, at its edge where it has one.
func TestRefused(t *testing.T) {
	t.Parallel()
	h := withKeys(t, Policy{
		Issuer: "https://id.example", Audience: []string{"api", "web"}, RequiredClaims: []string{"org.id"},
		Scopes: []string{"read"},
	})
	full := map[string]any{
		"iss": "https://id.example", "aud": "api", "org": map[string]any{"id": 7}, "scope": "write read",
	}
	in := func(seconds int64) int64 { return time.Now().Unix() + seconds }
	for _, c := range []struct {
		name    string
		changes map[string]any
		want    string
	}{
		{"nothing", nil, ""},
		{"one of several audiences", map[string]any{"aud": []string{"x", "web"}}, ""},
		{"scopes as an array", map[string]any{"scope": nil, "scp": []string{"read"}}, ""},
		{"expired", map[string]any{"exp": in(-3600)}, "expired"},
		{"no exp", map[string]any{"exp": nil}, "missing_claim"},
		{"exp is text", map[string]any{"exp": "4102444800"}, "bad_claim"},
		{"exp is null", map[string]any{"exp": json.RawMessage("null")}, "bad_claim"},
		{"exp before time began", map[string]any{"exp": -1}, "bad_claim"},
		{"exp overflows", map[string]any{"exp": json.RawMessage("1e300")}, "bad_claim"},
		{"exp is no float", map[string]any{"exp": json.RawMessage("1e999")}, "bad_claim"},
		{"exp is zero", map[string]any{"exp": 0}, "expired"},
		{"not yet", map[string]any{"nbf": in(3600)}, "not_yet_valid"},
		{"nbf overflows", map[string]any{"nbf": json.RawMessage("1e300")}, "bad_claim"},
		{"other issuer", map[string]any{"iss": "https://id.example/"}, "wrong_issuer"},
		{"no issuer", map[string]any{"iss": nil}, "missing_claim"},
		{"issuer is a list", map[string]any{"iss": []string{"https://id.example"}}, "bad_claim"},
		{"other audience", map[string]any{"aud": []string{"ap", "apis", "API"}}, "wrong_audience"},
		{"no audience", map[string]any{"aud": nil}, "missing_claim"},
		{"audience is a number", map[string]any{"aud": 7}, "missing_claim"},
		{"audience has a number", map[string]any{"aud": []any{"api", 7}}, "bad_claim"},
		{"no required claim", map[string]any{"org": map[string]any{}}, "missing_claim"},
		{"required claim is null", map[string]any{"org": map[string]any{"id": nil}}, "missing_claim"},
		{"a scope that only looks alike", map[string]any{"scope": "read:all reads"}, "insufficient_scope"},
		{"no scope", map[string]any{"scope": nil}, "insufficient_scope"},
		{"scope is an object", map[string]any{"scope": map[string]any{"read": true}}, "insufficient_scope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := claims(full)
			for name, v := range c.changes {
				if got[name] = v; v == nil {
					delete(got, name)
				}
			}
			v := ask(t, h, sign(t, "RS256", rsaKey, got, nil))
			check(t, v, c.want)
			if user := string(v.Audit.Custom["user_id"]); user != `"alice"` {
				t.Errorf("the signature was good, the user is %s", user)
			}
		})
	}
}

func TestForged(t *testing.T) {
	t.Parallel()
	h := withKeys(t, Policy{})
	token := good(t)
	parts := strings.Split(token, ".")
	public := string(pemOf(t, rsaKey))
	hs := func(header, key string) string {
		text := encode(header) + "." + parts[1]
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(text))
		return text + "." + encode(string(mac.Sum(nil)))
	}
	for _, c := range []struct {
		name, token, want string
	}{
		{"none", encode(`{"alg":"none"}`) + "." + parts[1] + ".", "algorithm_not_allowed"},
		{"none with a signature", encode(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2], "algorithm_not_allowed"},
		{"None", encode(`{"alg":"None"}`) + "." + parts[1] + ".", "algorithm_not_allowed"},
		{"no alg", encode(`{"typ":"JWT"}`) + "." + parts[1] + "." + parts[2], "algorithm_not_allowed"},
		{"alg is a list", encode(`{"alg":["RS256"]}`) + "." + parts[1] + "." + parts[2], "algorithm_not_allowed"},
		{"signature cut off", parts[0] + "." + parts[1] + ".", "bad_signature"},
		{"public key as a secret", hs(`{"alg":"HS256"}`, public), "bad_signature"},
		{"public key without its newline", hs(`{"alg":"HS256"}`, strings.TrimSpace(public)), "bad_signature"},
		{"empty secret", hs(`{"alg":"HS256"}`, ""), "bad_signature"},
		{"another key", sign(t, "RS256", otherRSA, claims(nil), nil), "bad_signature"},
		{"RSA as PSS", encode(`{"alg":"PS256"}`) + "." + parts[1] + "." + parts[2], "bad_signature"},
		{"critical extension", sign(t, "RS256", rsaKey, claims(nil), map[string]any{"crit": []string{"b64"}, "b64": true}), "malformed_token"},
		{"kid is a number", sign(t, "RS256", rsaKey, claims(nil), map[string]any{"kid": 1}), "malformed_token"},
		{"kid is empty", sign(t, "RS256", rsaKey, claims(nil), map[string]any{"kid": ""}), "malformed_token"},
		{"kid is null", sign(t, "RS256", rsaKey, claims(nil), map[string]any{"kid": nil}), "malformed_token"},
		{"kid is long", sign(t, "RS256", rsaKey, claims(nil), map[string]any{"kid": strings.Repeat("k", maxKid+1)}), "malformed_token"},
		{"kid is a path", hs(`{"alg":"HS256","kid":"../../../../dev/null"}`, ""), "bad_signature"},
		{"key in the token", sign(t, "RS256", otherRSA, claims(nil), map[string]any{"jwk": jwk(t, "", otherRSA, nil)}), "bad_signature"},
		{"key set named in the token", sign(t, "RS256", otherRSA, claims(nil), map[string]any{"jku": "http://127.0.0.1:1/"}), "bad_signature"},
		{"two segments", parts[0] + "." + parts[1], "malformed_token"},
		{"encrypted", token + ".x.y", "malformed_token"},
		{"no segments", "x", "malformed_token"},
		{"empty", "", "malformed_token"},
		{"padded", token + "=", "malformed_token"},
		{"with a line end", token[:20] + "\n" + token[20:], "malformed_token"},
		{"two with a comma", token + ", Bearer " + token, "malformed_token"},
		{"header is no object", encode(`[]`) + "." + parts[1] + "." + parts[2], "malformed_token"},
		{"claims are no object", parts[0] + "." + encode(`7`) + "." + parts[2], "malformed_token"},
		{"as long as may be", strings.Repeat("a", maxToken), "malformed_token"},
		{"too long", strings.Repeat("a", maxToken+1), "token_too_large"},
		{"deep", encode(`{"alg":"RS256","x":`+strings.Repeat("[", 5000)) + ".e30.", "malformed_token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := ask(t, h, c.token)
			check(t, v, c.want)
			if v.Status != 401 || v.Headers["WWW-Authenticate"] != `Bearer error="invalid_token"` || len(v.Audit.Custom) > 0 {
				t.Errorf("answered %d %q, audit %s", v.Status, v.Headers, v.Audit.Custom)
			}
		})
	}
}

// TestConfusion has only public keys: no secret that anybody can know makes a token.
func TestConfusion(t *testing.T) {
	t.Parallel()
	text := pemOf(t, rsaKey)
	h := open(t, Options{Keys: Keys{PublicKeyFile: write(t, text)}})
	for _, algorithm := range []string{"HS256", "HS384", "HS512"} {
		check(t, ask(t, h, sign(t, algorithm, text, claims(nil), nil)), "unknown_key")
	}
	check(t, ask(t, h, sign(t, "ES256", p256Key, claims(nil), nil)), "unknown_key")
	check(t, ask(t, h, good(t)), "")
}

// TestShortSecret does not let a secret serve an algorithm that needs a longer one.
func TestShortSecret(t *testing.T) {
	t.Parallel()
	h := open(t, Options{Keys: Keys{SecretFile: write(t, append(secret[:47:47], '\n'))}})
	check(t, ask(t, h, sign(t, "HS256", secret[:47], claims(nil), nil)), "")
	check(t, ask(t, h, sign(t, "HS384", secret[:47], claims(nil), nil)), "unknown_key")
	check(t, ask(t, h, sign(t, "HS512", secret[:47], claims(nil), nil)), "unknown_key")
}

// TestFlippedBit changes one bit of a token, anywhere: it is never good any more.
func TestFlippedBit(t *testing.T) {
	t.Parallel()
	h := withKeys(t, Policy{})
	var tokens []string
	for algorithm, key := range signers {
		tokens = append(tokens, sign(t, algorithm, key, claims(nil), nil))
	}
	for _, token := range tokens { // the last character has bits that decoders are free to ignore
		for bit := range 8 {
			flipped := []byte(token)
			flipped[len(flipped)-1] ^= 1 << bit
			if v := ask(t, h, string(flipped)); v.Decision != agent.Blocked {
				t.Errorf("bit %d of the last character of %s: %v", bit, token, v.Decision)
			}
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		token := []byte(rapid.SampledFrom(tokens).Draw(rt, "token"))
		i := rapid.IntRange(0, len(token)*8-1).Draw(rt, "bit")
		token[i/8] ^= 1 << (i % 8)
		if v := ask(t, h, string(token)); v.Decision != agent.Blocked {
			rt.Fatalf("bit %d of %s: %v", i, token, v.Decision)
		}
	})
}

// TestSkew lets time pass up to the very nanosecond at which a token ends or begins.
func TestSkew(t *testing.T) {
	t.Parallel()
	const leeway = 30 * time.Second
	for _, c := range []struct {
		name   string
		claim  string
		before string // reason up to the edge
		after  string // from the edge on
		edge   time.Duration
	}{
		{"exp", "exp", "", "expired", time.Minute + leeway},
		{"nbf", "nbf", "not_yet_valid", "", time.Minute - leeway},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := withKeys(t, Policy{Leeway: leeway})
				token := sign(t, "HS256", secret, claims(map[string]any{c.claim: time.Now().Add(time.Minute).Unix()}), nil)
				time.Sleep(c.edge - time.Nanosecond)
				check(t, ask(t, h, token), c.before)
				time.Sleep(time.Nanosecond)
				check(t, ask(t, h, token), c.after)
			})
		})
	}
}

func TestOptionalExp(t *testing.T) {
	t.Parallel()
	h := withKeys(t, Policy{OptionalExp: true})
	check(t, ask(t, h, sign(t, "HS256", secret, jwt.MapClaims{"sub": "alice"}, nil)), "")
	check(t, ask(t, h, sign(t, "HS256", secret, jwt.MapClaims{"exp": 1}, nil)), "expired")
}
