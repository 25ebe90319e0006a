package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sentinel-proxy/sentinel-go/sentinel/cmd/sentinel-agent/auth"
)

// tokenSecret signs the tokens.
var tokenSecret = []byte("0123456789abcdef0123456789abcdef")

// aliceToken returns Alice's, which ends after a time.
func aliceToken(t *testing.T, secret []byte, left time.Duration) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": "alice", "role": "reader", "exp": time.Now().Add(left).Unix()}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	sound(t, err)
	return text
}

// TestAuth asks the agent for tokens about requests with and without good ones. The origin learns who they are
// from by the agent alone, whatever clients claim.
func TestAuth(t *testing.T) {
	overEach(t, func(t *testing.T, network string) {
		g := newAuth(t, network)
		good, expired, forged := aliceToken(t, tokenSecret, time.Hour), aliceToken(t, tokenSecret, -time.Hour), aliceToken(t, []byte(strings.Repeat("x", 32)), time.Hour)
		const spoofed = "X-User: root\r\nX-Role: admin\r\nx-user: root\r\n"
		for _, c := range []struct {
			name, path, lines string
			status            int
			user, role        []string // at the origin
			challenge, reason string
		}{
			{name: "good", path: "/a", lines: bearer(good), status: 200, user: []string{"alice"}, role: []string{"reader"}},
			{name: "good-spoofed", path: "/a", lines: spoofed + bearer(good), status: 200, user: []string{"alice"}, role: []string{"reader"}},
			{name: "anonymous", path: "/public/a", status: 200},
			{name: "anonymous-spoofed", path: "/public/a", lines: spoofed, status: 200},
			{name: "missing", path: "/a", status: 401, challenge: `Bearer realm="shop"`, reason: "missing_token"},
			{name: "missing-spoofed", path: "/a", lines: spoofed, status: 401, challenge: `Bearer realm="shop"`, reason: "missing_token"},
			{name: "expired", path: "/a", lines: bearer(expired), status: 401, challenge: `Bearer realm="shop", error="invalid_token"`, reason: "expired"},
			{name: "forged", path: "/a", lines: spoofed + bearer(forged), status: 401, challenge: `Bearer realm="shop", error="invalid_token"`, reason: "bad_signature"},
			{name: "two", path: "/a", lines: bearer(good) + bearer(forged), status: 400, challenge: `Bearer realm="shop", error="invalid_request"`, reason: "multiple_tokens"},
			{name: "around", path: "/public/../a", status: 401, challenge: `Bearer realm="shop"`, reason: "missing_token"},
			{name: "around-encoded", path: "/public/%2e%2e/a", status: 401, challenge: `Bearer realm="shop"`, reason: "missing_token"},
		} {
			m := g.exchange(t, g.request(c.path, c.name, c.lines))
			if got := strings.Join(values(m.fields, "WWW-Authenticate"), "|"); m.status() != c.status || got != c.challenge {
				t.Errorf("%s: the client got %q with the challenge %q, want %d with %q: %+v", c.name, m.start, got, c.status, c.challenge, g.access.last())
			}
			got := g.got(c.name)
			if c.status != 200 {
				g.wantBlocked(t, c.name, c.status, c.reason)
				if got != nil {
					t.Errorf("%s: the origin got %+v", c.name, got)
				}
				continue
			}
			if got == nil || !slices.Equal(values(got.fields, "X-User"), c.user) || !slices.Equal(values(got.fields, "X-Role"), c.role) ||
				len(values(got.fields, "Authorization")) > 0 {
				t.Errorf("%s: the origin got %+v, want the user %q with the role %q", c.name, got, c.user, c.role)
			}
		}
	})
}

func bearer(text string) string { return "Authorization: Bearer " + text + "\r\n" }

func newAuth(t *testing.T, network string) *guarded {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	sound(t, os.WriteFile(path, tokenSecret, 0o600))
	h, err := auth.New(auth.Options{Keys: auth.Keys{SecretFile: path}, Policy: auth.Policy{
		Claims: map[string]string{"sub": "X-User", "role": "X-Role"}, Anonymous: []string{"/public/*"}, Realm: "shop", StripToken: true,
	}})
	sound(t, err)
	return newGuarded(t, `type "auth"; timeout-ms 10000; `+serveAgent(t, network, h))
}

// wantBlocked holds that the audit log has the agent's refusal of a request with a reason code.
func (g *guarded) wantBlocked(t *testing.T, id string, status int, reason string) {
	t.Helper()
	want := record{"event_type": "agent_decision", "action": "block", "agent_id": "a", "status_code": fmt.Sprint(status), "metadata.reason_codes": reason}
	if got := g.audit.find(t, record{"trace_id": id}); !got.has(want) {
		t.Errorf("%s: the audit entry is %v, want %v", id, got, want)
	}
}
