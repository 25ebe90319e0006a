package config

import "time"

// AgentFilter attaches an agent to a route.
type AgentFilter struct {
	Agent       string
	Phases      []string      // some of the agent's events; empty: all of them
	Timeout     time.Duration // 0: the agent's
	FailureMode string        // "open", "closed" or empty: the route's, then the agent's
	InspectBody bool
	MaxBody     int64
}

// Agent is one external policy process.
type Agent struct {
	Pos                               Pos
	ID                                string
	Type                              string // "waf", "auth", "rate_limit" or a custom name
	Transport                         string // "unix", "grpc" or "http"
	Address                           string // socket path, host:port or URL
	TLS                               *AgentTLS
	Events                            []string
	Timeout                           time.Duration
	ChunkTimeout                      time.Duration
	FailureMode                       string // "open", "closed" or empty when not written
	CircuitBreaker                    CircuitBreaker
	MaxRequestBody, MaxResponseBody   int64
	RequestBodyMode, ResponseBodyMode BodyMode
	Decompress                        bool // bodies in gzip, deflate or br are decoded for it
	MaxConcurrentCalls                int
	Config                            []byte        // JSON of the `config` block; nil: none
	Links                             int           // connections held open, where one carries many calls; at most MaxConcurrentCalls
	IdleTimeout                       time.Duration // of a connection that carries one call at a time
	ProtocolVersion                   int           // 1, 2, or 0: find out
	Base64Bodies                      bool          // over gRPC bodies travel as base64 text
}

// BodyMode says how an agent gets a body.
type BodyMode struct {
	Mode      string // "buffer", "stream" or "hybrid"
	Threshold int64  // bytes, for "hybrid"
}

// AgentTLS secures a gRPC or HTTP agent.
type AgentTLS struct {
	CACert, ClientCert, ClientKey string
	Insecure                      bool
}

// WAF is the block `waf`.
type WAF struct {
	BodyInspection *BodyInspection // nil: not written
}

// BodyInspection narrows what agents of type waf see of bodies: an agent that did not ask for one gets
// none.
type BodyInspection struct {
	Request, Response bool
	MaxBytes          int64    // a longer body is over the agent's limit, if that is not lower
	ContentTypes      []string // beginnings of media types, in lower case; empty: all
	Decompress        bool     // of agents that do not say it themselves
	MaxRatio          float64  // of the decoded bytes to those that came
}
