package config

import (
	"reflect"
	"testing"
	"time"
)

func TestMatchShapes(t *testing.T) {
	pick := func(c *Config) Matches {
		m := c.Routes[0].Matches
		m.PathRegexes, m.HostRegexes = nil, nil
		return m
	}
	header := func(name string, values ...string) Matches {
		return Matches{Headers: []Condition{{Name: name, Values: values}}}
	}
	checkShapes(t, pick, []shape[Matches]{
		{name: "paths", text: withMatches("path \"/a\" \"/b\"\npath \"/c\""), want: Matches{Paths: []string{"/a", "/b", "/c"}}},
		{name: "paths as items", text: withMatches(`path { - "/a"; - "/b" }`), want: Matches{Paths: []string{"/a", "/b"}}},
		{name: "path as property", text: withRoute(`matches path="/a"`), want: Matches{Paths: []string{"/a"}}},
		{name: "canonical path", text: withMatches(`path "/%61//b/../c%2Fd"`), want: Matches{Paths: []string{"/a/c%2Fd"}}},
		{name: "prefix", text: withMatches(`path-prefix "/a/" "/b"`), want: Matches{PathPrefixes: []string{"/a/", "/b"}}},
		{
			name: "star", text: withMatches(`path "/a/*"`), want: Matches{Paths: []string{"/a/*"}},
			warnings: []string{`the * in "/a/*" matches only itself`},
		},
		{name: "hosts", text: withMatches(`host "Example.COM." "*.example.com" "[::1]" "10.0.0.1"`), want: Matches{Hosts: []string{"example.com", "*.example.com", "[::1]", "10.0.0.1"}}},
		{name: "methods", text: withMatches("method \"GET\" post\nmethod \"get\" \"M-SEARCH\""), want: Matches{Methods: []string{"GET", "POST", "M-SEARCH"}}},
		{name: "header presence", text: withMatches(`header "X-A"`), want: header("x-a")},
		{name: "header value", text: withMatches(`header "X-A" "v"`), want: header("x-a", "v")},
		{name: "header value property", text: withMatches(`header "X-A" value="v"`), want: header("x-a", "v")},
		{name: "header properties", text: withMatches(`header name="X-A" value="v"`), want: header("x-a", "v")},
		{name: "header name property", text: withMatches(`header name="X-A"`), want: header("x-a")},
		{name: "header block", text: withMatches(`header { name "X-A"; value "v" }`), want: header("x-a", "v")},
		{name: "header alternatives", text: withMatches(`header "X-A" "v"; header "x-a" "w"`), want: header("x-a", "v", "w")},
		{
			name: "query", text: withMatches(`query-param "Q"; query-param "k" "v"`),
			want: Matches{Query: []Condition{{Name: "Q"}, {Name: "k", Values: []string{"v"}}}},
		},
	})
}

func TestRegexMatches(t *testing.T) {
	pick := func(c *Config) []string {
		m := c.Routes[0].Matches
		var list []string
		for _, re := range append(m.PathRegexes, m.HostRegexes...) {
			list = append(list, re.String())
		}
		return list
	}
	checkShapes(t, pick, []shape[[]string]{{
		name: "both kinds", text: withMatches("path-regex \"^/v[0-9]+\" r\"\\.php$\"\nhost-regex #\"^a\\d\"#"),
		want: []string{"^/v[0-9]+", `\.php$`, `^a\d`},
	}})
}

func TestPriorityShapes(t *testing.T) {
	var shapes []shape[int]
	for written, want := range map[string]int{
		`"critical"`: 1000, `high`: 100, `"Normal"`: 50, `"low"`: 10, `background`: 1, `7`: 7, `-5`: -5,
	} {
		shapes = append(shapes, shape[int]{name: written, text: withRoute("matches { path \"/\" }\npriority " + written), want: want})
	}
	shapes = append(shapes,
		shape[int]{name: "absent", text: withMatches(`path "/"`), want: 50},
		shape[int]{name: "catch-all", text: withRoute(`priority "low"`), want: 10},
	)
	checkShapes(t, func(c *Config) int { return c.Routes[0].Priority }, shapes)
}

