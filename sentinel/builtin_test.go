package sentinel_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

var handlers = []string{"health", "ready", "status", "version", "metrics", "config", "upstreams", "agents", "not-found"}

func builtinPlan() plan {
	var routes strings.Builder
	for _, name := range handlers {
		fmt.Fprintf(&routes, "route %q {\nmatches { path \"/%s\" }\nbuiltin-handler %q\n}\n", name, name, name)
	}
	return plan{routes: routes.String()}
}

// TestBuiltins covers what every handler answers, to each method.
func TestBuiltins(t *testing.T) {
	t.Parallel()
	p := startProxy(t, builtinPlan().String(), refusing(t), nil)
	c := dial(t, p)
	for _, name := range handlers {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			c.send(t, method+" /"+name+" HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
			resp := c.head(t, method)
			body, err := io.ReadAll(resp.Body)
			want := http.StatusOK
			switch {
			case name == "not-found":
				want = http.StatusNotFound
			case method == "POST":
				want = http.StatusMethodNotAllowed
			}
			if err != nil || resp.StatusCode != want || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s: status %d, %v, fields %v", method, name, resp.StatusCode, err, resp.Header)
			}
			if id := resp.Header.Get("X-Request-Id"); id == "" || id != resp.Header.Get("X-Correlation-Id") {
				t.Errorf("%s %s: ids %v", method, name, resp.Header)
			}
			if method == "HEAD" && (len(body) > 0 || resp.ContentLength == 0) {
				t.Errorf("HEAD %s: %d bytes, declared %d", name, len(body), resp.ContentLength)
			}
			if name != "metrics" && method != "HEAD" && !json.Valid(body) {
				t.Errorf("%s %s: no JSON: %s", method, name, body)
			}
			if allow := resp.Header.Get("Allow"); want == http.StatusMethodNotAllowed && allow != "GET, HEAD" {
				t.Errorf("%s %s: Allow: %q", method, name, allow)
			}
		}
	}
}

// fetch reads the JSON of a handler into v.
func fetch(t *testing.T, p *sentinel.Proxy, path string, v any) {
	t.Helper()
	c := dial(t, p)
	c.get(t, path)
	if _, body := c.response(t); json.Unmarshal([]byte(body), v) != nil {
		t.Fatalf("%s: %s", path, body)
	}
}

