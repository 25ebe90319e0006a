package health

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// check is a health service as a function.
type check func(ctx context.Context, service string) (*grpc_health_v1.HealthCheckResponse, error)

type checkServer struct {
	grpc_health_v1.UnimplementedHealthServer
	check check
}

func (s checkServer) Check(ctx context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	return s.check(ctx, r.GetService())
}

func saying(s grpc_health_v1.HealthCheckResponse_ServingStatus) check {
	return func(context.Context, string) (*grpc_health_v1.HealthCheckResponse, error) {
		return &grpc_health_v1.HealthCheckResponse{Status: s}, nil
	}
}

func failingWith(code codes.Code) check {
	return func(context.Context, string) (*grpc_health_v1.HealthCheckResponse, error) {
		return nil, status.Error(code, hostile)
	}
}

func serving(s *grpc.Server) {
	grpc_health_v1.RegisterHealthServer(s, checkServer{check: saying(grpc_health_v1.HealthCheckResponse_SERVING)})
}

// serveGRPC starts a server until the test ends, over TLS unless config is nil.
func serveGRPC(t testing.TB, config *tls.Config, register func(*grpc.Server)) (address string) {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var options []grpc.ServerOption
	if config != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	s := grpc.NewServer(options...)
	register(s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(nl); err != nil {
			t.Errorf("serving: %v", err)
		}
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return nl.Addr().String()
}

// TestGRPCHealthServer asks the library's own health service.
func TestGRPCHealthServer(t *testing.T) {
	t.Parallel()
	service := grpchealth.NewServer()
	service.SetServingStatus("up", grpc_health_v1.HealthCheckResponse_SERVING)
	service.SetServingStatus("down", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	service.SetServingStatus("odd", grpc_health_v1.HealthCheckResponse_UNKNOWN)
	address := serveGRPC(t, nil, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, service) })
	for service, want := range map[string]string{
		"": "", "up": "", "down": "not serving", "odd": "not serving", "unknown": "service unknown to the health service",
	} {
		t.Run("service "+service, func(t *testing.T) {
			t.Parallel()
			p := Probe{Type: "grpc", Address: address, Service: service, Timeout: patience}
			expect(t, p.Do(t.Context()), want)
		})
	}
}

func TestGRPCAnswers(t *testing.T) {
	t.Parallel()
	large := &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}
	large.ProtoReflect().SetUnknown(append([]byte{0x7a, 0x80, 0x10}, make([]byte, 2048)...)) // field 15, 2048 bytes
	for _, test := range []struct {
		name  string
		check check
		want  string
	}{
		{"serving", saying(grpc_health_v1.HealthCheckResponse_SERVING), ""},
		{"not serving", saying(grpc_health_v1.HealthCheckResponse_NOT_SERVING), "not serving"},
		{"service unknown", saying(grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN), "not serving"},
		{"a status nobody knows", saying(77), "not serving"},
		{"too large", func(context.Context, string) (*grpc_health_v1.HealthCheckResponse, error) { return large, nil }, "gRPC status ResourceExhausted"},
		{"too many fields", func(ctx context.Context, _ string) (*grpc_health_v1.HealthCheckResponse, error) {
			return large, grpc.SetHeader(ctx, metadata.Pairs("a", strings.Repeat("b", 2*headMax)))
		}, "gRPC status Internal"},
		{"unimplemented", failingWith(codes.Unimplemented), "no health service"},
		{"not found", failingWith(codes.NotFound), "service unknown to the health service"},
		{"unavailable", failingWith(codes.Unavailable), "unavailable, or no gRPC answer"},
		{"deadline", failingWith(codes.DeadlineExceeded), "timeout"},
		{"cancelled", failingWith(codes.Canceled), "gRPC status Canceled"},
		{"denied", failingWith(codes.PermissionDenied), "gRPC status PermissionDenied"},
		{"the last code", failingWith(codes.Unauthenticated), "gRPC status Unauthenticated"},
		{"no code", failingWith(99), "gRPC status out of range"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := Probe{Type: "grpc", Timeout: patience, Address: serveGRPC(t, nil, func(s *grpc.Server) {
				grpc_health_v1.RegisterHealthServer(s, checkServer{check: test.check})
			})}
			expect(t, p.Do(t.Context()), test.want)
		})
	}
}