func TestHandlerShapes(t *testing.T) {
	type handler struct{ service, upstream, builtin, root string }
	pick := func(c *Config) handler {
		r := c.Routes[0]
		h := handler{service: r.ServiceType, upstream: r.Upstream, builtin: r.Builtin}
		if r.StaticFiles != nil {
			h.root = r.StaticFiles.Root
		}
		return h
	}
	route := func(body string) string {
		return systemPart + listenerPart + "routes { route \"api\" {\nmatches { path \"/\" }\n" + body + "\n} }\n"
	}
	checkShapes(t, pick, []shape[handler]{
		{name: "web", text: withMatches(`path "/"`), want: handler{service: "web", upstream: "u"}},
		{name: "api", text: withRoute("matches { path \"/\" }\nservice-type \"API\""), want: handler{service: "api", upstream: "u"}},
		{name: "builtin", text: route("builtin-handler \"not_found\"\nupstream #null"), want: handler{service: "builtin", builtin: "not-found"}},
		{name: "static", text: route(`static-files { root "/srv" }`), want: handler{service: "static", root: "/srv"}},
		{name: "static web", text: route("service-type \"web\"\nstatic-files { root \"/srv\" }"), want: handler{service: "web", root: "/srv"}},
		{name: "inference", text: withRoute("matches { path \"/\" }\nservice-type \"inference\""), want: handler{service: "web", upstream: "u"}, warnings: []string{`"inference" is not supported`}},
		{name: "cache", text: route(`builtin-handler "cache-stats"`), want: handler{service: "builtin", builtin: "not-found"}, warnings: []string{`"cache-stats" is not supported`}},
	})
}

func TestStaticFilesShapes(t *testing.T) {
	route := func(body string) string {
		return systemPart + listenerPart + "routes { route \"api\" {\nmatches { path \"/\" }\nstatic-files { root \"/srv\"\n" + body + "\n}\n} }\n"
	}
	pick := func(c *Config) StaticFiles {
		s := *c.Routes[0].StaticFiles
		s.Pos = Pos{}
		return s
	}
	def := StaticFiles{Root: "/srv", Index: "index.html", CacheControl: "public, max-age=3600", Compress: true}
	all := StaticFiles{
		Root: "/srv", Index: "i.htm", DirectoryListing: true, CacheControl: "no-store", Fallback: "app.html",
		MIMETypes: map[string]string{"wasm": "application/wasm"},
	}
	checkShapes(t, pick, []shape[StaticFiles]{
		{name: "defaults", text: route(""), want: def},
		{name: "all", text: route("index \"i.htm\"; directory-listing #true; cache-control \"no-store\"; compress #false; fallback \"app.html\"; mime-types { wasm \"application/wasm\" }"), want: all},
		{name: "spa-fallback", text: route("index \"i.htm\"; directory-listing true; cache-control \"no-store\"; compress false; spa-fallback \"app.html\"; mime-types wasm=\"application/wasm\""), want: all},
	})
}

func TestRouteLists(t *testing.T) {
	type lists struct{ filters, listeners []string }
	route := func(body string) string {
		return systemPart + listenerPart + "routes {\nroute \"api\" { matches { path \"/\" }; upstream \"u\"\n" + body + "\n}\n}\n" + upstreamPart +
			"filters { filter \"x\" { type \"log\" }; filter \"y\" type=\"headers\"; filter \"guard\" { type \"agent\"; agent \"w\" } }\n" +
			"agents { agent \"w\" type=\"waf\" { unix-socket \"/run/w.sock\" } }\n"
	}
	pick := func(c *Config) lists { return lists{c.Routes[0].Filters, c.Routes[0].Listeners} }
	checkShapes(t, pick, []shape[lists]{
		{name: "arguments", text: route(`filters "x" "y" "guard"; listeners "main"`), want: lists{[]string{"x", "y", "guard"}, []string{"main"}}},
		{name: "repeated", text: route("filters \"y\"\nfilters \"x\" \"guard\""), want: lists{[]string{"y", "x", "guard"}, nil}},
		{name: "items", text: route("filters { - \"x\"; - \"y\"; - \"guard\" }"), want: lists{[]string{"x", "y", "guard"}, nil}},
		{name: "bare words", text: route("filters x y guard"), want: lists{[]string{"x", "y", "guard"}, nil}},
		{
			name: "agents", text: route(`filters "x" "y"; agents "w"`), want: lists{[]string{"x", "y", "agent:w"}, nil},
			warnings: []string{"nothing refers to this filter"},
		},
		{
			name: "named twice", text: route(`filters "x" "y" "x" "guard" "y" "x"`), want: lists{[]string{"x", "y", "guard"}, nil},
			warnings: []string{
				`routes.route "api".filters: filter "x" is named twice; it has effect once, at its first place`, `filter "y" is named twice`,
			},
		},
		{name: "agent attached twice", text: route(`filters "x" "y" "guard"; agents "w"`), want: lists{[]string{"x", "y", "guard"}, nil}},
		{name: "waf with its one filter", text: route(`filters "x" "y"; waf-enabled #true`), want: lists{[]string{"x", "y", "guard"}, nil}},
		{name: "waf attached already", text: route(`filters "guard" "x" "y"; waf-enabled #true`), want: lists{[]string{"guard", "x", "y"}, nil}},
	})
}

