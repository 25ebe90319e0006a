package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	agentv1 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v1"
	agentv2 "github.com/sentinel-proxy/sentinel-go/sentinel/internal/agentpb/v2"
)

// What a proxy may ask of a gRPC server.
const (
	grpcMessageMax = 10<<20 + 64<<10 // bytes of one message
	grpcHeadMax    = 16 << 10        // bytes of a call's headers
	grpcStreamsMax = 256             // calls and streams of one connection at a time
	grpcCallsMax   = 256             // events of one stream at a time
	grpcHandshake  = 10 * time.Second
)

// grpcPrefixes are the two names under which proxies ask for the same services.
var grpcPrefixes = [...]string{"zentinel.", "sentinel."}

// ServeGRPC is Serve over gRPC: both versions of the protocol on one listener, each under both of its names,
// and the standard health service. For TLS, give it a listener of tls.NewListener whose NextProtos has "h2".
//
// Events of different requests are handled at the same time. The protocol over gRPC has no configuration and
// no cancellation in its first version, and cannot replace bodies in its second: a verdict that does becomes an
// undecided one there.
func (s *Server) ServeGRPC(ctx context.Context, l net.Listener) error {
	draining := make(chan struct{})
	server, status := s.newGRPC(draining)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		server.Stop()
		return fmt.Errorf("agent: serve gRPC: %w", err)
	case <-ctx.Done():
	}
	status.Shutdown()
	close(draining)
	err := s.drainGRPC(server)
	if ended := <-served; err == nil && !errors.Is(ended, grpc.ErrServerStopped) { // it may not have begun
		err = ended
	}
	return err
}

// newGRPC returns a server with every service. Its streams end once draining is closed.
func (s *Server) newGRPC(draining <-chan struct{}) (*grpc.Server, *health.Server) {
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(grpcMessageMax),
		grpc.MaxHeaderListSize(grpcHeadMax),
		grpc.MaxConcurrentStreams(grpcStreamsMax),
		grpc.ConnectionTimeout(grpcHandshake),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	status := health.NewServer()
	for _, prefix := range grpcPrefixes {
		first, second := agentv1.AgentProcessor_ServiceDesc, agentv2.AgentServiceV2_ServiceDesc
		first.ServiceName, second.ServiceName = renamed(first.ServiceName, prefix), renamed(second.ServiceName, prefix)
		server.RegisterService(&first, &grpcV1{dispatcher: s.dispatcher()})
		server.RegisterService(&second, &grpcV2{
			dispatcher: s.dispatcher(), conns: &s.conns, name: s.Name, version: s.Version, draining: draining,
		})
		status.SetServingStatus(first.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
		status.SetServingStatus(second.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	}
	grpc_health_v1.RegisterHealthServer(server, status)
	return server, status
}

func renamed(service, prefix string) string {
	_, rest, _ := strings.Cut(service, ".")
	return prefix + rest
}

// drainGRPC lets calls under way end, for as long as the server has for that. Handlers that ignore their
// context may run on.
func (s *Server) drainGRPC(server *grpc.Server) error {
	var cut atomic.Bool
	timer := time.AfterFunc(s.drainTimeout(), func() {
		cut.Store(true)
		server.Stop()
	})
	defer timer.Stop()
	server.GracefulStop()
	if cut.Load() {
		return fmt.Errorf("agent: calls were cut off after %v: %w", s.drainTimeout(), context.DeadlineExceeded)
	}
	return nil
}
