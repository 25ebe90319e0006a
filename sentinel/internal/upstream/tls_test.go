package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// TestHandshakeIsBounded shows that a target that accepts and says nothing costs the connect timeout.
func TestHandshakeIsBounded(t *testing.T) {
	t.Parallel()
	p, target := poolOf(t, server(t, silent), func(o *Options) { o.TLS, o.Connect = &tls.Config{}, 50*time.Millisecond })
	var failed *TLSError
	if _, err := target.Dial(context.Background()); !errors.As(err, &failed) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a handshake with nobody: %v", err)
	}
	expectCounts(t, p, 0, 0)
}

// TestDialTLS covers what is verified: the chain, and the name of the address unless another is set.
func TestDialTLS(t *testing.T) {
	t.Parallel()
	s, roots := secureServer(t)
	for _, test := range []struct {
		name   string
		config *tls.Config
		good   bool
	}{
		{"address", &tls.Config{RootCAs: roots}, true},
		{"name", &tls.Config{RootCAs: roots, ServerName: "example.com"}, true},
		{"wrong name", &tls.Config{RootCAs: roots, ServerName: "b.test"}, false},
		{"self-signed", &tls.Config{}, false},
		{"not verified", &tls.Config{InsecureSkipVerify: true}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, target := poolOf(t, s.Listener.Addr().String(), func(o *Options) { o.TLS = test.config })
			c, err := target.Dial(context.Background())
			if !test.good {
				var failed *TLSError
				if !errors.As(err, &failed) {
					t.Errorf("%v, want a TLSError", err)
				}
				expectCounts(t, p, 0, 0)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if trip, err := roundTrip(c); err != nil || trip.Head.Status != 404 {
				t.Errorf("status %d, %v", trip.Head.Status, err)
			}
			if c.Raw() != nil {
				t.Error("a TLS connection offers its bare socket")
			}
			c.Close()
		})
	}
}

// TestReuseTLS shows that a TLS connection is used again, whatever TLS itself exchanged meanwhile.
func TestReuseTLS(t *testing.T) {
	t.Parallel()
	s, roots := secureServer(t)
	_, target := poolOf(t, s.Listener.Addr().String(), func(o *Options) { o.TLS = &tls.Config{RootCAs: roots} })
	for i := range 10 {
		c := open(t, target)
		if c.Reused != (i > 0) {
			t.Fatalf("request %d on a reused connection: %t", i, c.Reused)
		}
		trip, err := roundTrip(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, c.NetConn(), trip.Head.DeclaredLength()-int64(trip.N-trip.Used)); err != nil {
			t.Fatal(err)
		}
		c.Put()
	}
}

// TestGetSkipsTouchedTLS is TestGetSkipsTouched over TLS: what waits in the socket counts as much as what
// TLS has read already.
func TestGetSkipsTouchedTLS(t *testing.T) {
	t.Parallel()
	s, roots := secureServer(t)
	config := &tls.Config{Certificates: s.TLS.Certificates, SessionTicketsDisabled: true}
	for event, say := range touches {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			start := func(script func(net.Conn)) string { return server(t, secured(config, script)) }
			testTouched(t, say, start, func(o *Options) { o.TLS = &tls.Config{RootCAs: roots} })
		})
	}
}
