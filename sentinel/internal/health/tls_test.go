package health

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
)

// TestTLS covers what is verified, by HTTP and gRPC probes alike.
func TestTLS(t *testing.T) {
	t.Parallel()
	good, trusting := identity(t, certificate{})
	named, trustingNamed := identity(t, certificate{name: "b.test"})
	stale, trustingStale := identity(t, certificate{stale: true})
	client, trustingClient := identity(t, certificate{usage: x509.ExtKeyUsageClientAuth})
	mutual := good.Clone()
	mutual.ClientAuth = tls.RequireAnyClientCert
	trustingNamed.ServerName = "b.test"
	otherName := trustingNamed.Clone()
	otherName.ServerName = "c.test"
	for _, test := range []struct {
		name          string
		target, probe *tls.Config
		want          string
	}{
		{"address", good, trusting, ""},
		{"name", named, trustingNamed, ""},
		{"unknown authority", good, &tls.Config{ServerName: "127.0.0.1"}, "certificate: unknown authority"},
		{"another authority", good, &tls.Config{RootCAs: trustingStale.RootCAs, ServerName: "127.0.0.1"}, "certificate: unknown authority"},
		{"wrong name", named, otherName, "certificate: wrong name"},
		{"expired", stale, trustingStale, "certificate: expired or not yet valid"},
		{"not a server's", client, trustingClient, "certificate: not valid"},
		{"wants a certificate", mutual, trusting, "TLS refused by the target"},
	} {
		t.Run(test.name+" http", func(t *testing.T) {
			t.Parallel()
			p := Probe{Type: "http", Address: serve(t, secureWith(test.target, answering(okAnswer))), TLS: test.probe, Timeout: patience}
			expect(t, p.Do(t.Context()), test.want)
		})
		t.Run(test.name+" grpc", func(t *testing.T) {
			t.Parallel()
			p := Probe{Type: "grpc", Address: serveGRPC(t, test.target, serving), TLS: test.probe, Timeout: patience}
			want := test.want
			if test.name == "wants a certificate" {
				want = codeCauses[14].Error() // the alert comes after the handshake, to the library
			}
			expect(t, p.Do(t.Context()), want)
		})
	}
}

// TestTLSBroken covers targets that speak something else, or nothing.
func TestTLSBroken(t *testing.T) {
	t.Parallel()
	good, trusting := identity(t, certificate{})
	hello := func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 5)) }
	speaking := func(protocols ...string) func(net.Conn) {
		config := good.Clone()
		config.NextProtos = protocols
		return secureWith(config, answering(okAnswer))
	}
	for _, test := range []struct {
		name   string
		kind   string
		script func(net.Conn)
		probe  *tls.Config
		want   string
	}{
		{"plain HTTP", "http", func(c net.Conn) { _, _ = io.WriteString(c, okAnswer); silent(c) }, trusting, "no TLS answer"},
		{"garbage", "http", func(c net.Conn) { _, _ = io.WriteString(c, "\x16\x03\x03\x00\x05"+hostile); silent(c) }, trusting, "TLS handshake failed"},
		{"closes", "http", func(c net.Conn) { hello(c); _ = c.(*net.TCPConn).CloseWrite(); silent(c) }, trusting, "connection closed"},
		{"a TLS alert for a plain probe", "http", func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "\x15\x03\x01\x00\x02\x02\x16") }, nil, "no HTTP response"},
		{"another protocol", "http", speaking(hostile), trusting, "TLS refused by the target"},
		{"no protocols", "http", speaking(), trusting, ""},
		{"no HTTP/2", "grpc", speaking("http/1.1"), trusting, "TLS refused by the target"},
		{"no protocols", "grpc", speaking(), trusting, "no HTTP/2 over TLS"},
	} {
		t.Run(test.name+" "+test.kind, func(t *testing.T) {
			t.Parallel()
			p := Probe{Type: test.kind, Address: serve(t, test.script), TLS: test.probe, Timeout: patience}
			expect(t, p.Do(t.Context()), test.want)
		})
	}
	for _, kind := range []string{"http", "grpc"} {
		t.Run("silent "+kind, func(t *testing.T) {
			t.Parallel()
			p := Probe{Type: kind, Address: serve(t, silent), TLS: trusting, Timeout: brief}
			expect(t, p.Do(t.Context()), "timeout")
		})
	}
}

// TestTLSVerifiesEachTime shows that no probe relies on what an earlier one has verified, nor on the
// protocols that the settings ask for, and that it leaves the settings alone.
func TestTLSVerifiesEachTime(t *testing.T) {
	t.Parallel()
	target, probe := identity(t, certificate{})
	resumed := make(chan bool, 3)
	script := func(c net.Conn) {
		if c.(*tls.Conn).Handshake() == nil {
			resumed <- c.(*tls.Conn).ConnectionState().DidResume
		}
		answering(okAnswer)(c)
	}
	probe.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	probe.NextProtos = []string{"h2"}
	p := Probe{Type: "http", Address: serve(t, secureWith(target, script)), TLS: probe, Timeout: patience}
	for range cap(resumed) {
		expect(t, p.Do(t.Context()), "")
		if <-resumed {
			t.Error("a session was resumed")
		}
	}
	if probe.ClientSessionCache == nil || probe.NextProtos[0] != "h2" {
		t.Error("the settings were changed")
	}
}
