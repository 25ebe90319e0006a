package sentinel_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// TestAgentBodyLimit checks, to the byte, that a body larger than an agent may see is refused in closed mode and
// passes unseen in open mode, in every mode and framing, and that none is ever shown in part as if it were whole.
func TestAgentBodyLimit(t *testing.T) {
	const limit = 16
	for _, mode := range []string{"buffer", "stream", "hybrid:4"} {
		for _, framing := range []string{"length", "chunks"} {
			for _, open := range []bool{false, true} {
				for _, size := range []int{1, limit, limit + 1, 3 * limit} {
					name := fmt.Sprintf("%s %s open=%t %d bytes", mode, framing, open, size)
					t.Run(name, func(t *testing.T) { testBodyLimit(t, mode, framing, open, size, limit) })
				}
			}
		}
	}
}

func testBodyLimit(t *testing.T, mode, framing string, open bool, size, limit int) {
	whole := make(chan string, 10)
	h := &scriptedAgent{requestBody: func(_ *agent.Request, c *agent.Chunk) *agent.Verdict {
		if c.Last {
			whole <- string(c.Data)
		}
		return agent.Allow()
	}}
	settings := fmt.Sprintf("unix-socket %q\nevents \"request_headers\" \"request_body\"\nmax-request-body-bytes %d\nrequest-body-mode %q",
		serveAgent(t, &agent.Server{Handler: h, Dialect: agent.V1}), limit, mode)
	if open {
		settings += "\nfailure-mode \"open\""
	}
	o := newHTTPOrigin(t, nil)
	log := newAccessLog()
	client := dial(t, launch(t, agentPlan(o, settings), log, nil).Proxy)
	body := strings.Repeat("x", size)
	if framing == "length" {
		client.send(t, fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", size, body))
	} else {
		client.send(t, fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", size, body))
	}
	if size > limit && !open {
		client.expect(t, http.StatusRequestEntityTooLarge)
		log.expect(t, http.StatusRequestEntityTooLarge, "agent_body_too_large")
		if len(whole) != 0 {
			t.Errorf("the agent was shown %q as the whole body", <-whole)
		}
		return
	}
	client.expect(t, http.StatusOK)
	log.expect(t, http.StatusOK, "")
	if got := receive(t, "the request", o.got); got.body != body {
		t.Errorf("the origin got %q", got.body)
	}
	if size > limit {
		if len(whole) != 0 {
			t.Errorf("the agent was shown %q as the whole body", <-whole)
		}
		return
	}
	if got := receive(t, "the body at the agent", whole); got != body {
		t.Errorf("the agent saw %q", got)
	}
}

// TestAgentBodyWithoutEnd checks that a body that may go on for ever is refused once there is more of it than its agent
// may see.
func TestAgentBodyWithoutEnd(t *testing.T) {
	o := newHTTPOrigin(t, nil)
	block := blockOf(t, &scriptedAgent{}, "events \"request_headers\" \"request_body\"\nmax-request-body-bytes 10")
	client := dial(t, launch(t, agentPlan(o, block), nil, nil).Proxy)
	client.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n")
	client.expect(t, http.StatusRequestEntityTooLarge)
}

// TestAgentNoBody checks that there is no question about a body that is not there, and one about one that is empty
// though announced.
func TestAgentNoBody(t *testing.T) {
	asked := make(chan int, 10)
	h := &scriptedAgent{requestBody: func(_ *agent.Request, c *agent.Chunk) *agent.Verdict {
		asked <- len(c.Data)
		return agent.Allow()
	}}
	o := newHTTPOrigin(t, nil)
	settings := fmt.Sprintf("unix-socket %q\nevents \"request_headers\" \"request_body\"", serveAgent(t, &agent.Server{Handler: h, Dialect: agent.V1}))
	client := dial(t, launch(t, agentPlan(o, settings), nil, nil).Proxy)
	for _, head := range []string{"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"} {
		client.send(t, head)
		client.expect(t, http.StatusOK)
	}
	if len(asked) != 0 {
		t.Error("the agent was asked about a body that is not there")
	}
	client.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	client.expect(t, http.StatusOK)
	if n := receive(t, "the question about an empty body", asked); n != 0 {
		t.Errorf("%d bytes", n)
	}
}

// TestAgentOps checks that the changes of one verdict are made in their order: removals, sets, additions.
func TestAgentOps(t *testing.T) {
	h := &scriptedAgent{request: func(*agent.Request) *agent.Verdict {
		return agent.Allow().AddRequestHeader("X-A", "added").SetRequestHeader("X-A", "set").RemoveRequestHeader("X-A").
			AddResponseHeader("X-B", "added").SetResponseHeader("X-B", "set").RemoveResponseHeader("Content-Type").
			SetResponseHeader("Content-Length", "99")
	}}
	o := newHTTPOrigin(t, nil)
	client := dial(t, launch(t, agentPlan(o, fmt.Sprintf("unix-socket %q", serveAgent(t, &agent.Server{Handler: h}))), nil, nil).Proxy)
	client.send(t, "GET / HTTP/1.1\r\nHost: a.test\r\nX-A: client\r\n\r\n")
	resp, body := client.response(t)
	if got := strings.Join(resp.Header.Values("X-B"), ","); got != "set,added" || resp.Header.Get("Content-Type") != "" || body != "hello" {
		t.Errorf("response headers %v, body %q", resp.Header, body)
	}
	if got := strings.Join(receive(t, "the request", o.got).Header.Values("X-A"), ","); got != "set,added" {
		t.Errorf("X-A is %q", got)
	}
}

// TestAgentReverse checks that responses pass the agents in reverse order, and that the last to change one wins.
func TestAgentReverse(t *testing.T) {
	settings := func(name string) string {
		h := &scriptedAgent{
			response: func(*agent.Request, *agent.Response) *agent.Verdict {
				return agent.Allow().SetResponseHeader("X-Last", name).AddResponseHeader("X-Order", name)
			},
			responseBody: func(_ *agent.Request, _ *agent.Response, c *agent.Chunk) *agent.Verdict {
				return agent.Allow().ReplaceBody([]byte(string(c.Data) + " " + name))
			},
		}
		return fmt.Sprintf("unix-socket %q\n%s", serveAgent(t, &agent.Server{Handler: h, Dialect: agent.V1}), allEvents)
	}
	o := newHTTPOrigin(t, nil)
	client := dial(t, launch(t, agentPlan(o, settings("one"), settings("two")), nil, nil).Proxy)
	client.get(t, "/")
	resp, body := client.response(t)
	if order := strings.Join(resp.Header.Values("X-Order"), ","); body != "hello two one" || order != "two,one" || resp.Header.Get("X-Last") != "one" {
		t.Errorf("%q %v", body, resp.Header)
	}
}

// TestAgentExpect checks which clients that wait for it are told to send their body: not those whose body an agent may
// not see, and not those that did not wait.
func TestAgentExpect(t *testing.T) {
	for _, c := range []struct {
		name      string
		body      string
		sent      int
		status    int // of the first response
		continued bool
	}{
		{"too large", repeated(100_000), 0, http.StatusRequestEntityTooLarge, false},
		{"waiting", repeated(40_000), 0, http.StatusContinue, true},
		{"here already", repeated(40_000), 40_000, http.StatusOK, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			settings := "events \"request_headers\" \"request_body\"\nmax-request-body-bytes 50000"
			o := newHTTPOrigin(t, nil)
			client := dial(t, launch(t, agentPlan(o, blockOf(t, &scriptedAgent{}, settings)), nil, nil).Proxy)
			client.send(t, fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(c.body), c.body[:c.sent]))
			client.expect(t, c.status)
			if c.continued {
				client.send(t, c.body)
				client.expect(t, http.StatusOK)
			}
		})
	}
}

