package auth

import (
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

func TestBearer(t *testing.T) {
	t.Parallel()
	token := good(t)
	standard, header, cookie := withKeys(t, Policy{}), withKeys(t, Policy{Header: "X-Token"}), withKeys(t, Policy{Cookie: "session"})
	for _, c := range []struct {
		name   string
		agent  *handler
		fields []string
		want   string
	}{
		{"none", standard, nil, "missing_token"},
		{"bearer", standard, []string{"authorization", "Bearer " + token}, ""},
		{"in any case", standard, []string{"authorization", "bEARER   " + token + " "}, ""},
		{"another scheme", standard, []string{"authorization", "Basic YTpi"}, "missing_token"},
		{"no scheme", standard, []string{"authorization", token}, "missing_token"},
		{"no token", standard, []string{"authorization", "Bearer"}, "malformed_token"},
		{"the same twice", standard, []string{"authorization", "Bearer " + token, "authorization", "Bearer " + token}, "multiple_tokens"},
		{"with another scheme", standard, []string{"authorization", "Basic YTpi", "authorization", "Bearer " + token}, "multiple_tokens"},
		{"empty and good", standard, []string{"authorization", "Bearer", "authorization", "Bearer " + token}, "multiple_tokens"},
		{"only where nobody looks", standard, []string{"x-token", token, "cookie", "session=" + token}, "missing_token"},
		{"header", header, []string{"x-token", token, "authorization", "Bearer x"}, ""},
		{"header with a scheme", header, []string{"x-token", "Bearer " + token}, "malformed_token"},
		{"header twice", header, []string{"x-token", token, "x-token", token}, "multiple_tokens"},
		{"no header", header, []string{"authorization", "Bearer " + token}, "missing_token"},
		{"cookie", cookie, []string{"cookie", "a=b; session=" + token + "; c"}, ""},
		{"quoted cookie", cookie, []string{"cookie", `session="` + token + `"`}, ""},
		{"cookie of another case", cookie, []string{"cookie", "Session=" + token}, "missing_token"},
		{"cookie twice", cookie, []string{"cookie", "session=" + token + ";session=" + token}, "multiple_tokens"},
		{"cookie in two fields", cookie, []string{"cookie", "session=" + token, "cookie", "session=x"}, "multiple_tokens"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			check(t, c.agent.RequestHeaders(t.Context(), request("/", c.fields...)), c.want)
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	h := withKeys(t, Policy{Realm: "the api", Scopes: []string{"read", "write"}})
	token := good(t)
	for _, c := range []struct {
		name      string
		fields    []string
		status    int
		challenge string
	}{
		{"no token", nil, 401, `Bearer realm="the api"`},
		{"two tokens", []string{"authorization", "Bearer a", "authorization", "Bearer b"}, 400, `Bearer realm="the api", error="invalid_request"`},
		{"a bad token", []string{"authorization", "Bearer a"}, 401, `Bearer realm="the api", error="invalid_token"`},
		{
			"no scope",
			[]string{"authorization", "Bearer " + token},
			403,
			`Bearer realm="the api", error="insufficient_scope", scope="read write"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := h.RequestHeaders(t.Context(), request("/", c.fields...))
			if v.Decision != agent.Blocked || v.Status != c.status || v.Headers["WWW-Authenticate"] != c.challenge {
				t.Errorf("%v %d %q", v.Decision, v.Status, v.Headers)
			}
			if v.Body != refusalBodies[c.status] || v.Body == "" || v.Headers["Cache-Control"] != "no-store" {
				t.Errorf("body %q, headers %q", v.Body, v.Headers)
			}
		})
	}
	bare := withKeys(t, Policy{}).RequestHeaders(t.Context(), request("/"))
	if got := bare.Headers["WWW-Authenticate"]; got != "Bearer" {
		t.Errorf("without a realm: %q", got)
	}
}

func TestAnonymous(t *testing.T) {
	t.Parallel()
	h := withKeys(t, Policy{Anonymous: []string{"/health", "/public/*", "/.well-known/*"}, Claims: map[string]string{"sub": "X-User"}})
	for uri, free := range map[string]bool{
		"/health": true, "/health?deep=1": true, "/public/": true, "/public/a/b": true, "/.well-known/x": true,
		"/": false, "/healthy": false, "/Health": false, "/health/": false, "/public": false, "/a?/public/": false,
		"/public/../admin": false, "/public/..": false, "/public/./a": false, "/public//a": false, "/public/%2e%2e/admin": false,
		"/public/..;/admin": false, `/public/..\admin`: false, "/public/#a": false, "http://h/public/a": false, "": false, "*": false,
	} {
		v := h.RequestHeaders(t.Context(), request(uri, "x-user", "root"))
		if (v.Decision == agent.Allowed) != free {
			t.Errorf("%q: %v", uri, v.Decision)
		}
		if free && !removes(v, "x-user") {
			t.Errorf("%q: the client names its user: %v", uri, v.RequestOps)
		}
	}
}

// removes reports whether a verdict takes a header field from the request.
func removes(v *agent.Verdict, name string) bool {
	for _, op := range v.RequestOps {
		if op.Kind == agent.RemoveHeader && strings.EqualFold(op.Name, name) {
			return true
		}
	}
	return false
}
