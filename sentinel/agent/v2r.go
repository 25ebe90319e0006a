package agent

import "strconv"

// v2r is the v2 with correlation ids.
type v2r struct{ conn uint64 }

var v2rKinds = map[byte]callKind{
	typeRequestHeaders: callRequestHeaders,
	typeRequestBody:    callRequestBody,
	typeResponse:       callResponseHeaders,
	typeResponseBody:   callResponseBody,
	typeCompleteR:      callComplete,
	typeSocketR:        callUnreadable, // no handler for it: no verdict
	typeGuardrailR:     callNothing,    // agents of this dialect never answer it
	typeConfigureR:     callConfigure,
	typeCancelR:        callCancel,
	typePingR:          callPing,
}

func (v2r) maxFrame() int { return maxFrame2 }
func (v2r) ordered() bool { return false }

// decode reads a frame. What it cannot read ends the connection: it cannot be told which request that was.
func (d v2r) decode(frame []byte, c *call) error {
	kind, known := v2rKinds[frame[0]]
	c.kind = kind
	switch {
	case !known:
		return errFrameType
	case kind == callPing:
		return c.readPing(frame[1:])
	case kind == callNothing:
		return nil
	}
	var p payload
	if err := p.read(frame[1:]); err != nil {
		return err
	}
	if err := p.fill(c); err != nil {
		return err
	}
	c.key.id = p.CorrelationID
	if c.request != nil {
		c.key.id = c.request.CorrelationID
		c.request.conn = d.conn
	}
	if c.key.id == "" && kind != callConfigure {
		return errNoID
	}
	return nil
}

func (v2r) encode(dst []byte, c *call, v *Verdict) []byte {
	switch c.kind {
	case callPing:
		return append(append(dst, typePingR+1), c.echo...)
	case callComplete:
		v = Allow()
	case callConfigure:
		v = Allow()
		if c.problem != nil {
			v = Block(500, c.problem.Error())
		}
	default: // the handler's verdict
	}
	dst = appendHead(append(dst, typeDecision), v)
	dst = appendList(append(dst, `,"routing_metadata":{},"audit":{"tags":`...), v.Audit.Tags)
	dst = appendList(append(dst, `,"rule_ids":`...), v.Audit.RuleIDs)
	dst = appendConfidence(append(dst, `,"confidence":`...), &v.Audit)
	dst = appendList(append(dst, `,"reason_codes":`...), v.Audit.ReasonCodes)
	dst = appendCustom(append(dst, `,"custom":`...), &v.Audit, c.key.id)
	dst = strconv.AppendBool(append(dst, `},"needs_more":`...), v.NeedsMore)
	if v.Replace != nil {
		return append(appendMutation(dst, c, *v.Replace), '}')
	}
	return append(dst, `,"request_body_mutation":null,"response_body_mutation":null,"websocket_decision":null}`...)
}
