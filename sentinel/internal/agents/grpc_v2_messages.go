package agents

import (
	"bytes"
	"fmt"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	agentv2 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v2"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

func nowMillis() uint64 { return uint64(time.Now().UnixMilli()) }

func handshakeG2(o *Options) *agentv2.ProxyToAgent {
	config := "{}"
	if o.Config != nil {
		config = string(o.Config)
	}
	return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_Handshake{Handshake: &agentv2.HandshakeRequest{
		SupportedVersions: []uint32{2}, ProxyId: clientName, ProxyVersion: o.ProxyVersion, ConfigJson: config,
	}}}
}

// greetingG2 reads the answer to a handshake.
func greetingG2(m *agentv2.AgentToProxy) (Greeting, error) {
	h := m.GetHandshake()
	switch {
	case h == nil:
		return Greeting{}, badReply("no handshake came first")
	case !h.GetSuccess():
		return Greeting{}, unavailable(fmt.Errorf("%w: %q", errRefused, clip(h.GetError())))
	case h.GetProtocolVersion() != 2:
		return Greeting{}, badReply("protocol version %d, offered was 2", h.GetProtocolVersion())
	}
	c := h.GetCapabilities()
	return Greeting{
		Dialect: G2, Name: clip(c.GetName()), Version: clip(c.GetVersion()),
		MaxConcurrent: int(c.GetFeatures().GetConcurrentRequests()), Cancels: c.GetFeatures().GetCancellation(),
	}, nil
}

func configureG2(o *Options) *agentv2.ProxyToAgent {
	return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_Configure{Configure: &agentv2.ConfigureEvent{
		ConfigJson: string(o.Config), IsInitial: true, TimestampMs: nowMillis(),
	}}}
}

func pingG2(sequence uint64) *agentv2.ProxyToAgent {
	return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_Ping{Ping: &agentv2.Ping{
		Sequence: sequence, TimestampMs: nowMillis(),
	}}}
}

func cancelG2(id []byte, why CancelReason) *agentv2.ProxyToAgent {
	return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_Cancel{Cancel: &agentv2.CancelRequest{
		CorrelationId: valid(id), Reason: int32(why), TimestampMs: nowMillis(),
	}}}
}

// eventG2 is an event as a message of its own: nothing in it is borrowed.
func eventG2(id []byte, e *Event) *agentv2.ProxyToAgent {
	switch e.Kind {
	case RequestHeaders:
		return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_RequestHeaders{RequestHeaders: requestG2(id, e.Request)}}
	case RequestBody:
		return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_RequestBodyChunk{RequestBodyChunk: chunkG2(id, &e.Chunk)}}
	case ResponseHeaders:
		return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_ResponseHeaders{ResponseHeaders: &agentv2.ResponseHeadersEvent{
			CorrelationId: valid(id), StatusCode: uint32(e.Status), Headers: fieldsG2(nil, e.Fields),
		}}}
	case ResponseBody:
		return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_ResponseBodyChunk{ResponseBodyChunk: chunkG2(id, &e.Chunk)}}
	case RequestComplete:
		c := &e.Complete
		return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_RequestComplete{RequestComplete: &agentv2.RequestCompleteEvent{
			CorrelationId: valid(id), StatusCode: uint32(c.Status), DurationMs: uint64(c.Duration.Milliseconds()),
			BytesReceived: uint64(c.RequestBytes), BytesSent: uint64(c.ResponseBytes), Error: optional(c.Error),
		}}}
	}
	panic(fmt.Sprintf("event kind %d", e.Kind))
}

