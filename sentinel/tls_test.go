package sentinel_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a certificate authority with one server certificate, made for one test.
type authority struct {
	caFile, certFile, keyFile string
	server, client            *tls.Config
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	dir := t.TempDir()
	a := &authority{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), nil, nil}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost", "a.test"},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	leaf.IPAddresses = append(leaf.IPAddresses, []byte{127, 0, 0, 1})
	rootKey, key := newKey(t), newKey(t)
	writePEM(t, a.caFile, "CERTIFICATE", sign(t, root, root, key2{rootKey, rootKey}))
	writePEM(t, a.certFile, "CERTIFICATE", sign(t, leaf, root, key2{key, rootKey}))
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.keyFile, "EC PRIVATE KEY", der)
	pair, err := tls.LoadX509KeyPair(a.certFile, a.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(a.caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	a.server = &tls.Config{Certificates: []tls.Certificate{pair}}
	a.client = &tls.Config{RootCAs: roots, ServerName: "localhost"}
	return a
}

// key2 is a certificate's key and its issuer's.
type key2 struct{ own, issuer *ecdsa.PrivateKey }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, cert, issuer *x509.Certificate, keys key2) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, issuer, &keys.own.PublicKey, keys.issuer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// listener returns the settings of a TLS listener.
func (a *authority) listener() string {
	return fmt.Sprintf("protocol \"https\"\ntls { cert-file %q; key-file %q }", a.certFile, a.keyFile)
}

// secure puts TLS over the connection.
func (p *peer) secure(c *tls.Conn) {
	p.Conn = c
	p.r = bufio.NewReader(c)
}

// TestTLSClient covers what TLS changes: requests come through the ordinary read path, whole and split, in
// a row and pipelined, and clients that leave are noticed through the socket beneath.
func TestTLSClient(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	asked := make(chan struct{}, 1)
	ended := make(chan error, 1)
	p, log := proxyTo(t, scripted(t, func(c *peer) {
		for {
			req, err := c.request()
			if err != nil {
				return
			}
			if req.URL.Path == "/think" {
				asked <- struct{}{}
				ended <- c.ends()
				return
			}
			if req.Header.Get("X-Forwarded-Proto") != "https" {
				t.Errorf("X-Forwarded-Proto: %q", req.Header.Get("X-Forwarded-Proto"))
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(c, okAnswer)
		}
	}), plan{listener: ca.listener()})
	c := dialWith(t, p, ca, true)
	const get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	c.send(t, get+get+get[:5])
	c.expect(t, 200)
	c.expect(t, 200)
	c.send(t, get[5:])
	c.expect(t, 200)
	c.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n"+repeated(50_000))
	c.send(t, repeated(50_000))
	c.expect(t, 200)
	for range 4 {
		log.expect(t, 200, "")
	}
	c.get(t, "/think")
	receive(t, "the request at the origin", asked)
	_ = c.Close()
	_ = receive(t, "the end of the upstream's connection", ended)
	log.expect(t, 499, "client_gone")
}

// TestTLSHandshakeTimeout shows that a handshake is bounded like a head.
func TestTLSHandshakeTimeout(t *testing.T) {
	t.Parallel()
	p, _ := proxyTo(t, refusing(t), plan{listener: newAuthority(t).listener() + "\n" + shortListener})
	dial(t, p).closed(t)
}

// TestTLSUpstream covers good and bad certificates of a target.
func TestTLSUpstream(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	origin := scripted(t, func(c *peer) {
		c.secure(tls.Server(c.Conn, ca.server))
		c.serve(okAnswer)
	})
	for _, test := range []struct {
		name, tls string
		status    int
		reason    string
	}{
		{"good", fmt.Sprintf("ca-cert %q", ca.caFile), 200, ""},
		{"good by name", fmt.Sprintf("ca-cert %q; sni \"a.test\"", ca.caFile), 200, ""},
		{"wrong name", fmt.Sprintf("ca-cert %q; sni \"b.test\"", ca.caFile), 502, "upstream_tls"},
		{"unknown authority", fmt.Sprintf("ca-cert %q", other.caFile), 502, "upstream_tls"},
		{"system's authorities", "", 502, "upstream_tls"},
		{"not verified", "insecure-skip-verify #true", 200, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, log := proxyTo(t, origin, plan{upstream: "tls { " + test.tls + " }"})
			c := dial(t, p)
			for range 2 {
				c.get(t, "/")
				c.expect(t, test.status)
				log.expect(t, test.status, test.reason)
			}
		})
	}
}

// TestTLSVersions shows that old versions are refused.
func TestTLSVersions(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	p, _ := proxyTo(t, refusing(t), plan{listener: ca.listener(), routes: readyRoute})
	for _, test := range []struct {
		version uint16
		good    bool
	}{{tls.VersionTLS11, false}, {tls.VersionTLS12, true}, {tls.VersionTLS13, true}} {
		config := ca.client.Clone()
		config.MinVersion, config.MaxVersion = test.version, test.version
		c := dial(t, p)
		secured := tls.Client(c.Conn, config)
		err := secured.HandshakeContext(t.Context())
		var alert tls.AlertError
		if good := err == nil; good != test.good {
			t.Errorf("%s: %v", tls.VersionName(test.version), err)
		} else if !good && !errors.As(err, &alert) && !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("%s: refused without the alert: %v", tls.VersionName(test.version), err)
		}
	}
}

// TestTLSTruncation shows that a broken response that ends with the connection ends without the
// close_notify that would make it whole (RFC 8446 6.1).
func TestTLSTruncation(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	p, log := proxyTo(t, scripted(t, func(c *peer) {
		_, _ = c.request()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	}), plan{listener: ca.listener()})
	c := dialWith(t, p, ca, true)
	c.send(t, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("the client took the response for whole")
	}
	log.expect(t, 200, "upstream_truncated")
}
