package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	agentv1 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v1"
	agentv2 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v2"
)

// grpcSite is a server that serves over gRPC, and a client of it.
type grpcSite struct {
	t      testing.TB
	client *grpc.ClientConn
	stop   context.CancelFunc
	done   chan error
}

func serveOverGRPC(t testing.TB, s *Server) *grpcSite {
	t.Helper()
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	site := &grpcSite{t, client, stop, make(chan error, 1)}
	go func() { site.done <- s.ServeGRPC(ctx, l) }()
	t.Cleanup(func() {
		stop()
		_ = site.wait()
		_ = client.Close()
	})
	return site
}

func (s *grpcSite) wait() error {
	s.t.Helper()
	select {
	case err := <-s.done:
		s.done <- err
		return err
	case <-time.After(patience):
		s.t.Fatal("ServeGRPC does not return")
		return nil
	}
}

// v2Stream is a proxy's end of a stream.
type v2Stream struct {
	t testing.TB
	grpc.GenericClientStream[agentv2.ProxyToAgent, agentv2.AgentToProxy]
}

// open opens a stream, by the service's new or old name.
func (s *grpcSite) open(prefix string) *v2Stream {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	raw, err := s.client.NewStream(ctx, &agentv2.AgentServiceV2_ServiceDesc.Streams[0], "/"+prefix+"agent.v2.AgentServiceV2/ProcessStream")
	if err != nil {
		s.t.Fatal(err)
	}
	return &v2Stream{s.t, grpc.GenericClientStream[agentv2.ProxyToAgent, agentv2.AgentToProxy]{ClientStream: raw}}
}

func (s *v2Stream) send(m *agentv2.ProxyToAgent) {
	s.t.Helper()
	if err := s.Send(m); err != nil {
		s.t.Fatal(err)
	}
}

func (s *v2Stream) receive() *agentv2.AgentToProxy {
	s.t.Helper()
	m, err := s.Recv()
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// greeted opens a stream and shakes hands.
func (s *grpcSite) greeted() *v2Stream {
	s.t.Helper()
	stream := s.open("zentinel.")
	stream.send(helloV2("{}", 2))
	if h := stream.receive().GetHandshake(); !h.GetSuccess() {
		s.t.Fatalf("handshake %v", h)
	}
	return stream
}

func helloV2(config string, versions ...uint32) *agentv2.ProxyToAgent {
	return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_Handshake{Handshake: &agentv2.HandshakeRequest{
		SupportedVersions: versions, ProxyId: "p", ConfigJson: config,
	}}}
}

func headV2(id string) *agentv2.ProxyToAgent {
	return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_RequestHeaders{RequestHeaders: &agentv2.RequestHeadersEvent{
		Metadata: &agentv2.RequestMetadata{CorrelationId: id}, Method: "GET", Uri: "/",
	}}}
}

func headV1(id string) *agentv1.AgentRequest {
	return &agentv1.AgentRequest{Version: 1, Event: &agentv1.AgentRequest_RequestHeaders{RequestHeaders: &agentv1.RequestHeadersEvent{
		Metadata: &agentv1.RequestMetadata{CorrelationId: id}, Method: "GET", Uri: "/",
	}}}
}

func cancelV2(id string) *agentv2.ProxyToAgent {
	return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_Cancel{Cancel: &agentv2.CancelRequest{CorrelationId: id}}}
}

func (s *grpcSite) call(prefix string, m *agentv1.AgentRequest) (*agentv1.AgentResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := &agentv1.AgentResponse{}
	return r, s.client.Invoke(ctx, "/"+prefix+"agent.v1.AgentProcessor/ProcessEvent", m, r)
}

// TestGRPCNames has both services answer to both of their names, and the health service know them.
func TestGRPCNames(t *testing.T) {
	t.Parallel()
	s := serveOverGRPC(t, &Server{Handler: Base{}})
	for _, prefix := range grpcPrefixes {
		if r, err := s.call(prefix, headV1("a")); err != nil || r.GetAllow() == nil {
			t.Errorf("%s v1: %v, %v", prefix, r, err)
		}
		stream := s.open(prefix)
		stream.send(helloV2("{}", 2, 1))
		if h := stream.receive().GetHandshake(); !h.GetSuccess() || h.GetProtocolVersion() != 2 {
			t.Errorf("%s v2: %v", prefix, h)
		}
		for _, service := range []string{"", prefix + "agent.v1.AgentProcessor", prefix + "agent.v2.AgentServiceV2"} {
			r, err := grpc_health_v1.NewHealthClient(s.client).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
			if err != nil || r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
				t.Errorf("health of %q: %v, %v", service, r, err)
			}
		}
	}
}