func TestWAFWithoutFilter(t *testing.T) {
	text := withAgent("type=\"waf\"", `unix-socket "/run/a.sock"`)
	c, problems := Parse("test.kdl", []byte(text), Options{Resources: ResourcesOff})
	if c == nil {
		t.Fatal(problems)
	}
	want := []Filter{{Pos: c.Routes[0].Pos, ID: "agent:a", Type: "agent", Agent: &AgentFilter{Agent: "a"}}}
	if !reflect.DeepEqual(c.Filters, want) {
		t.Errorf("filters %+v, want the implied %+v", c.Filters, want)
	}
	_, problems = Parse("test.kdl", []byte(withRoute("matches { path \"/\" }\nwaf-enabled #true")), Options{})
	checkWarnings(t, problems, []string{"no agent has the type waf"})
}

func TestWebSocketShapes(t *testing.T) {
	pick := func(c *Config) WebSocket { return c.Routes[0].WebSocket }
	socket := func(on bool, perIP int) WebSocket {
		return WebSocket{Enabled: on, PingInterval: 30 * time.Second, PingTimeout: 10 * time.Second, MaxConnectionsPerIP: perIP}
	}
	pinged := socket(true, 0)
	pinged.PingInterval = 5 * time.Second
	route := func(body string) string { return withRoute("matches { path \"/\" }\n" + body) }
	checkShapes(t, pick, []shape[WebSocket]{
		{name: "absent", text: route(""), want: socket(false, 0)},
		{name: "bool", text: route("websocket #true"), want: socket(true, 0)},
		{name: "bool off", text: route("websocket false"), want: socket(false, 0)},
		{name: "block", text: route("websocket { max-connections-per-ip 4 }"), want: socket(true, 4)},
		{name: "block off", text: route("websocket { enabled #false }"), want: socket(false, 0)},
		{name: "frames", text: route("websocket { ping-interval-secs 5 }"), want: pinged, warnings: []string{"frames are relayed unread"}},
		{name: "by match", text: withMatches(`header "Upgrade" "websocket"`), want: socket(true, 0)},
		{name: "off beats match", text: withRoute("matches { header \"Upgrade\" \"websocket\" }\nwebsocket #false"), want: socket(false, 0)},
	})
}

func TestRouteNotBuilt(t *testing.T) {
	text := withRoute("matches { path \"/\" }\ncache { enabled #true }\nshadow { upstream \"x\" }\npolicies { rewrite-path \"/x\"; cache { ttl-secs 5 } }")
	checkShapes(t, func(c *Config) string { return c.Routes[0].EncodedSlash }, []shape[string]{{
		name: "blocks", text: text, want: "reject",
		warnings: []string{
			`route "api".cache: not supported in this build, ignored`, "shadow: not supported", "policies.rewrite-path: not supported",
			"policies.cache: not supported",
		},
	}, {
		name: "encoded slash", text: withRoute("matches { path \"/\" }\nencoded-slash keep"), want: "keep",
	}})
}
