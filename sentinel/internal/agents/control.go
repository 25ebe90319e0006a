package agents

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Messages that are no events: handshake, configuration, cancellation, ping, flow control.

// appendHandshake appends what both dialects of v2 read of a proxy: V2D the first keys, V2R the others.
func appendHandshake(dst []byte, o *Options) []byte {
	dst = append(dst, `{"protocol_version":2,"client_name":"`+clientName+`","supported_features":[],"supported_versions":[2]`...)
	dst = appendText(dst, "proxy_id", clientName)
	dst = appendText(dst, "proxy_version", o.ProxyVersion)
	dst = appendConfig(dst, o)
	return append(dst, `,"supported_encodings":["json"]}`...)
}

func appendConfig(dst []byte, o *Options) []byte {
	dst = appendKey(dst, "config")
	if o.Config == nil {
		return append(dst, "null"...)
	}
	return append(dst, o.Config...)
}

func appendV1Configure(dst []byte, o *Options) []byte {
	dst = append(dst, `{"version":1,"event_type":"configure","payload":{"agent_id":`...)
	dst = appendConfig(appendString(dst, o.ID), o)
	return append(dst, "}}"...)
}

func appendV2RConfigure(dst []byte, o *Options) []byte {
	dst = appendConfig(appendID(append(dst, '{'), configureID), o)
	return append(dst, '}')
}

func appendV2DCancel(dst []byte, number uint64, why CancelReason) []byte {
	dst = strconv.AppendUint(append(dst, `{"request_id":`...), number, 10)
	return append(appendText(dst, "reason", why.String()), '}')
}

func appendV2RCancel(dst []byte, id string, why CancelReason) []byte {
	dst = appendInt(appendID(append(dst, '{'), id), "reason", int64(why))
	return append(appendInt(dst, "timestamp_ms", time.Now().UnixMilli()), '}')
}

func appendPing(dst []byte, d Dialect) []byte {
	now := time.Now().UnixMilli()
	if d == V2R {
		dst = append(dst, `{"sequence":1`...)
		return append(appendInt(dst, "timestamp_ms", now), '}')
	}
	dst = append(dst, `{"timestamp":`...)
	return append(strconv.AppendInt(dst, now, 10), '}')
}

// handshakeReply is the union of what agents of both dialects answer.
type handshakeReply struct {
	Version      int     `json:"protocol_version"`
	Accepted     *bool   `json:"accepted"` // V2D
	Success      *bool   `json:"success"`  // V2R
	Error        *string `json:"error"`
	Encoding     *string `json:"encoding"`
	AgentName    string  `json:"agent_name"`
	Capabilities *struct {
		MaxRequests uint32 `json:"max_concurrent_requests"` // V2D
		Cancels     bool   `json:"supports_cancellation"`
		Name        string `json:"name"` // V2R
		Version     string `json:"version"`
		Features    struct {
			Requests uint32 `json:"concurrent_requests"`
			Cancels  bool   `json:"cancellation"`
		} `json:"features"`
		Limits struct {
			Requests uint32 `json:"max_concurrency"`
		} `json:"limits"`
	} `json:"capabilities"`
}

var errRefused = errors.New("the agent refused the handshake")

// greetingOf reads a handshake's reply. Which dialect it is shows in the key of its outcome.
func greetingOf(payload []byte) (Greeting, error) {
	var r handshakeReply
	if err := json.Unmarshal(payload, &r); err != nil {
		return Greeting{}, badReply("a handshake that is no JSON of ours: %w", err)
	}
	words := ""
	if r.Error != nil {
		words = *r.Error
	}
	g, ok := Greeting{Dialect: V2D, Name: r.AgentName}, words == ""
	if r.Accepted != nil {
		ok = *r.Accepted
	} else if r.Success != nil {
		g.Dialect, ok = V2R, *r.Success
	}
	switch {
	case !ok:
		return g, fmt.Errorf("%w: %q", errRefused, clip(words))
	case r.Version != 2:
		return g, badReply("version %d of the protocol", r.Version)
	case r.Encoding != nil && *r.Encoding != "json":
		return g, badReply("encoding %q, which was not offered", clip(*r.Encoding))
	}
	r.capabilities(&g)
	return g, nil
}

func (r *handshakeReply) capabilities(g *Greeting) {
	c := r.Capabilities
	if c == nil {
		return
	}
	if g.Dialect == V2D {
		g.MaxConcurrent, g.Cancels = int(c.MaxRequests), c.Cancels
		return
	}
	g.Name, g.Version, g.Cancels = c.Name, c.Version, c.Features.Cancels
	g.MaxConcurrent = int(c.Features.Requests)
	if n := int(c.Limits.Requests); n > 0 && (n < g.MaxConcurrent || g.MaxConcurrent == 0) {
		g.MaxConcurrent = n
	}
}

// maxWords is how much of an agent's text is kept in errors, in bytes.
const maxWords = 512

func clip(words string) string { return words[:min(len(words), maxWords)] }

// errRejected is the cause of a failure of an agent that does not take its config.
var errRejected = errors.New("the agent rejected its config")

func rejected(words string) *Failure {
	return unavailable(fmt.Errorf("%w: %q", errRejected, clip(words)))
}

// configured reads the reply to V1's configure: a success of its own kind, or a decision. It returns nil if
// the agent takes the config.
func configured(payload []byte) *Failure {
	var r struct {
		Success *bool   `json:"success"`
		Error   *string `json:"error"`
	}
	if err := json.Unmarshal(payload, &r); err != nil {
		return badReply("an answer to configure that is no JSON of ours: %w", err)
	}
	if r.Success == nil {
		return configDecided(payload)
	}
	if *r.Success {
		return nil
	}
	words := "no reason given"
	if r.Error != nil {
		words = *r.Error
	}
	return rejected(words)
}

// flowOf reads a flow control message, whose action is a number, a word, or an object with a type. One about a single
// request, or about capacity, changes nothing.
func flowOf(payload []byte) (pause, known bool) {
	var r struct {
		Request *string        `json:"correlation_id"`
		Action  jsontext.Value `json:"action"`
	}
	if json.Unmarshal(payload, &r) != nil || r.Request != nil && *r.Request != "" {
		return false, false
	}
	action := string(r.Action)
	var typed struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(r.Action, &typed) == nil {
		action = typed.Type
	}
	switch action {
	case "1", "pause", `"pause"`:
		return true, true
	case "2", "resume", `"resume"`:
		return false, true
	}
	return false, false
}
