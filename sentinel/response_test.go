package sentinel_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// answering serves one raw answer to every request and closes then if the answer needs that.
func answering(t *testing.T, answer string, closes bool) (address string) {
	t.Helper()
	return scripted(t, func(c *peer) {
		for {
			if _, err := c.request(); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil || closes {
				return
			}
		}
	})
}

// TestResponseFraming covers every way a response can be framed and what the client must see of it.
func TestResponseFraming(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, method, answer string
		closes               bool // the origin's connection, after the answer
		status               int
		body                 string
		length               int64 // declared to the client, -1: none
		ends                 bool  // the client's connection
	}{
		{"length", "GET", "200 OK\r\nContent-Length: 2\r\n\r\nhi", false, 200, "hi", 2, false},
		{"empty", "GET", "200 OK\r\nContent-Length: 0\r\n\r\n", false, 200, "", 0, false},
		{"chunks", "GET", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n", false, 200, "hi", -1, false},
		{"until close", "GET", "200 OK\r\n\r\nhi", true, 200, "hi", -1, true},
		{"HEAD", "HEAD", "200 OK\r\nContent-Length: 1000\r\n\r\n", false, 200, "", 1000, false},
		{"HEAD of chunks", "HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, 200, "", -1, false},
		{"HEAD with a body", "HEAD", "200 OK\r\nContent-Length: 6\r\n\r\npoison", false, 200, "", 6, false},
		{"204", "DELETE", "204 No Content\r\n\r\n", false, 204, "", 0, false},
		{"204 with a body", "GET", "204 No Content\r\nContent-Length: 6\r\n\r\npoison", false, 204, "", 0, false},
		{"304", "GET", "304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\n", false, 304, "", 0, false},
		{"surplus", "GET", "200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", false, 200, "hi", 2, false},
		{"HTTP/1.0 origin", "GET", "200 OK\r\nContent-Length: 2\r\n\r\nhi", true, 200, "hi", 2, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			version := "HTTP/1.1 "
			if strings.HasPrefix(test.name, "HTTP/1.0") {
				version = "HTTP/1.0 "
			}
			p, log := proxyTo(t, answering(t, version+test.answer, test.closes), plan{})
			c := dial(t, p)
			for range 2 { // the second finds out what the first left behind
				c.send(t, test.method+" / HTTP/1.1\r\nHost: a.test\r\n\r\n")
				resp := c.head(t, test.method)
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != test.status || string(body) != test.body {
					t.Fatalf("status %d, body %q, %v; want %d, %q", resp.StatusCode, body, err, test.status, test.body)
				}
				if test.status == 200 && resp.ContentLength != test.length {
					t.Errorf("declared length %d, want %d", resp.ContentLength, test.length)
				}
				if test.status == 204 && resp.Header.Get("Content-Length") != "" {
					t.Error("a 204 with Content-Length")
				}
				if resp.Close != test.ends {
					t.Errorf("Connection: close is %t, want %t", resp.Close, test.ends)
				}
				log.expect(t, test.status, "")
				if test.ends {
					c.closed(t)
					c = dial(t, p)
				}
			}
		})
	}
}

// TestOldClient covers HTTP/1.0 clients: no chunks, no interim responses, and persistence only when asked
// for and possible.
func TestOldClient(t *testing.T) {
	t.Parallel()
	const chunked = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n"
	for _, test := range []struct {
		name, fields, answer string
		keeps                bool
	}{
		{"length", "", okAnswer, false},
		{"length, keep-alive", "Connection: keep-alive\r\n", okAnswer, true},
		{"chunks, keep-alive", "Connection: keep-alive\r\n", chunked, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, _ := proxyTo(t, answering(t, test.answer, false), plan{})
			c := dial(t, p)
			c.send(t, "GET / HTTP/1.0\r\nHost: a.test\r\n"+test.fields+"\r\n")
			resp := c.expect(t, 200)
			if len(resp.TransferEncoding) > 0 {
				t.Errorf("Transfer-Encoding %q to an HTTP/1.0 client", resp.TransferEncoding)
			}
			if keeps := resp.Header.Get("Connection") == "keep-alive"; keeps != test.keeps {
				t.Errorf("Connection: %q", resp.Header.Get("Connection"))
			}
			if test.keeps {
				c.send(t, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
				c.expect(t, 200)
			}
			c.closed(t)
		})
	}
}

// TestInterim shows that 1xx responses are relayed, except 100, which is the proxy's own matter, and that
// their number is bounded.
func TestInterim(t *testing.T) {
	t.Parallel()
	hint := "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: X-Secret\r\nX-Secret: 1\r\n\r\n"
	p, _ := proxyTo(t, answering(t, "HTTP/1.1 100 Continue\r\n\r\n"+hint+hint+okAnswer, false), plan{})
	c := dial(t, p)
	for range 2 {
		c.get(t, "/")
		for range 2 {
			if resp := c.head(t, "GET"); resp.StatusCode != 103 || resp.Header.Get("Link") != "</a.css>" || resp.Header.Get("X-Secret") != "" {
				t.Fatalf("status %d, fields %v", resp.StatusCode, resp.Header)
			}
		}
		c.expect(t, 200)
	}
	endless, log := proxyTo(t, scripted(t, func(c *peer) {
		_, _ = c.request()
		for range 1000 {
			if _, err := io.WriteString(c, hint); err != nil {
				return
			}
		}
	}), plan{})
	c = dial(t, endless)
	c.get(t, "/")
	n := 0
	resp := c.head(t, "GET")
	for ; resp.StatusCode == 103; n++ {
		resp = c.head(t, "GET")
	}
	if resp.StatusCode != 502 || n > 100 {
		t.Errorf("status %d after %d interim responses", resp.StatusCode, n)
	}
	log.expect(t, 502, "upstream_bad_response")
}