func TestGRPCWithoutHealthService(t *testing.T) {
	t.Parallel()
	p := Probe{Type: "grpc", Address: serveGRPC(t, nil, func(*grpc.Server) {}), Timeout: patience}
	expect(t, p.Do(t.Context()), "no health service")
}

// TestGRPCSlow covers a service that never answers. It learns that the probe is over.
func TestGRPCSlow(t *testing.T) {
	t.Parallel()
	asked, over := make(chan struct{}, 2), make(chan struct{}, 2)
	p := Probe{Type: "grpc", Timeout: 4 * brief, Address: serveGRPC(t, nil, func(s *grpc.Server) {
		grpc_health_v1.RegisterHealthServer(s, checkServer{check: func(ctx context.Context, _ string) (*grpc_health_v1.HealthCheckResponse, error) {
			asked <- struct{}{}
			<-ctx.Done()
			over <- struct{}{}
			return nil, ctx.Err()
		}})
	})}
	expect(t, p.Do(t.Context()), "timeout")
	p.Timeout = patience
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		<-asked
	}()
	expect(t, p.Do(ctx), "cancelled")
	select {
	case <-over:
	case <-time.After(patience):
		t.Error("the service was left waiting")
	}
}

// TestGRPCKilled covers a server that is killed while it has the question.
func TestGRPCKilled(t *testing.T) {
	t.Parallel()
	var server *grpc.Server
	killed := make(chan struct{})
	p := Probe{Type: "grpc", Timeout: patience, Address: serveGRPC(t, nil, func(s *grpc.Server) {
		server = s
		grpc_health_v1.RegisterHealthServer(s, checkServer{check: func(ctx context.Context, _ string) (*grpc_health_v1.HealthCheckResponse, error) {
			go func() {
				defer close(killed)
				server.Stop()
			}()
			<-ctx.Done()
			return nil, ctx.Err()
		}})
	})}
	expect(t, p.Do(t.Context()), "unavailable, or no gRPC answer")
	<-killed
}

// TestGRPCRequest shows what the service gets beside the question.
func TestGRPCRequest(t *testing.T) {
	t.Parallel()
	good, trusting := identity(t, certificate{})
	for name, config := range map[string]*tls.Config{"plain": nil, "TLS": good} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var md metadata.MD
			var asked string
			p := Probe{Type: "grpc", Service: "a.B", Timeout: patience, Address: serveGRPC(t, config, func(s *grpc.Server) {
				grpc_health_v1.RegisterHealthServer(s, checkServer{check: func(ctx context.Context, service string) (*grpc_health_v1.HealthCheckResponse, error) {
					md, _ = metadata.FromIncomingContext(ctx)
					asked = service
					return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
				}})
			})}
			if config != nil {
				p.TLS = trusting
			}
			expect(t, p.Do(t.Context()), "")
			agent, authority := strings.Join(md.Get("user-agent"), "+"), strings.Join(md.Get(":authority"), "+")
			if asked != "a.B" || !strings.HasPrefix(agent, "Sentinel-HealthCheck/1.0 ") || authority != p.Address {
				t.Errorf("service %q, agent %q, authority %q", asked, agent, authority)
			}
		})
	}
}

// frame is a frame of HTTP/2, without flags.
func frame(kind byte, stream uint32, payload string) string {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	head = binary.BigEndian.AppendUint32(append(head, 0), stream)
	return string(head) + payload
}

// floods is a target's script that says first and then repeats piece until the connection is closed. The
// request is read all the while.
func floods(first, piece string) func(net.Conn) {
	return func(c net.Conn) {
		go silent(c)
		_, err := io.WriteString(c, noSettings+first)
		for pieces := strings.Repeat(piece, 100); err == nil; {
			_, err = io.WriteString(c, pieces)
		}
	}
}

// noSettings is what a server of HTTP/2 begins with.
var noSettings = frame(4, 0, "")

