package sentinel_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

const (
	streamsRequests = allEvents + "\nrequest-body-mode \"stream\"\n"
	streamedPost    = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n"
	earlyAnswer     = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
	oneUpstream     = "\nroute \"upstreams\" {\nmatches { path \"/upstreams\" }\nbuiltin-handler \"upstreams\"\n}"
)

// blockOf serves an agent of V1 that gets bodies as they come, and returns its block's text.
func blockOf(t *testing.T, h *scriptedAgent, settings string) string {
	t.Helper()
	return fmt.Sprintf("unix-socket %q\n%s", serveAgent(t, &agent.Server{Handler: h, Chunks: true, Dialect: agent.V1}), settings)
}

// onward lets a piece pass and wants to see the next.
func onward(c *agent.Chunk) *agent.Verdict {
	v := agent.Allow()
	v.NeedsMore = !c.Last
	return v
}

// question is one that an agent answers when the test says how.
type question struct {
	asked  chan struct{}
	answer chan *agent.Verdict
}

func newQuestion() *question { return &question{make(chan struct{}, 10), make(chan *agent.Verdict)} }

func (q *question) ask() *agent.Verdict {
	q.asked <- struct{}{}
	return <-q.answer
}

// forget answers what is still asked when the test ends. It is called once the agent is served: an agent ends after
// its last answer.
func (q *question) forget(t *testing.T) { t.Cleanup(func() { close(q.answer) }) }

// uploading is a client in the middle of an upload whose first piece an agent has been asked about.
type uploading struct {
	*peer
	proxy    *running
	log      accessLog
	question *question
	answered chan string // what the agent was asked about the response
	origin   chan string // what the origin shall answer, before it has the whole body
}

func startUploading(t *testing.T, settings string) *uploading {
	t.Helper()
	u := &uploading{log: newAccessLog(), question: newQuestion(), answered: make(chan string, 10), origin: make(chan string, 1)}
	block := blockOf(t, &scriptedAgent{
		requestBody: func(*agent.Request, *agent.Chunk) *agent.Verdict { return u.question.ask() },
		responseBody: func(_ *agent.Request, _ *agent.Response, c *agent.Chunk) *agent.Verdict {
			u.answered <- string(c.Data)
			return agent.Allow()
		},
	}, streamsRequests+settings)
	u.question.forget(t)
	origin := scripted(t, func(c *peer) {
		if _, err := c.request(); err != nil {
			return
		}
		select {
		case answer := <-u.origin:
			_, _ = io.WriteString(c, answer)
			<-c.over
		case <-c.over:
		}
	})
	u.proxy = launch(t, plan{
		system: "graceful-shutdown-timeout-secs 1", targets: fmt.Sprintf("target %q", origin), route: `agents "a"`, routes: oneUpstream,
		more: fmt.Sprintf("agent \"a\" {\n%s\n}", block),
	}.String(), u.log, nil)
	u.peer = dial(t, u.proxy.Proxy)
	u.send(t, streamedPost)
	receive(t, "the question about the first piece", u.question.asked)
	return u
}

// answerEarly has the origin answer now, and returns when the proxy has the answer's head.
func (u *uploading) answerEarly(t *testing.T) {
	t.Helper()
	u.origin <- earlyAnswer
	eventually(t, "the proxy has the early answer", func() bool {
		var page struct {
			Upstreams []struct {
				Targets []struct {
					Requests int `json:"total_requests"`
				}
			}
		}
		fetch(t, u.proxy.Proxy, "/upstreams", &page)
		u.log.expect(t, http.StatusOK, "")
		return page.Upstreams[0].Targets[0].Requests == 1
	})
}

// TestAgentEarlyAnswer checks that the answer of an upstream that does not wait for the whole body waits for the
// verdict on the piece that an agent is being asked about.
func TestAgentEarlyAnswer(t *testing.T) {
	for _, c := range []struct {
		name, settings string
		verdict        *agent.Verdict // nil: none in time
		status         int
		reason         string
	}{
		{"allowed", "chunk-timeout-ms 20000", agent.Allow(), 413, ""},
		{"refused", "chunk-timeout-ms 20000", agent.Block(406, "evil"), 406, "agent_blocked"},
		{"refused, open", "chunk-timeout-ms 20000\nfailure-mode \"open\"", agent.Block(406, "evil"), 406, "agent_blocked"},
		{"late, closed", "chunk-timeout-ms 300", nil, 504, "agent_timeout"},
		{"late, open", "chunk-timeout-ms 300\nfailure-mode \"open\"", nil, 413, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u := startUploading(t, c.settings)
			if c.verdict == nil {
				u.origin <- earlyAnswer
			} else {
				u.answerEarly(t)
				u.question.answer <- c.verdict
			}
			u.expect(t, c.status)
			u.log.expect(t, c.status, c.reason)
			if n := len(u.answered); n != 0 && c.status != 413 {
				t.Errorf("the agent was asked %d times about an answer that nobody gets", n)
			}
		})
	}
}

// TestAgentUploadEnds checks that neither a client that leaves nor a shutdown waits for an agent's word on a piece.
func TestAgentUploadEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		early  bool
		end    func(u *uploading)
		status int
		reason string
	}{
		{"client gone", false, func(u *uploading) { _ = u.Close() }, 499, "client_gone"},
		{"client gone, answer there", true, func(u *uploading) { _ = u.Close() }, 499, "client_gone"},
		{"shutdown", false, func(u *uploading) { u.proxy.stop() }, 503, "shutting_down"},
		{"shutdown, answer there", true, func(u *uploading) { u.proxy.stop() }, 503, "shutting_down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u := startUploading(t, "chunk-timeout-ms 20000")
			if c.early {
				u.answerEarly(t)
			}
			c.end(u)
			u.log.expect(t, c.status, c.reason)
		})
	}
}

