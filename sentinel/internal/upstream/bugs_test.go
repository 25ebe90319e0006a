package upstream

import (
	"crypto/tls"
	"net"
	"testing"
)

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
