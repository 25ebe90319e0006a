package agent

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv2 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v2"
)

// grpcV2 serves the second version of the protocol over gRPC: a stream for each connection.
type grpcV2 struct {
	agentv2.UnimplementedAgentServiceV2Server

	dispatcher    *dispatcher
	conns         *atomic.Uint64 // numbers for streams
	name, version string
	draining      <-chan struct{}
}

// processStream is one stream. Its own goroutine reads inbox and answers at once what needs no handler; events
// of requests get a goroutine each, so that a slow one does not hold up others, nor its own cancellation.
type processStream struct {
	server *grpcV2
	number uint64
	stream agentv2.AgentServiceV2_ProcessStreamServer
	inbox  chan *agentv2.ProxyToAgent
	slots  chan struct{} // one for each event under way
	calls  sync.WaitGroup
	config string // of the handshake

	sending sync.Mutex // a stream takes one message at a time

	mu      sync.Mutex
	pending map[string]bool // events under way by correlation id; true: the request was canceled meanwhile
}

// ProcessStream serves one stream until the proxy ends it, or the agent is to stop: then events that have come
// are answered first.
func (g *grpcV2) ProcessStream(stream agentv2.AgentServiceV2_ProcessStreamServer) error {
	s := &processStream{
		server: g, number: g.conns.Add(1), stream: stream, inbox: make(chan *agentv2.ProxyToAgent),
		slots: make(chan struct{}, grpcCallsMax), pending: map[string]bool{},
	}
	defer func() {
		s.calls.Wait()
		g.dispatcher.disconnect(s.number, "disconnected")
	}()
	go s.read()
	late := time.NewTimer(grpcHandshake)
	defer late.Stop()
	select {
	case m, ok := <-s.inbox:
		if !ok {
			return nil
		}
		if err := s.shakeHands(m); err != nil {
			return err
		}
	case <-late.C:
		return status.Error(codes.DeadlineExceeded, "no handshake came")
	case <-g.draining:
		return nil
	}
	return s.serve()
}

// read passes on what comes until the stream ends. ProcessStream's return ends the stream.
func (s *processStream) read() {
	defer close(s.inbox)
	for {
		m, err := s.stream.Recv()
		if err != nil {
			return
		}
		select {
		case s.inbox <- m:
		case <-s.stream.Context().Done():
			return
		}
	}
}

func (s *processStream) serve() error {
	for {
		select {
		case m, ok := <-s.inbox:
			if !ok {
				return nil
			}
			if err := s.take(m); err != nil {
				return err
			}
		case <-s.server.draining:
			return nil
		}
	}
}

// shakeHands answers the first message. A proxy that offers another version, or whose configuration the handler
// does not take, is refused.
func (s *processStream) shakeHands(m *agentv2.ProxyToAgent) error {
	h := m.GetHandshake()
	if h == nil {
		return status.Error(codes.FailedPrecondition, "the first message is not a handshake")
	}
	answer := &agentv2.HandshakeResponse{ProtocolVersion: 2, Success: true, Capabilities: s.capabilities()}
	refuse := func(why string) { answer.Success, answer.Error = false, &why }
	offered := false
	for _, v := range h.GetSupportedVersions() {
		offered = offered || v == 2
	}
	if !offered {
		refuse("unsupported protocol version")
	}
	s.config = h.GetConfigJson()
	if c := s.config; offered && c != "" && c != "{}" && c != "null" {
		if err := s.configure(c); err != nil {
			refuse(clean(err.Error()))
		}
	}
	s.send(&agentv2.AgentToProxy{Message: &agentv2.AgentToProxy_Handshake{Handshake: answer}})
	if !answer.Success {
		return status.Error(codes.FailedPrecondition, answer.GetError())
	}
	return nil
}

func (s *processStream) capabilities() *agentv2.AgentCapabilities {
	return &agentv2.AgentCapabilities{
		ProtocolVersion: 2, AgentId: clean(s.server.name), Name: clean(s.server.name), Version: clean(s.server.version),
		SupportedEvents: []int32{
			int32(agentv2.EventType_EVENT_TYPE_REQUEST_HEADERS), int32(agentv2.EventType_EVENT_TYPE_REQUEST_BODY_CHUNK),
			int32(agentv2.EventType_EVENT_TYPE_RESPONSE_HEADERS), int32(agentv2.EventType_EVENT_TYPE_RESPONSE_BODY_CHUNK),
			int32(agentv2.EventType_EVENT_TYPE_REQUEST_COMPLETE), int32(agentv2.EventType_EVENT_TYPE_CONFIGURE),
		},
		Features: &agentv2.AgentFeatures{StreamingBody: s.server.dispatcher.chunks, ConfigPush: true, Cancellation: true},
		Limits:   &agentv2.AgentLimits{MaxBodySize: uint64(s.server.dispatcher.maxBody)},
	}
}

