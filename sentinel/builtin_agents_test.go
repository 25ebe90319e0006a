package sentinel_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// agentPage is what tests look at of the agents handler.
type agentPage struct {
	Summary map[string]int
	Agents  []struct {
		ID, Type, Transport, Address, Dialect, Name, Version, Breaker string
		FailureMode                                                   string `json:"failure_mode"`
		Connected                                                     bool
		Links                                                         int
		InFlight                                                      int `json:"in_flight"`
		Waiting, Busy                                                 int
		Unknown                                                       int     `json:"unknown_replies"`
		LastError                                                     *string `json:"last_error"`
		LastErrorAt                                                   *string `json:"last_error_at"`
	}
}

// refusesConfig is an agent that takes no config, in words that would draw on a terminal.
type refusesConfig struct{ agent.Base }

func (refusesConfig) Configure(context.Context, json.RawMessage) error {
	return errors.New("not \x1b this")
}

// TestAgentsPage covers what the handler shows of an agent that is asked right now, of one that is not there,
// of one that refuses its config, and of one whose transport is not in this build.
func TestAgentsPage(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	h := &scriptedAgent{request: func(*agent.Request) *agent.Verdict {
		close(asked)
		<-answer
		return agent.Allow()
	}}
	socket := serveAgent(t, &agent.Server{Handler: h, Name: "\x1b[31m" + strings.Repeat("x", 1000), Version: "2", Dialect: agent.V2R})
	refusing := serveAgent(t, &agent.Server{Handler: refusesConfig{}, Dialect: agent.V1})
	missing := filepath.Join(t.TempDir(), "none")
	o := newHTTPOrigin(t, nil)
	p := launch(t, plan{
		targets: `target "` + o.addr + `"`, route: `agents "here"`,
		routes: "route \"agents\" {\nmatches { path \"/agents\" }\nbuiltin-handler \"agents\"\n}",
		more: `agents {
			agent "here" type="waf" { unix-socket "` + socket + `"; pool { max-connections 1 }; timeout-ms 60000 }
			agent "gone" type="auth" { unix-socket "` + missing + `"; failure-mode "open" }
			agent "picky" { unix-socket "` + refusing + `"; config { level 1 } }
			agent "web" { http "http://127.0.0.1:9" }
		}`,
	}.String(), nil, nil)
	c := dial(t, p.Proxy)
	c.get(t, "/")
	receive(t, "the question", asked)
	var page agentPage
	eventually(t, "every agent was tried", func() bool {
		page = agentPage{}
		fetch(t, p.Proxy, "/agents", &page)
		return len(page.Agents) == 4 && page.Agents[1].LastError != nil && page.Agents[2].LastError != nil
	})
	here, gone, picky, web := page.Agents[0], page.Agents[1], page.Agents[2], page.Agents[3]
	if !here.Connected || here.ID != "here" || here.Type != "waf" || here.Transport != "unix" || here.Address != socket || here.Dialect != "v2r" ||
		here.Version != "2" || here.Links != 1 || here.InFlight != 1 || here.Breaker != "closed" || here.FailureMode != "closed" || here.LastError != nil {
		t.Errorf("%+v", here)
	}
	if !strings.HasPrefix(here.Name, `\x1b[31mxxx`) || len(here.Name) > 520 {
		t.Errorf("the name is %q", here.Name)
	}
	if gone.Connected || gone.Links != 0 || gone.Dialect != "unknown" || gone.FailureMode != "open" || gone.Address != missing ||
		!strings.Contains(*gone.LastError, "no such file") || gone.LastErrorAt == nil {
		t.Errorf("%+v", gone)
	}
	if picky.Connected || !strings.Contains(*picky.LastError, `not \\x1b this`) {
		t.Errorf("%+v", picky)
	}
	if web.Connected || web.Transport != "http" || web.LastError == nil || !strings.Contains(*web.LastError, "not in this build") {
		t.Errorf("%+v", web)
	}
	if page.Summary["total_agents"] != 4 || page.Summary["connected"] != 1 {
		t.Errorf("%v", page.Summary)
	}
	close(answer)
	c.expect(t, 200)
	eventually(t, "nothing is in flight", func() bool {
		fetch(t, p.Proxy, "/agents", &page)
		return page.Agents[0].InFlight == 0
	})
}
