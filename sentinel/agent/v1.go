package agent

import (
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// v1 is the first dialect: envelopes without ids. Its requests belong to their connection.
type v1 struct{ conn uint64 }

var v1Kinds = map[string]callKind{
	"configure":           callConfigure,
	"request_headers":     callRequestHeaders,
	"request_body_chunk":  callRequestBody,
	"response_headers":    callResponseHeaders,
	"response_body_chunk": callResponseBody,
	"request_complete":    callComplete,
}

func (v1) maxFrame() int { return maxFrame1 }
func (v1) ordered() bool { return true }

// decode reads an envelope. An event that the kit does not know gets no verdict, rather than a hollow one.
func (d v1) decode(frame []byte, c *call) error {
	var envelope struct {
		EventType string  `json:"event_type"`
		Payload   payload `json:"payload"`
	}
	if err := json.Unmarshal(frame, &envelope); err != nil {
		return err
	}
	p := &envelope.Payload
	c.kind = v1Kinds[envelope.EventType]
	if err := p.fill(c); err != nil {
		return err
	}
	c.key = key{conn: d.conn, id: p.CorrelationID}
	if c.request != nil {
		c.key.id = c.request.CorrelationID
		c.request.conn = d.conn
	}
	if c.key.id == "" && c.kind != callConfigure && c.kind != callUnreadable {
		return errNoID
	}
	return nil
}

func (v1) encode(dst []byte, c *call, v *Verdict) []byte {
	switch {
	case c.kind == callComplete, c.kind == callConfigure && c.problem == nil:
		return append(dst, `{"success":true}`...)
	case c.kind == callConfigure:
		dst = append(dst, `{"success":false,"error":`...)
		return append(appendText(dst, c.problem.Error()), '}')
	}
	dst = appendHead(dst, v)
	dst = appendAudit(append(dst, `,"routing_metadata":{},"audit":`...), &v.Audit)
	dst = strconv.AppendBool(append(dst, `,"needs_more":`...), v.NeedsMore)
	if v.Replace != nil {
		dst = appendMutation(dst, c, *v.Replace)
	}
	return append(dst, '}')
}

// appendHead appends what the replies of V1 and V2R begin with.
func appendHead(dst []byte, v *Verdict) []byte {
	dst = appendDecision(append(dst, `{"version":2,"decision":`...), v)
	dst = appendTagged(append(dst, `,"request_headers":`...), v.RequestOps)
	return appendTagged(append(dst, `,"response_headers":`...), v.ResponseOps)
}

// appendTagged appends header operations, each named by the member that it is in.
func appendTagged(dst []byte, ops []HeaderOp) []byte {
	dst = append(dst, '[')
	for i, op := range ops {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, `{"`...), op.Kind.word()...), `":{"name":`...)
		dst = appendText(dst, op.Name)
		if op.Kind != RemoveHeader {
			dst = appendText(append(dst, `,"value":`...), op.Value)
		}
		dst = append(dst, `}}`...)
	}
	return append(dst, ']')
}

// appendMutation appends what a body's chunk becomes.
func appendMutation(dst []byte, c *call, data []byte) []byte {
	if c.kind == callRequestBody {
		dst = append(dst, `,"request_body_mutation":{"data":`...)
	} else {
		dst = append(dst, `,"response_body_mutation":{"data":`...)
	}
	dst = appendBase64(dst, data)
	dst = strconv.AppendInt(append(dst, `,"chunk_index":`...), int64(c.chunk.Index), 10)
	return append(dst, '}')
}

// appendText appends a JSON string. What is not UTF-8 becomes U+FFFD.
func appendText(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // its error says that there was some
	return dst
}
