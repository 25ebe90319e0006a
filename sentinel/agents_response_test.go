package sentinel_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// TestAgentResponseTooLarge checks that a response that is larger than its agent may see passes whole in open mode,
// and not at all in closed mode.
func TestAgentResponseTooLarge(t *testing.T) {
	body := repeated(2 << 20)
	for _, mode := range []string{"buffer", "stream", "hybrid:40000"} {
		for _, framing := range []string{"length", "chunks"} {
			for _, open := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s open=%t", mode, framing, open), func(t *testing.T) {
					t.Parallel()
					o := newHTTPOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
						if framing == "length" {
							w.Header().Set("Content-Length", strconv.Itoa(len(body)))
						}
						_, _ = io.WriteString(w, body)
					})
					h := &scriptedAgent{responseBody: func(_ *agent.Request, _ *agent.Response, c *agent.Chunk) *agent.Verdict { return onward(c) }}
					settings := fmt.Sprintf("%s\nmax-response-body-bytes 1000000\nresponse-body-mode %q", allEvents, mode)
					if open {
						settings += "\nfailure-mode \"open\""
					}
					log := newAccessLog()
					client := dial(t, launch(t, agentPlan(o, blockOf(t, h, settings)), log, nil).Proxy)
					client.get(t, "/")
					resp := client.head(t, http.MethodGet)
					got, err := io.ReadAll(resp.Body)
					a := receive(t, "a line in the access log", log)
					switch {
					case open && (resp.StatusCode != http.StatusOK || string(got) != body || err != nil || a.Error != ""):
						t.Errorf("status %d, %d bytes of %d, %v; the log has %q", resp.StatusCode, len(got), len(body), err, a.Error)
					case !open && (a.Error != "agent_response_failed" || mode == "buffer" && resp.StatusCode != http.StatusBadGateway || len(got) > 1000000):
						t.Errorf("status %d, %d bytes; the log has %q", resp.StatusCode, len(got), a.Error)
					}
				})
			}
		}
	}
}

// TestAgentResponseHead checks that the head of a response whose body was held over several reads is the upstream's
// when it leaves.
func TestAgentResponseHead(t *testing.T) {
	body := repeated(200_000)
	for _, mode := range []string{"buffer", "stream", "hybrid:40000"} {
		for _, framing := range []string{"length", "chunks"} {
			t.Run(mode+" "+framing, func(t *testing.T) {
				t.Parallel()
				seen := make(chan struct{}, 1)
				o := newHTTPOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("X-Mine", "value-of-mine")
					w.Header().Set("Set-Cookie", "session=secret")
					if framing == "length" {
						w.Header().Set("Content-Length", strconv.Itoa(len(body)))
					} else {
						w.(http.Flusher).Flush() // the head comes alone, and the body when an agent has seen it
						<-seen
					}
					_, _ = io.WriteString(w, body)
				})
				block := blockOf(t, &scriptedAgent{response: func(*agent.Request, *agent.Response) *agent.Verdict {
					seen <- struct{}{}
					return agent.Allow()
				}}, fmt.Sprintf("%s\nresponse-body-mode %q", allEvents, mode))
				client := dial(t, launch(t, agentPlan(o, block), nil, nil).Proxy)
				client.get(t, "/")
				resp, got := client.response(t)
				if resp.Header.Get("X-Mine") != "value-of-mine" || resp.Header.Get("Set-Cookie") != "session=secret" || got != body {
					t.Errorf("%d %v, body intact: %t", resp.StatusCode, resp.Header, got == body)
				}
			})
		}
	}
}

