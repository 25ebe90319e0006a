package sentinel

import (
	"fmt"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

// pending lists what a configuration asks for and this build does not do yet, so that nobody relies on
// it.
func pending(c *config.Config) []string {
	list := pendingSettings(c)
	say := func(at config.Pos, format string, args ...any) {
		list = append(list, at.String()+": "+fmt.Sprintf(format, args...))
	}
	for i := range c.Listeners {
		if l := &c.Listeners[i]; l.Protocol == "h2" {
			say(l.Pos, "listener %q: HTTP/2 is not in this build: HTTP/1.1 over TLS is served", l.ID)
		}
	}
	for i := range c.Routes {
		pendingRoute(&c.Routes[i], say)
	}
	for i := range c.Upstreams {
		pendingUpstream(&c.Upstreams[i], say)
	}
	return list
}

type sayer func(at config.Pos, format string, args ...any)

// inactive are single settings that are read and checked, and do nothing yet.
var inactive = map[string]bool{
	"high-cardinality": true, "timestamps": true,
}

// pendingSettings names what was written and is inactive; what is off like the default is not worth a word.
func pendingSettings(c *config.Config) (list []string) {
	for _, s := range c.Settings {
		name := s.Path[strings.LastIndexByte(s.Path, '.')+1:]
		if s.Source != "default" && inactive[name] && s.Value != "#false" && s.Value != "#null" {
			list = append(list, s.Source+": "+s.Path+" is not in this build, ignored")
		}
	}
	if c.Observability.Tracing != nil {
		list = append(list, c.Path+": tracing is not in this build")
	}
	if c.Observability.Logging.File != "" {
		list = append(list, c.Path+": logging file is not in this build: standard error is used")
	}
	return list
}

func pendingUpstream(u *config.Upstream, say sayer) {
	if u.Sticky != nil {
		say(u.Pos, "upstream %q: the sticky cookie is not in this build: its fallback %q is used", u.ID, u.Sticky.Fallback)
	}
}

func pendingRoute(r *config.Route, say sayer) {
	if r.StaticFiles != nil {
		say(r.Pos, "route %q: static-files is not in this build: requests get 503", r.ID)
	}
}