func requestG2(id []byte, r *Request) *agentv2.RequestHeadersEvent {
	return &agentv2.RequestHeadersEvent{
		Metadata: &agentv2.RequestMetadata{
			CorrelationId: valid(id), RequestId: valid(r.RequestID),
			ClientIp: clientIP(r.Client), ClientPort: uint32(r.Client.Port()), ServerName: optional(r.ServerName),
			Protocol: valid(r.Protocol), TlsVersion: optional(r.TLSVersion), RouteId: optional(r.Route),
			UpstreamId: optional(r.Upstream), TimestampMs: uint64(r.Time.UnixMilli()), Traceparent: optional(r.Traceparent),
		},
		Method: valid(r.Method), Uri: uri(r), HttpVersion: valid(r.Protocol), Headers: fieldsG2(r.Host, r.Fields),
	}
}

func fieldsG2(host []byte, fields []wire.Field) []*agentv2.Header {
	list := make([]*agentv2.Header, 0, len(fields)+1)
	if len(host) > 0 {
		list = append(list, &agentv2.Header{Name: "host", Value: valid(host)})
	}
	for _, f := range fields {
		list = append(list, &agentv2.Header{Name: lower(f.Name), Value: valid(f.Value)})
	}
	return list
}

func chunkG2(id []byte, c *Chunk) *agentv2.BodyChunkEvent {
	return &agentv2.BodyChunkEvent{
		CorrelationId: valid(id), ChunkIndex: uint32(c.Index), Data: bytes.Clone(c.Data), IsLast: c.Last,
		TotalSize: size(c.Total), BytesTransferred: uint64(c.Sent), TimestampMs: nowMillis(),
	}
}

// verdictG2 reads a verdict. Without a decision it is none.
func verdictG2(r *agentv2.AgentResponse) (*agent.Verdict, error) {
	v := &agent.Verdict{NeedsMore: r.GetNeedsMore()}
	switch d := r.GetDecision().(type) {
	case *agentv2.AgentResponse_Allow:
		v.Decision = agent.Allowed
	case *agentv2.AgentResponse_Block:
		v.Decision, v.Status, v.Body = agent.Blocked, int(d.Block.GetStatus()), d.Block.GetBody()
		for _, h := range d.Block.GetHeaders() {
			v.SetHeader(h.GetName(), h.GetValue())
		}
	case *agentv2.AgentResponse_Redirect:
		v.Decision, v.Status, v.URL = agent.Redirected, int(d.Redirect.GetStatus()), d.Redirect.GetUrl()
	case *agentv2.AgentResponse_Challenge:
		v.Decision, v.Kind, v.Params = agent.Challenged, d.Challenge.GetChallengeType(), d.Challenge.GetParams()
	default:
		return nil, &Failure{BadReply, errNoDecision}
	}
	var err error
	if v.RequestOps, err = opsG2(r.GetRequestHeaders()); err != nil {
		return nil, err
	}
	if v.ResponseOps, err = opsG2(r.GetResponseHeaders()); err != nil {
		return nil, err
	}
	if a := r.GetAudit(); a != nil {
		v.Audit = auditOf(a.Tags, a.RuleIds, a.ReasonCodes, a.Confidence, a.Custom)
	}
	if err = checkVerdict(v); err != nil {
		return nil, badReply("%w", err)
	}
	return v, nil
}

func opsG2(list []*agentv2.HeaderOp) (ops []agent.HeaderOp, err error) {
	if len(list) > maxOps {
		return nil, &Failure{BadReply, errTooMuch}
	}
	for _, m := range list {
		switch op := m.GetOperation().(type) {
		case *agentv2.HeaderOp_Set:
			ops = append(ops, agent.HeaderOp{Kind: agent.SetHeader, Name: op.Set.GetName(), Value: op.Set.GetValue()})
		case *agentv2.HeaderOp_Add:
			ops = append(ops, agent.HeaderOp{Kind: agent.AddHeader, Name: op.Add.GetName(), Value: op.Add.GetValue()})
		case *agentv2.HeaderOp_Remove:
			ops = append(ops, agent.HeaderOp{Kind: agent.RemoveHeader, Name: op.Remove})
		default:
			return nil, &Failure{BadReply, errBadOp}
		}
	}
	return ops, nil
}