// TestAgentResponseValidators checks that what speaks of the upstream's bytes does not go with those of an agent.
func TestAgentResponseValidators(t *testing.T) {
	validators := map[string]string{
		"Etag": `"strong"`, "Content-Digest": "sha-256=:x:", "Repr-Digest": "sha-256=:x:", "Digest": "sha-256=x", "Content-Md5": "x",
		"Accept-Ranges": "bytes", "Content-Range": "bytes 0-4/10",
	}
	for _, c := range []struct {
		name, settings, body string
		verdict              func() *agent.Verdict
		kept                 bool
	}{
		{"left", "", "hello", agent.Allow, true},
		{"the same", "", "hello", func() *agent.Verdict { return agent.Allow().ReplaceBody([]byte("hello")) }, true},
		{"changed", "", "other", func() *agent.Verdict { return agent.Allow().ReplaceBody([]byte("other")) }, false},
		{"changed on its way", `response-body-mode "stream"`, "other", func() *agent.Verdict { return agent.Allow().ReplaceBody([]byte("other")) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newHTTPOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range validators {
					w.Header().Set(name, value)
				}
				w.WriteHeader(http.StatusPartialContent)
				_, _ = io.WriteString(w, "hello")
			})
			h := &scriptedAgent{responseBody: func(*agent.Request, *agent.Response, *agent.Chunk) *agent.Verdict { return c.verdict() }}
			client := dial(t, launch(t, agentPlan(o, blockOf(t, h, allEvents+"\n"+c.settings)), nil, nil).Proxy)
			client.get(t, "/")
			resp, body := client.response(t)
			if body != c.body {
				t.Errorf("the client got %q", body)
			}
			for name, value := range validators {
				if got := resp.Header.Get(name); c.kept && got != value || !c.kept && got != "" {
					t.Errorf("%s is %q", name, got)
				}
			}
		})
	}
}

// TestAgentResponseDecoded checks that a waf is told what it sees, a response that is not encoded, and that the client
// gets what the upstream sent, or what the agent made of it.
func TestAgentResponseDecoded(t *testing.T) {
	sent := gzipped(t, "text")
	for _, c := range []struct {
		name, body, encoding string
		verdict              func() *agent.Verdict
	}{
		{"left", sent, "gzip", agent.Allow},
		{"replaced", "other", "", func() *agent.Verdict { return agent.Allow().ReplaceBody([]byte("other")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newHTTPOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = io.WriteString(w, sent)
			})
			told := make(chan string, 2)
			h := &scriptedAgent{responseBody: func(_ *agent.Request, r *agent.Response, chunk *agent.Chunk) *agent.Verdict {
				told <- fmt.Sprintf("%q %s", r.Headers.Get("Content-Encoding"), chunk.Data)
				return c.verdict()
			}}
			client := dial(t, launch(t, agentPlan(o, blockOf(t, h, "type \"waf\"\n"+allEvents)), nil, nil).Proxy)
			client.get(t, "/")
			resp, body := client.response(t)
			if got := receive(t, "the question about the body", told); got != `"" text` {
				t.Errorf("the agent was told %s", got)
			}
			if body != c.body || resp.Header.Get("Content-Encoding") != c.encoding {
				t.Errorf("the client got %q, encoding %q", body, resp.Header.Get("Content-Encoding"))
			}
		})
	}
}

// TestAgentAsksForAll checks that the upstream is not asked for what would hide the body of a response from an agent:
// a part of it, or a coding that cannot be undone.
func TestAgentAsksForAll(t *testing.T) {
	const codings = "zstd, GZIP;q=0.5, br, x"
	for _, c := range []struct{ name, settings, ranges, ifRange, codings string }{
		{"heads only", `events "request_headers" "response_headers"`, "bytes=0-1", `"a"`, codings},
		{"bodies", `events "response_body"`, "", "", codings},
		{"decoded bodies", "type \"waf\"\nevents \"response_body\"", "", "", "GZIP;q=0.5, br"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newHTTPOrigin(t, nil)
			client := dial(t, launch(t, agentPlan(o, blockOf(t, &scriptedAgent{}, c.settings)), nil, nil).Proxy)
			client.send(t, "GET / HTTP/1.1\r\nHost: a.test\r\nRange: bytes=0-1\r\nIf-Range: \"a\"\r\nAccept-Encoding: "+codings+"\r\n\r\n")
			got := receive(t, "the request", o.got)
			if got.Header.Get("Range") != c.ranges || got.Header.Get("If-Range") != c.ifRange || got.Header.Get("Accept-Encoding") != c.codings {
				t.Errorf("the origin got %v", got.Header)
			}
		})
	}
}

// TestAgentResponseClientGone checks that nobody waits for an agent's word on the response to a client that left.
func TestAgentResponseClientGone(t *testing.T) {
	q := newQuestion()
	block := blockOf(t, &scriptedAgent{response: func(*agent.Request, *agent.Response) *agent.Verdict { return q.ask() }}, allEvents+"\ntimeout-ms 20000")
	q.forget(t)
	log := newAccessLog()
	client := dial(t, launch(t, agentPlan(newHTTPOrigin(t, nil), block), log, nil).Proxy)
	client.get(t, "/")
	receive(t, "the question about the head", q.asked)
	_ = client.Close()
	log.expect(t, 499, "client_gone")
}