// TestGRPCUndecided has nothing that is no verdict become one.
func TestGRPCUndecided(t *testing.T) {
	t.Parallel()
	s := serveOverGRPC(t, &Server{Handler: &script{requestHeaders: func(_ context.Context, r *Request) *Verdict {
		switch r.CorrelationID {
		case "nil":
			return nil
		case "panic":
			panic("on purpose")
		}
		return &Verdict{}
	}}})
	stream := s.greeted()
	for _, id := range []string{"nil", "panic", "undecided"} {
		stream.send(headV2(id))
		if r := stream.receive().GetResponse(); r.GetCorrelationId() != id || r.GetDecision() != nil {
			t.Errorf("%s: %v", id, r)
		}
		if _, err := s.call("zentinel.", headV1(id)); status.Code(err) != codes.Internal {
			t.Errorf("%s over v1: %v", id, err)
		}
	}
	stream.send(&agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_RequestBodyChunk{RequestBodyChunk: &agentv2.BodyChunkEvent{
		CorrelationId: "unknown", IsLast: true,
	}}})
	if r := stream.receive().GetResponse(); r.GetDecision() != nil {
		t.Errorf("an unknown request's body: %v", r)
	}
	if _, err := s.call("zentinel.", &agentv1.AgentRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no event: %v", err)
	}
}

