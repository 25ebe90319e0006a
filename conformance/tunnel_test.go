package conformance

import (
	"bytes"
	"io"
	"testing"
)

// openTunnel does a websocket handshake through the proxy.
func openTunnel(t *testing.T, st stage, path string) (*client, *request) {
	t.Helper()
	c := dial(t, st.addr, whole)
	c.send([]byte("GET " + path + " HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	r := st.o.request(0, complete)
	if r == nil {
		t.Fatalf("the upstream never got the handshake; the client has %q", clip(c.got))
	}
	r.answer([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"))
	wantStatus(t, c, 101)
	return c, r
}

// tunnelled waits for bytes at the origin's end of a tunnel.
func (r *request) tunnelled(t *testing.T, want []byte) {
	t.Helper()
	r.o.must(t, "the upstream gets the tunnel's bytes", func() bool { return bytes.HasSuffix(r.raw, want) })
}

func TestTunnelBothWays(t *testing.T) {
	t.Parallel()
	st := newStage(t, "websocket")
	c, r := openTunnel(t, st, "/chat")
	c.send([]byte("ping \x00\r\n\r\n"))
	r.tunnelled(t, []byte("\r\n\r\nping \x00\r\n\r\n"))
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB, as one websocket frame may be
	go r.answer(large)
	got := make([]byte, len(large))
	if _, err := io.ReadFull(c.br, got); err != nil || !bytes.Equal(got, large) {
		t.Errorf("the client got other bytes than the upstream sent (%v)", err)
	}
	c.send(large)
	r.tunnelled(t, large)
}

// TestTunnelHalfClose holds that each direction ends by itself (RFC 6455 7.1.1).
func TestTunnelHalfClose(t *testing.T) {
	t.Parallel()
	st := newStage(t, "websocket")
	c, r := openTunnel(t, st, "/chat")
	c.send([]byte("last"))
	c.fin()
	r.tunnelled(t, []byte("last"))
	st.o.must(t, "the half-close reaches the upstream", func() bool { return r.gone })
	r.answer([]byte("bye"))
	r.close()
	got, err := io.ReadAll(c.br)
	if err != nil || string(got) != "bye" {
		t.Errorf("after its half-close the client got %q (%v), want bye", got, err)
	}
	st.wantLine(t, 0, 101, "")
}

func TestTunnelClientGone(t *testing.T) {
	t.Parallel()
	st := newStage(t, "websocket")
	c, r := openTunnel(t, st, "/chat")
	c.reset()
	st.o.must(t, "the upstream connection is closed", func() bool { return r.gone })
	st.o.must(t, "no upstream connection is left", func() bool { return st.o.open == 0 })
}

// TestTunnelEndsWithShutdown holds that a tunnel cannot outlive the shutdown timeout.
func TestTunnelEndsWithShutdown(t *testing.T) {
	t.Parallel()
	st := newStage(t, "websocket")
	c, r := openTunnel(t, st, "/chat")
	st.stop(t)
	wantEOF(t, c)
	st.o.must(t, "the upstream connection is closed", func() bool { return r.gone })
}
