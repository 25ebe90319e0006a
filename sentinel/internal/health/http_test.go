package health

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestHTTPRequest compares the bytes that a target gets.
func TestHTTPRequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, path, host, line, field string }{
		{"defaults", "", "", "GET / HTTP/1.1", "Host: a.test:8080"},
		{"path", "/health", "", "GET /health HTTP/1.1", "Host: a.test:8080"},
		{"path with a query", "/health?deep=1&x=%20", "", "GET /health?deep=1&x=%20 HTTP/1.1", "Host: a.test:8080"},
		{"path with slashes", "//health/", "", "GET //health/ HTTP/1.1", "Host: a.test:8080"},
		{"host", "/", "b.test", "GET / HTTP/1.1", "Host: b.test"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got string
			dial, _, stop := inMemory(func(c net.Conn) {
				got = readRequest(c)
				_, _ = io.WriteString(c, okAnswer)
			})
			p := Probe{Type: "http", Address: "a.test:8080", Path: test.path, Host: test.host, Timeout: patience, Dial: dial}
			expect(t, p.Do(t.Context()), "")
			stop()
			want := test.line + "\r\n" + test.field + "\r\nUser-Agent: Sentinel-HealthCheck/1.0\r\nConnection: close\r\n\r\n"
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// TestHTTPBadSettings shows that settings which are no request send none.
func TestHTTPBadSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, path, host, want string }{
		{"path without a slash", "health", "", "path is not a request target"},
		{"path with a new line", "/a\r\nX: y", "", "path is not a request target"},
		{"path with a bad escape", "/%zz", "", "path is not a request target"},
		{"host with a new line", "/", "a.test\r\nX: y", "host is not a host"},
		{"host with a path", "/", "a.test/x", "host is not a host"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got string
			dial, _, stop := inMemory(func(c net.Conn) { got = readRequest(c) })
			p := Probe{Type: "http", Address: "a.test:80", Path: test.path, Host: test.host, Timeout: patience, Dial: dial}
			expect(t, p.Do(t.Context()), test.want)
			stop()
			if got != "" {
				t.Errorf("sent %q", got)
			}
		})
	}
}

func TestHTTPStatus(t *testing.T) {
	t.Parallel()
	list := []int{200, 204, 301, 404, 500, 501, 502, 503, 504, 505}
	for _, test := range []struct {
		name     string
		answer   string
		expected []int
		want     string
	}{
		{"200", "HTTP/1.1 200 OK\r\n\r\n", nil, ""},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", nil, ""},
		{"299", "HTTP/1.1 299 Fine\r\n\r\n", nil, ""},
		{"without a phrase", "HTTP/1.1 200\r\n\r\n", nil, ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", nil, ""},
		{"after informational ones", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + okAnswer, nil, ""},
		{"101", "HTTP/1.1 101 Switching Protocols\r\n\r\n", nil, "status 101, expected 2xx"},
		{"a redirect is not followed", "HTTP/1.1 301 Moved\r\nLocation: /ok\r\n\r\n", nil, "status 301, expected 2xx"},
		{"404", "HTTP/1.1 404 Not Found\r\n\r\n", nil, "status 404, expected 2xx"},
		{"500", "HTTP/1.1 500 Oh\r\n\r\n", nil, "status 500, expected 2xx"},
		{"999", "HTTP/1.1 999 Odd\r\n\r\n", nil, "status 999, expected 2xx"},
		{"the one expected", "HTTP/1.1 418 Teapot\r\n\r\n", []int{418}, ""},
		{"one of two", "HTTP/1.1 404 Not Found\r\n\r\n", []int{200, 404}, ""},
		{"an expected redirect", "HTTP/1.1 301 Moved\r\nLocation: /ok\r\n\r\n", []int{301}, ""},
		{"200 is not expected", "HTTP/1.1 200 OK\r\n\r\n", []int{204}, "status 200, expected 204"},
		{"none of two", "HTTP/1.1 500 Oh\r\n\r\n", []int{200, 404}, "status 500, expected 200, 404"},
		{"the last of a long list", "HTTP/1.1 505 Oh\r\n\r\n", list, ""},
		{"none of a long list", "HTTP/1.1 400 Oh\r\n\r\n", list, "status 400, expected 200, 204, 301, 404, 500, 501, 502, 503, ..."},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := Probe{Type: "http", Address: serve(t, answering(test.answer)), ExpectedStatus: test.expected, Timeout: patience}
			expect(t, p.Do(t.Context()), test.want)
		})
	}
}

