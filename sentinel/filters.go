package sentinel

import (
	"slices"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// bindFilters prepares what the route's filters do, agents' aside. Requests meet them in the order of the
// route's list, behind its policies; answers in reverse.
func (r *boundRoute) bindFilters(cfg *config.Config, c *config.Route) {
	request := []config.HeaderEdits{c.Policies.RequestHeaders}
	var response []config.HeaderEdits
	for _, id := range c.Filters {
		f := filterOf(cfg, id)
		switch {
		case f == nil:
		case f.Headers != nil:
			if f.Headers.Phase != "response" {
				request = append(request, f.Headers.Edits)
			}
			if f.Headers.Phase != "request" {
				response = slices.Insert(response, 0, f.Headers.Edits)
			}
		case f.CORS != nil: // what stands before it in the list sees answers after it
			r.cors = bindCORS(f.CORS)
			r.lateEdits, response = compileEdits(response...), nil
		case f.Compress != nil:
			r.compress = bindCompression(f.Compress)
		case f.Log != nil:
			r.witness = bindLog(f)
		}
	}
	response = slices.Insert(response, 0, c.Policies.ResponseHeaders)
	r.requestEdits, r.responseEdits = compileEdits(request...), compileEdits(response...)
}

func filterOf(cfg *config.Config, id string) *config.Filter {
	for i := range cfg.Filters {
		if cfg.Filters[i].ID == id {
			return &cfg.Filters[i]
		}
	}
	return nil
}

// overrideTimeouts lets the route's timeout filter replace what its policies, its upstream and its listener say.
func (r *boundRoute) overrideTimeouts(cfg *config.Config, c *config.Route) {
	for _, id := range c.Filters {
		f := filterOf(cfg, id)
		if f == nil || f.Timeout == nil {
			continue
		}
		r.bodyIdle, r.connectLimit = ticks(f.Timeout.Request), f.Timeout.Connect
		if f.Timeout.Upstream > 0 {
			r.headLimit = ticks(f.Timeout.Upstream)
		}
	}
}

// editAnswer makes the route's own changes to an answer's head.
func (r *boundRoute) editAnswer(x *exchange, f []wire.Field) []wire.Field {
	f = r.responseEdits.apply(f)
	if r.cors != nil {
		f = r.lateEdits.apply(r.cors.edit(x, f))
	}
	return f
}

// enterFilters puts the filters that look at bodies between the exchange and its client: first who encodes
// the answer, before that who writes down what it was.
func (x *exchange) enterFilters() {
	if x.route.compress != nil {
		x.squeeze.enter(x)
	}
	if x.route.witness != nil {
		x.testify()
	}
}

// leaveFilters takes them away, however the exchange ended. Nobody else uses it any more.
func (x *exchange) leaveFilters() {
	if x.seen != nil {
		x.seen.close()
		x.down, x.seen = x.seen.downstream, nil
	}
	if x.squeeze.rules != nil {
		x.squeeze.leave()
	}
}

// wantsBody reports whether the answer's body must pass through the proxy's own memory.
func (x *exchange) wantsBody() bool {
	return x.squeeze.enc != nil || x.seen != nil && x.seen.rules.body > 0
}
