package config

import (
	"slices"
	"strings"
)

// implicitPrefix starts the id of a filter that the configuration only implies: a route's `agents` or
// `waf-enabled`.
const implicitPrefix = "agent:"

func implicitFilter(agent string) string { return implicitPrefix + agent }

// attachments says which filters call which agents.
type attachments struct {
	agentOf   map[string]string   // declared filter id -> agent id
	filtersOf map[string][]string // the other way round
	wafs      []string            // ids of the agents of type waf
}

func attachmentsOf(c *Config) *attachments {
	a := &attachments{agentOf: map[string]string{}, filtersOf: map[string][]string{}}
	for _, f := range c.Filters {
		if f.Agent != nil {
			a.agentOf[f.ID] = f.Agent.Agent
			a.filtersOf[f.Agent.Agent] = append(a.filtersOf[f.Agent.Agent], f.ID)
		}
	}
	for _, g := range c.Agents {
		if g.Type == "waf" {
			a.wafs = append(a.wafs, g.ID)
		}
	}
	return a
}

// addImplicitFilters makes real filters of what routes ask for with `agents` and `waf-enabled`.
func (r *reader) addImplicitFilters(c *Config) {
	a := attachmentsOf(c)
	defined := map[string]bool{}
	for i := range c.Routes {
		r.options.Rest()
		t := &c.Routes[i]
		t.Filters = a.withoutRepeats(t.Filters)
		if t.WAFEnabled {
			r.enableWAF(t, a)
		}
		for _, id := range t.Filters {
			if agent, implicit := strings.CutPrefix(id, implicitPrefix); implicit && !defined[id] {
				defined[id] = true
				c.Filters = append(c.Filters, Filter{Pos: t.Pos, ID: id, Type: "agent", Agent: &AgentFilter{Agent: agent}})
			}
		}
	}
}

// attached reports whether a filter of the list calls the agent.
func (a *attachments) attached(filters []string, agent string) bool {
	implicit := implicitFilter(agent)
	return slices.ContainsFunc(filters, func(id string) bool { return id == implicit || a.agentOf[id] == agent })
}

// withoutRepeats drops an implicit filter whose agent a declared filter of the route calls already.
func (a *attachments) withoutRepeats(filters []string) (kept []string) {
	for i, id := range filters {
		agent, implicit := strings.CutPrefix(id, implicitPrefix)
		if !implicit || !a.attached(filters[:i], agent) {
			kept = append(kept, id)
		}
	}
	return kept
}

// enableWAF attaches every agent of type waf that the route does not have yet: through the one filter
// that is declared for it, or an implicit one.
func (r *reader) enableWAF(t *Route, a *attachments) {
	if len(a.wafs) == 0 {
		r.report(Problem{
			Pos: t.Pos, Severity: Warning, Path: "routes.route " + kdlQuote(cut(t.ID)) + ".waf-enabled",
			Found: "no agent has the type waf", Expected: "nothing inspects this route",
		})
	}
	for _, agent := range a.wafs {
		r.names.used[anAgent][agent] = true
		if a.attached(t.Filters, agent) {
			continue
		}
		id := implicitFilter(agent)
		if declared := a.filtersOf[agent]; len(declared) == 1 {
			id = declared[0]
			r.names.used[aFilter][id] = true
		}
		t.Filters = append(t.Filters, id)
	}
}
