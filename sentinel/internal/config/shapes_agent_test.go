package config

import (
	"testing"
	"time"
)

func TestTransportShapes(t *testing.T) {
	type transport struct {
		kind, address string
		tls           AgentTLS
		secure        bool
	}
	pick := func(c *Config) transport {
		a := c.Agents[0]
		x := transport{kind: a.Transport, address: a.Address, secure: a.TLS != nil}
		if a.TLS != nil {
			x.tls = *a.TLS
		}
		return x
	}
	unix := transport{kind: "unix", address: "/run/a.sock"}
	grpc := transport{kind: "grpc", address: "localhost:50051"}
	secure := transport{kind: "grpc", address: "a.example:443", secure: true}
	pinned := transport{kind: "grpc", address: "a.example:443", secure: true, tls: AgentTLS{CACert: "ca", ClientCert: "c", ClientKey: "k", Insecure: true}}
	late := []string{"the http transport is not supported in this build"}
	checkShapes(t, pick, []shape[transport]{
		{name: "unix", text: withAgent("", `unix-socket "/run/a.sock"`), want: unix},
		{name: "unix property", text: withAgent("", `unix-socket path="/run/a.sock"`), want: unix},
		{name: "unix block", text: withAgent("", `unix-socket { path "/run/a.sock" }`), want: unix},
		{name: "unix on agent", text: withAgent(`unix-socket="/run/a.sock"`, ""), want: unix},
		{name: "old unix", text: withAgent("", `transport "unix_socket" { path "/run/a.sock" }`), want: unix},
		{name: "grpc", text: withAgent("", `grpc "http://localhost:50051"`), want: grpc},
		{name: "grpc bare", text: withAgent("", `grpc "localhost:50051"`), want: grpc},
		{name: "grpc property", text: withAgent("", `grpc address="http://localhost:50051/"`), want: grpc},
		{name: "grpc block", text: withAgent("", `grpc { address "localhost:50051" }`), want: grpc},
		{name: "old grpc", text: withAgent("", `transport "grpc" { address "localhost:50051" }`), want: grpc},
		{name: "grpc tls", text: withAgent("", `grpc "https://a.example:443"`), want: secure},
		{name: "grpc tls files", text: withAgent("", `grpc "https://a.example:443" { ca-cert "ca"; client-cert "c"; client-key "k"; tls-insecure }`), want: pinned},
		{name: "grpc tls newer flag", text: withAgent("", `grpc "https://a.example:443" { ca-cert "ca"; client-cert "c"; client-key "k"; insecure-skip-verify #true }`), want: pinned},
		{name: "grpc tls flag", text: withAgent("", `grpc { address "https://a.example:443"; ca-cert "ca"; client-cert "c"; client-key "k"; tls-insecure #true }`), want: pinned},
		{name: "http", text: withAgent("", `http "http://localhost:9000/x"`), want: transport{kind: "http", address: "http://localhost:9000/x"}, warnings: late},
		{name: "http url", text: withAgent("", `http url="https://a.example/x"`), want: transport{kind: "http", address: "https://a.example/x", secure: true}, warnings: late},
	})
}

func TestAgentTypeShapes(t *testing.T) {
	const socket = "unix-socket \"/run/a.sock\"\n"
	checkShapes(t, func(c *Config) string { return c.Agents[0].Type }, []shape[string]{
		{name: "absent", text: withAgent("", socket), want: "a"},
		{name: "property", text: withAgent(`type="waf"`, socket), want: "waf"},
		{name: "child", text: withAgent("", socket+`type "auth"`), want: "auth"},
		{name: "hyphen", text: withAgent(`type="rate-limit"`, socket), want: "rate_limit"},
		{name: "custom", text: withAgent(`type="Geo-Fence"`, socket), want: "Geo-Fence"},
	})
}

