package attack

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

const request = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"

// serve answers every request with the bytes reply returns for its number, counted from 0 on each connection;
// no bytes close the connection.
func serve(t *testing.T, reply func(n int) string) netip.AddrPort {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveConn(c, reply)
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func serveConn(c net.Conn, reply func(n int) string) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	for n := 0; ; n++ {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		text := reply(n)
		if _, err := io.WriteString(c, text); err != nil || text == "" {
			return
		}
	}
}

func TestSchedule(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := schedule{began: began, interval: 250 * time.Microsecond, total: 8000}
	if got := s.due(0); got != began {
		t.Errorf("due(0) = %v, want %v", got, began)
	}
	if got, want := s.due(8000), began.Add(2*time.Second); got != want {
		t.Errorf("due(8000) = %v, want %v", got, want)
	}
}

func TestRunSendsRateTimesDuration(t *testing.T) {
	to := serve(t, func(int) string { return answer })
	a := Attack{Target: to, Request: []byte(request), Connections: 4, Rate: 1000, Duration: 200 * time.Millisecond}
	began := time.Now()
	got, err := a.Run(t.Context())
	if err != nil || got.Requests != 200 {
		t.Errorf("Run = %+v, %v, want 200 requests", got, err)
	}
	if took := time.Since(began); took < 199*time.Millisecond {
		t.Errorf("Run took %v, shorter than its schedule", took)
	}
	if got.P50 <= 0 || got.P50 > got.P90 || got.P90 > got.P99 || got.P99 > got.P999 || got.P999 > got.Max {
		t.Errorf("percentiles are not in order: %+v", got)
	}
}

// The one connection is held up for 60 ms. The requests that were due meanwhile left late; their wait must show.
func TestLatencyCountsFromTheDueTime(t *testing.T) {
	to := serve(t, func(n int) string {
		if n == 0 {
			<-time.After(60 * time.Millisecond)
		}
		return answer
	})
	a := Attack{Target: to, Request: []byte(request), Connections: 1, Rate: 1000, Duration: 40 * time.Millisecond}
	got, err := a.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Request n was due after n ms and left after 60 ms at the earliest: the median of 40 waited about 40 ms.
	if got.P50 < 35*time.Millisecond {
		t.Errorf("p50 = %v, want at least 35 ms", got.P50)
	}
}

func TestRunFails(t *testing.T) {
	tests := map[string]string{
		"an error answer":     "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
		"a closed connection": "",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			a := Attack{
				Target: serve(t, func(int) string { return text }), Request: []byte(request),
				Connections: 2, Rate: 100, Duration: 50 * time.Millisecond,
			}
			if got, err := a.Run(t.Context()); err == nil {
				t.Errorf("Run = %+v, want an error", got)
			}
		})
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	to := serve(t, func(int) string { cancel(); return answer })
	a := Attack{Target: to, Request: []byte(request), Connections: 1, Rate: 10, Duration: time.Hour}
	if _, err := a.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v, want context.Canceled", err)
	}
}

func TestRunRefusesNothingToDo(t *testing.T) {
	good := Attack{Connections: 1, Rate: 1, Duration: time.Second, Target: netip.MustParseAddrPort("127.0.0.1:1")}
	for name, change := range map[string]func(*Attack){
		"no rate":        func(a *Attack) { a.Rate = 0 },
		"no connections": func(a *Attack) { a.Connections = 0 },
		"no duration":    func(a *Attack) { a.Duration = 0 },
		"nobody listens": func(*Attack) {},
	} {
		t.Run(name, func(t *testing.T) {
			a := good
			change(&a)
			if got, err := a.Run(t.Context()); err == nil {
				t.Errorf("Run = %+v, want an error", got)
			}
		})
	}
}
