package auth

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// TestConfigure gives the agent config blocks: what they change, and what they may not say.
func TestConfigure(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxName+1)
	for _, c := range []struct {
		name, config, want string
	}{
		{"nothing", ``, ""},
		{"null", `null`, ""},
		{"empty", `{}`, ""},
		{
			"everything", `{"algorithms":["RS256"],"issuer":"i","audience":"a","scopes":["s"],"required-claims":"c","leeway":"1m","optional-exp":true,
			"header":"X-T","strip-token":true,"claims":{"sub":"X-U"},"anonymous":["/a","/b*"],"realm":"r"}`, "",
		},
		{"cookie", `{"cookie":"c"}`, ""},
		{"unknown key", `{"issuers":"x"}`, `unknown key "issuers"`},
		{"where keys come from", `{"jwks-url":"https://evil.example/"}`, `unknown key "jwks-url"`},
		{"key file", `{"secret-file":"/dev/null"}`, `unknown key "secret-file"`},
		{"no object", `[]`, "config block"},
		{"no JSON", `{`, "config block"},
		{"too long", `{"realm":"` + strings.Repeat("x", maxConfig) + `"}`, "more than"},
		{"null value", `{"issuer":null}`, "issuer is null"},
		{"wrong type", `{"issuer":7}`, "issuer"},
		{"list of numbers", `{"audience":[7]}`, "audience"},
		{"bare number for a time", `{"leeway":30}`, "leeway"},
		{"no time", `{"leeway":"30"}`, "leeway"},
		{"negative", `{"leeway":"-1s"}`, "leeway"},
		{"too lenient", `{"leeway":"2h"}`, "leeway"},
		{"none", `{"algorithms":"none"}`, `algorithm "none"`},
		{"other case", `{"algorithms":"rs256"}`, `algorithm "rs256"`},
		{"two places", `{"header":"X-T","cookie":"c"}`, "one of them"},
		{"stripped cookie", `{"cookie":"c","strip-token":true}`, "strip-token"},
		{"bad header", `{"header":"X T"}`, "not a field name"},
		{"bad cookie", `{"cookie":"a=b"}`, "not a cookie name"},
		{"realm that ends its quotes", `{"realm":"a\" b"}`, "realm"},
		{"long issuer", `{"issuer":"` + long + `"}`, "issuer"},
		{"scope with a space", `{"scopes":"a b"}`, "scope"},
		{"no path", `{"anonymous":"public"}`, "anonymous"},
		{"pattern in the middle", `{"anonymous":"/a/*/b"}`, "anonymous"},
		{"empty path", `{"anonymous":""}`, "anonymous"},
		{"claim to a header of the protocol", `{"claims":{"sub":"Content-Length"}}`, "cannot be set"},
		{"claim to no header", `{"claims":{"sub":"a: b"}}`, "cannot be set"},
		{"two claims to one header", `{"claims":{"sub":"X-User","name":"x_user"}}`, "both go to"},
		{"empty claim", `{"claims":{"":"X-User"}}`, "claims"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := withKeys(t, Policy{})
			before := h.judge.Load()
			err := h.Configure(t.Context(), []byte(c.config))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if (h.judge.Load() == before) != (err != nil) {
				t.Error("an error changes the policy, or a good block does not")
			}
		})
	}
}

// TestConfigureAddsToFlags keeps what a block does not have, and forgets what an earlier block had.
func TestConfigureAddsToFlags(t *testing.T) {
	t.Parallel()
	h := withKeys(t, Policy{Issuer: "flag", Claims: map[string]string{"sub": "X-User"}})
	token := sign(t, "RS256", rsaKey, claims(map[string]any{"iss": "block"}), nil)
	check(t, ask(t, h, token), "wrong_issuer")
	if err := h.Configure(t.Context(), []byte(`{"issuer":"block","claims":{"iss":"X-Issuer"}}`)); err != nil {
		t.Fatal(err)
	}
	v := ask(t, h, token)
	check(t, v, "")
	if got := sets(v); got["X-User"] != "alice" || got["X-Issuer"] != "block" {
		t.Errorf("sets %q", got)
	}
	if err := h.Configure(t.Context(), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	check(t, ask(t, h, token), "wrong_issuer")
	if len(h.policy.Claims) != 1 {
		t.Errorf("a block changed the flags: %q", h.policy.Claims)
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	errServed := errors.New("served")
	public := write(t, pemOf(t, rsaKey))
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"good", []string{"--public-key-file", public, "--claims", "sub=X-User", "--audience", "a,b", "--leeway", "0s"}, "served"},
		{"no keys", nil, "no keys"},
		{"bad policy", []string{"--public-key-file", public, "--algorithms", "none"}, `algorithm "none"`},
		{"unknown flag", []string{"--secret", "x"}, "unknown flag"},
		{"argument", []string{"--public-key-file", public, "x"}, "unknown command"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd := Command(func(_ context.Context, h agent.Handler) error {
				if p := h.(*handler).policy; p.Claims["sub"] != "X-User" || len(p.Audience) != 2 || p.Leeway != 0 {
					t.Errorf("policy %+v", p)
				}
				return errors.Join(errServed, h.(*handler).Close())
			})
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetArgs(c.args)
			if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
