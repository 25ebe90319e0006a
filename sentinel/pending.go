package sentinel

import (
	"fmt"

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

// pendingSettings names what was written and is inactive; what is off like the default is not worth a word.
func pendingSettings(c *config.Config) (list []string) {
	if c.Observability.Metrics.HighCardinality {
		list = append(list, c.Path+": high-cardinality is not in this build, ignored")
	}
	if !c.Observability.Logging.Timestamps {
		list = append(list, c.Path+": timestamps #false is not in this build, ignored")
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
