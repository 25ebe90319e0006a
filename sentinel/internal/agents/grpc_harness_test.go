package agents

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
	agentv1 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v1"
	agentv2 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v2"
	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// grpcPatience bounds what must happen in gRPC tests.
const grpcPatience = 10 * time.Second

// fakeG2 is an agent of dialect G2 that fails the test on whatever has no place in the dialect. What it answers
// is up to answer; without it, allow.
type fakeG2 struct {
	agentv2.UnimplementedAgentServiceV2Server

	t        testing.TB
	config   string // that must come; empty: none
	refuse   string // the handshake, with these words
	greeting *agentv2.AgentToProxy
	answer   func(*fakeStream, *agentv2.ProxyToAgent) error
	streams  atomic.Int64
	seen     chan *agentv2.ProxyToAgent // what has no answer: cancel and configure
}

// errEnd makes a fakeG2 end the stream without an error.
var errEnd = errors.New("end")

// fakeStream is one stream of a fakeG2.
type fakeStream struct {
	agentv2.AgentServiceV2_ProcessStreamServer

	t testing.TB
}

func (f *fakeG2) ProcessStream(raw agentv2.AgentServiceV2_ProcessStreamServer) error {
	f.streams.Add(1)
	s := &fakeStream{raw, f.t}
	m, err := s.Recv()
	if err != nil {
		return err
	}
	h := m.GetHandshake()
	want := f.config
	if want == "" {
		want = "{}"
	}
	if h == nil || len(h.SupportedVersions) != 1 || h.SupportedVersions[0] != 2 || h.ProxyId == "" || h.ConfigJson != want {
		f.t.Errorf("handshake %v", m)
	}
	switch {
	case f.greeting != nil:
		s.send(f.greeting)
	case f.refuse != "":
		s.send(greetingMessage(false, f.refuse))
		return nil
	default:
		s.send(greetingMessage(true, ""))
	}
	for configured := f.config == ""; ; {
		m, err := s.Recv()
		if err != nil {
			return nil
		}
		if c := m.GetConfigure(); c != nil {
			if configured || !c.IsInitial || c.ConfigJson != f.config {
				f.t.Errorf("configure %v", c)
			}
			configured = true
			s.send(replyG2("", allowG2)) // as some agents do
			continue
		}
		if !configured {
			f.t.Errorf("%T before configure", m.GetMessage())
		}
		if err := f.take(s, m); errors.Is(err, errEnd) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (f *fakeG2) take(s *fakeStream, m *agentv2.ProxyToAgent) error {
	switch m.GetMessage().(type) {
	case *agentv2.ProxyToAgent_Cancel:
		f.see(s, m)
		return nil
	case *agentv2.ProxyToAgent_Ping:
		s.send(&agentv2.AgentToProxy{Message: &agentv2.AgentToProxy_Pong{Pong: &agentv2.Pong{Sequence: m.GetPing().Sequence}}})
		return nil
	case *agentv2.ProxyToAgent_RequestComplete:
		f.see(s, m)
	case *agentv2.ProxyToAgent_RequestHeaders, *agentv2.ProxyToAgent_RequestBodyChunk,
		*agentv2.ProxyToAgent_ResponseHeaders, *agentv2.ProxyToAgent_ResponseBodyChunk:
		if f.answer != nil {
			return f.answer(s, m)
		}
	default:
		f.t.Errorf("a %T, which is not of the dialect", m.GetMessage())
	}
	s.send(replyG2(idOf(m), allowG2))
	return nil
}

func (f *fakeG2) see(s *fakeStream, m *agentv2.ProxyToAgent) {
	select {
	case f.seen <- m:
	case <-s.Context().Done():
	}
}

func (s *fakeStream) send(m *agentv2.AgentToProxy) {
	if err := s.Send(m); err != nil {
		s.t.Logf("send: %v", err)
	}
}

func greetingMessage(success bool, words string) *agentv2.AgentToProxy {
	h := &agentv2.HandshakeResponse{ProtocolVersion: 2, Success: success, Capabilities: &agentv2.AgentCapabilities{
		Name: "fake", Version: "1", Features: &agentv2.AgentFeatures{ConcurrentRequests: 7, Cancellation: true},
	}}
	if words != "" {
		h.Error = &words
	}
	return &agentv2.AgentToProxy{Message: &agentv2.AgentToProxy_Handshake{Handshake: h}}
}

func allowG2(r *agentv2.AgentResponse) {
	r.Decision = &agentv2.AgentResponse_Allow{Allow: &agentv2.AllowDecision{}}
}

func replyG2(id string, fill ...func(*agentv2.AgentResponse)) *agentv2.AgentToProxy {
	r := &agentv2.AgentResponse{CorrelationId: id}
	for _, f := range fill {
		f(r)
	}
	return &agentv2.AgentToProxy{Message: &agentv2.AgentToProxy_Response{Response: r}}
}

// idOf is the correlation id of an event.
func idOf(m *agentv2.ProxyToAgent) string {
	switch m := m.GetMessage().(type) {
	case *agentv2.ProxyToAgent_RequestHeaders:
		return m.RequestHeaders.GetMetadata().GetCorrelationId()
	case *agentv2.ProxyToAgent_RequestBodyChunk:
		return m.RequestBodyChunk.GetCorrelationId()
	case *agentv2.ProxyToAgent_ResponseHeaders:
		return m.ResponseHeaders.GetCorrelationId()
	case *agentv2.ProxyToAgent_ResponseBodyChunk:
		return m.ResponseBodyChunk.GetCorrelationId()
	case *agentv2.ProxyToAgent_RequestComplete:
		return m.RequestComplete.GetCorrelationId()
	}
	return ""
}

// serveG2 serves a fake under one of the service's two names.
func serveG2(t testing.TB, prefix string, f *fakeG2) (address string) {
	f.t, f.seen = t, make(chan *agentv2.ProxyToAgent, 100)
	desc := agentv2.AgentServiceV2_ServiceDesc
	desc.ServiceName = prefix + "v2.AgentServiceV2"
	return serveGRPC(t, &desc, f)
}

// fakeG1 is an agent of dialect G1; without answer it allows.
type fakeG1 struct {
	agentv1.UnimplementedAgentProcessorServer

	answer func(context.Context, *agentv1.AgentRequest) (*agentv1.AgentResponse, error)
	told   chan *agentv1.AgentRequest
}

func (f *fakeG1) ProcessEvent(ctx context.Context, m *agentv1.AgentRequest) (*agentv1.AgentResponse, error) {
	if m.Version != 1 || m.EventType == 0 || m.Event == nil {
		return nil, status.Error(codes.InvalidArgument, "not of the dialect")
	}
	if m.GetRequestComplete() != nil {
		f.told <- m
	}
	if f.answer != nil {
		return f.answer(ctx, m)
	}
	return &agentv1.AgentResponse{Version: 1, Decision: &agentv1.AgentResponse_Allow{Allow: &agentv1.AllowDecision{}}}, nil
}

func serveG1(t testing.TB, prefix string, f *fakeG1) (address string) {
	f.told = make(chan *agentv1.AgentRequest, 10)
	desc := agentv1.AgentProcessor_ServiceDesc
	desc.ServiceName = prefix + "v1.AgentProcessor"
	return serveGRPC(t, &desc, f)
}

func serveGRPC(t testing.TB, desc *grpc.ServiceDesc, f any) (address string) {
	t.Helper()
	server := grpc.NewServer(grpc.MaxSendMsgSize(64 << 20))
	server.RegisterService(desc, f)
	l := listen(t)
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		server.Stop()
		done.Wait()
	})
	return l.Addr().String()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serveKit serves a handler with the kit, over TLS if there is a config.
func serveKit(t testing.TB, h agent.Handler, secure *tls.Config) (address string) {
	t.Helper()
	l := listen(t)
	address = l.Addr().String()
	if secure != nil {
		secure.NextProtos = []string{"h2"}
		l = tls.NewListener(l, secure)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		server := &agent.Server{Handler: h, Name: "kit", Version: "1.2", Chunks: true, DrainTimeout: time.Second}
		if err := server.ServeGRPC(ctx, l); err != nil {
			t.Errorf("ServeGRPC: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return address
}

// grpcOptions are those of an agent at an address.
func grpcOptions(address string) *Options {
	return &Options{ID: "a", Network: "grpc", Address: address, Timeout: grpcPatience, ProxyVersion: "test"}
}

// dialed dials and closes the link at the end.
func dialed(t testing.TB, o *Options) link {
	t.Helper()
	l, err := dialGRPC(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

// about is a session, to which links say nothing but its id.
func about(id string) *Session { return &Session{id: []byte(id)} }

func headEvent() *Event {
	return &Event{Kind: RequestHeaders, Request: &Request{
		RequestID: []byte("r1"), Client: netip.MustParseAddrPort("192.0.2.7:40001"), ServerName: []byte("example.test"),
		Protocol: "HTTP/1.1", TLSVersion: "1.3", TLSCipher: "AES", Route: "api", Upstream: "backend",
		Time: time.UnixMilli(1735459200123), Traceparent: []byte("00-1-2-01"), Method: []byte("GET"),
		Path: []byte("/a\xff"), Query: []byte("x=1"), HasQuery: true, Host: []byte("example.test"),
		Fields: []wire.Field{
			{Name: []byte("X-A"), Value: []byte("1")},
			{Name: []byte("x-b"), Value: []byte("\xfe")},
			{Name: []byte("x-a"), Value: []byte("2")},
		},
	}}
}

func bodyEvent(kind EventKind, data string) *Event {
	return &Event{Kind: kind, Request: &Request{}, Chunk: Chunk{
		Data: []byte(data), Index: 1, Last: true, Total: int64(len(data)), Sent: int64(len(data)),
	}}
}

func responseEvent() *Event {
	return &Event{Kind: ResponseHeaders, Request: &Request{}, Status: 200, Fields: []wire.Field{
		{Name: []byte("Content-Type"), Value: []byte("text/html")},
	}}
}

func endEvent() *Event {
	return &Event{Kind: RequestComplete, Request: &Request{}, Complete: Complete{
		Status: 200, Duration: 12 * time.Millisecond, RequestBytes: 3, ResponseBytes: 5, Attempts: 1,
	}}
}

// mustAsk asks and demands a verdict.
func mustAsk(t testing.TB, l link, id string, e *Event) *agent.Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), grpcPatience)
	defer cancel()
	v, _, err := l.ask(ctx, about(id), e)
	if err != nil {
		t.Fatalf("ask: %v", err)
	}
	return v
}

// mustFail demands a failure of a kind.
func mustFail(t testing.TB, err error, want FailureKind) {
	t.Helper()
	if err == nil {
		t.Fatalf("no failure, want %v", want)
	}
	if f := asFailure(err); f.Kind != want {
		t.Errorf("%v, want %v", f, want)
	}
}

// received takes what must come.
func received[T any](t testing.TB, from <-chan T) (m T) {
	t.Helper()
	select {
	case m = <-from:
	case <-time.After(grpcPatience):
		t.Fatal("nothing came")
	}
	return m
}

// certificateFor127 makes a self-signed certificate and the two sides' settings.
func certificateFor127(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	pair := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return &tls.Config{Certificates: []tls.Certificate{pair}}, &tls.Config{RootCAs: roots}
}