// TestAgentTotal checks that the size that an agent is told of a body is that of what it is shown.
func TestAgentTotal(t *testing.T) {
	totals := make(chan string, 4)
	block := blockOf(t, &scriptedAgent{requestBody: func(_ *agent.Request, c *agent.Chunk) *agent.Verdict {
		totals <- fmt.Sprintf("%d of %d", len(c.Data), c.Total)
		return agent.Allow()
	}}, "type \"waf\"\nevents \"request_headers\" \"request_body\"")
	client := dial(t, launch(t, agentPlan(newHTTPOrigin(t, nil), block), nil, nil).Proxy)
	for _, c := range []struct{ name, fields, body, want string }{
		{"plain", "Content-Length: 4", "good", "4 of 4"},
		{"in chunks", "Transfer-Encoding: chunked", "4\r\ngood\r\n0\r\n\r\n", "4 of 4"},
		{"encoded", fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d", len(gzipped(t, "some text"))), gzipped(t, "some text"), "9 of 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client.send(t, "PUT / HTTP/1.1\r\nHost: a.test\r\n"+c.fields+"\r\n\r\n"+c.body)
			client.expect(t, http.StatusOK)
			if got := receive(t, "the question", totals); got != c.want {
				t.Errorf("the agent was shown %s, want %s", got, c.want)
			}
		})
	}
}

// TestAgentDecodedLimit checks that a filter's max-body-bytes holds for what a body decodes to as well.
func TestAgentDecodedLimit(t *testing.T) {
	o := newHTTPOrigin(t, nil)
	p := plan{targets: fmt.Sprintf("target %q", o.addr), route: `filters "f"`}
	p.more = fmt.Sprintf("agent \"a\" type=\"waf\" {\n%s\n}\nfilter \"f\" { type \"agent\"; agent \"a\"; max-body-bytes 60000 }",
		blockOf(t, &scriptedAgent{}, "events \"request_headers\" \"request_body\"\nmax-request-body-bytes 1000"))
	client := dial(t, launch(t, p.String(), nil, nil).Proxy)
	for _, c := range []struct {
		name, coding, body string
		status             int
	}{
		{"plain", "identity", repeated(50_000), http.StatusOK},
		{"encoded", "gzip", gzipped(t, repeated(50_000)), http.StatusOK},
		{"encoded, too large", "gzip", gzipped(t, repeated(60_001)), http.StatusRequestEntityTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			client.send(t, fmt.Sprintf("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", c.coding, len(c.body), c.body))
			client.expect(t, c.status)
		})
	}
}
