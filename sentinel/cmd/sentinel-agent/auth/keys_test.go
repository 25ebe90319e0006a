package auth

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

func TestKeyFilesRefused(t *testing.T) {
	t.Parallel()
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(p256Key))})
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	var many []map[string]any
	for range maxKeys + 1 {
		many = append(many, jwk(t, "", edKey, nil))
	}
	for _, c := range []struct {
		name string
		keys Keys
		want string
	}{
		{"nothing", Keys{}, "no keys"},
		{"missing", Keys{JWKSFile: filepath.Join(t.TempDir(), "none")}, "no such file"},
		{"a directory", Keys{JWKSFile: t.TempDir()}, "not a regular file"},
		{"a pipe", Keys{JWKSFile: fifo}, "not a regular file"},
		{"too long", Keys{JWKSFile: write(t, make([]byte, maxKeyText+1))}, "more than"},
		{"short secret", Keys{SecretFile: write(t, append(secret[:31:31], '\n'))}, "31 bytes"},
		{"public key for a secret", Keys{SecretFile: write(t, pemOf(t, rsaKey))}, "not PEM"},
		{"no PEM", Keys{PublicKeyFile: write(t, []byte("x"))}, "no PEM block"},
		{"private key", Keys{PublicKeyFile: write(t, private)}, "PRIVATE KEY"},
		{"weak key", Keys{PublicKeyFile: write(t, pemOf(t, weakRSA))}, "no algorithm"},
		{"broken PEM", Keys{PublicKeyFile: write(t, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}))}, "block 1"},
		{"no JSON", Keys{JWKSFile: write(t, []byte("x"))}, "reading the set"},
		{"no keys in the set", Keys{JWKSFile: write(t, []byte("{}"))}, "member keys"},
		{"empty set", Keys{JWKSFile: write(t, jwks())}, "no key that verifies"},
		{"too many", Keys{JWKSFile: write(t, jwks(many...))}, "up to 64"},
		{"only a secret", Keys{JWKSFile: write(t, jwks(map[string]any{"kty": "oct", "k": encode(string(secret))}))}, "no key that verifies"},
		{"only for encryption", Keys{JWKSFile: write(t, jwks(jwk(t, "", rsaKey, map[string]any{"use": "enc"})))}, "no key that verifies"},
		{"only to sign", Keys{JWKSFile: write(t, jwks(jwk(t, "", rsaKey, map[string]any{"key_ops": []string{"sign"}})))}, "no key that verifies"},
		{"off its curve", Keys{JWKSFile: write(t, jwks(jwk(t, "", p256Key, map[string]any{"x": "AA", "y": "AA"})))}, "no key that verifies"},
		{"URL in plain text", Keys{JWKSURL: "http://id.example/jwks"}, "want https"},
		{"URL of a file", Keys{JWKSURL: "file:///etc/passwd"}, "want https"},
		{"hurried", Keys{JWKSURL: "https://id.example/", MinRefresh: 1}, "jwks-min-refresh"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, err := New(Options{Keys: c.keys})
			if h != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestJWKS picks keys from a set by kid and alg, and leaves out what it does not know.
func TestJWKS(t *testing.T) {
	t.Parallel()
	set := jwks(
		jwk(t, "a", rsaKey, nil), jwk(t, "b", otherRSA, map[string]any{"alg": "PS256", "use": "sig", "key_ops": []string{"verify"}}),
		map[string]any{"kty": "new"}, map[string]any{"kty": "oct", "kid": "s", "k": encode(string(secret))}, jwk(t, "e", edKey, nil),
		jwk(t, "p", p521Key, map[string]any{"d": "AAAA"}),
	)
	h := open(t, Options{Keys: Keys{JWKSFile: write(t, set)}})
	for _, c := range []struct {
		name, algorithm, kid string
		key                  any
		want                 string
	}{
		{"by its name", "RS256", "a", rsaKey, ""},
		{"without a name", "RS256", "", rsaKey, ""},
		{"by another's name", "RS256", "b", rsaKey, "unknown_key"},
		{"by a name that is not there", "RS256", "c", rsaKey, "unknown_key"},
		{"for the algorithm it is for", "PS256", "b", otherRSA, ""},
		{"for another algorithm", "RS256", "b", otherRSA, "unknown_key"},
		{"without a name for another algorithm", "RS256", "", otherRSA, "bad_signature"},
		{"second that suits", "PS256", "", otherRSA, ""},
		{"Edwards curve", "EdDSA", "e", edKey, ""},
		{"with its private part", "ES512", "p", p521Key, ""},
		{"secret of the set", "HS256", "s", secret, "unknown_key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			header := map[string]any{}
			if c.kid != "" {
				header["kid"] = c.kid
			}
			check(t, ask(t, h, sign(t, c.algorithm, c.key, claims(nil), header)), c.want)
		})
	}
}

// TestFileChanges replaces a file while the agent runs, by good and by broken ones.
func TestFileChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := write(t, jwks(jwk(t, "a", rsaKey, nil)))
		h := open(t, Options{Keys: Keys{JWKSFile: path}})
		old, young := good(t), sign(t, "RS256", otherRSA, claims(nil), nil)
		replace := func(text []byte) {
			t.Helper()
			if err := os.Rename(write(t, text), path); err != nil {
				t.Fatal(err)
			}
			time.Sleep(fileInterval + time.Second)
		}
		check(t, ask(t, h, old), "")
		replace([]byte("{"))
		check(t, ask(t, h, old), "")
		replace(jwks(jwk(t, "b", otherRSA, nil)))
		check(t, ask(t, h, old), "bad_signature")
		check(t, ask(t, h, young), "")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour / 2)
		check(t, ask(t, h, young), "")
		replace(jwks(jwk(t, "a", rsaKey, nil)))
		check(t, ask(t, h, old), "")
	})
}

