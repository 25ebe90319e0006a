package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// singular are the types of which a route may have one filter: two would contradict each other.
var singular = map[string]bool{"cors": true, "compress": true, "timeout": true, "log": true}

var filterTypes = oneOf("rate-limit", "headers", "cors", "compress", "timeout", "log", "agent").
	ignoring("geo", "redirect", "url-rewrite")

// filter reads one `filter`.
func (r *reader) filter(n *node) Filter {
	id, b := r.define(aFilter, n)
	if strings.HasPrefix(id, implicitPrefix) {
		b.fail("", "found an id that starts with "+implicitPrefix, "such ids belong to the filters that agents and waf-enabled imply")
	}
	f := Filter{Pos: n.pos, ID: id, Type: b.choice("type", "", filterTypes)}
	switch f.Type {
	case "rate-limit":
		f.RateLimit = b.filterRateLimit()
	case "headers":
		f.Headers = &HeadersFilter{Phase: b.choice("phase", "request", oneOf("request", "response", "both")), Edits: b.headerEdits()}
	case "cors":
		f.CORS = b.cors()
	case "compress":
		f.Compress = b.compress()
	case "timeout":
		f.Timeout = &TimeoutFilter{
			Request:  b.optionalSeconds("request-timeout-secs"),
			Upstream: b.optionalSeconds("upstream-timeout-secs"),
			Connect:  b.optionalSeconds("connect-timeout-secs"),
		}
	case "log":
		f.Log = b.logFilter()
	case "agent":
		f.Agent = b.agentFilter()
	default: // its settings are nobody's, so they are not reported
		if !b.written("type") {
			b.fail("type", `missing setting "type"`, "expected one of "+strings.Join(filterTypes.canonical(), ", "))
		}
		return f
	}
	b.done()
	return f
}

// cors reads a `cors` filter.
func (b *block) cors() *CORS {
	c := &CORS{
		AllowedOrigins:   b.origins("allowed-origins"),
		AllowedMethods:   b.methods("allowed-methods"),
		AllowedHeaders:   b.fieldNames("allowed-headers"),
		ExposedHeaders:   b.fieldNames("exposed-headers"),
		AllowCredentials: b.boolean("allow-credentials", false),
		MaxAge:           b.seconds("max-age-secs", 86_400, secondsOr0),
	}
	if !b.written("allowed-methods") {
		c.AllowedMethods = []string{"GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"}
	}
	if c.AllowCredentials && slices.Contains(c.AllowedOrigins, "*") {
		b.fail("allow-credentials", "allow-credentials with every origin allowed", "expected a list of origins: any site could act as the user")
	}
	return c
}

// origins reads `*`, `null` or scheme://host[:port], in the form in which a browser sends it: in lower case and
// without the scheme's own port (HTML 7.1.1, RFC 6454 6.2).
func (b *block) origins(name string) []string {
	vs := b.values(name)
	if len(vs) == 0 {
		b.note(name, kdlText("*"), "default")
		return []string{"*"}
	}
	var list []string
	for _, v := range vs {
		s, ok := b.textOf(name, v)
		origin, isOrigin := serializedOrigin(s)
		switch {
		case !ok:
		case !isOrigin:
			b.wrong(name, v, `expected "*" or an origin such as "https://www.example.com", without a path and without a wildcard in it`)
		case !slices.Contains(list, origin):
			list = append(list, origin)
		}
	}
	b.noteList(name, list)
	return list
}

func serializedOrigin(s string) (string, bool) {
	if s == "*" || s == "null" {
		return s, true
	}
	scheme, host, ok := strings.Cut(strings.ToLower(s), "://")
	if !ok || !isToken(scheme) || !wire.ValidAuthority([]byte(host)) || strings.ContainsAny(host, "*%_") {
		return "", false
	}
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + host, host != ""
}

func (b *block) fieldNames(name string) (list []string) {
	for _, v := range b.values(name) {
		if s, ok := b.fieldName(name, v); ok {
			list = append(list, s)
		}
	}
	b.noteList(name, list)
	return list
}

// compressionNames are the codings a client may be sent.
var compressionNames = oneOf("gzip", "br brotli", "zstd").ignoring("deflate")

// compress reads a `compress` filter.
func (b *block) compress() *Compress {
	return &Compress{
		Algorithms: b.compression("algorithms"),
		MinSize:    b.size("min-size", 1024, span{0, bytesMax.hi}),
		Level:      b.integer("level", 6, span{1, 9}),
		ContentTypes: b.texts("content-types", []string{
			"text/html", "text/css", "text/plain", "text/xml", "application/json",
			"application/javascript", "application/xml", "image/svg+xml",
		}),
	}
}

// compression reads a list of codings, which may also be one string with commas.
func (b *block) compression(name string) (list []string) {
	for _, v := range b.values(name) {
		s, ok := b.textOf(name, v)
		if !ok {
			continue
		}
		for item := range strings.SplitSeq(s, ",") {
			item = strings.TrimSpace(item)
			v.data, v.text = item, strconv.Quote(cut(item))
			if coding, ok := b.word(name, v, compressionNames); ok && !slices.Contains(list, coding) {
				list = append(list, coding)
			}
		}
	}
	if !b.written(name) {
		list = []string{"gzip", "br"}
	}
	b.noteList(name, list)
	return list
}

var logLevels = oneOf("trace", "debug", "info", "warn", "error")

func (b *block) logFilter() *LogFilter {
	return &LogFilter{
		Request:     b.boolean("log-request", true),
		Response:    b.boolean("log-response", true),
		Body:        b.boolean("log-body", false),
		MaxBodySize: b.size("max-body-log-size", 4096, span{1, 64 << 10}),
		Level:       b.choice("level", "info", logLevels),
		Fields:      b.fieldNames("fields"),
	}
}

// agentFilter reads an `agent` filter, which puts an agent on a route.
func (b *block) agentFilter() *AgentFilter {
	f := &AgentFilter{
		Agent:       b.refer("agent", anAgent),
		Phases:      b.choices("phase", nil, agentEvents, "phases"),
		FailureMode: b.choice("failure-mode", "", failureModes),
		InspectBody: b.boolean("inspect-body", false),
		MaxBody:     b.bound("max-body-bytes", bytesMax),
		Timeout:     time.Duration(b.bound("timeout-ms", millisMax)) * time.Millisecond,
	}
	if !b.written("agent") {
		b.fail("agent", `missing setting "agent"`, "expected agent "+strconv.Quote("id"))
	}
	return f
}