// hostileTarget is a target that does what it should not. bound is how many bytes of it a probe may take.
type hostileTarget struct {
	name   string
	script func(net.Conn)
	want   string // empty: healthy
	bound  int64
}

const small = 8 << 10 // bytes that a probe may read on after the final head

func hostileTargets() []hostileTarget {
	const head = "HTTP/1.1 200 OK\r\n"
	long := strings.Repeat("x", 1<<20)
	return []hostileTarget{
		{"closes after the request", func(c net.Conn) { readRequest(c) }, "connection closed", 0},
		{"closes in the status line", func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "HTTP/1.1 2") }, "no HTTP response", small},
		{"closes in the head", func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, head+"A: b\r\n") }, "connection closed", small},
		{"garbage", answering("\x00\xff\x16\x03 " + hostile + "\r\n\r\n"), "no HTTP response", small},
		{"another protocol", answering("SSH-2.0-OpenSSH_9.9\r\n"), "no HTTP response", small},
		{"HTTP/2", answering("HTTP/2.0 200 OK\r\n\r\n"), "no HTTP response", small},
		{"HTTP/0.9", answering("HTTP/0.9 200 OK\r\n\r\n"), "no HTTP response", small},
		{"status of two digits", answering("HTTP/1.1 20 OK\r\n\r\n"), "no HTTP response", small},
		{"signed status", answering("HTTP/1.1 +20 OK\r\n\r\n"), "no HTTP response", small},
		{"status in letters", answering("HTTP/1.1 OK 200\r\n\r\n"), "no HTTP response", small},
		{"bad field", answering(head + "no colon\r\n\r\n"), "no HTTP response", small},
		{"bad framing", answering(head + "Content-Length: -1\r\n\r\n"), "no HTTP response", small},
		{"status line for ever", repeating("HTTP/1.1 200 ", strings.Repeat("OK", 500)), "response head too large", headMax},
		{"field for ever", repeating(head+"A: ", strings.Repeat("bb", 500)), "response head too large", headMax},
		{"fields for ever", repeating(head, strings.Repeat("A: b\r\n", 200)), "response head too large", headMax},
		{"one field of 1 MiB", repeating(head+"A: "+long, long), "response head too large", headMax},
		{"1xx for ever", repeating("", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 50)), "response head too large", headMax},
		{"body of 10 MB", answering(head + "Content-Length: 10000000\r\n\r\n" + strings.Repeat(long[:1000], 10000)), "", small},
		{"body for ever", repeating(head+"\r\n", long), "", small},
		{"chunks for ever", repeating(head+"Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("1\r\nx\r\n", 200)), "", small},
		{"body that never comes", answering(head + "Content-Length: 5\r\n\r\n"), "", small},
		{"hangs after the head", answering(head + "\r\n"), "", small},
	}
}

// TestHTTPHostile counts what a probe takes from a target before it has its verdict.
func TestHTTPHostile(t *testing.T) {
	t.Parallel()
	for _, test := range hostileTargets() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dial, target, stop := inMemory(test.script)
			defer stop()
			p := Probe{Type: "http", Address: "a.test:80", Timeout: patience, Dial: dial}
			expect(t, p.Do(t.Context()), test.want)
			stop()
			if n := target.written.Load(); n > test.bound {
				t.Errorf("%d bytes of the target were taken, want at most %d", n, test.bound)
			}
		})
	}
}

// TestHTTPHostileSockets plays the same over sockets, where bytes travel unread.
func TestHTTPHostileSockets(t *testing.T) {
	t.Parallel()
	for _, test := range hostileTargets() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := Probe{Type: "http", Address: serve(t, test.script), Timeout: patience}
			expect(t, p.Do(t.Context()), test.want)
		})
	}
}

