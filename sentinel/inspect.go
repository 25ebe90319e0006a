package sentinel

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/route"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// Inspection is a configuration that was read and checked but is not served.
type Inspection struct {
	Name     string   // what was read
	Warnings []string // each with file, line and column
	cfg      *config.Config
}

// Inspect reads the configuration the options name. Files that it refers to and that are missing here
// are warnings: the configuration may be for another machine. The error is a *ConfigError.
func Inspect(o Options) (*Inspection, error) {
	cfg, problems := o.read(config.Options{Resources: config.ResourceWarnings, Settings: true}, "127.0.0.1:1")
	if problems.HasErrors() {
		return nil, newConfigError(problems)
	}
	return &Inspection{Name: o.name(), Warnings: append(texts(problems), pending(cfg)...), cfg: cfg}, nil
}

// read parses and checks the configuration. demoAddr is where the embedded default finds its upstream.
func (o *Options) read(c config.Options, demoAddr string) (*config.Config, config.Problems) {
	c.LookupEnv = o.LookupEnv
	if c.LookupEnv == nil {
		c.LookupEnv = os.LookupEnv
	}
	switch {
	case o.Path != "":
		return config.Load(o.Path, c)
	case o.Text != nil:
		return config.Parse(o.Name, o.Text, c)
	}
	c.LookupEnv = withDemo(demoAddr, c.LookupEnv)
	return config.Parse(o.name(), config.Default(), c)
}

// name is what messages call the configuration.
func (o *Options) name() string {
	switch {
	case o.Path != "":
		return o.Path
	case o.Text != nil:
		return o.Name
	}
	return "embedded default"
}

func texts(problems config.Problems) (list []string) {
	for _, p := range problems {
		list = append(list, p.String())
	}
	return list
}

// Counts says how much of what a configuration has.
type Counts struct{ Listeners, Routes, Upstreams, Filters, Agents int }

// Counts returns how much of what the configuration has.
func (in *Inspection) Counts() Counts {
	c := in.cfg
	return Counts{len(c.Listeners), len(c.Routes), len(c.Upstreams), len(c.Filters), len(c.Agents)}
}

// AdminSocket is the path of the admin socket that the configuration has; empty: none.
func (in *Inspection) AdminSocket() string { return in.cfg.System.AdminSocket }

// Lint returns what is legal but better done otherwise.
func (in *Inspection) Lint() []string { return texts(config.Lint(in.cfg)) }

// Setting is one effective value and where it came from: "default", "file:line" or "env NAME".
type Setting = config.Setting

// Settings returns every effective value, in the order of the configuration.
func (in *Inspection) Settings() []Setting { return in.cfg.Settings }

// RouteQuery is a request to try the routes with.
type RouteQuery struct {
	Method   string
	URL      string   // absolute, or a path: the host is then that of a Host header, or localhost
	Headers  []string // "Name: value"
	Listener string   // id; empty: the first
}

// RouteResult says which route a request takes.
type RouteResult struct {
	Request  string   `json:"request"` // as the routes see it
	Listener string   `json:"listener"`
	Route    string   `json:"route"`   // empty: none
	Handler  string   `json:"handler"` // "upstream NAME", "builtin NAME" or "static-files"
	Refused  string   `json:"refused"` // the Reason for which the route refuses the request; empty: it does not
	Steps    []string `json:"steps"`   // every route in the order of evaluation, with why it was taken or not
}

// RouteTest shows which route a request takes and why. The request passes through the same codec as one
// from the network, so it is refused for the same reasons.
func (in *Inspection) RouteTest(q RouteQuery) (*RouteResult, error) {
	l, err := in.listener(q.Listener)
	if err != nil {
		return nil, err
	}
	limits := headLimits(&in.cfg.Limits)
	req, err := q.parse(&limits)
	if err != nil {
		return nil, err
	}
	if isRefusedMethod(req.Method) {
		return nil, fmt.Errorf("the proxy refuses this request: %s", methodRefused)
	}
	routes, rules := visible(l, in.cfg.Routes)
	query := route.Request{Host: req.Host, Path: req.Path, Query: req.Query, Method: req.Method, Fields: req.Fields}
	result := &RouteResult{Request: fmt.Sprintf("%s %s%s", req.Method, req.Authority, req.Path), Listener: l.ID}
	for _, v := range route.Compile(rules).Explain(&query) {
		result.Steps = append(result.Steps, fmt.Sprintf("%s: route %q (priority %d, specificity %d): %s", v.Outcome, v.ID, v.Priority, v.Specificity, v.Why))
		if v.Outcome == route.Won {
			result.take(routes[v.Rule], req)
		}
	}
	if i := slices.IndexFunc(in.cfg.Routes, func(r config.Route) bool { return r.ID == l.DefaultRoute }); result.Route == "" && i >= 0 {
		result.take(&in.cfg.Routes[i], req)
		result.Steps = append(result.Steps, fmt.Sprintf("won: route %q: the listener's default-route", l.DefaultRoute))
	}
	return result, nil
}

func (r *RouteResult) take(c *config.Route, req *wire.Request) {
	r.Route = c.ID
	if req.EscapedSlash && c.EncodedSlash == "reject" {
		r.Refused = encodedSlash.String()
	}
	switch {
	case c.Builtin != "":
		r.Handler = "builtin " + c.Builtin
	case c.StaticFiles != nil:
		r.Handler = "static-files"
	default:
		r.Handler = "upstream " + c.Upstream
	}
}

func (in *Inspection) listener(id string) (*config.Listener, error) {
	var known []string
	for i := range in.cfg.Listeners {
		if l := &in.cfg.Listeners[i]; id == "" || l.ID == id {
			return l, nil
		}
		known = append(known, in.cfg.Listeners[i].ID)
	}
	return nil, fmt.Errorf("no listener %q; there are: %s", id, strings.Join(known, ", "))
}

// parse writes the query as a client would and reads it as the proxy would.
func (q *RouteQuery) parse(limits *wire.Limits) (*wire.Request, error) {
	text := q.Method + " " + q.URL + " HTTP/1.1\r\n" + strings.Join(append(q.Headers, ""), "\r\n")
	if !slices.ContainsFunc(q.Headers, isHost) {
		text += "Host: localhost\r\n" // an absolute URL's own host replaces it
	}
	req := &wire.Request{}
	req.Reset()
	n, fault := req.Parse([]byte(text+"\r\n"), limits)
	if fault != wire.None || n == 0 {
		return nil, fmt.Errorf("the proxy refuses this request: %s", faultReasons[fault])
	}
	return req, nil
}

func isHost(header string) bool { return strings.HasPrefix(strings.ToLower(header), "host:") }
