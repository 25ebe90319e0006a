package sentinel

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/agents"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

// agentView is what the agents handler shows of an agent. Name, version and the last error may be the agent's
// own words: they are tamed.
type agentView struct {
	ID          string  `json:"id"`
	Type        string  `json:"type"`
	Transport   string  `json:"transport"`
	Address     string  `json:"address"`
	FailureMode string  `json:"failure_mode"` // the agent's own; filters and routes may say otherwise
	Connected   bool    `json:"connected"`
	Dialect     string  `json:"dialect"`
	Name        string  `json:"name"`
	Version     string  `json:"version"`
	Links       int     `json:"links"`
	Idle        int     `json:"idle_links"`
	InFlight    int     `json:"in_flight"`
	Waiting     int     `json:"waiting"`
	Breaker     string  `json:"breaker"`
	Busy        uint64  `json:"busy"`
	Unknown     uint64  `json:"unknown_replies"`
	LastError   *string `json:"last_error"`
	LastErrorAt *string `json:"last_error_at"`
}

func answerAgents(x *exchange) Reason {
	views := []agentView{}
	connected := 0
	for i := range x.snap.cfg.Agents {
		c := &x.snap.cfg.Agents[i]
		view := viewAgent(c, x.snap.agents[c.ID])
		if view.Connected {
			connected++
		}
		views = append(views, view)
	}
	return x.answerJSON(http.StatusOK, map[string]any{
		"timestamp": timestamp(x.started), "request_id": string(x.trace), "agents": views,
		"summary": map[string]int{"total_agents": len(views), "connected": connected},
	})
}

// viewAgent shows an agent; a is nil when its transport is not in this build.
func viewAgent(c *config.Agent, a *agents.Agent) agentView {
	v := agentView{ID: c.ID, Type: c.Type, Transport: c.Transport, Address: c.Address, FailureMode: c.FailureMode}
	if v.FailureMode == "" {
		v.FailureMode = "closed"
	}
	if a == nil {
		why := errNoTransport.Err.Error()
		v.Dialect, v.Breaker, v.LastError = agents.NoDialect.String(), "closed", &why
		return v
	}
	s := a.State()
	v.Connected, v.Dialect, v.Name, v.Version = s.Links > 0, s.Dialect.String(), tame(s.Name), tame(s.Version)
	v.Links, v.Idle, v.InFlight, v.Waiting = s.Links, s.Idle, s.InFlight, s.Waiting
	v.Breaker, v.Busy, v.Unknown = s.Breaker.String(), s.Busy, s.Unknown
	if s.LastError != "" {
		words := tame(s.LastError)
		v.LastError, v.LastErrorAt = &words, moment(s.LastErrorAt)
	}
	return v
}

// maxDetail is how much of an agent's words is shown at a time, in bytes.
const maxDetail = 512

// tame makes an agent's words fit to be shown: the first maxDetail bytes, in ASCII as Go would write them in a
// string, so that they can neither draw on a terminal nor look like another line.
func tame(words string) string {
	q := strconv.QuoteToASCII(words[:min(len(words), maxDetail)])
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
