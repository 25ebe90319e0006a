package conformance

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates for one test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(0, 0, -1), NotAfter: time.Now().AddDate(0, 0, 1), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	a.cert = a.sign(t, template, &a.key.PublicKey, template)
	a.write(t, "ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(t *testing.T, template *x509.Certificate, public *ecdsa.PublicKey, parent *x509.Certificate) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue writes <host>.pem and <host>.key and returns the pair.
func (a *authority) issue(t *testing.T, host string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	cert := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{host}, NotBefore: time.Now().AddDate(0, 0, -1), NotAfter: time.Now().AddDate(0, 0, 1),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &key.PublicKey, a.cert)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, host+".pem", "CERTIFICATE", cert.Raw)
	a.write(t, host+".key", "PRIVATE KEY", der)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// newTLSStage starts a proxy with a TLS listener for a.example and other.example.
func newTLSStage(t *testing.T) (stage, *authority) {
	t.Helper()
	a := newAuthority(t)
	a.issue(t, "a.example")
	a.issue(t, "other.example")
	o := newOrigin(t, "127.0.0.1:0")
	return stage{start(t, "tls", map[string]string{
		"ORIGIN": o.addr(), "CERT": a.path("a.example.pem"), "KEY": a.path("a.example.key"),
		"OTHER_CERT": a.path("other.example.pem"), "OTHER_KEY": a.path("other.example.key"),
	}), o}, a
}

// dialTLS does a handshake with the proxy.
func dialTLS(t *testing.T, addr string, c *tls.Config) (*tls.Conn, error) {
	t.Helper()
	d := tls.Dialer{Config: c}
	nc, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(*patience))
	return nc.(*tls.Conn), nil
}

func TestTLSListener(t *testing.T) {
	t.Parallel()
	st, a := newTLSStage(t)
	nc, err := dialTLS(t, st.addr, &tls.Config{RootCAs: a.pool(), ServerName: "a.example"})
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(nc)
	for i, send := range []string{
		string(get("/x")),
		"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello",
		"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	} {
		if _, err := nc.Write([]byte(send)); err != nil {
			t.Fatal(err)
		}
		r := st.request(t, i)
		if got := values(r.fields, "X-Forwarded-Proto"); len(got) != 1 || got[0] != "https" {
			t.Errorf("request %d: X-Forwarded-Proto %q", i, got)
		}
		r.answer(defaultAnswer)
		if m, err := readResponse(br, false); err != nil || m.status() != 200 || string(m.body) != "ok" {
			t.Fatalf("answer %d: %q %q %v", i, m.start, m.body, err)
		}
	}
	if _, err := nc.Write([]byte("G<ET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if m, err := readResponse(br, false); err != nil || m.status() != 400 {
		t.Errorf("a malformed request over TLS got %q (%v), want 400", m.start, err)
	}
	st.wantLine(t, 3, 400, "bad_request_line")
}

func TestTLSCertificates(t *testing.T) {
	t.Parallel()
	st, a := newTLSStage(t)
	for name, want := range map[string]string{
		"a.example": "a.example", "other.example": "other.example", "unknown.example": "a.example", "": "a.example",
	} {
		nc, err := dialTLS(t, st.addr, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Errorf("server name %q: %v", name, err)
			continue
		}
		cert := nc.ConnectionState().PeerCertificates[0]
		if cert.DNSNames[0] != want {
			t.Errorf("server name %q: got the certificate of %q, want %q", name, cert.DNSNames, want)
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: a.pool()}); err != nil {
			t.Errorf("server name %q: %v", name, err)
		}
	}
}

func TestTLSRefusesOldVersions(t *testing.T) {
	t.Parallel()
	st, a := newTLSStage(t)
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		c := &tls.Config{RootCAs: a.pool(), ServerName: "a.example", MinVersion: v, MaxVersion: v}
		if nc, err := dialTLS(t, st.addr, c); err == nil {
			t.Errorf("%s was accepted", tls.VersionName(nc.ConnectionState().Version))
		}
	}
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := &tls.Config{RootCAs: a.pool(), ServerName: "a.example", MinVersion: v, MaxVersion: v}
		if _, err := dialTLS(t, st.addr, c); err != nil {
			t.Errorf("%s: %v", tls.VersionName(v), err)
		}
	}
}

func TestTLSClientGone(t *testing.T) {
	t.Parallel()
	st, a := newTLSStage(t)
	nc, err := dialTLS(t, st.addr, &tls.Config{RootCAs: a.pool(), ServerName: "a.example"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write(get("/x")); err != nil {
		t.Fatal(err)
	}
	r := st.request(t, 0)
	_ = nc.NetConn().(*net.TCPConn).SetLinger(0)
	_ = nc.NetConn().Close()
	st.o.must(t, "the upstream connection is closed", func() bool { return r.gone })
	st.wantLine(t, 0, 499, "client_gone")
}

// TestUpstreamTLS holds that an upstream's certificate is checked, name and issuer.
func TestUpstreamTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	pair := a.issue(t, "origin.example")
	plain, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := serveOrigin(t, tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{pair}}))
	o.auto = func(r *request) { r.answer(defaultAnswer) }
	s := start(t, "tls-upstream", map[string]string{"ORIGIN": o.addr(), "CA": a.path("ca.pem")})
	c := dial(t, s.addr, whole)
	for i, test := range []struct {
		path   string
		status int
		reason string
	}{
		{"/x", 200, ""},
		{"/other-name", 502, "upstream_tls"},
		{"/unknown-ca", 502, "upstream_tls"},
	} {
		c.send(get(test.path))
		wantStatus(t, c, test.status)
		s.wantLine(t, i, test.status, test.reason)
	}
}

// TestUpstreamNoTLS points a TLS upstream at a server that speaks none.
func TestUpstreamNoTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	o := newOrigin(t, "127.0.0.1:0")
	o.auto = func(r *request) { r.answer(defaultAnswer) }
	s := start(t, "tls-upstream", map[string]string{"ORIGIN": o.addr(), "CA": a.path("ca.pem")})
	c := dial(t, s.addr, whole)
	c.send(get("/x"))
	wantStatus(t, c, 502)
	s.wantLine(t, 0, 502, "upstream_tls")
}
