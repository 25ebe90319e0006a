package config

import (
	"slices"
	"strconv"
	"strings"
)

// agent reads one `agent`.
func (r *reader) agent(n *node, limits *Limits) Agent {
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
		ProtocolVersion:    int(b.bound("protocol-version", span{1, 2})),
	}
	if ms := a.Timeout.Milliseconds(); ms < 5 || ms > 60_000 {
		b.warn("timeout-ms", strconv.FormatInt(ms, 10)+" ms is an unusual time for an agent", "expected 5 to 60000")
	}
	b.transport(&a)
	c, _ := b.block("circuit-breaker")
	a.CircuitBreaker = r.circuitBreaker(c)
	if n := b.one("config"); n != nil {
		a.Config = r.agentConfig(n, b.pathOf("config"))
	}
	c, _ = b.block("pool")
	r.agentPool(c, &a)
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
	return list
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
	a.MinConnections = b.integer("min-connections", 2, orZero)
	a.MaxConnections = b.integer("max-connections", max(10, a.MinConnections), span{1, 10_000})
	a.IdleTimeout = b.millis("idle-timeout-ms", 30_000, millisMax)
	if a.MaxConnections < a.MinConnections {
		b.fail("max-connections", "max-connections is lower than min-connections", "")
	}
	b.done()
}