// issuer serves a set of keys that can be exchanged.
type issuer struct {
	answer  atomic.Pointer[http.HandlerFunc]
	fetches atomic.Int64
}

func (i *issuer) set(answer http.HandlerFunc) { i.answer.Store(&answer) }

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.fetches.Add(1)
	(*i.answer.Load())(w, r)
}

// RoundTrip lets an issuer stand in for the network.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func text(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
}

func named(t testing.TB, kid string, key any) string {
	t.Helper()
	return sign(t, "RS256", key, claims(nil), map[string]any{"kid": kid})
}

// TestRotation fetches keys from a server, and again when a token names a new one.
func TestRotation(t *testing.T) {
	t.Parallel()
	i := &issuer{}
	i.set(text(jwks(jwk(t, "a", rsaKey, nil))))
	s := httptest.NewServer(i)
	defer s.Close()
	h := open(t, Options{Keys: Keys{JWKSURL: s.URL}})
	h.keys.remote.MinRefresh = 0 // run looks at it only when it is asked to
	check(t, ask(t, h, named(t, "a", rsaKey)), "")
	check(t, ask(t, h, named(t, "b", otherRSA)), "unknown_key")
	i.set(text(jwks(jwk(t, "b", otherRSA, nil))))
	check(t, ask(t, h, named(t, "a", rsaKey)), "")
	check(t, ask(t, h, named(t, "b", otherRSA)), "")
	check(t, ask(t, h, named(t, "a", rsaKey)), "unknown_key")
}

// TestBadAnswers has a server whose answers cannot be used: keys that were never known are unavailable.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	set := jwks(jwk(t, "a", rsaKey, nil))
	for name, answer := range map[string]http.HandlerFunc{
		"status":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); _, _ = w.Write(set) },
		"no JSON": text([]byte("<html>")),
		"no set":  text([]byte("{}")),
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = w.Write(set)
		},
		"too long": text(append(bytes.Repeat([]byte(" "), maxKeyText), set...)),
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://id.example/", http.StatusFound)
		},
		"in a loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := &issuer{}
			i.set(answer)
			s := httptest.NewServer(i)
			defer s.Close()
			h := open(t, Options{Keys: Keys{JWKSURL: s.URL}})
			v := ask(t, h, named(t, "a", rsaKey))
			check(t, v, "keys_unavailable")
			if v.Decision != agent.Undecided {
				t.Errorf("%v", v.Decision)
			}
		})
	}
}

// TestOutage follows a URL that fails at first, works, and fails for longer than its keys may be used.
func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		down := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
		i.set(down)
		h, err := newHandler(Options{Keys: Keys{JWKSURL: "https://id.example/"}, Policy: Policy{Leeway: time.Hour}}, i)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = h.Close() }()
		token := sign(t, "RS256", rsaKey, claims(map[string]any{"exp": time.Now().Add(48 * time.Hour).Unix()}), nil)
		check(t, ask(t, h, token), "keys_unavailable")
		i.set(text(jwks(jwk(t, "a", rsaKey, nil))))
		time.Sleep(2 * firstRetry)
		check(t, ask(t, h, token), "")
		i.set(down)
		time.Sleep(h.keys.remote.MaxStale - time.Minute)
		check(t, ask(t, h, token), "")
		time.Sleep(time.Minute)
		check(t, ask(t, h, token), "keys_unavailable")
		i.set(text(jwks()))
		time.Sleep(h.keys.remote.Refresh)
		check(t, ask(t, h, token), "unknown_key")
	})
}

// TestMadeUpKids sends many tokens with keys that nobody has: fetches stay few.
func TestMadeUpKids(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.set(text(jwks(jwk(t, "a", rsaKey, nil))))
		h, err := newHandler(Options{Keys: Keys{JWKSURL: "https://id.example/", Refresh: time.Hour}}, i)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = h.Close() }()
		token := named(t, "made-up", otherRSA)
		for range 1000 {
			check(t, ask(t, h, token), "unknown_key")
			time.Sleep(100 * time.Millisecond)
		}
		if n := i.fetches.Load(); n < 9 || n > 11 {
			t.Errorf("%d fetches in 100 s, want one in 10 s", n)
		}
	})
}

// TestSlowURL does not hold requests up for longer than their patience, and those that leave not at all.
func TestSlowURL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.set(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		h, err := newHandler(Options{Keys: Keys{JWKSURL: "https://id.example/"}}, i)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = h.Close() }()
		start, token := time.Now(), named(t, "a", rsaKey)
		check(t, ask(t, h, token), "keys_unavailable")
		if took := time.Since(start); took != patience {
			t.Errorf("held up for %v", took)
		}
		gone, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("client left"))
		check(t, h.RequestHeaders(gone, request("/", "authorization", "Bearer "+token)), "keys_unavailable")
		if took := time.Since(start); took != patience {
			t.Errorf("one that left was held up until %v", took)
		}
	})
}
