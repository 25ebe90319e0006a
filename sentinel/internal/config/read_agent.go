package config

import (
	"slices"
	"strconv"
	"strings"
)

// agent reads one `agent`. The limits and the waf block have some of its defaults; waf may be nil.
func (r *reader) agent(n *node, limits *Limits, waf *WAF) Agent {
	id, b := r.define(anAgent, n)
	a := Agent{
		Pos: n.pos, ID: id,
		Type:               b.agentType(id),
		Events:             b.events(),
		Timeout:            b.millis("timeout-ms", 1000, millisMax),
		ChunkTimeout:       b.millis("chunk-timeout-ms", 5000, millisMax),
		FailureMode:        b.choice("failure-mode", "", failureModes),
		MaxRequestBody:     b.size("max-request-body-bytes", limits.MaxAgentBody, bytesMax, "max-body-bytes"),
		MaxResponseBody:    b.size("max-response-body-bytes", limits.MaxAgentBody, bytesMax),
		RequestBodyMode:    b.bodyMode("request-body-mode"),
		ResponseBodyMode:   b.bodyMode("response-body-mode"),
		MaxConcurrentCalls: b.integer("max-concurrent-calls", 100, positive),
		ProtocolVersion:    b.protocolVersion(),
	}
	a.Decompress = b.boolean("decompress", waf.decompresses(a.Type))
	if ms := a.Timeout.Milliseconds(); ms < 5 || ms > 60_000 {
		b.warn("timeout-ms", strconv.FormatInt(ms, 10)+" ms is an unusual time for an agent", "expected 5 to 60000")
	}
	b.transport(&a)
	a.Base64Bodies = b.choice("grpc-body-encoding", "raw", oneOf("raw", "base64")) == "base64"
	if b.written("grpc-body-encoding") && a.Transport != "grpc" {
		b.fail("grpc-body-encoding", "grpc-body-encoding on an agent without gRPC", "its protocol has one encoding")
	}
	c, _ := b.block("circuit-breaker")
	a.CircuitBreaker = r.circuitBreaker(c)
	if n := b.one("config"); n != nil {
		a.Config = r.agentConfig(n, b.pathOf("config"))
	}
	c, _ = b.block("pool")
	r.agentPool(c, &a)
	b.ignored("connections", "write pool { max-connections … }")
	b.ignored("pool-size", "write pool { max-connections … }")
	b.unsupported("http2")
	b.done()
	return a
}

// agentType reads the type. Any other word is a type of the operator's own; without one it is the id.
func (b *block) agentType(id string) string {
	t := b.text("type", id)
	if canonical, ok := oneOf("waf", "auth", "rate_limit").find(t); ok {
		return canonical
	}
	return t
}

var agentEvents = oneOf("request_headers", "request_body request_body_chunk", "response_headers",
	"response_body response_body_chunk", "log request_complete").ignoring("websocket_frame", "guardrail")

// events reads the events an agent is asked about. They may be written with an `on_` before them.
func (b *block) events() (list []string) {
	for _, v := range b.values("events") {
		if s, ok := v.data.(string); ok {
			v.data = strings.TrimPrefix(strings.ReplaceAll(s, "-", "_"), "on_")
		}
		if event, ok := b.word("events", v, agentEvents); ok && !slices.Contains(list, event) {
			list = append(list, event)
		}
	}
	if !b.written("events") {
		list = []string{"request_headers"}
	}
	b.noteList("events", list)
	if len(list) == 0 {
		b.warn("events", "the agent has no event that this build knows", "it is never asked, and protects nothing")
	}
	return list
}

var protocolVersions = oneOf("auto", "v1 1", "v2 2")

// protocolVersion reads auto, v1, v2 or their numbers. Of auto, or #null, it returns 0.
func (b *block) protocolVersion() int {
	const name = "protocol-version"
	v, ok := b.lookup(name)
	if n, isNumber := v.data.(int64); isNumber && (n == 1 || n == 2) {
		v.data = strconv.FormatInt(n, 10)
	}
	word := "auto"
	if ok && v.data != nil {
		if word, ok = b.word(name, v, protocolVersions); !ok {
			return 0
		}
		b.note(name, kdlText(word), v.source())
	} else {
		b.note(name, kdlText(word), "default")
	}
	return map[string]int{"v1": 1, "v2": 2}[word]
}

// defaultHybrid is where the hybrid mode changes from buffer to stream, in bytes.
const defaultHybrid = 64 << 10

// bodyMode reads buffer, stream, hybrid or hybrid:<bytes>.
func (b *block) bodyMode(name string) BodyMode {
	v, ok := b.lookup(name)
	if !ok {
		b.note(name, kdlText("buffer"), "default")
		return BodyMode{Mode: "buffer"}
	}
	s, _ := v.data.(string)
	m := BodyMode{Mode: strings.ToLower(s)}
	if threshold, ok := strings.CutPrefix(m.Mode, "hybrid:"); ok {
		m.Mode = "hybrid"
		m.Threshold, _ = strconv.ParseInt(threshold, 10, 64)
	} else if m.Mode == "hybrid" {
		m.Threshold = defaultHybrid
	}
	valid := m.Mode == "buffer" || m.Mode == "stream" || m.Mode == "hybrid" && m.Threshold > 0 && m.Threshold <= bytesMax.hi
	if !valid {
		b.wrong(name, v, "expected one of buffer, stream, hybrid, hybrid:<bytes>")
		return BodyMode{Mode: "buffer"}
	}
	b.note(name, v.kdl(), v.source())
	return m
}

func (r *reader) agentPool(b *block, a *Agent) {
	links := b.integer("max-connections", 4, span{1, 10_000})
	a.Links = min(links, a.MaxConcurrentCalls) // more could not be used at a time
	a.IdleTimeout = b.millis("idle-timeout-ms", 60_000, millisMax)
	b.ignored("min-connections", "connections are made before they are needed, up to max-connections")
	b.done()
}
