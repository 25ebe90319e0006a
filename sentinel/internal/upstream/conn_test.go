package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/wire"
)

// TestRoundTrip covers what can come back for a request.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	fault := func(want wire.Fault) func(error) bool {
		return func(err error) bool {
			var got wire.Fault
			return errors.As(err, &got) && got == want
		}
	}
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	for _, test := range []struct {
		name   string
		script func(net.Conn)
		want   func(error) bool // nil: status 200
		rest   string           // what came behind the head
	}{
		{"whole", saying(okAnswer), nil, "ok"},
		{"byte by byte", saying(strings.Split(okAnswer, "")...), nil, "ok"},
		{"head alone", saying("HTTP/1.1 200 OK\r\n\r\n"), nil, ""},
		{"surplus", saying(okAnswer + "HTTP/1.1 200 OK\r\n\r\n"), nil, "okHTTP/1.1 200 OK\r\n\r\n"},
		{"a head over the buffer", saying("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n"), is(ErrTooLarge), ""},
		{"another protocol", saying("SSH-2.0-x\r\n"), fault(wire.BadStatusLine), ""},
		{"the end at once", func(net.Conn) {}, nil, "end"},
		{"the end without an answer", saying1(""), is(io.ErrUnexpectedEOF), ""},
		{"the end inside the head", saying1("HTTP/1.1 200 OK\r\nX"), is(io.ErrUnexpectedEOF), ""},
		{"a reset", resetting, is(syscall.ECONNRESET), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, target := poolOf(t, server(t, test.script), nil)
			c := open(t, target)
			defer c.Close()
			trip, err := roundTrip(c)
			switch {
			case test.rest == "end": // the end may be an error of the write or of the read
				if err == nil || trip.Received {
					t.Errorf("status %d from nobody, %v", trip.Head.Status, err)
				}
			case test.want != nil:
				if err == nil || !test.want(err) {
					t.Errorf("error %v", err)
				}
			case err != nil || trip.Head.Status != 200:
				t.Errorf("status %d, %v", trip.Head.Status, err)
			case !strings.HasPrefix(test.rest, string(trip.In[trip.Used:trip.N])):
				t.Errorf("behind the head: %q", trip.In[trip.Used:trip.N])
			}
		})
	}
}

// saying1 answers one request and ends the connection in good order.
func saying1(text string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, text)
		}
	}
}

func resetting(c net.Conn) {
	if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
}

// TestRoundTripMany uses one connection for many requests.
func TestRoundTripMany(t *testing.T) {
	t.Parallel()
	_, target := poolOf(t, server(t, saying(okAnswer)), nil)
	for i := range 100 {
		c := open(t, target)
		trip, err := roundTrip(c)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if _, err := io.CopyN(io.Discard, c.NetConn(), int64(2-(trip.N-trip.Used))); err != nil {
			t.Fatal(err)
		}
		c.Put()
		if c.Reused != (i > 0) {
			t.Fatalf("request %d on a reused connection: %t", i, c.Reused)
		}
	}
}

// TestInterimHeads takes several heads off one stream, together and apart.
func TestInterimHeads(t *testing.T) {
	t.Parallel()
	const hint = "HTTP/1.1 103 Early Hints\r\n\r\n"
	for name, pieces := range map[string][]string{
		"together": {hint + hint + okAnswer},
		"apart":    {hint, hint, okAnswer},
		"split":    {hint + hint[:9], hint[9:] + okAnswer[:20], okAnswer[20:]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, target := poolOf(t, server(t, saying(pieces...)), nil)
			c := open(t, target)
			defer c.Close()
			trip, err := roundTrip(c)
			for range 2 {
				if err != nil || trip.Head.Status != 103 {
					t.Fatalf("status %d, %v", trip.Head.Status, err)
				}
				trip.Head.Reset(false)
				err = c.RoundTrip(trip)
			}
			if err != nil || trip.Head.Status != 200 {
				t.Fatalf("status %d, %v", trip.Head.Status, err)
			}
		})
	}
}

// TestLargeRequest sends more than a socket's buffer holds in one trip.
func TestLargeRequest(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	got := make(chan int64, 1)
	_, target := poolOf(t, server(t, func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, req.Body)
		got <- n
		_, _ = io.WriteString(c, okAnswer)
	}), nil)
	c := open(t, target)
	defer c.Close()
	out := append([]byte("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8388608\r\n\r\n"), bytes.Repeat([]byte("x"), size)...)
	trip := &Trip{Out: out, In: make([]byte, 4<<10), Head: &wire.Response{}, Lim: &limits}
	if err := c.RoundTrip(trip); err != nil || trip.Head.Status != 200 {
		t.Fatalf("status %d, %v", trip.Head.Status, err)
	}
	if n := <-got; n != size {
		t.Errorf("%d of %d bytes arrived", n, size)
	}
}

// TestWake shows that a wake-up from another goroutine ends a pending round trip and every later one.
func TestWake(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	_, target := poolOf(t, server(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		asked <- struct{}{}
		silent(c)
	}), nil)
	c := open(t, target)
	defer c.Close()
	woken := make(chan struct{})
	go func() {
		defer close(woken)
		<-asked
		c.Wake()
	}()
	if _, err := roundTrip(c); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the pending trip ended with %v", err)
	}
	<-woken
	if _, err := roundTrip(c); err == nil {
		t.Error("a later trip went on")
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	_, target := poolOf(b, server(b, func(c net.Conn) {
		buf, answer := make([]byte, 1024), []byte(okAnswer)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}), nil)
	trip := Trip{In: make([]byte, 4<<10), Out: []byte("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"), Head: &wire.Response{}, Lim: &limits}
	b.ReportAllocs()
	for b.Loop() {
		c := open(b, target)
		trip.N, trip.Used, trip.Sent = 0, 0, false
		trip.Head.Reset(false)
		if err := c.RoundTrip(&trip); err != nil {
			b.Fatal(err)
		}
		c.Put()
	}
}
