package upstream

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"
)

// gathering keeps what is written, once it gathers, until flush sends it in one piece.
type gathering struct {
	net.Conn
	held    bytes.Buffer
	gathers bool
}

func (g *gathering) Write(b []byte) (int, error) {
	if g.gathers {
		return g.held.Write(b)
	}
	return g.Conn.Write(b)
}

func (g *gathering) flush() { _, _ = g.held.WriteTo(g.Conn) }

// TestGetSkipsReadAhead shows that bytes the TLS layer took off the socket together with the answer count:
// the socket itself is quiet.
func TestGetSkipsReadAhead(t *testing.T) {
	t.Parallel()
	s, roots := secureServer(t)
	config := &tls.Config{Certificates: s.TLS.Certificates, SessionTicketsDisabled: true}
	p, target := poolOf(t, server(t, func(nc net.Conn) {
		g := &gathering{Conn: nc}
		secure := tls.Server(g, config)
		if secure.Handshake() != nil {
			return
		}
		g.gathers = true
		_, _ = secure.Write([]byte("a"))
		_, _ = secure.Write([]byte("x"))
		g.flush()
		silent(nc)
	}), func(o *Options) { o.TLS = &tls.Config{RootCAs: roots} })
	c := open(t, target)
	if n, err := c.NetConn().Read(make([]byte, 10)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	c.Put()
	if got := target.Get(); got != nil {
		t.Errorf("got %p; the idle one was %p", got, c)
	}
	expectCounts(t, p, 0, 0)
}