// TestHTTPClosesAtOnce covers a target that closes before it has read: the kernel may reset the connection
// then, or say that it ended.
func TestHTTPClosesAtOnce(t *testing.T) {
	t.Parallel()
	p := Probe{Type: "http", Address: serve(t, func(net.Conn) {}), Timeout: patience}
	err := p.Do(t.Context())
	if err == nil {
		t.Fatal("healthy")
	}
	if !slices.Contains([]string{"connection closed", "connection reset"}, err.Error()) {
		t.Errorf("%q", err)
	}
	dial, _, stop := inMemory(func(net.Conn) {})
	stop()
	p.Dial = dial
	expect(t, p.Do(t.Context()), "request not sent") // the error of net.Pipe has no name of ours
}

// TestHTTPSlow shows that the timeout is the whole probe's, to the moment.
func TestHTTPSlow(t *testing.T) {
	t.Parallel()
	drip := func(c net.Conn) {
		readRequest(c)
		for err := error(nil); err == nil; <-time.After(time.Second) {
			_, err = io.WriteString(c, "H")
		}
	}
	for _, test := range []struct {
		name   string
		script func(net.Conn)
	}{
		{"reads nothing", func(c net.Conn) { <-time.After(time.Minute) }},
		{"says nothing", silent},
		{"hangs in the status line", answering("HTTP/1.1 2")},
		{"hangs in the head", answering("HTTP/1.1 200 OK\r\nA: b\r\n")},
		{"hangs after an informational head", answering("HTTP/1.1 102 Processing\r\n\r\n")},
		{"drips", drip},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dial, _, stop := inMemory(test.script)
				defer stop()
				p := Probe{Type: "http", Address: "a.test:80", Timeout: 5 * time.Second, Dial: dial}
				begin := time.Now()
				expect(t, p.Do(t.Context()), "timeout")
				if took := time.Since(begin); took != 5*time.Second {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// TestConnect covers what is the same for all types: what may happen until the connection stands.
func TestConnect(t *testing.T) {
	t.Parallel()
	failing := func(err error) dialFunc {
		return func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}
	}
	hanging := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, test := range []struct {
		name string
		dial dialFunc
		want string
	}{
		{"nobody listens", nil, "connection refused"},
		{"name does not resolve", failing(&net.DNSError{Err: hostile, Name: hostile, IsNotFound: true}), "name does not resolve"},
		{"name server is broken", failing(&net.DNSError{Err: hostile, Name: hostile, IsTemporary: true}), "name does not resolve"},
		{"name server is slow", failing(&net.DNSError{Err: hostile, Name: hostile, IsTimeout: true}), "timeout of the name server"},
		{"unreachable", failing(syscall.EHOSTUNREACH), "host unreachable"},
		{"no descriptor", failing(syscall.EMFILE), "no descriptor left"},
		{"unknown", failing(errors.New(hostile)), "connect failed"},
		{"hangs", hanging, "timeout"},
	} {
		for _, kind := range []string{"http", "tcp", "grpc"} {
			t.Run(test.name+" "+kind, func(t *testing.T) {
				t.Parallel()
				p := Probe{Type: kind, Address: closedPort(t), Timeout: patience, Dial: test.dial}
				if test.want == "timeout" {
					p.Timeout = brief
				}
				expect(t, p.Do(t.Context()), test.want)
			})
		}
	}
}

// TestCancel shows that every type of probe ends with its context, wherever it is.
func TestCancel(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"http", "grpc"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			target := serve(t, func(c net.Conn) {
				_, _ = c.Read(make([]byte, 1)) // the probe is under way
				cancel()
				silent(c)
			})
			p := Probe{Type: kind, Address: target, Timeout: patience}
			expect(t, p.Do(ctx), "cancelled")
		})
	}
}

func TestTCP(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	p := Probe{Type: "tcp", Timeout: patience, Address: serve(t, func(c net.Conn) {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	})}
	expect(t, p.Do(t.Context()), "")
	select {
	case err := <-ended:
		if !errors.Is(err, io.EOF) {
			t.Errorf("the target's connection ended with %v, want %v", err, io.EOF)
		}
	case <-time.After(patience):
		t.Error("the connection was left open")
	}
}

func TestUnknownType(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a probe of an unknown type said something")
		}
	}()
	_ = (&Probe{Type: "icmp", Timeout: patience}).Do(t.Context())
}
