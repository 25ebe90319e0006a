package sentinel_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// TestAgentFailureMode checks whose word holds when an agent cannot be reached: the filter's, the route's, the
// agent's, then closed.
func TestAgentFailureMode(t *testing.T) {
	const open, closed, unwritten = "open", "closed", ""
	for _, c := range []struct {
		filter, route, agent string
		passes               bool
	}{
		{unwritten, unwritten, unwritten, false},
		{unwritten, unwritten, open, true},
		{unwritten, unwritten, closed, false},
		{unwritten, closed, open, false},
		{unwritten, open, closed, true},
		{closed, open, open, false},
		{open, closed, closed, true},
	} {
		t.Run(fmt.Sprintf("filter %q route %q agent %q", c.filter, c.route, c.agent), func(t *testing.T) {
			mode := func(m string) string {
				if m == unwritten {
					return ""
				}
				return fmt.Sprintf("failure-mode %q", m)
			}
			o := newHTTPOrigin(t, nil)
			p := plan{targets: fmt.Sprintf("target %q", o.addr), route: "filters \"f\"\npolicies { " + mode(c.route) + " }"}
			p.more = fmt.Sprintf("agent \"a\" { unix-socket %q; timeout-ms 9000\n%s\n}\nfilter \"f\" { type \"agent\"; agent \"a\"\n%s\n}\n",
				filepath.Join(t.TempDir(), "none"), mode(c.agent), mode(c.filter))
			log := newAccessLog()
			client := dial(t, launch(t, p.String(), log, nil).Proxy)
			client.get(t, "/")
			if c.passes {
				client.expect(t, http.StatusOK)
				log.expect(t, http.StatusOK, "")
				return
			}
			if resp := client.expect(t, http.StatusServiceUnavailable); resp.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			log.expect(t, http.StatusServiceUnavailable, "agent_unavailable")
			if len(o.got) != 0 {
				t.Error("the origin got the request")
			}
		})
	}
}

// TestAgentFirstRefusal checks that of two refusals that of the first filter holds, though the proxy has the second's
// verdict before.
func TestAgentFirstRefusal(t *testing.T) {
	q := newQuestion()
	first := blockOf(t, &scriptedAgent{request: func(*agent.Request) *agent.Verdict { return q.ask() }}, "timeout-ms 20000")
	q.forget(t)
	second := blockOf(t, &scriptedAgent{request: func(*agent.Request) *agent.Verdict { return agent.Block(402, "second") }}, "")
	proxy := launch(t, plan{
		targets: fmt.Sprintf("target %q", refusing(t)), route: `agents "first" "second"`,
		routes: "route \"metrics\" {\nmatches { path \"/metrics\" }\nbuiltin-handler \"metrics\"\n}",
		more:   fmt.Sprintf("agent \"first\" {\n%s\n}\nagent \"second\" {\n%s\n}", first, second),
	}.String(), nil, nil)
	client := dial(t, proxy.Proxy)
	client.get(t, "/")
	receive(t, "the question to the first", q.asked)
	eventually(t, "the second has refused", func() bool {
		watcher := dial(t, proxy.Proxy)
		watcher.get(t, "/metrics")
		_, text := watcher.response(t)
		return strings.Contains(text, `sentinel_agent_requests_total{agent="second",decision="block"} 1`)
	})
	q.answer <- agent.Block(401, "first")
	client.expect(t, 401)
}

// TestAgentOverHTTP checks that an agent whose transport this build does not have is a failing one.
func TestAgentOverHTTP(t *testing.T) {
	o := newHTTPOrigin(t, nil)
	client := dial(t, launch(t, agentPlan(o, `http "http://127.0.0.1:9/check"`), nil, nil).Proxy)
	client.get(t, "/")
	client.expect(t, http.StatusServiceUnavailable)
}

// TestAgentSees checks which of the client's headers an agent is told of.
func TestAgentSees(t *testing.T) {
	seen := make(chan *agent.Request, 1)
	h := &scriptedAgent{request: func(r *agent.Request) *agent.Verdict { seen <- r; return agent.Allow() }}
	o := newHTTPOrigin(t, nil)
	client := dial(t, launch(t, agentPlan(o, fmt.Sprintf("unix-socket %q", serveAgent(t, &agent.Server{Handler: h, Dialect: agent.V1}))), nil, nil).Proxy)
	client.send(t, "GET /a/../b?c=%20d HTTP/1.1\r\nHost: A.test:80\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n"+
		"X_Forwarded_For: 192.0.2.1\r\nX_Real_IP: 192.0.2.1\r\nX-HTTP-Method-Override: PUT\r\nX-Original-URL: /admin\r\nConnection: X-Hop\r\nX-Hop: 1\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n")
	client.expect(t, http.StatusOK)
	r := receive(t, "the question", seen)
	for _, name := range []string{"x-forwarded-for", "forwarded", "x-real-ip", "x-http-method-override", "x-original-url", "x-hop", "x_forwarded_for", "x_real_ip"} {
		if _, there := r.Headers[name]; there {
			t.Errorf("the agent was told of %s, with which a client can pose as somebody else", name)
		}
	}
	if got := strings.Join(r.Headers["cookie"], "|"); got != "a=1|b=2" {
		t.Errorf("cookies %q", got)
	}
	if r.URI != "/b?c=%20d" || r.Headers.Get("Host") != "a.test:80" || r.ClientIP != "127.0.0.1" || r.RouteID != "all" || r.UpstreamID != "o" {
		t.Errorf("the agent was told of %q %q %q %q %q", r.URI, r.Headers.Get("Host"), r.ClientIP, r.RouteID, r.UpstreamID)
	}
}

// TestAgentStreamRefused checks that a refusal in the middle of an upload ends it, and is the answer.
func TestAgentStreamRefused(t *testing.T) {
	h := &scriptedAgent{requestBody: func(_ *agent.Request, c *agent.Chunk) *agent.Verdict {
		if strings.Contains(string(c.Data), "evil") {
			return agent.Block(406, "evil")
		}
		v := agent.Allow()
		v.NeedsMore = !c.Last
		return v
	}}
	socket := serveAgent(t, &agent.Server{Handler: h, Chunks: true, Dialect: agent.V1})
	o := newHTTPOrigin(t, nil)
	log := newAccessLog()
	p := launch(t, agentPlan(o, fmt.Sprintf("unix-socket %q\n%s\nrequest-body-mode \"stream\"", socket, allEvents)), log, nil)
	client := dial(t, p.Proxy)
	client.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n")
	client.send(t, "4\r\nevil\r\n")
	client.expect(t, 406)
	log.expect(t, 406, "agent_blocked")
}

// TestAgentResponseIgnored checks that an agent can change a response but not refuse it.
func TestAgentResponseIgnored(t *testing.T) {
	h := &scriptedAgent{response: func(*agent.Request, *agent.Response) *agent.Verdict { return agent.Block(451, "no") }}
	o := newHTTPOrigin(t, nil)
	p := launch(t, agentPlan(o, fmt.Sprintf("unix-socket %q\n%s", serveAgent(t, &agent.Server{Handler: h}), allEvents)), nil, nil)
	client := dial(t, p.Proxy)
	client.get(t, "/")
	client.expect(t, http.StatusOK)
}