// TestGRPCHostile covers targets that speak something else, or HTTP/2 as nobody should. Each gets one
// connection.
func TestGRPCHostile(t *testing.T) {
	t.Parallel()
	const lost = "unavailable, or no gRPC answer"
	begins := func(then string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, noSettings+then); silent(c) }
	}
	for _, test := range []struct {
		name   string
		script func(net.Conn)
		want   string
	}{
		{"closes at once", func(net.Conn) {}, lost},
		{"HTTP/1.1", answering(okAnswer), lost},
		{"garbage", func(c net.Conn) { _, _ = io.WriteString(c, strings.Repeat(hostile, 100)); silent(c) }, lost},
		{"closes after its settings", func(c net.Conn) { _, _ = io.WriteString(c, noSettings) }, lost},
		{"goes away", begins(frame(7, 0, "\x00\x00\x00\x00\x00\x00\x00\x0b"+hostile)), lost},
		{"fields for ever", floods(frame(1, 1, "\x88"), frame(9, 1, strings.Repeat("\x00\x01a\x01b", 100))), lost},
		{"silent", silent, "timeout"},
		{"silent after its settings", begins(""), "timeout"},
		{"unknown frames for ever", floods("", frame(99, 0, hostile)), "timeout"},
		{"pings for ever", floods("", frame(6, 0, "12345678")), "timeout"},
		{"settings for ever", floods("", noSettings), "timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var connections atomic.Int32
			p := Probe{Type: "grpc", Timeout: patience, Address: serve(t, func(c net.Conn) {
				connections.Add(1)
				test.script(c)
			})}
			if test.want == "timeout" {
				p.Timeout = 4 * brief
			}
			expect(t, p.Do(t.Context()), test.want)
			if n := connections.Load(); n > 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestGRPCEnvironment probes a target that provokes the library's log, and one that serves, in a process of
// its own: nothing may reach standard error or a proxy, whatever the environment asks for.
func TestGRPCEnvironment(t *testing.T) {
	t.Parallel()
	var output strings.Builder
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGRPC(HealthServer|Hostile)$/^(service_up|unknown_frames_for_ever)$")
	again.Env = append(os.Environ(), "GRPC_GO_LOG_SEVERITY_LEVEL=info", "GRPC_GO_LOG_VERBOSITY_LEVEL=99",
		"HTTPS_PROXY=http://"+closedPort(t))
	again.Stderr = &output
	if err := again.Run(); err != nil || output.Len() > 0 {
		t.Errorf("%v, and %d bytes on standard error: %.300q", err, output.Len(), output.String())
	}
}

// TestGRPCScheme reads the frames of a request: its method is POST and its scheme that of the connection,
// each one byte of HPACK's static table (RFC 7541, appendix A).
func TestGRPCScheme(t *testing.T) {
	t.Parallel()
	good, trusting := identity(t, certificate{})
	good.NextProtos = []string{"h2"}
	for _, test := range []struct {
		name          string
		target, probe *tls.Config
		want          string
	}{{"http", nil, nil, "\x83\x86"}, {"https", good, trusting, "\x83\x87"}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fields := make(chan []byte, 1)
			script := func(c net.Conn) {
				_, _ = io.ReadFull(c, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
				_, _ = io.WriteString(c, noSettings)
				fields <- readHeaders(c)
			}
			if test.target != nil {
				script = secureWith(test.target, script)
			}
			p := Probe{Type: "grpc", Address: serve(t, script), TLS: test.probe, Timeout: patience}
			expect(t, p.Do(t.Context()), "unavailable, or no gRPC answer")
			if got := <-fields; !strings.HasPrefix(string(got), test.want) {
				t.Errorf("the fields begin with %.4x, want %x", got, test.want)
			}
		})
	}
}

// readHeaders reads frames up to one of fields, and returns its payload.
func readHeaders(r io.Reader) []byte {
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return nil
		}
		payload := make([]byte, binary.BigEndian.Uint32(head)>>8)
		if _, err := io.ReadFull(r, payload); err != nil || head[3] == 1 {
			return payload
		}
	}
}

// TestGRPCDialsNoMore shows that the library can open nothing once the probe is over.
func TestGRPCDialsNoMore(t *testing.T) {
	t.Parallel()
	var n noted
	call := grpcCall{probe: &Probe{Type: "grpc", Address: serve(t, silent), Dial: n.dial}}
	call.end()
	if c, err := call.dial(t.Context()); err == nil || c != nil || len(n.opened) > 0 {
		t.Errorf("dialled after the end: %v", err)
	}
}
