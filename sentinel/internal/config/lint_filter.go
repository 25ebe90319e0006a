package config

import "slices"

// filter looks at one filter on its own.
func (l *linter) filter(f *Filter) {
	path := "filters.filter " + kdlQuote(f.ID)
	if c := f.CORS; c != nil && c.AllowCredentials && slices.Contains(c.AllowedOrigins, "null") {
		l.warn(f.Pos, path+".allowed-origins", `"null" with allow-credentials`, "every sandboxed frame of any site is that origin, and could act as the user")
	}
	if f.Log != nil && f.Log.Body {
		l.warn(f.Pos, path+".log-body", "bodies are written to the log", "they may hold passwords and personal data: turn it off when you have seen enough")
	}
}

// patience reports whether one of the route's filters says how long its upstream may take.
func (l *linter) patience(t *Route) bool {
	return slices.ContainsFunc(t.Filters, func(id string) bool {
		f := l.filters[id]
		return f != nil && f.Timeout != nil && f.Timeout.Upstream > 0
	})
}

// preflights warns of a route whose cors filter no preflight can reach.
func (l *linter) preflights(t *Route, f *Filter, path string) {
	if m := t.Matches.Methods; f.CORS != nil && len(m) > 0 && !slices.Contains(m, "OPTIONS") {
		l.warn(t.Pos, path+".matches.method", "a cors filter on a route that does not match OPTIONS", `preflights go elsewhere: add method "OPTIONS"`)
	}
}
