package agents

import (
	"encoding/base64"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	agentv1 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v1"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// eventG1 is an event as a message. The data of a chunk is borrowed, unless it is base64.
func eventG1(id []byte, e *Event, isBase64 bool) *agentv1.AgentRequest {
	m := &agentv1.AgentRequest{Version: 1}
	switch c := &e.Chunk; e.Kind {
	case RequestHeaders:
		m.EventType = agentv1.EventType_EVENT_TYPE_REQUEST_HEADERS
		m.Event = &agentv1.AgentRequest_RequestHeaders{RequestHeaders: requestG1(id, e.Request)}
	case RequestBody:
		m.EventType = agentv1.EventType_EVENT_TYPE_REQUEST_BODY_CHUNK
		m.Event = &agentv1.AgentRequest_RequestBodyChunk{RequestBodyChunk: &agentv1.RequestBodyChunkEvent{
			CorrelationId: valid(id), Data: bodyG1(c.Data, isBase64), IsLast: c.Last, TotalSize: size(c.Total),
			ChunkIndex: uint32(c.Index), BytesReceived: uint64(c.Sent),
		}}
	case ResponseHeaders:
		m.EventType = agentv1.EventType_EVENT_TYPE_RESPONSE_HEADERS
		m.Event = &agentv1.AgentRequest_ResponseHeaders{ResponseHeaders: &agentv1.ResponseHeadersEvent{
			CorrelationId: valid(id), Status: uint32(e.Status), Headers: fieldsG1(nil, e.Fields),
		}}
	case ResponseBody:
		m.EventType = agentv1.EventType_EVENT_TYPE_RESPONSE_BODY_CHUNK
		m.Event = &agentv1.AgentRequest_ResponseBodyChunk{ResponseBodyChunk: &agentv1.ResponseBodyChunkEvent{
			CorrelationId: valid(id), Data: bodyG1(c.Data, isBase64), IsLast: c.Last, TotalSize: size(c.Total),
			ChunkIndex: uint32(c.Index), BytesSent: uint64(c.Sent),
		}}
	case RequestComplete:
		m.EventType = agentv1.EventType_EVENT_TYPE_REQUEST_COMPLETE
		m.Event = &agentv1.AgentRequest_RequestComplete{RequestComplete: completeG1(id, &e.Complete)}
	default:
		panic(fmt.Sprintf("event kind %d", e.Kind))
	}
	return m
}

func requestG1(id []byte, r *Request) *agentv1.RequestHeadersEvent {
	return &agentv1.RequestHeadersEvent{
		Metadata: &agentv1.RequestMetadata{
			CorrelationId: valid(id), RequestId: valid(r.RequestID),
			ClientIp: clientIP(r.Client), ClientPort: uint32(r.Client.Port()), ServerName: optional(r.ServerName),
			Protocol: valid(r.Protocol), TlsVersion: optional(r.TLSVersion), TlsCipher: optional(r.TLSCipher),
			RouteId: optional(r.Route), UpstreamId: optional(r.Upstream),
			Timestamp: r.Time.UTC().Format(stampLayout), Traceparent: optional(r.Traceparent),
		},
		Method: valid(r.Method), Uri: uri(r), Headers: fieldsG1(r.Host, r.Fields),
	}
}

func completeG1(id []byte, c *Complete) *agentv1.RequestCompleteEvent {
	return &agentv1.RequestCompleteEvent{
		CorrelationId: valid(id), Status: uint32(c.Status), DurationMs: uint64(c.Duration.Milliseconds()),
		RequestBodySize: uint64(c.RequestBytes), ResponseBodySize: uint64(c.ResponseBytes),
		UpstreamAttempts: uint32(c.Attempts), Error: optional(c.Error),
	}
}

func fieldsG1(host []byte, fields []wire.Field) map[string]*agentv1.HeaderValues {
	m := make(map[string]*agentv1.HeaderValues, len(fields)+1)
	if len(host) > 0 {
		m["host"] = &agentv1.HeaderValues{Values: []string{valid(host)}}
	}
	for _, f := range fields {
		name := lower(f.Name)
		if m[name] == nil {
			m[name] = &agentv1.HeaderValues{}
		}
		m[name].Values = append(m[name].Values, valid(f.Value))
	}
	return m
}

func bodyG1(data []byte, isBase64 bool) []byte {
	if !isBase64 {
		return data
	}
	return base64.StdEncoding.AppendEncode(nil, data)
}

// verdictG1 reads a verdict on an event. Without a decision it is none.
func verdictG1(r *agentv1.AgentResponse, kind EventKind, o *Options) (*agent.Verdict, error) {
	v := &agent.Verdict{NeedsMore: r.GetNeedsMore()}
	switch d := r.GetDecision().(type) {
	case *agentv1.AgentResponse_Allow:
		v.Decision = agent.Allowed
	case *agentv1.AgentResponse_Block:
		v.Decision, v.Status, v.Body, v.Headers = agent.Blocked, int(d.Block.GetStatus()), d.Block.GetBody(), d.Block.GetHeaders()
	case *agentv1.AgentResponse_Redirect:
		v.Decision, v.Status, v.URL = agent.Redirected, int(d.Redirect.GetStatus()), d.Redirect.GetUrl()
	case *agentv1.AgentResponse_Challenge:
		v.Decision, v.Kind, v.Params = agent.Challenged, d.Challenge.GetChallengeType(), d.Challenge.GetParams()
	default:
		return nil, &Failure{BadReply, errNoDecision}
	}
	var err error
	if v.RequestOps, err = opsG1(r.GetRequestHeaders()); err != nil {
		return nil, err
	}
	if v.ResponseOps, err = opsG1(r.GetResponseHeaders()); err != nil {
		return nil, err
	}
	if v.Replace, err = replacement(mutationG1(r, kind), o.Base64Bodies); err != nil {
		return nil, err
	}
	if n := proto.Size(r); v.Replace == nil && o.MaxReply > 0 && int64(n) > o.MaxReply {
		return nil, badReply("a verdict of %d bytes, over the limit of %d", n, o.MaxReply)
	}
	if a := r.GetAudit(); a != nil {
		v.Audit = auditOf(a.Tags, a.RuleIds, a.ReasonCodes, a.Confidence, a.Custom)
	}
	if err = checkVerdict(v); err != nil {
		return nil, badReply("%w", err)
	}
	return v, nil
}

// mutationG1 is what a verdict puts in the place of the chunk that it is about; nil for nothing.
func mutationG1(r *agentv1.AgentResponse, kind EventKind) []byte {
	m := r.GetRequestBodyMutation()
	if kind == ResponseBody {
		m = r.GetResponseBodyMutation()
	} else if kind != RequestBody {
		return nil
	}
	if m == nil {
		return nil
	}
	return m.Data
}

func opsG1(list []*agentv1.HeaderOp) (ops []agent.HeaderOp, err error) {
	if len(list) > maxOps {
		return nil, &Failure{BadReply, errTooMuch}
	}
	for _, m := range list {
		switch op := m.GetOperation().(type) {
		case *agentv1.HeaderOp_Set:
			ops = append(ops, agent.HeaderOp{Kind: agent.SetHeader, Name: op.Set.GetName(), Value: op.Set.GetValue()})
		case *agentv1.HeaderOp_Add:
			ops = append(ops, agent.HeaderOp{Kind: agent.AddHeader, Name: op.Add.GetName(), Value: op.Add.GetValue()})
		case *agentv1.HeaderOp_Remove:
			ops = append(ops, agent.HeaderOp{Kind: agent.RemoveHeader, Name: op.Remove.GetName()})
		default:
			return nil, &Failure{BadReply, errBadOp}
		}
	}
	return ops, nil
}