func TestEventShapes(t *testing.T) {
	agent := func(events string) string { return withAgent("", "unix-socket \"/run/a.sock\"\n"+events) }
	checkShapes(t, func(c *Config) []string { return c.Agents[0].Events }, []shape[[]string]{
		{name: "default", text: agent(""), want: []string{"request_headers"}},
		{name: "list", text: agent(`events "request_headers" "response_headers" "log"`), want: []string{"request_headers", "response_headers", "log"}},
		{name: "repeated", text: agent("events \"request_headers\"\nevents request_complete"), want: []string{"request_headers", "log"}},
		{name: "hyphens", text: agent(`events "request-body" "response-body"`), want: []string{"request_body", "response_body"}},
		{name: "old names", text: agent(`events "on_request_headers" "on_request_body_chunk" "request_body"`), want: []string{"request_headers", "request_body"}},
		{
			name: "websocket", text: agent(`events "request_headers" "websocket_frame"`), want: []string{"request_headers"},
			warnings: []string{`"websocket_frame" is not supported in this build`},
		},
	})
}

func TestAgentDefaults(t *testing.T) {
	pick := func(c *Config) Agent {
		a := c.Agents[0]
		a.Pos = Pos{}
		return a
	}
	def := Agent{
		ID: "a", Type: "a", Transport: "unix", Address: "/a", Events: []string{"request_headers"}, Timeout: time.Second, ChunkTimeout: 5 * time.Second,
		CircuitBreaker: CircuitBreaker{FailureThreshold: 5, SuccessThreshold: 2, Timeout: 30 * time.Second, HalfOpenMaxRequests: 1},
		MaxRequestBody: 1 << 20, MaxResponseBody: 1 << 20, RequestBodyMode: BodyMode{Mode: "buffer"}, ResponseBodyMode: BodyMode{Mode: "buffer"},
		MaxConcurrentCalls: 100, Links: 4, IdleTimeout: time.Minute,
	}
	with := func(change func(*Agent)) Agent {
		a := def
		change(&a)
		return a
	}
	agent := func(body string) string { return withAgent("", "unix-socket \"/a\"\n"+body) }
	checkShapes(t, pick, []shape[Agent]{
		{name: "defaults", text: agent(""), want: def},
		{name: "limits", text: agent("") + "limits { max-agent-body-bytes 99 }\n", want: with(func(a *Agent) { a.MaxRequestBody, a.MaxResponseBody = 99, 99 })},
		{name: "body alias", text: agent("max-body-bytes 7"), want: with(func(a *Agent) { a.MaxRequestBody = 7 })},
		{name: "stream", text: agent(`request-body-mode "stream"; response-body-mode hybrid`), want: with(func(a *Agent) {
			a.RequestBodyMode, a.ResponseBodyMode = BodyMode{Mode: "stream"}, BodyMode{"hybrid", 65_536}
		})},
		{name: "hybrid", text: agent(`request-body-mode "hybrid:1024"`), want: with(func(a *Agent) { a.RequestBodyMode = BodyMode{"hybrid", 1024} })},
		{name: "times", text: agent("timeout-ms 20; chunk-timeout-ms 30; failure-mode fail-open; protocol-version 1; max-concurrent-calls 3"), want: with(func(a *Agent) {
			a.Timeout, a.ChunkTimeout, a.FailureMode, a.ProtocolVersion, a.MaxConcurrentCalls = 20*time.Millisecond, 30*time.Millisecond, "open", 1, 3
			a.Links = 3
		})},
		{name: "unusual time", text: agent("timeout-ms 2"), want: with(func(a *Agent) { a.Timeout = 2 * time.Millisecond }), warnings: []string{"2 ms is an unusual time"}},
		{name: "pool", text: agent("pool { max-connections 30; idle-timeout-ms 5 }"), want: with(func(a *Agent) { a.Links, a.IdleTimeout = 30, 5*time.Millisecond })},
		{name: "pool above calls", text: agent("max-concurrent-calls 7; pool { max-connections 30 }"), want: with(func(a *Agent) { a.Links, a.MaxConcurrentCalls = 7, 7 })},
		{name: "pool minimum", text: agent("pool { min-connections 1 }"), want: def, warnings: []string{"min-connections: has no effect: connections are made before they are needed"}},
		{name: "other pool sizes", text: agent("connections 2; pool-size 3"), want: def, warnings: []string{"connections: has no effect: write pool", "pool-size: has no effect: write pool"}},
		{name: "decompress", text: agent("decompress #true"), want: with(func(a *Agent) { a.Decompress = true })},
		{name: "http2", text: agent("http2 { keep-alive-interval-ms 5 }"), want: def, warnings: []string{"http2: not supported in this build, ignored"}},
	})
}

