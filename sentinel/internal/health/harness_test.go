package health

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait for something that must happen. A probe that is not about time has so long.
const patience = 10 * time.Second

// brief is the timeout of probes over sockets that must run into it.
const brief = 50 * time.Millisecond

// TestMain fails the package when goroutines or descriptors are left after its tests.
func TestMain(m *testing.M) {
	warmUp()
	before := held()
	code := m.Run()
	if code == 0 && !settles(before) {
		fmt.Fprintln(os.Stderr, leftBehind(before))
		code = 1
	}
	os.Exit(code)
}

// warmUp opens what the runtime keeps: the network poller's own descriptors, and the goroutine that waits
// for signals once anybody does, as fuzzing does.
func warmUp() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR2)
	signal.Stop(signals)
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	_ = nl.Close()
}

// resources is what a process holds that a probe could leave behind.
type resources struct{ goroutines, descriptors int }

func held() resources {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return resources{runtime.NumGoroutine(), len(open)}
}

func settles(before resources) bool {
	return within(func() bool {
		now := held()
		return now.goroutines <= before.goroutines && now.descriptors <= before.descriptors
	})
}

func leftBehind(before resources) string {
	stacks := make([]byte, 1<<20)
	return fmt.Sprintf("left behind: %+v, at first %+v\n%s", held(), before, stacks[:runtime.Stack(stacks, true)])
}

// within asks until it is so or patience is over.
func within(so func() bool) bool {
	ask := time.NewTicker(5 * time.Millisecond)
	defer ask.Stop()
	limit := time.After(patience)
	for !so() {
		select {
		case <-ask.C:
		case <-limit:
			return false
		}
	}
	return true
}

// serve runs script on each connection and closes it then. When the test ends all are closed.
func serve(t testing.TB, script func(net.Conn)) (address string) {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards open
	var open []net.Conn
	var scripts sync.WaitGroup
	scripts.Go(func() {
		for {
			c, err := nl.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			scripts.Go(func() {
				defer func() { _ = c.Close() }()
				script(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = nl.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		scripts.Wait()
	})
	return nl.Addr().String()
}

// closedPort returns an address where nobody listens. It is taken until the test ends, so that nobody will.
func closedPort(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", address.(*unix.SockaddrInet4).Port)
}

// silent reads and says nothing.
func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// readRequest reads one request head byte by byte, so that nothing after it is taken.
func readRequest(c net.Conn) string {
	var text strings.Builder
	one := make([]byte, 1)
	for !strings.HasSuffix(text.String(), "\r\n\r\n") {
		if _, err := c.Read(one); err != nil {
			return text.String()
		}
		text.Write(one)
	}
	return text.String()
}

// answering reads a request and answers with text.
func answering(text string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, text)
		silent(c)
	}
}

// repeating reads a request, answers with head and then with piece for ever.
func repeating(head, piece string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		_, err := io.WriteString(c, head)
		for err == nil {
			_, err = io.WriteString(c, piece)
		}
	}
}

// counted counts what is written to a connection and how often it is closed.
type counted struct {
	net.Conn
	written atomic.Int64
	closed  atomic.Int64 // times
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.written.Add(int64(n))
	return n, err
}

func (c *counted) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// inMemory returns a Dial to a target that runs script; what it has written is what the probe took, since
// nothing is buffered on the way. stop waits for the script.
func inMemory(script func(net.Conn)) (dial dialFunc, target *counted, stop func()) {
	near, far := net.Pipe()
	target = &counted{Conn: far}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = target.Close() }()
		script(target)
	}()
	return func(context.Context, string, string) (net.Conn, error) { return near, nil }, target, func() {
		_ = near.Close()
		<-done
	}
}

// expect compares the outcome of a probe; want is the text of the error, empty for none.
func expect(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil {
		if want != "" {
			t.Errorf("healthy, want %q", want)
		}
		return
	}
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if len(err.Error()) > 200 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// certificate is what a target shows.
type certificate struct {
	name  string // empty: 127.0.0.1
	stale bool
	usage x509.ExtKeyUsage
}

// identity makes a root and a certificate of it, and returns the target's settings and a probe's.
func identity(t testing.TB, c certificate) (target, probe *tls.Config) {
	t.Helper()
	rootKey, key := newKey(t), newKey(t)
	name := strings.ToValidUTF8(hostile, "")
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name, Organization: []string{name}},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{c.usage},
	}
	if c.usage == 0 {
		leaf.ExtKeyUsage[0] = x509.ExtKeyUsageServerAuth
	}
	if c.stale {
		leaf.NotAfter = time.Now().Add(-time.Hour)
	}
	if c.name == "" {
		leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		leaf.DNSNames = []string{c.name}
	}
	rootDER, leafDER := sign(t, root, root, rootKey, rootKey), sign(t, leaf, root, key, rootKey)
	roots := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(rootDER)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(parsed)
	target = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER}, PrivateKey: key}}}
	return target, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, cert, issuer *x509.Certificate, own, issuers *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, issuer, &own.PublicKey, issuers)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// secureWith runs a script over TLS.
func secureWith(config *tls.Config, script func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) { script(tls.Server(c, config)) }
}