func (s *processStream) configure(config string) error {
	return s.server.dispatcher.configure(s.stream.Context(), json.RawMessage(config))
}

// take handles one message after the handshake. Its error ends the stream.
func (s *processStream) take(m *agentv2.ProxyToAgent) error {
	switch e := m.GetMessage().(type) {
	case *agentv2.ProxyToAgent_RequestHeaders:
		return s.ask(e.RequestHeaders.GetMetadata().GetCorrelationId(), func(ctx context.Context, k key) *Verdict {
			r := requestOfV2(e.RequestHeaders)
			r.conn = s.number
			return s.server.dispatcher.requestHeaders(ctx, k, r)
		})
	case *agentv2.ProxyToAgent_RequestBodyChunk:
		return s.ask(e.RequestBodyChunk.GetCorrelationId(), func(ctx context.Context, k key) *Verdict {
			return s.server.dispatcher.requestBody(ctx, k, chunkOfV2(e.RequestBodyChunk))
		})
	case *agentv2.ProxyToAgent_ResponseHeaders:
		return s.ask(e.ResponseHeaders.GetCorrelationId(), func(ctx context.Context, k key) *Verdict {
			h := e.ResponseHeaders
			return s.server.dispatcher.responseHeaders(ctx, k,
				&Response{Status: int(h.GetStatusCode()), Headers: headersOfV2(h.GetHeaders())})
		})
	case *agentv2.ProxyToAgent_ResponseBodyChunk:
		return s.ask(e.ResponseBodyChunk.GetCorrelationId(), func(ctx context.Context, k key) *Verdict {
			return s.server.dispatcher.responseBody(ctx, k, chunkOfV2(e.ResponseBodyChunk))
		})
	case *agentv2.ProxyToAgent_RequestComplete:
		return s.ask(e.RequestComplete.GetCorrelationId(), func(_ context.Context, k key) *Verdict {
			s.server.dispatcher.complete(k, completeOfV2(e.RequestComplete))
			return Allow()
		})
	case *agentv2.ProxyToAgent_Cancel:
		s.cancel(e.Cancel.GetCorrelationId())
	case *agentv2.ProxyToAgent_Configure:
		return s.reconfigure(e.Configure)
	case *agentv2.ProxyToAgent_Ping:
		s.send(&agentv2.AgentToProxy{Message: &agentv2.AgentToProxy_Pong{Pong: &agentv2.Pong{
			Sequence: e.Ping.GetSequence(), PingTimestampMs: e.Ping.GetTimestampMs(), TimestampMs: uint64(time.Now().UnixMilli()),
		}}})
	case *agentv2.ProxyToAgent_Handshake:
		return status.Error(codes.FailedPrecondition, "a second handshake")
	case *agentv2.ProxyToAgent_WebsocketFrame:
		s.answer(e.WebsocketFrame.GetCorrelationId(), Allow()) // the handler has no say in frames
	}
	return nil
}

// reconfigure takes a configuration that came by itself. There is no answer that could refuse it: the stream
// ends, and the next handshake is refused.
func (s *processStream) reconfigure(e *agentv2.ConfigureEvent) error {
	if e.GetIsInitial() && e.GetConfigJson() == s.config && s.config != "{}" {
		return nil // the handshake brought it
	}
	if err := s.configure(e.GetConfigJson()); err != nil {
		return status.Error(codes.FailedPrecondition, "the configuration was refused: "+clean(err.Error()))
	}
	return nil
}

// ask answers an event on a goroutine of its own. It waits while too many are under way.
func (s *processStream) ask(id string, handle func(context.Context, key) *Verdict) error {
	ctx := s.stream.Context()
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	s.pending[id] = false
	s.mu.Unlock()
	s.calls.Go(func() {
		defer func() { <-s.slots }()
		v := handle(ctx, key{id: id})
		s.settle(id)
		s.answer(id, v)
	})
	return nil
}

// cancel makes the handler forget a request, also one whose event has come and not reached it yet.
func (s *processStream) cancel(id string) {
	s.mu.Lock()
	if _, under := s.pending[id]; under {
		s.pending[id] = true
	}
	s.mu.Unlock()
	s.server.dispatcher.cancel(key{id: id})
}

// settle ends an event that was under way.
func (s *processStream) settle(id string) {
	s.mu.Lock()
	canceled := s.pending[id]
	delete(s.pending, id)
	s.mu.Unlock()
	if canceled {
		s.server.dispatcher.cancel(key{id: id})
	}
}

func (s *processStream) answer(id string, v *Verdict) {
	s.send(&agentv2.AgentToProxy{Message: &agentv2.AgentToProxy_Response{Response: responseV2(id, v)}})
}

// send sends one message. When the proxy does not read it waits, as long as the stream lives. It fails when the
// stream has ended, which read notices too.
func (s *processStream) send(m *agentv2.AgentToProxy) {
	s.sending.Lock()
	defer s.sending.Unlock()
	_ = s.stream.Send(m)
}