func TestBuiltinBodies(t *testing.T) {
	t.Parallel()
	origin := scripted(t, func(c *peer) { c.serve(okAnswer) })
	p, log := proxyTo(t, origin, builtinPlan())
	c := dial(t, p)
	c.get(t, "/")
	c.expect(t, 200)
	log.expect(t, 200, "") // its connection is idle by now; it may still count as active
	t.Run("status", func(t *testing.T) {
		var got struct {
			Status, Version, Uptime string
			Instance                string `json:"instance_id"`
			Open                    int    `json:"open_connections"`
			Active                  int    `json:"active_requests"`
			Generation              int    `json:"config_generation"`
		}
		fetch(t, p, "/status", &got)
		if got.Status != "ok" || got.Version != sentinel.Version || len(got.Instance) != 36 || got.Open != 2 || got.Active < 1 || got.Generation != 1 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("upstreams", func(t *testing.T) {
		var got struct {
			Summary   map[string]int
			Upstreams []struct {
				ID      string
				Open    int `json:"connections"`
				Idle    int `json:"idle_connections"`
				Targets []struct{ Address string }
			}
		}
		fetch(t, p, "/upstreams", &got)
		if len(got.Upstreams) != 1 || got.Upstreams[0].ID != "o" || got.Upstreams[0].Open != 1 || got.Upstreams[0].Idle != 1 ||
			len(got.Upstreams[0].Targets) != 1 || got.Upstreams[0].Targets[0].Address != origin || got.Summary["total_targets"] != 1 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("config", func(t *testing.T) {
		var got struct {
			Config struct {
				Listeners, Upstreams []struct{ ID string }
				Routes               []struct{ ID, Upstream string }
			}
		}
		fetch(t, p, "/config", &got)
		if len(got.Config.Listeners) != 1 || len(got.Config.Routes) != 1+len(handlers) || got.Config.Upstreams[0].ID != "o" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("metrics", func(t *testing.T) {
		c := dial(t, p)
		c.get(t, "/metrics")
		resp, body := c.response(t)
		if resp.Header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" ||
			!strings.Contains(body, `sentinel_requests_total{method="GET",route="all",status="200"} 1`) {
			t.Errorf("%s: %s", resp.Header.Get("Content-Type"), body)
		}
	})
}

// TestConfigKeepsSecrets shows that no key, certificate path or agent's setting is shown.
func TestConfigKeepsSecrets(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	secret := builtinPlan()
	secret.listener = ca.listener()
	secret.upstream = fmt.Sprintf("tls { ca-cert %q }", ca.caFile)
	secret.more = `agents { agent "guard" { type "auth"; unix-socket path="/tmp/secret-agent.sock"; events "request_headers"; config { token "top-secret" } } }`
	c := dialWith(t, startProxy(t, secret.String(), refusing(t), nil), ca, true)
	c.get(t, "/config")
	_, body := c.response(t)
	if !strings.Contains(body, `"guard"`) {
		t.Errorf("the agent is not shown: %s", body)
	}
	for _, hidden := range []string{"top-secret", "secret-agent", ".pem", "PRIVATE"} {
		if strings.Contains(body, hidden) {
			t.Errorf("%q is shown", hidden)
		}
	}
}

// TestOptionsForTheProxy covers OPTIONS that may not travel further (RFC 9110 7.6.2).
func TestOptionsForTheProxy(t *testing.T) {
	t.Parallel()
	hops := make(chan string, 1)
	p, _ := proxyTo(t, scripted(t, func(c *peer) {
		if req, err := c.request(); err == nil {
			hops <- req.Header.Get("Max-Forwards")
			_, _ = io.WriteString(c, okAnswer)
		}
	}), plan{})
	c := dial(t, p)
	for _, request := range []string{
		"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", "OPTIONS / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\n\r\n",
	} {
		c.send(t, request)
		if resp := c.expect(t, http.StatusNoContent); resp.Header.Get("Allow") == "" {
			t.Errorf("%q: no Allow", request)
		}
	}
	c.send(t, "OPTIONS / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 3\r\n\r\n")
	c.expect(t, http.StatusOK)
	if got := receive(t, "the request at the origin", hops); got != "2" {
		t.Errorf("Max-Forwards: %q", got)
	}
	c.send(t, "TRACE / HTTP/1.1\r\nHost: a.test\r\nCookie: secret\r\n\r\n")
	c.expect(t, http.StatusMethodNotAllowed)
}

// TestEncodedSlash covers a route's three ways with %2F.
func TestEncodedSlash(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule, path string
		status     int
		forwarded  string
	}{
		{"reject", "/a%2Fb", 400, ""},
		{"keep", "/a%2Fb", 200, "/a%2Fb"},
		{"keep", "/a%2F..%2Fb", 400, ""},
		{"decode", "/a%2Fb", 200, "/a/b"},
		{"decode", "/a%2F..%2Fb", 200, "/b"},
		{"decode", "/other%2Fb", 400, ""}, // the decoded path is another route's
	} {
		t.Run(test.rule+" "+test.path, func(t *testing.T) {
			t.Parallel()
			paths := make(chan string, 1)
			p, log := proxyTo(t, scripted(t, func(c *peer) {
				if req, err := c.request(); err == nil {
					paths <- req.RequestURI
					_, _ = io.WriteString(c, okAnswer)
				}
			}), plan{
				route:  fmt.Sprintf("encoded-slash %q", test.rule),
				routes: "route \"other\" {\nmatches { path-prefix \"/other/\" }\npriority \"high\"\nbuiltin-handler \"health\"\n}",
			})
			c := dial(t, p)
			c.get(t, test.path)
			c.expect(t, test.status)
			if test.status == 400 {
				log.expect(t, 400, "encoded_slash")
				return
			}
			if got := receive(t, "the request at the origin", paths); got != test.forwarded {
				t.Errorf("the origin got %q, want %q", got, test.forwarded)
			}
		})
	}
}

// TestRequestHeads covers heads that need more than one buffer, those over the limit, and those that their
// client gives up.
func TestRequestHeads(t *testing.T) {
	t.Parallel()
	p, log := proxyTo(t, scripted(t, func(c *peer) { c.serve(okAnswer) }),
		plan{more: "limits { max-header-size-bytes 60000; max-header-value-bytes 50000 }"})
	c := dial(t, p)
	for range 2 {
		c.send(t, "GET / HTTP/1.1\r\nHost: a.test\r\nX: "+strings.Repeat("x", 20_000))
		c.send(t, strings.Repeat("x", 20_000)+"\r\n\r\n")
		c.expect(t, 200)
		log.expect(t, 200, "")
	}
	c.send(t, "GET / HTTP/1.1\r\nHost: a.test\r\nX: "+strings.Repeat("x", 50_001)+"\r\n\r\n")
	if resp := c.expect(t, 431); !resp.Close {
		t.Error("the connection must end")
	}
	c.closed(t)
	log.expect(t, 431, "header_too_large")
	c = dial(t, p)
	c.send(t, "GET /half HTTP/1.1\r\nHost:")
	_ = c.tcp.CloseWrite()
	c.closed(t)
	log.expect(t, 499, "client_gone")
}

// TestVia shows that our entry comes after those of others.
func TestVia(t *testing.T) {
	t.Parallel()
	vias := make(chan []string, 1)
	p, _ := proxyTo(t, scripted(t, func(c *peer) {
		if req, err := c.request(); err == nil {
			vias <- req.Header.Values("Via")
			_, _ = io.WriteString(c, okAnswer)
		}
	}), plan{})
	c := dial(t, p)
	c.send(t, "GET / HTTP/1.1\r\nHost: a.test\r\nVia: 1.0 a, 1.1 b\r\nVia: 1.1 c\r\n\r\n")
	c.expect(t, 200)
	if got := strings.Join(receive(t, "the request at the origin", vias), ", "); got != "1.0 a, 1.1 b, 1.1 c, 1.1 sentinel" {
		t.Errorf("Via: %s", got)
	}
}
