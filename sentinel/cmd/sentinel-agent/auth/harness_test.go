package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// TestMain fails when the tests leave goroutines behind: an agent that is closed has none.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	before := runtime.NumGoroutine()
	code := m.Run()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond) // a goroutine that was waited for may take a moment to be gone
	}
	if code == 0 && runtime.NumGoroutine() > before {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

// The keys of the tests, one of each kind that there is an algorithm for.
var (
	rsaKey     = must(rsa.GenerateKey(rand.Reader, 2048))
	otherRSA   = must(rsa.GenerateKey(rand.Reader, 2048))
	weakRSA    = must(rsa.GenerateKey(rand.Reader, 1024))
	p256Key    = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384Key    = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	p521Key    = must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	_, edKey   = must2(ed25519.GenerateKey(rand.Reader))
	secret     = []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	alicesDay  = jwt.MapClaims{"sub": "alice"} // and an exp an hour from now: see claims
	publicKeys = []crypto.Signer{rsaKey, p256Key, p384Key, p521Key, edKey}
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

// claims are Alice's, with changes; a nil takes a claim away.
func claims(changes map[string]any) jwt.MapClaims {
	c := maps.Clone(alicesDay)
	c["exp"] = time.Now().Add(time.Hour).Unix()
	for name, v := range changes {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

// sign returns a token with these claims; a header that is nil is none.
func sign(t testing.TB, algorithm string, key any, c jwt.MapClaims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), c)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// good is a token that every agent of the tests that has the RSA key takes.
func good(t testing.TB) string {
	t.Helper()
	return sign(t, "RS256", rsaKey, claims(nil), nil)
}

// write puts a text into a file of its own.
func write(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pemOf is the PEM of public keys.
func pemOf(t testing.TB, keys ...crypto.Signer) (text []byte) {
	t.Helper()
	for _, k := range keys {
		der := must(x509.MarshalPKIXPublicKey(k.Public()))
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	return text
}

// jwk is a public key as a member of a set.
func jwk(t testing.TB, kid string, k crypto.Signer, changes map[string]any) map[string]any {
	t.Helper()
	made, err := jwkset.NewJWKFromKey(k.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		t.Fatal(err)
	}
	var member map[string]any
	if err := json.Unmarshal(must(json.Marshal(made.Marshal())), &member); err != nil {
		t.Fatal(err)
	}
	maps.Copy(member, changes)
	return member
}

// jwks is the text of a set.
func jwks(members ...map[string]any) []byte {
	return must(json.Marshal(map[string]any{"keys": append([]map[string]any{}, members...)}))
}

// open starts an agent that lives as long as the test.
func open(t testing.TB, o Options) *handler {
	t.Helper()
	h, err := newHandler(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// withKeys is an agent that has all keys of the tests, from files.
func withKeys(t testing.TB, p Policy) *handler {
	t.Helper()
	return open(t, Options{
		Keys:   Keys{SecretFile: write(t, secret), PublicKeyFile: write(t, pemOf(t, publicKeys...))},
		Policy: p,
	})
}

// request is one with header fields: pairs of a name in lower case and a value.
func request(uri string, fields ...string) *agent.Request {
	r := &agent.Request{Method: "GET", URI: uri, Headers: agent.Headers{}}
	for i := 0; i < len(fields); i += 2 {
		r.Headers[fields[i]] = append(r.Headers[fields[i]], fields[i+1])
	}
	return r
}

// ask shows the agent a request with a token.
func ask(t testing.TB, h *handler, token string) *agent.Verdict {
	t.Helper()
	return h.RequestHeaders(t.Context(), request("/", "authorization", "Bearer "+token))
}

// reason is what a verdict says for the audit log; empty: the request passes.
func reason(v *agent.Verdict) string {
	if len(v.Audit.ReasonCodes) == 0 {
		return ""
	}
	return v.Audit.ReasonCodes[0]
}

// check fails the test unless the verdict is for this reason; empty: unless it allows.
func check(t testing.TB, v *agent.Verdict, want string) {
	t.Helper()
	if got := reason(v); got != want || (v.Decision == agent.Allowed) != (want == "") {
		t.Errorf("%v, reason %q, want %q", v.Decision, got, want)
	}
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
