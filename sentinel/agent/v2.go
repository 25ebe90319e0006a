package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The types of v2 frames, in their first byte. Both dialects agree on those below 0x14.
const (
	typeHandshake      = 0x01
	typeHandshakeReply = 0x02
	typeRequestHeaders = 0x10
	typeRequestBody    = 0x11
	typeResponse       = 0x12
	typeResponseBody   = 0x13
	typeDecision       = 0x20

	typeCancelD    = 0x30
	typeCancelAllD = 0x31
	typeHealthD    = 0xE0
	typePingD      = 0xF0

	typeCompleteR  = 0x14
	typeSocketR    = 0x15
	typeGuardrailR = 0x16
	typeConfigureR = 0x17
	typeCancelR    = 0x40
	typePingR      = 0x41
)

// correlationMember is where V2R hides the correlation id in the audit data of its replies.
const correlationMember = "correlation_id"

const maxEcho = 1 << 10 // bytes of a ping's payload

var (
	errFrameType = errors.New("a frame of an unknown type")
	errVersion   = errors.New("unsupported protocol version")
	errEncoding  = errors.New("unsupported encoding")
	errPing      = errors.New("a ping that is no JSON")
)

// handshake is what a proxy offers. It may offer both dialects.
type handshake struct {
	ProtocolVersion    int            `json:"protocol_version"`
	SupportedVersions  []int          `json:"supported_versions"`
	SupportedEncodings []string       `json:"supported_encodings"`
	Config             jsontext.Value `json:"config"`
}

// shake answers a handshake: the dialect that follows, and the reply. After an error the reply, if there is
// one, is the last frame of the connection.
func (c *conn) shake(only Dialect, text []byte) (dialect, []byte, error) {
	var h handshake
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, nil, fmt.Errorf("a handshake: %w", err)
	}
	switch {
	case only == V2D, only == "" && h.SupportedVersions == nil && h.ProtocolVersion != 0:
		var err error
		if h.ProtocolVersion != 2 {
			err = errVersion
		}
		return v2d{conn: c.number}, c.server.acceptD(err), err
	case h.SupportedVersions == nil:
		return nil, nil, errNoVersion
	default:
		err := c.server.agree(c.ctx, &h)
		return v2r{conn: c.number}, c.server.acceptR(err), err
	}
}

// agree checks what a proxy offers for V2R, and takes its configuration.
func (s *Server) agree(ctx context.Context, h *handshake) error {
	if !slices.Contains(h.SupportedVersions, 2) {
		return errVersion
	}
	if len(h.SupportedEncodings) > 0 && !slices.Contains(h.SupportedEncodings, "json") {
		return errEncoding
	}
	return s.dispatcher().configure(ctx, []byte(h.Config))
}

// acceptD is V2D's answer to a handshake.
func (s *Server) acceptD(problem error) []byte {
	dst := append([]byte{typeHandshakeReply}, `{"protocol_version":2,"agent_name":`...)
	dst = appendText(dst, s.Name)
	if problem != nil {
		dst = appendText(append(dst, `,"capabilities":null,"accepted":false,"error":`...), problem.Error())
		return append(dst, '}')
	}
	dst = append(dst, `,"capabilities":{"handles_request_headers":true,"handles_request_body":true,`+
		`"handles_response_headers":true,"handles_response_body":true,"supports_streaming":`...)
	dst = strconv.AppendBool(dst, s.Chunks)
	dst = append(dst, `,"supports_cancellation":true},"accepted":true}`...)
	return dst
}

// acceptR is V2R's answer to a handshake.
func (s *Server) acceptR(problem error) []byte {
	dst := append([]byte{typeHandshakeReply}, `{"protocol_version":2,"success":`...)
	dst = append(strconv.AppendBool(dst, problem == nil), `,"error":`...)
	if problem != nil {
		dst = appendText(dst, problem.Error())
	} else {
		dst = append(dst, `null`...)
	}
	dst = appendText(append(dst, `,"encoding":"json","capabilities":{"agent_id":`...), s.Name)
	dst = appendText(append(dst, `,"name":`...), s.Name)
	dst = appendText(append(dst, `,"version":`...), s.Version)
	dst = append(dst, `,"supported_events":[1,2,3,4,5,8],"features":{"streaming_body":`...)
	dst = strconv.AppendBool(dst, s.Chunks)
	dst = append(dst, `,"websocket":false,"guardrails":false,"config_push":true,"metrics_export":false,`+
		`"concurrent_requests":0,"cancellation":true,"flow_control":false,"health_reporting":false},`+
		`"limits":{"max_body_size":`...)
	dst = strconv.AppendInt(dst, s.dispatcher().maxBody, 10)
	return append(dst, `,"max_concurrency":100,"preferred_chunk_size":65536}}}`...)
}

