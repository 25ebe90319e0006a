package conformance

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestDrain stops a proxy with one request in flight and one idle connection.
func TestDrain(t *testing.T) {
	t.Parallel()
	st := newStage(t, "basic")
	idle, busy := dial(t, st.addr, whole), dial(t, st.addr, whole)
	st.exchange(t, idle, 0)
	busy.send(get("/x"))
	r := st.request(t, 1)
	st.cancel()
	wantEOF(t, idle)
	if nc, err := net.Dial("tcp", st.addr); err == nil {
		_ = nc.Close()
		t.Error("a draining proxy accepts connections")
	}
	r.answer(defaultAnswer)
	if m := wantStatus(t, busy, 200); !saysClose(m) {
		t.Error("a draining proxy does not say Connection: close")
	}
	wantEOF(t, busy)
	st.stop(t)
	st.wantLine(t, 1, 200, "")
}

// TestDrainCuts holds that a request that never ends cannot hold up the shutdown.
func TestDrainCuts(t *testing.T) {
	t.Parallel()
	st := newStage(t, "websocket")
	c := dial(t, st.addr, whole)
	c.send(get("/x"))
	r := st.request(t, 0)
	st.stop(t)
	wantGone(t, c)
	st.o.must(t, "the upstream connection is closed", func() bool { return r.gone })
	st.wantLine(t, 0, 503, "shutting_down")
}

// wantGone checks that the connection ends, whatever is answered before.
func wantGone(t *testing.T, c *client) {
	t.Helper()
	for {
		if _, err := c.br.ReadByte(); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the connection was not closed")
		} else if err != nil {
			return
		}
	}
}

// TestConnectionLimit opens one connection more than may be.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	st := newStage(t, "caps")
	held := make([]*client, 3)
	for i := range held {
		held[i] = dial(t, st.addr, whole)
		st.exchange(t, held[i], i)
	}
	wantGone(t, dial(t, st.addr, whole))
	held[0].send(get("/metrics"))
	if m := wantStatus(t, held[0], 200); !strings.Contains(string(m.body), "connection_limit") {
		t.Error("the metrics do not say connection_limit")
	}
	st.exchange(t, held[1], 3)
	held[2].close()
	for end := time.Now().Add(*patience); ; {
		if c := dial(t, st.addr, whole); answers(c) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a place that has become free is never given away")
		}
	}
}

// answers reports whether a connection gets an answer to a request that no route has.
func answers(c *client) bool {
	c.send([]byte("GET /metrics HTTP/1.1\r\nHost: a.example\r\n\r\n"))
	m, err := c.response(false)
	return err == nil && m.status() == 200
}

// TestUpstreamBusy sends a second request while the only connection the pool may have is taken.
func TestUpstreamBusy(t *testing.T) {
	t.Parallel()
	st := newStage(t, "caps")
	first, second := dial(t, st.addr, whole), dial(t, st.addr, whole)
	first.send(get("/one"))
	r := st.request(t, 0)
	second.send(get("/one"))
	if m := wantStatus(t, second, 503); len(values(m.fields, "Retry-After")) != 1 {
		t.Error("503 without Retry-After")
	}
	st.wantLine(t, 0, 503, "upstream_busy")
	r.answer(defaultAnswer)
	wantStatus(t, first, 200)
	second.send(get("/one"))
	st.request(t, 1).answer(defaultAnswer)
	wantStatus(t, second, 200)
}

// TestClientGoneFreesUpstream holds that a client's leaving ends its upstream request while others go on.
func TestClientGoneFreesUpstream(t *testing.T) {
	t.Parallel()
	st := newStage(t, "basic")
	leaver, stayer := dial(t, st.addr, whole), dial(t, st.addr, whole)
	leaver.send(get("/x"))
	left := st.request(t, 0)
	stayer.send(get("/y"))
	kept := st.request(t, 1)
	leaver.close()
	st.o.must(t, "the upstream connection is closed", func() bool { return left.gone })
	st.wantLine(t, 0, 499, "client_gone")
	kept.answer(defaultAnswer)
	wantStatus(t, stayer, 200)
	st.wantLine(t, 1, 200, "")
}

// TestAccessLine checks every member of an access line that a request decides.
func TestAccessLine(t *testing.T) {
	t.Parallel()
	st := newStage(t, "basic")
	c := dial(t, st.addr, whole)
	st.exchange(t, c, 0)
	c.send([]byte("POST /a/../p%41?q=\"1\" HTTP/1.1\r\nHost: a.example\r\nX-Trace-Id: t-1\r\nContent-Length: 5\r\n\r\nhello"))
	wantStatus(t, c, 400) // a quote may stand in no target
	st.wantLine(t, 1, 400, "bad_target")
	c = dial(t, st.addr, whole)
	c.send([]byte("POST /a/../p%41?q=1 HTTP/1.1\r\nHost: a.example\r\nX-Trace-Id: t-1\r\nContent-Length: 5\r\n\r\nhello"))
	st.request(t, 1).answer(defaultAnswer)
	wantStatus(t, c, 200)
	lines := st.access.wait(3)
	if len(lines) != 3 {
		t.Fatalf("%d access lines, want 3: %+v", len(lines), lines)
	}
	want := accessLine{
		TraceID: "t-1", Method: "POST", Path: "/a/../p%41", Query: "q=1", Status: 200, RouteID: "web", Upstream: "origin", ClientIP: "127.0.0.1",
		Attempts: 1, BodyBytes: 5, BodyBytesSent: 2, Reused: true,
	}
	if lines[2] != want {
		t.Errorf("access line\n %+v, want\n %+v", lines[2], want)
	}
}
