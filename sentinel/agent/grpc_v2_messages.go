package agent

import (
	"time"

	agentv2 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v2"
)

func requestOfV2(e *agentv2.RequestHeadersEvent) *Request {
	m := e.GetMetadata()
	return &Request{
		Metadata: Metadata{
			CorrelationID: m.GetCorrelationId(), RequestID: m.GetRequestId(),
			ClientIP: m.GetClientIp(), ClientPort: int(m.GetClientPort()), ServerName: m.GetServerName(),
			Protocol: m.GetProtocol(), TLSVersion: m.GetTlsVersion(), RouteID: m.GetRouteId(), UpstreamID: m.GetUpstreamId(),
			Timestamp: time.UnixMilli(signed(m.GetTimestampMs())), Traceparent: m.GetTraceparent(),
		},
		Method: e.GetMethod(), URI: e.GetUri(), Headers: headersOfV2(e.GetHeaders()),
	}
}

func headersOfV2(fields []*agentv2.Header) Headers {
	h := make(Headers, len(fields))
	for _, f := range fields {
		h.add(f.GetName(), f.GetValue())
	}
	return h
}

func chunkOfV2(e *agentv2.BodyChunkEvent) *Chunk {
	return &Chunk{
		Data: e.GetData(), Index: int(e.GetChunkIndex()), Last: e.GetIsLast(),
		Total: sizeOf(e.TotalSize), Sent: signed(e.GetBytesTransferred()),
	}
}

func completeOfV2(e *agentv2.RequestCompleteEvent) *Complete {
	return &Complete{
		Status: int(e.GetStatusCode()), Duration: milliseconds(e.GetDurationMs()),
		RequestBody: signed(e.GetBytesReceived()), ResponseBody: signed(e.GetBytesSent()), Error: e.GetError(),
	}
}

// responseV2 is a verdict as a message; without a decision if there is none, or if it replaces a body.
func responseV2(id string, v *Verdict) *agentv2.AgentResponse {
	m := &agentv2.AgentResponse{CorrelationId: id}
	if v.Decision == Undecided || v.Replace != nil {
		return m
	}
	m.NeedsMore, m.RequestHeaders, m.ResponseHeaders = v.NeedsMore, opsV2(v.RequestOps), opsV2(v.ResponseOps)
	m.Audit = &agentv2.AuditMetadata{
		Tags: cleanAll(v.Audit.Tags), RuleIds: cleanAll(v.Audit.RuleIDs), Confidence: confidence(v.Audit.Confidence),
		ReasonCodes: cleanAll(v.Audit.ReasonCodes), Custom: texts(v.Audit.Custom),
	}
	switch v.Decision {
	case Allowed:
		m.Decision = &agentv2.AgentResponse_Allow{Allow: &agentv2.AllowDecision{}}
	case Blocked:
		body := clean(v.Body)
		m.Decision = &agentv2.AgentResponse_Block{Block: &agentv2.BlockDecision{
			Status: statusOr(v.Status, 403), Body: &body, Headers: fieldsV2(v.Headers),
		}}
	case Redirected:
		m.Decision = &agentv2.AgentResponse_Redirect{Redirect: &agentv2.RedirectDecision{
			Url: clean(v.URL), Status: statusOr(v.Status, 302),
		}}
	case Challenged:
		m.Decision = &agentv2.AgentResponse_Challenge{Challenge: &agentv2.ChallengeDecision{
			ChallengeType: clean(v.Kind), Params: cleanMap(v.Params),
		}}
	case Undecided:
	}
	return m
}

func fieldsV2(h map[string]string) []*agentv2.Header {
	var list []*agentv2.Header
	for name, value := range h {
		list = append(list, &agentv2.Header{Name: clean(name), Value: clean(value)})
	}
	return list
}

func opsV2(ops []HeaderOp) []*agentv2.HeaderOp {
	list := make([]*agentv2.HeaderOp, len(ops))
	for i, op := range ops {
		field := &agentv2.Header{Name: clean(op.Name), Value: clean(op.Value)}
		switch op.Kind {
		case RemoveHeader:
			list[i] = &agentv2.HeaderOp{Operation: &agentv2.HeaderOp_Remove{Remove: field.Name}}
		case SetHeader:
			list[i] = &agentv2.HeaderOp{Operation: &agentv2.HeaderOp_Set{Set: field}}
		case AddHeader:
			list[i] = &agentv2.HeaderOp{Operation: &agentv2.HeaderOp_Add{Add: field}}
		}
	}
	return list
}
