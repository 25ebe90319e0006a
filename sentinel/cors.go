package sentinel

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// crossOrigin is a route's cors filter: which pages of other origins may read its answers (Fetch 3.2).
type crossOrigin struct {
	any     []wire.Field            // what every answer gets when any origin may read it; nil: only some may
	allowed map[string][]wire.Field // what answers get, by the Origin that may read them
	// What the answer to a preflight gets besides.
	preflight []wire.Field
	mirror    bool // every header is allowed: the list is the browser's own
}

func bindCORS(c *config.CORS) *crossOrigin {
	o := &crossOrigin{allowed: map[string][]wire.Field{}, mirror: len(c.AllowedHeaders) == 0}
	for _, origin := range c.AllowedOrigins {
		f := []wire.Field{named("Access-Control-Allow-Origin", origin)}
		if c.AllowCredentials {
			f = append(f, named("Access-Control-Allow-Credentials", "true"))
		}
		if len(c.ExposedHeaders) > 0 {
			f = append(f, named("Access-Control-Expose-Headers", strings.Join(c.ExposedHeaders, ", ")))
		}
		o.allowed[origin] = f
	}
	o.any = o.allowed["*"]
	o.preflight = append(o.preflight, named("Access-Control-Allow-Methods", strings.Join(c.AllowedMethods, ", ")))
	if !o.mirror {
		o.preflight = append(o.preflight, named("Access-Control-Allow-Headers", strings.Join(c.AllowedHeaders, ", ")))
	}
	o.preflight = append(o.preflight, named("Access-Control-Max-Age", strconv.Itoa(int(c.MaxAge.Seconds()))))
	return o
}

// isPreflight reports whether the request is a browser's question about another one, on a route that answers
// it. It carries no credentials, so it is answered before agents see it, and the upstream never does.
func (x *exchange) isPreflight() bool {
	return x.route.cors != nil && string(x.req.Method) == http.MethodOptions &&
		x.only("origin") != nil && x.only("access-control-request-method") != nil
}

// answerPreflight answers a preflight. The fields that allow something come with the route's other edits; an
// origin that may do nothing gets none of them.
func (x *exchange) answerPreflight() Reason {
	x.localReply(http.StatusNoContent)
	return x.sendLocal(nil)
}

// only returns the value of the request's one field of a name, which is written in lower case; nil: there is
// none, or more than one, which nobody can mean.
func (x *exchange) only(name string) (value []byte) {
	for i := range x.req.Fields {
		if f := &x.req.Fields[i]; wire.EqualName(f.Name, name) {
			if value != nil {
				return nil
			}
			value = f.Value
		}
	}
	return value
}

// edit replaces what the upstream says of other origins by what the filter does. An answer that depends on
// Origin says so to everybody: a cache that gave one origin's answer to another would deny it.
func (o *crossOrigin) edit(x *exchange, f []wire.Field) []wire.Field {
	f = slices.DeleteFunc(f, func(f wire.Field) bool { return isAccessControl(f.Name) })
	allow := o.any
	if allow == nil {
		f = x.vary(f, "Origin")
		allow = o.allowed[string(x.only("origin"))]
	}
	f = append(f, allow...)
	if x.reply.status == http.StatusNoContent && allow != nil && x.isPreflight() {
		f = append(f, o.preflight...)
		if o.mirror {
			f = x.mirrorHeaders(f)
		}
	}
	return f
}

func isAccessControl(name []byte) bool {
	const family = "access-control-"
	return len(name) > len(family) && wire.EqualName(name[:len(family)], family)
}

// mirrorHeaders allows the headers that the browser asks for, as far as they can be names of any.
func (x *exchange) mirrorHeaders(f []wire.Field) []wire.Field {
	f = x.vary(f, "Access-Control-Request-Headers")
	asked := x.only("access-control-request-headers")
	var list []byte
	for item, rest := wire.NextItem(asked); item != nil; item, rest = wire.NextItem(rest) {
		if !wire.ValidName(item) {
			return f
		}
		if len(list) > 0 {
			list = append(list, ", "...)
		}
		list = append(list, item...)
	}
	if len(list) == 0 {
		return f
	}
	return append(f, wire.Field{Name: []byte("Access-Control-Allow-Headers"), Value: list})
}

var nameVary = []byte("Vary")

// vary adds a name to the answer's Vary field unless that has it (RFC 9110 12.5.5).
func (x *exchange) vary(f []wire.Field, name string) []wire.Field {
	at := -1
	for i := range f {
		if !wire.EqualName(f[i].Name, "vary") {
			continue
		}
		for item, rest := wire.NextItem(f[i].Value); item != nil; item, rest = wire.NextItem(rest) {
			if string(item) == "*" || strings.EqualFold(string(item), name) {
				return f
			}
		}
		if at < 0 {
			at = i
		}
	}
	if at < 0 {
		at, f = len(f), append(f, wire.Field{Name: nameVary})
	}
	from := len(x.varied)
	x.varied = append(x.varied, f[at].Value...)
	if len(x.varied) > from {
		x.varied = append(x.varied, ", "...)
	}
	x.varied = append(x.varied, name...)
	f[at].Value = x.varied[from:]
	return f
}