func TestAgentConfig(t *testing.T) {
	agent := func(body string) string { return withAgent("", "unix-socket \"/a\"\n"+body) }
	checkShapes(t, func(c *Config) string { return string(c.Agents[0].Config) }, []shape[string]{
		{name: "absent", text: agent(""), want: ""},
		{name: "empty", text: agent("config { }"), want: "{}"},
		{name: "flag", text: agent("config { block-mode }"), want: `{"block-mode":true}`},
		{name: "scalars", text: agent(`config { s "x"; i 5; f 1.5; b #false; n #null; big 9007199254740993 }`), want: `{"b":false,"big":9007199254740993,"f":1.5,"i":5,"n":null,"s":"x"}`},
		{name: "array", text: agent(`config { list "a" 2 #true }`), want: `{"list":["a",2,true]}`},
		{name: "object", text: agent(`config { o a=1 b="x" { c 3; b "y" } }`), want: `{"o":{"a":1,"b":"y","c":3}}`},
		{name: "deep", text: agent(`config { o { p { q "r" } } }`), want: `{"o":{"p":{"q":"r"}}}`},
		{name: "last wins", text: agent(`config { x 1; x 2 }`), want: `{"x":2}`},
		{
			name: "arguments and properties", text: agent(`config { o "a" k=1 }`), want: `{"o":{"_args":["a"],"k":1}}`,
			warnings: []string{`the agent gets them as "_args"`},
		},
	})
}

func TestProtocolVersionShapes(t *testing.T) {
	agent := func(body string) string { return withAgent("", "unix-socket \"/a\"\n"+body) }
	checkShapes(t, func(c *Config) int { return c.Agents[0].ProtocolVersion }, []shape[int]{
		{name: "absent", text: agent(""), want: 0},
		{name: "null", text: agent("protocol-version #null"), want: 0},
		{name: "auto", text: agent(`protocol-version "auto"`), want: 0},
		{name: "v1", text: agent(`protocol-version "v1"`), want: 1},
		{name: "text 1", text: agent(`protocol-version "1"`), want: 1},
		{name: "number 1", text: agent("protocol-version 1"), want: 1},
		{name: "v2", text: agent("protocol-version v2"), want: 2},
		{name: "capital V2", text: agent(`protocol-version "V2"`), want: 2},
		{name: "text 2", text: agent(`protocol-version "2"`), want: 2},
		{name: "number 2", text: agent("protocol-version 2"), want: 2},
	})
}

func TestGRPCBodyEncodingShapes(t *testing.T) {
	agent := func(body string) string { return withAgent("", "grpc \"127.0.0.1:1\"\n"+body) }
	checkShapes(t, func(c *Config) bool { return c.Agents[0].Base64Bodies }, []shape[bool]{
		{name: "absent", text: agent(""), want: false},
		{name: "raw", text: agent(`grpc-body-encoding "raw"`), want: false},
		{name: "base64", text: agent(`grpc-body-encoding "base64"`), want: true},
	})
}

func TestEventsOfOtherBuilds(t *testing.T) {
	text := withAgent("", "unix-socket \"/a\"\nevents \"websocket_frame\" \"guardrail\"")
	checkShapes(t, func(c *Config) []string { return c.Agents[0].Events }, []shape[[]string]{{
		name: "none is left", text: text, want: nil,
		warnings: []string{`"websocket_frame" is not supported`, "it is never asked, and protects nothing", `"guardrail" is not supported`},
	}})
}
