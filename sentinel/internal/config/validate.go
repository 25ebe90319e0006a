package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxAgents bounds the agents, each of which is a process beside ours.
const maxAgents = 256

// validate checks what only the whole document shows.
func (r *reader) validate(c *Config, entry Pos) {
	if len(c.Listeners) == 0 {
		r.report(Problem{
			Pos: entry, Path: "listeners", Found: "no listener",
			Expected: `expected at least listeners { listener "main" { address "0.0.0.0:8080" } }`,
		})
	}
	if n := len(c.Agents); n > maxAgents {
		r.report(Problem{Pos: c.Agents[maxAgents].Pos, Path: "agents", Found: fmt.Sprintf("found %d agents", n), Expected: fmt.Sprintf("expected at most %d", maxAgents)})
		return
	}
	r.checkReferences()
	r.checkPhases(c)
	r.dropRepeats(c.Routes)
	r.checkSingular(c)
	r.checkResources(c.System.WorkingDir)
	if r.problems.HasErrors() {
		return // what follows could be their fault
	}
	r.addImplicitFilters(c)
	for _, k := range []kind{anUpstream, aFilter, anAgent} {
		r.checkUnused(k)
	}
	r.checkShadowed(c.Routes)
}

// checkPhases reports a filter that names events its agent does not take: nothing would be asked there.
func (r *reader) checkPhases(c *Config) {
	events := map[string][]string{}
	for i := range c.Agents {
		events[c.Agents[i].ID] = c.Agents[i].Events
	}
	for _, f := range c.Filters {
		if f.Agent == nil || events[f.Agent.Agent] == nil {
			continue // an unknown agent, or one without events, is reported already
		}
		for _, phase := range f.Agent.Phases {
			if taken := events[f.Agent.Agent]; !slices.Contains(taken, phase) {
				r.report(Problem{
					Pos: f.Pos, Path: "filters.filter " + kdlQuote(cut(f.ID)) + ".phase",
					Found:    fmt.Sprintf("phase %q is no event of agent %q", phase, cut(f.Agent.Agent)),
					Expected: "its events are " + strings.Join(taken, ", "),
				})
			}
		}
	}
}

// dropRepeats warns of filters that a route names twice and drops all but the first: a rate limit would count each
// request twice. What `agents` names twice, addImplicitFilters drops.
func (r *reader) dropRepeats(routes []Route) {
	for i := range routes {
		r.options.Rest()
		t, seen := &routes[i], map[string]bool{}
		t.Filters = slices.DeleteFunc(t.Filters, func(id string) bool {
			if strings.HasPrefix(id, implicitPrefix) || !seen[id] {
				seen[id] = true
				return false
			}
			r.report(Problem{
				Pos: t.Pos, Severity: Warning, Path: "routes.route " + kdlQuote(cut(t.ID)) + ".filters",
				Found: fmt.Sprintf("filter %q is named twice", cut(id)), Expected: "it has effect once, at its first place",
			})
			return true
		})
	}
}

// checkSingular reports routes with two filters of a type that makes sense once.
func (r *reader) checkSingular(c *Config) {
	types := map[string]string{}
	for i := range c.Filters {
		types[c.Filters[i].ID] = c.Filters[i].Type
	}
	for i := range c.Routes {
		r.options.Rest()
		first := map[string]string{}
		for _, id := range c.Routes[i].Filters {
			kind := types[id]
			if before, twice := first[kind]; twice && singular[kind] {
				r.report(Problem{
					Pos: c.Routes[i].Pos, Path: "routes.route " + kdlQuote(cut(c.Routes[i].ID)) + ".filters",
					Found:    fmt.Sprintf("found two filters of type %s: %q and %q", kind, cut(before), cut(id)),
					Expected: "expected one at most",
				})
			}
			first[kind] = id
		}
	}
}

// checkShadowed warns of routes that can never win: another one has the same conditions and comes
// first by priority, or by its place in the file.
func (r *reader) checkShadowed(routes []Route) {
	winners := map[string]*Route{}
	for _, t := range byPriority(routes) {
		r.options.Rest()
		key := t.conditions()
		first, taken := winners[key]
		if !taken {
			winners[key] = t
			continue
		}
		r.report(Problem{
			Pos: t.Pos, Severity: Warning, Path: "routes.route " + kdlQuote(cut(t.ID)),
			Found: "the route can never win", Expected: fmt.Sprintf("route %q at %v has the same conditions and comes first", cut(first.ID), first.Pos),
		})
	}
}

func byPriority(routes []Route) []*Route {
	list := make([]*Route, len(routes))
	for i := range routes {
		list[i] = &routes[i]
	}
	slices.SortStableFunc(list, func(a, b *Route) int { return b.Priority - a.Priority })
	return list
}

// conditions is the same text for routes that match the same requests on the same listeners.
func (t *Route) conditions() string {
	m := &t.Matches
	var out []byte
	part := func(values []string) {
		if len(values) > 1 {
			values = slices.Compact(slices.Sorted(slices.Values(values)))
		}
		for _, v := range values {
			out = strconv.AppendQuote(out, v)
		}
		out = append(out, ';')
	}
	part(t.Listeners)
	part(m.Paths)
	part(m.PathPrefixes)
	part(texts(m.PathRegexes))
	part(m.Hosts)
	part(texts(m.HostRegexes))
	part(m.Methods)
	part(texts(m.Headers))
	part(texts(m.Query))
	return string(out)
}

// texts prints each element: a regular expression as it was written, a condition with its values.
func texts[T any](list []T) (out []string) {
	for _, v := range list {
		out = append(out, fmt.Sprintf("%q", fmt.Sprint(v)))
	}
	return out
}