// TestResponseTrailers shows that trailers of a response reach the client, unless Connection nominates.
func TestResponseTrailers(t *testing.T) {
	t.Parallel()
	const answer = "HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n"
	for fields, want := range map[string]string{"": "1", "Connection: X-Sum\r\n": ""} {
		p, _ := proxyTo(t, answering(t, fmt.Sprintf(answer, fields), false), plan{})
		c := dial(t, p)
		c.get(t, "/")
		resp, body := c.response(t)
		if got := resp.Trailer.Get("X-Sum"); body != "hi" || got != want || resp.Trailer.Get("Set-Cookie") != "" {
			t.Errorf("%q: body %q, trailers %v", fields, body, resp.Trailer)
		}
	}
}

// TestBadResponses covers what is no valid answer: 502, and the connection to the target ends.
func TestBadResponses(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"another protocol":     "SSH-2.0-OpenSSH_9.2\r\n",
		"two lengths":          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
		"length and chunks":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
		"bad chunk first":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
		"uninvited 101":        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"head over every size": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100_000) + "\r\n\r\n",
		"too many fields":      "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: x\r\n", 1000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 1)
			p, log := proxyTo(t, scripted(t, func(c *peer) {
				_, _ = c.request()
				_, _ = io.WriteString(c, answer)
				ended <- c.ends()
			}), plan{})
			c := dial(t, p)
			c.get(t, "/")
			if resp := c.expect(t, http.StatusBadGateway); resp.Close {
				t.Error("the client's connection need not end")
			}
			_ = receive(t, "the end of the upstream's connection", ended)
			log.expect(t, 502, "upstream_bad_response")
		})
	}
}

// TestLargeResponseHead shows that a head of up to 64 KiB grows the buffer, split anywhere.
func TestLargeResponseHead(t *testing.T) {
	t.Parallel()
	value := repeated(40_000)
	value = strings.ReplaceAll(value, "\n", ".")
	p, _ := proxyTo(t, scripted(t, func(c *peer) {
		for {
			if _, err := c.request(); err != nil {
				return
			}
			answer := "HTTP/1.1 200 OK\r\nX-Large: " + value + "\r\nContent-Length: 100000\r\n\r\n" + repeated(100_000)
			for len(answer) > 0 {
				n, err := io.WriteString(c, answer[:min(len(answer), 777)])
				if err != nil {
					return
				}
				answer = answer[n:]
			}
		}
	}), plan{})
	c := dial(t, p)
	for range 3 {
		c.get(t, "/")
		resp, body := c.response(t)
		if resp.Header.Get("X-Large") != value || body != repeated(100_000) {
			t.Fatalf("a head of %d bytes, a body of %d", len(resp.Header.Get("X-Large")), len(body))
		}
	}
}

// TestTruncatedResponse shows that a client never takes a broken response for a whole one.
func TestTruncatedResponse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, request, answer string }{
		{"length", "HTTP/1.1", "Content-Length: 10\r\n\r\nhello"},
		{"spliced", "HTTP/1.1", "Content-Length: 1000000\r\n\r\n" + repeated(500_000)},
		{"chunks", "HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
		{"bad chunk later", "HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n"},
		{"chunks to an old client", "HTTP/1.0", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, log := proxyTo(t, scripted(t, func(c *peer) {
				_, _ = c.request()
				head, body, _ := strings.Cut(test.answer, "\r\n\r\n")
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head+"\r\n\r\n"+body)
			}), plan{})
			c := dial(t, p)
			c.send(t, "GET / "+test.request+"\r\nHost: a.test\r\n\r\n")
			resp, err := http.ReadResponse(c.r, nil)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
			}
			if err == nil && resp.StatusCode == 200 {
				t.Error("the client took the response for whole")
			}
			a := receive(t, "a line in the access log", log)
			if a.Error != "upstream_truncated" && a.Error != "upstream_bad_response" {
				t.Errorf("the log gives %q", a.Error)
			}
		})
	}
}

// TestTruncationWithSurplus is the same for an old client that had sent more than its request: the
// connection must not end in good order before it is reset.
func TestTruncationWithSurplus(t *testing.T) {
	t.Parallel()
	p, log := proxyTo(t, scripted(t, func(c *peer) {
		_, _ = c.request()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	}), plan{})
	c := dial(t, p)
	c.send(t, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\nGET /next HTTP/1.0\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("the client took the response for whole")
	}
	log.expect(t, 200, "upstream_truncated")
}
