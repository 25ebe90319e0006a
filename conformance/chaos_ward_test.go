package conformance

import (
	"bufio"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
)

// ward is a target whose state of health the test decides. What it tells a probe says nothing of how it
// answers requests, which is well unless status says otherwise.
type ward struct {
	addr     string
	requests atomic.Int64 // without probes
	probes   atomic.Int64 // over HTTP
	status   atomic.Int64 // of answers to requests; 0: 200
	ill      atomic.Bool
	turn     func(ill bool)
	probed   http.HandlerFunc // answers probes over HTTP; nil: as ill says
}

// probeAgent is what probes over HTTP call themselves.
const probeAgent = "Sentinel-HealthCheck/1.0"

func (w *ward) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.UserAgent() != probeAgent {
		w.requests.Add(1)
		if status := w.status.Load(); status != 0 {
			rw.WriteHeader(int(status))
		}
		_, _ = io.WriteString(rw, "ok")
		return
	}
	w.probes.Add(1)
	switch {
	case w.probed != nil:
		w.probed(rw, r)
	case w.ill.Load():
		rw.WriteHeader(http.StatusServiceUnavailable)
	}
}

// newWard starts a target that probes ask over HTTP.
func newWard(t testing.TB, secure *tls.Config) *ward {
	t.Helper()
	ln := listen(t)
	w := &ward{addr: ln.Addr().String()}
	w.turn = w.ill.Store
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	w.serve(t, ln)
	return w
}

// newConnected starts a target that probes only connect to. Connections there are stay when it is ill.
func newConnected(t testing.TB, _ *tls.Config) *ward {
	t.Helper()
	w := newWard(t, nil)
	gate, err := fault.NewRelay(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gate.Close() })
	w.addr = gate.Addr()
	w.turn = func(ill bool) {
		if ill {
			gate.Pause()
		} else if err := gate.Resume(); err != nil {
			t.Errorf("listening again: %v", err)
		}
	}
	return w
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// serve answers HTTP/1.1 until the test ends.
func (w *ward) serve(t testing.TB, ln net.Listener) {
	server := &http.Server{Handler: w, ErrorLog: log.New(io.Discard, "", 0)} // handshakes fail on purpose
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ln) }) // it ends with Close
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
	})
}

// newServing starts a target with the health service of grpc-go, which speaks HTTP/1.1 on the same port, as
// requests and probes have one address.
func newServing(t testing.TB, secure *tls.Config) *ward {
	t.Helper()
	w := &ward{}
	ln := listen(t)
	w.addr = ln.Addr().String()
	service := grpchealth.NewServer()
	w.turn = func(ill bool) {
		status := grpc_health_v1.HealthCheckResponse_SERVING
		if ill {
			status = grpc_health_v1.HealthCheckResponse_NOT_SERVING
		}
		service.SetServingStatus(wardService, status)
	}
	w.turn(false)
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, service)
	f := newFork(ln, secure)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(f.second) }) // it ends with Stop
	running.Go(f.run)
	w.serve(t, f.first)
	t.Cleanup(func() {
		_ = ln.Close()
		server.Stop()
		running.Wait()
	})
	return w
}

const wardService = "ward"

// fork tells HTTP/1.1 from HTTP/2 on one port: by the first bytes, or by what TLS agreed on.
type fork struct {
	ln            net.Listener
	secure        *tls.Config
	first, second branch
	sorting       sync.WaitGroup
}

// branch is a listener for what a fork sorted.
type branch struct {
	at    net.Addr
	conns chan net.Conn
	done  chan struct{}
	end   func()
}

func newFork(ln net.Listener, secure *tls.Config) *fork {
	if secure != nil {
		secure = secure.Clone()
		secure.NextProtos = []string{"h2", "http/1.1"}
	}
	return &fork{ln: ln, secure: secure, first: newBranch(ln.Addr()), second: newBranch(ln.Addr())}
}

func newBranch(a net.Addr) branch {
	b := branch{at: a, conns: make(chan net.Conn), done: make(chan struct{})}
	b.end = sync.OnceFunc(func() { close(b.done) })
	return b
}

func (b branch) Addr() net.Addr { return b.at }

func (b branch) Accept() (net.Conn, error) {
	select {
	case nc := <-b.conns:
		return nc, nil
	case <-b.done:
		return nil, net.ErrClosed
	}
}

func (b branch) Close() error {
	b.end()
	return nil
}

// give hands a connection over, or closes it when nobody takes any.
func (b branch) give(nc net.Conn) {
	select {
	case b.conns <- nc:
	case <-b.done:
		_ = nc.Close()
	}
}

// run sorts until the listener is closed.
func (f *fork) run() {
	for {
		nc, err := f.ln.Accept()
		if err != nil {
			f.sorting.Wait()
			return
		}
		f.sorting.Go(func() { f.sort(nc) })
	}
}

func (f *fork) sort(nc net.Conn) {
	if f.secure != nil {
		secured := tls.Server(nc, f.secure)
		switch err := secured.Handshake(); {
		case err != nil:
			_ = nc.Close()
		case secured.ConnectionState().NegotiatedProtocol == "h2":
			f.second.give(secured)
		default:
			f.first.give(secured)
		}
		return
	}
	read := &readAhead{nc, bufio.NewReader(nc)}
	switch b, err := read.Peek(3); {
	case err != nil:
		_ = nc.Close()
	case string(b) == "PRI":
		f.second.give(read)
	default:
		f.first.give(read)
	}
}

// readAhead is a connection of which something was read already.
type readAhead struct {
	net.Conn
	*bufio.Reader
}

func (r *readAhead) Read(b []byte) (int, error) { return r.Reader.Read(b) }