// TestAgentUploadStalls checks that the end of an upload that the upstream does not take leaves alone the question
// that an agent is asked about the answer meanwhile. Another upload, which began later, tells when that end has come.
func TestAgentUploadStalls(t *testing.T) {
	for _, about := range []string{"head", "body"} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			q := newQuestion()
			ask := func(what string) *agent.Verdict {
				if what == about {
					return q.ask()
				}
				return agent.Allow()
			}
			block := blockOf(t, &scriptedAgent{
				response:     func(*agent.Request, *agent.Response) *agent.Verdict { return ask("head") },
				responseBody: func(*agent.Request, *agent.Response, *agent.Chunk) *agent.Verdict { return ask("body") },
			}, "events \"request_headers\" \"response_headers\" \"response_body\"\ntimeout-ms 60000")
			q.forget(t)
			proxy := launch(t, plan{
				targets: fmt.Sprintf("target %q", answersFirst(t)), upstream: "timeouts { write-secs 1 }", route: `agents "a"`,
				more: fmt.Sprintf("agent \"a\" {\n%s\n}", block),
			}.String(), nil, nil)
			first, second := dial(t, proxy.Proxy), dial(t, proxy.Proxy)
			go sendUntaken(first)
			receive(t, "the question about the answer", q.asked)
			go sendUntaken(second)
			second.expect(t, http.StatusGatewayTimeout)
			q.answer <- agent.Allow()
			first.expect(t, http.StatusOK)
		})
	}
}

// answersFirst is an origin that takes no bodies, and answers on its first connection only.
func answersFirst(t *testing.T) (address string) {
	t.Helper()
	return scripted(t, func(c *peer) {
		_ = c.tcp.SetReadBuffer(4096)
		if _, err := c.request(); err == nil && c.n == 0 {
			_, _ = io.WriteString(c, okAnswer)
		}
		<-c.over
	})
}

// sendUntaken sends a body that no socket's buffers hold.
func sendUntaken(c io.Writer) {
	const size = 9_000_000
	_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n", size)
	_, _ = (&stream{n: size}).WriteTo(c)
}

// TestAgentUploadMeetsAnswer is for the race detector: a large answer, which no agent may see whole, comes while an
// agent is asked about one piece of the upload after the other.
func TestAgentUploadMeetsAnswer(t *testing.T) {
	for range 5 {
		block := blockOf(t, &scriptedAgent{
			requestBody: func(_ *agent.Request, c *agent.Chunk) *agent.Verdict { return onward(c) },
		}, streamsRequests+`failure-mode "open"`)
		o := &httpOrigin{addr: scripted(t, func(c *peer) {
			if req, err := c.request(); err == nil {
				_, _ = io.CopyN(io.Discard, req.Body, 100)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\nx")
				_ = c.ends()
			}
		})}
		client := dial(t, launch(t, agentPlan(o, block), nil, nil).Proxy)
		client.send(t, streamedPost)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				if _, err := io.WriteString(client, "4\r\ngood\r\n"); err != nil {
					return
				}
			}
		}()
		if resp := client.head(t, http.MethodPost); resp.StatusCode != http.StatusOK {
			t.Errorf("status %d", resp.StatusCode)
		}
		_ = client.Close()
		<-done
	}
}

// TestAgentLateOps checks that an agent may say the same about every piece of a body without filling the log, that
// what it says of the answer while the request is on its way is done, and likewise of the first piece of the answer.
func TestAgentLateOps(t *testing.T) {
	const notes = 16 // of changes that no agent may make, for each exchange
	asked := make(chan struct{}, 1)
	block := blockOf(t, &scriptedAgent{
		requestBody: func(_ *agent.Request, c *agent.Chunk) *agent.Verdict {
			asked <- struct{}{}
			return onward(c).SetResponseHeader("X-A", "1").SetResponseHeader("Connection", "x")
		},
		responseBody: func(_ *agent.Request, _ *agent.Response, c *agent.Chunk) *agent.Verdict {
			return onward(c).SetResponseHeader("X-First", "1")
		},
	}, streamsRequests+"response-body-mode \"stream\"")
	failures := make(lineChan, 1000)
	client := dial(t, launch(t, agentPlan(newHTTPOrigin(t, nil), block), nil, failures).Proxy)
	client.send(t, streamedPost)
	receive(t, "a question", asked)
	for range 300 {
		client.send(t, "4\r\ngood\r\n")
		receive(t, "a question", asked)
	}
	client.send(t, "0\r\n\r\n")
	if resp := client.expect(t, http.StatusOK); resp.Header.Get("X-A") != "1" || resp.Header.Get("X-First") != "1" {
		t.Errorf("the client got %v", resp.Header)
	}
	if n := len(failures); n != notes {
		t.Errorf("%d lines in the error log, want %d", n, notes)
	}
}

// TestAgentUploadGrows checks that a body of which an agent makes a longer one on its way reaches the upstream to its end.
func TestAgentUploadGrows(t *testing.T) {
	block := blockOf(t, &scriptedAgent{requestBody: func(_ *agent.Request, c *agent.Chunk) *agent.Verdict {
		return onward(c).ReplaceBody([]byte(strings.Repeat(string(c.Data), 2)))
	}}, streamsRequests)
	o := newHTTPOrigin(t, nil)
	client := dial(t, launch(t, agentPlan(o, block), nil, nil).Proxy)
	client.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc")
	client.expect(t, http.StatusOK)
	if got := receive(t, "the request", o.got); got.body != "abcabc" {
		t.Errorf("the origin got %q", got.body)
	}
}