// TestGRPCRefused is what ends a stream.
func TestGRPCRefused(t *testing.T) {
	t.Parallel()
	s := serveOverGRPC(t, &Server{Handler: &script{configure: func(c json.RawMessage) error {
		if strings.Contains(string(c), "bad") {
			return errors.New("bad words")
		}
		return nil
	}}})
	configure := func(config string) *agentv2.ProxyToAgent {
		return &agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_Configure{Configure: &agentv2.ConfigureEvent{
			ConfigJson: config, IsInitial: true,
		}}}
	}
	for name, c := range map[string]struct {
		messages []*agentv2.ProxyToAgent
		answers  int // before the end
	}{
		"no handshake":     {[]*agentv2.ProxyToAgent{headV2("a")}, 0},
		"another version":  {[]*agentv2.ProxyToAgent{helloV2("{}", 1, 3)}, 1},
		"bad config":       {[]*agentv2.ProxyToAgent{helloV2(`{"bad":1}`, 2)}, 1},
		"bad configure":    {[]*agentv2.ProxyToAgent{helloV2("{}", 2), configure(`{"bad":1}`)}, 1},
		"second handshake": {[]*agentv2.ProxyToAgent{helloV2("{}", 2), helloV2("{}", 2)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			stream := s.open("zentinel.")
			for _, m := range c.messages {
				stream.send(m)
			}
			for range c.answers {
				if h := stream.receive().GetHandshake(); h.GetSuccess() == (len(c.messages) == 1) {
					t.Errorf("%v", h)
				}
			}
			if _, err := stream.Recv(); status.Code(err) != codes.FailedPrecondition {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestGRPCConfigure gives the handler its configuration once, before anything else, however it comes.
func TestGRPCConfigure(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 10)
	s := serveOverGRPC(t, &Server{Handler: &script{configure: func(c json.RawMessage) error {
		seen <- string(c)
		return nil
	}}})
	for range 2 {
		stream := s.open("sentinel.")
		stream.send(helloV2(`{"a":1}`, 2))
		stream.send(&agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_Configure{Configure: &agentv2.ConfigureEvent{
			ConfigJson: `{"a":1}`, IsInitial: true,
		}}})
		stream.send(headV2("a"))
		stream.receive()
		stream.receive()
	}
	if first := <-seen; first != `{"a":1}` || len(seen) > 0 {
		t.Errorf("configured with %s, and %d times more", first, len(seen))
	}
}

// TestGRPCCancel ends the context of a handler that runs, while others go on.
func TestGRPCCancel(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	h := &script{end: make(chan struct{}, 10), requestHeaders: func(ctx context.Context, r *Request) *Verdict {
		if r.CorrelationID == "slow" {
			close(begun)
			<-ctx.Done()
		}
		return Allow()
	}}
	stream := serveOverGRPC(t, &Server{Handler: h}).greeted()
	stream.send(headV2("slow"))
	<-begun
	stream.send(headV2("quick"))
	if r := stream.receive().GetResponse(); r.GetCorrelationId() != "quick" || r.GetAllow() == nil {
		t.Errorf("%v", r)
	}
	stream.send(cancelV2("slow"))
	if r := stream.receive().GetResponse(); r.GetCorrelationId() != "slow" {
		t.Errorf("%v", r)
	}
	<-h.end
	if e := h.endings(); len(e) != 1 || !strings.HasPrefix(e[0], "slow") {
		t.Errorf("ended: %q", e)
	}
	stream.send(&agentv2.ProxyToAgent{Message: &agentv2.ProxyToAgent_Ping{Ping: &agentv2.Ping{Sequence: 9}}})
	if p := stream.receive().GetPong(); p.GetSequence() != 9 {
		t.Errorf("%v", p)
	}
}

// TestGRPCStreamEnds ends the requests of a stream with it, and no others.
func TestGRPCStreamEnds(t *testing.T) {
	t.Parallel()
	h := &script{end: make(chan struct{}, 10)}
	site := serveOverGRPC(t, &Server{Handler: h})
	stays, leaves := site.greeted(), site.greeted()
	for id, stream := range map[string]*v2Stream{"stays": stays, "leaves": leaves} {
		stream.send(headV2(id))
		stream.receive()
	}
	if err := leaves.CloseSend(); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the request", h.end)
	if got := h.endings(); !slices.Equal(got, []string{"leaves 0 disconnected"}) {
		t.Errorf("ended %q", got)
	}
}

// TestGRPCDrain answers what is under way, and cuts off what takes too long.
func TestGRPCDrain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit   time.Duration
		release bool
		want    error
	}{
		"in time":  {patience, true, nil},
		"too late": {50 * time.Millisecond, false, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun, release := make(chan struct{}), make(chan struct{})
			s := serveOverGRPC(t, &Server{DrainTimeout: c.limit, Handler: &script{
				requestHeaders: func(ctx context.Context, _ *Request) *Verdict {
					close(begun)
					select {
					case <-release:
					case <-ctx.Done():
					}
					return Allow()
				},
			}})
			stream, idle := s.greeted(), s.greeted()
			stream.send(headV2("a"))
			<-begun
			s.stop()
			if _, err := idle.Recv(); err == nil {
				t.Error("the idle stream goes on")
			}
			if c.release {
				close(release)
				if r := stream.receive().GetResponse(); r.GetAllow() == nil {
					t.Errorf("%v", r)
				}
			}
			if err := s.wait(); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// TestGRPCStrings has handlers return what messages cannot hold.
func TestGRPCStrings(t *testing.T) {
	t.Parallel()
	v := Block(0, "\xff").SetHeader("a\xff", "\xff").WithTag("\xff")
	v.Audit.Custom = map[string]json.RawMessage{"n": json.RawMessage("1"), "s": json.RawMessage(`"x"`)}
	s := serveOverGRPC(t, &Server{Handler: &script{requestHeaders: func(context.Context, *Request) *Verdict { return v }}})
	stream := s.greeted()
	stream.send(headV2("a"))
	r := stream.receive().GetResponse()
	if b := r.GetBlock(); b.GetBody() != "\uFFFD" || b.GetStatus() != 403 || b.GetHeaders()[0].GetName() != "a\uFFFD" {
		t.Errorf("%v", b)
	}
	if c := r.GetAudit().GetCustom(); c["n"] != "1" || c["s"] != "x" || r.GetAudit().GetTags()[0] != "\uFFFD" {
		t.Errorf("%v", r.GetAudit())
	}
	if r, err := s.call("sentinel.", headV1("b")); err != nil || r.GetBlock().GetBody() != "\uFFFD" {
		t.Errorf("%v, %v", r, err)
	}
}
