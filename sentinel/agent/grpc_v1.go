package agent

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v1"
)

// grpcV1 serves the first version of the protocol over gRPC: one call for each event.
type grpcV1 struct {
	agentv1.UnimplementedAgentProcessorServer

	dispatcher *dispatcher
}

// errUndecided is the answer to an event without a verdict. It is an error and not an answer without a
// decision, because there are proxies that take such an answer for an allow.
var errUndecided = status.Error(codes.Internal, "no verdict")

// ProcessEvent answers one event.
func (g *grpcV1) ProcessEvent(ctx context.Context, m *agentv1.AgentRequest) (*agentv1.AgentResponse, error) {
	var v *Verdict
	response := false // the event is about the response
	switch e := m.GetEvent().(type) {
	case *agentv1.AgentRequest_RequestHeaders:
		r := requestOfV1(e.RequestHeaders)
		v = g.dispatcher.requestHeaders(ctx, key{id: r.CorrelationID}, r)
	case *agentv1.AgentRequest_RequestBodyChunk:
		v = g.dispatcher.requestBody(ctx, key{id: e.RequestBodyChunk.GetCorrelationId()}, chunkOfV1(e.RequestBodyChunk))
	case *agentv1.AgentRequest_ResponseHeaders:
		h := e.ResponseHeaders
		v = g.dispatcher.responseHeaders(ctx, key{id: h.GetCorrelationId()},
			&Response{Status: int(h.GetStatus()), Headers: headersOfV1(h.GetHeaders())})
	case *agentv1.AgentRequest_ResponseBodyChunk:
		response = true
		v = g.dispatcher.responseBody(ctx, key{id: e.ResponseBodyChunk.GetCorrelationId()}, responseChunkOfV1(e.ResponseBodyChunk))
	case *agentv1.AgentRequest_RequestComplete:
		g.dispatcher.complete(key{id: e.RequestComplete.GetCorrelationId()}, completeOfV1(e.RequestComplete))
		v = Allow()
	default:
		return nil, status.Error(codes.InvalidArgument, "no event that this agent knows")
	}
	if v.Decision == Undecided {
		return nil, errUndecided
	}
	return responseV1(v, response), nil
}

func requestOfV1(e *agentv1.RequestHeadersEvent) *Request {
	m := e.GetMetadata()
	at, _ := time.Parse(time.RFC3339Nano, m.GetTimestamp()) // the zero time says: unknown
	return &Request{
		Metadata: Metadata{
			CorrelationID: m.GetCorrelationId(), RequestID: m.GetRequestId(),
			ClientIP: m.GetClientIp(), ClientPort: int(m.GetClientPort()), ServerName: m.GetServerName(),
			Protocol: m.GetProtocol(), TLSVersion: m.GetTlsVersion(), TLSCipher: m.GetTlsCipher(),
			RouteID: m.GetRouteId(), UpstreamID: m.GetUpstreamId(), Timestamp: at, Traceparent: m.GetTraceparent(),
		},
		Method: e.GetMethod(), URI: e.GetUri(), Headers: headersOfV1(e.GetHeaders()),
	}
}

func headersOfV1(fields map[string]*agentv1.HeaderValues) Headers {
	h := make(Headers, len(fields))
	for name, values := range fields {
		for _, value := range values.GetValues() {
			h.add(name, value)
		}
	}
	return h
}

func chunkOfV1(e *agentv1.RequestBodyChunkEvent) *Chunk {
	return &Chunk{
		Data: e.GetData(), Index: int(e.GetChunkIndex()), Last: e.GetIsLast(),
		Total: sizeOf(e.TotalSize), Sent: signed(e.GetBytesReceived()),
	}
}

func responseChunkOfV1(e *agentv1.ResponseBodyChunkEvent) *Chunk {
	return &Chunk{
		Data: e.GetData(), Index: int(e.GetChunkIndex()), Last: e.GetIsLast(),
		Total: sizeOf(e.TotalSize), Sent: signed(e.GetBytesSent()),
	}
}

func completeOfV1(e *agentv1.RequestCompleteEvent) *Complete {
	return &Complete{
		Status: int(e.GetStatus()), Duration: milliseconds(e.GetDurationMs()),
		RequestBody: signed(e.GetRequestBodySize()), ResponseBody: signed(e.GetResponseBodySize()),
		Attempts: int(e.GetUpstreamAttempts()), Error: e.GetError(),
	}
}

// responseV1 is a verdict that is one as a message.
func responseV1(v *Verdict, response bool) *agentv1.AgentResponse {
	m := &agentv1.AgentResponse{
		Version: 1, NeedsMore: v.NeedsMore, RequestHeaders: opsV1(v.RequestOps), ResponseHeaders: opsV1(v.ResponseOps),
		Audit: &agentv1.AuditMetadata{
			Tags: cleanAll(v.Audit.Tags), RuleIds: cleanAll(v.Audit.RuleIDs), Confidence: confidence(v.Audit.Confidence),
			ReasonCodes: cleanAll(v.Audit.ReasonCodes), Custom: texts(v.Audit.Custom),
		},
	}
	switch {
	case v.Replace == nil:
	case response:
		m.ResponseBodyMutation = &agentv1.BodyMutation{Data: present(*v.Replace)}
	default:
		m.RequestBodyMutation = &agentv1.BodyMutation{Data: present(*v.Replace)}
	}
	switch v.Decision {
	case Allowed:
		m.Decision = &agentv1.AgentResponse_Allow{Allow: &agentv1.AllowDecision{}}
	case Blocked:
		body := clean(v.Body)
		m.Decision = &agentv1.AgentResponse_Block{Block: &agentv1.BlockDecision{
			Status: statusOr(v.Status, 403), Body: &body, Headers: cleanMap(v.Headers),
		}}
	case Redirected:
		m.Decision = &agentv1.AgentResponse_Redirect{Redirect: &agentv1.RedirectDecision{
			Url: clean(v.URL), Status: statusOr(v.Status, 302),
		}}
	case Challenged:
		m.Decision = &agentv1.AgentResponse_Challenge{Challenge: &agentv1.ChallengeDecision{
			ChallengeType: clean(v.Kind), Params: cleanMap(v.Params),
		}}
	case Undecided:
	}
	return m
}

func opsV1(ops []HeaderOp) []*agentv1.HeaderOp {
	list := make([]*agentv1.HeaderOp, len(ops))
	for i, op := range ops {
		name, value := clean(op.Name), clean(op.Value)
		switch op.Kind {
		case RemoveHeader:
			list[i] = &agentv1.HeaderOp{Operation: &agentv1.HeaderOp_Remove{Remove: &agentv1.RemoveHeader{Name: name}}}
		case SetHeader:
			list[i] = &agentv1.HeaderOp{Operation: &agentv1.HeaderOp_Set{Set: &agentv1.SetHeader{Name: name, Value: value}}}
		case AddHeader:
			list[i] = &agentv1.HeaderOp{Operation: &agentv1.HeaderOp_Add{Add: &agentv1.AddHeader{Name: name, Value: value}}}
		}
	}
	return list
}