// v2d is the documented v2: requests have numbers, of all connections together.
type v2d struct{ conn uint64 }

var v2dKinds = map[byte]callKind{
	typeRequestHeaders: callRequestHeaders,
	typeRequestBody:    callRequestBody,
	typeResponse:       callResponseHeaders,
	typeResponseBody:   callResponseBody,
	typeCancelD:        callCancel,
	typeCancelAllD:     callCancelAll,
	typeHealthD:        callHealth,
	typePingD:          callPing,
}

func (v2d) maxFrame() int { return maxFrame2 }
func (v2d) ordered() bool { return false }

// decode reads a frame. What it cannot read is answered under the number 0, which tells the proxy so.
func (d v2d) decode(frame []byte, c *call) error {
	c.kind = v2dKinds[frame[0]]
	switch c.kind {
	case callPing:
		return c.readPing(frame[1:])
	case callCancelAll:
		c.key.conn = d.conn
		return nil
	case callUnreadable, callHealth:
		return nil
	default:
		d.decodeEvent(frame[1:], c)
		return nil
	}
}

// decodeEvent reads what has a payload.
func (d v2d) decodeEvent(text []byte, c *call) {
	var p payload
	err := p.read(text)
	if err == nil {
		err = p.fill(c)
	}
	switch {
	case err == nil && p.RequestID != 0:
		c.key.number = p.RequestID
		if c.request != nil {
			c.request.conn = d.conn
		}
	case c.kind == callCancel:
		c.kind = callNothing // there is nobody to tell
	default:
		c.kind = callUnreadable
	}
}

func (v2d) encode(dst []byte, c *call, v *Verdict) []byte {
	switch c.kind {
	case callPing:
		return append(append(dst, typePingD+1), c.echo...)
	case callHealth:
		dst = append(append(dst, typeHealthD+1), `{"state":"healthy","timestamp":"`...)
		return append(time.Now().UTC().AppendFormat(dst, time.RFC3339), `"}`...)
	default:
		return appendDecisionD(dst, c, v)
	}
}

// appendDecisionD appends V2D's verdict. What is empty is left out.
func appendDecisionD(dst []byte, c *call, v *Verdict) []byte {
	dst = append(append(dst, typeDecision), `{"request_id":`...)
	dst = append(strconv.AppendUint(dst, c.key.number, 10), `,"decision":`...)
	if v.NeedsMore && v.Decision == Allowed {
		dst = append(dst, `{"needs_more":true}`...)
	} else {
		dst = appendDecision(dst, v)
	}
	if len(v.RequestOps) > 0 {
		dst = appendFlat(append(dst, `,"request_headers":`...), v.RequestOps)
	}
	if len(v.ResponseOps) > 0 {
		dst = appendFlat(append(dst, `,"response_headers":`...), v.ResponseOps)
	}
	if !v.Audit.empty() {
		dst = appendAudit(append(dst, `,"audit":`...), &v.Audit)
	}
	if v.Replace != nil {
		dst = appendMutation(dst, c, *v.Replace)
	}
	return append(dst, '}')
}

// appendFlat appends header operations, each with its name as a member.
func appendFlat(dst []byte, ops []HeaderOp) []byte {
	dst = append(dst, '[')
	for i, op := range ops {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, `{"operation":"`...), op.Kind.word()...), `","name":`...)
		dst = appendText(dst, op.Name)
		if op.Kind != RemoveHeader {
			dst = appendText(append(dst, `,"value":`...), op.Value)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// readPing keeps a ping's payload for the answer, which repeats it.
func (c *call) readPing(text []byte) error {
	if len(text) > maxEcho || len(text) > 0 && !jsontext.Value(text).IsValid() {
		return errPing
	}
	c.echo = text
	return nil
}
