package sentinel_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// scriptedAgent is an agent whose answers a test writes. What a test leaves out is an allow.
type scriptedAgent struct {
	agent.Base
	request      func(r *agent.Request) *agent.Verdict
	requestBody  func(r *agent.Request, c *agent.Chunk) *agent.Verdict
	response     func(r *agent.Request, resp *agent.Response) *agent.Verdict
	responseBody func(r *agent.Request, resp *agent.Response, c *agent.Chunk) *agent.Verdict
	complete     chan agent.Complete
	context      func(ctx context.Context, r *agent.Request) *agent.Verdict
}

func (s *scriptedAgent) RequestHeaders(ctx context.Context, r *agent.Request) *agent.Verdict {
	switch {
	case s.context != nil:
		return s.context(ctx, r)
	case s.request != nil:
		return s.request(r)
	}
	return agent.Allow()
}

func (s *scriptedAgent) RequestBody(_ context.Context, r *agent.Request, c *agent.Chunk) *agent.Verdict {
	if s.requestBody == nil {
		return agent.Allow()
	}
	return s.requestBody(r, c)
}

func (s *scriptedAgent) ResponseHeaders(_ context.Context, r *agent.Request, resp *agent.Response) *agent.Verdict {
	if s.response == nil {
		return agent.Allow()
	}
	return s.response(r, resp)
}

func (s *scriptedAgent) ResponseBody(_ context.Context, r *agent.Request, resp *agent.Response, c *agent.Chunk) *agent.Verdict {
	if s.responseBody == nil {
		return agent.Allow()
	}
	return s.responseBody(r, resp, c)
}

func (s *scriptedAgent) Complete(_ context.Context, _ *agent.Request, c *agent.Complete) {
	if s.complete != nil {
		s.complete <- *c
	}
}

// serveAgent serves an agent until the test ends, and returns its socket.
func serveAgent(t testing.TB, server *agent.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a")
	l, err := agent.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	server.Log = slog.New(slog.DiscardHandler)
	server.DrainTimeout = time.Second
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Logf("the agent ended with %v", err)
		}
	})
	return path
}

// agentPlan is a configuration whose one route asks agents, in the order given: each is a block's text with its
// id, such as `a { unix-socket "/p"; events "request_headers" }`.
func agentPlan(o *httpOrigin, agents ...string) string {
	p := plan{targets: "target \"" + o.addr + "\""}
	names := ""
	for i, text := range agents {
		id := "a" + strconv.Itoa(i)
		names += ` "` + id + `"`
		p.more += fmt.Sprintf("agent %q {\n%s\n}\n", id, text)
	}
	p.route = "agents" + names
	return p.String()
}

// httpOrigin is an origin of net/http whose requests a test looks at.
type httpOrigin struct {
	addr string
	got  chan received
}

type received struct {
	*http.Request
	body string
}

// newHTTPOrigin answers with what handler writes; nil: "hello".
func newHTTPOrigin(t testing.TB, handler http.HandlerFunc) *httpOrigin {
	t.Helper()
	o := &httpOrigin{got: make(chan received, 100)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		o.got <- received{r, string(body)}
		if handler != nil {
			handler(w, r)
			return
		}
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(server.Close)
	o.addr = server.Listener.Addr().String()
	return o
}

// gzipped returns text in gzip.
func gzipped(t testing.TB, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const allEvents = `events "request_headers" "request_body" "response_headers" "response_body" "log"`

// TestAgents drives one agent in every dialect of the Unix socket through an exchange of every event.
func TestAgents(t *testing.T) {
	for _, dialect := range []agent.Dialect{agent.V1, agent.V2D, agent.V2R} {
		t.Run(string(dialect), func(t *testing.T) {
			h := &scriptedAgent{complete: make(chan agent.Complete, 10)}
			socket := serveAgent(t, &agent.Server{Handler: h, Name: "all", Dialect: dialect})
			h.request = func(r *agent.Request) *agent.Verdict {
				return agent.Allow().SetRequestHeader("X-Seen", r.Method+" "+r.URI).SetResponseHeader("X-Early", "1")
			}
			h.requestBody = func(_ *agent.Request, c *agent.Chunk) *agent.Verdict {
				return agent.Allow().AddRequestHeader("X-Body", string(c.Data))
			}
			h.response = func(_ *agent.Request, resp *agent.Response) *agent.Verdict {
				return agent.Allow().SetResponseHeader("X-Status", strconv.Itoa(resp.Status))
			}
			h.responseBody = func(_ *agent.Request, _ *agent.Response, c *agent.Chunk) *agent.Verdict {
				return agent.Allow().SetResponseHeader("X-Answer", string(c.Data))
			}
			o := newHTTPOrigin(t, nil)
			p := launch(t, agentPlan(o, `unix-socket "`+socket+`"`+"\n"+allEvents), nil, nil)
			c := dial(t, p.Proxy)
			c.send(t, "POST /a?b=c HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody")
			resp, body := c.response(t)
			if resp.StatusCode != 200 || body != "hello" {
				t.Fatalf("%d %q", resp.StatusCode, body)
			}
			for name, want := range map[string]string{"X-Early": "1", "X-Status": "200", "X-Answer": "hello", "Content-Length": "5"} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("response %s is %q, want %q", name, got, want)
				}
			}
			got := receive(t, "a request at the origin", o.got)
			if got.body != "body" || got.Header.Get("X-Seen") != "POST /a?b=c" || got.Header.Get("X-Body") != "body" || got.ContentLength != 4 {
				t.Errorf("the origin got %q %v", got.body, got.Header)
			}
			if dialect != agent.V2D {
				if done := receive(t, "the end of the request at the agent", h.complete); done.Status != 200 || done.ResponseBody != 5 || done.RequestBody != 4 {
					t.Errorf("%+v", done)
				}
			}
		})
	}
}

// TestAgentDecisions checks what clients get for decisions, and that the origin gets nothing.
func TestAgentDecisions(t *testing.T) {
	for _, c := range []struct {
		name    string
		verdict func() *agent.Verdict
		status  int
		headers map[string]string
		body    string
		reason  string
	}{
		{
			"block", func() *agent.Verdict { return agent.Block(429, "slow down").SetHeader("Retry-After", "60") }, 429,
			map[string]string{"Retry-After": "60", "Content-Type": "text/plain; charset=utf-8"},
			"slow down", "agent_blocked",
		},
		{"block without words", func() *agent.Verdict { return agent.Block(403, "") }, 403, nil, "Blocked by agent", "agent_blocked"},
		{"block with its own type", func() *agent.Verdict {
			return agent.Block(403, "{}").SetHeader("content-type", "application/json").SetHeader("Content-Length", "7")
		}, 403, map[string]string{"Content-Type": "application/json", "Content-Length": "2"}, "{}", "agent_blocked"},
		{"block with no status", func() *agent.Verdict { return agent.Block(99, "x") }, 403, nil, "x", "agent_blocked"},
		{"block with 205", func() *agent.Verdict { return agent.Block(205, "x") }, 205, map[string]string{"Content-Length": "0"}, "", "agent_blocked"},
		{"block with 204", func() *agent.Verdict { return agent.Block(204, "x") }, 204, nil, "", "agent_blocked"},
		{
			"redirect", func() *agent.Verdict { return agent.Redirect(307, "https://login.test/?a=b") }, 307,
			map[string]string{"Location": "https://login.test/?a=b"},
			"", "agent_redirected",
		},
		{"redirect with no status", func() *agent.Verdict { return agent.Redirect(200, "/login") }, 302, map[string]string{"Location": "/login"}, "", "agent_redirected"},
		{
			"challenge", func() *agent.Verdict { return agent.Challenge("captcha", map[string]string{"site": "x"}) }, 403,
			map[string]string{"X-Challenge-Type": "captcha"},
			`{"challenge_type":"captcha","params":{"site":"x"}}` + "\n", "agent_challenged",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &scriptedAgent{request: func(*agent.Request) *agent.Verdict { return c.verdict() }}
			socket := serveAgent(t, &agent.Server{Handler: h})
			o := newHTTPOrigin(t, nil)
			log := newAccessLog()
			p := launch(t, agentPlan(o, `unix-socket "`+socket+`"; failure-mode "open"`), log, nil)
			client := dial(t, p.Proxy)
			client.get(t, "/")
			resp, body := client.response(t)
			if resp.StatusCode != c.status || body != c.body {
				t.Errorf("%d %q, want %d %q", resp.StatusCode, body, c.status, c.body)
			}
			for name, want := range c.headers {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			log.expect(t, c.status, c.reason)
			if len(o.got) != 0 {
				t.Error("the origin got the request")
			}
		})
	}
}

// TestAgentOrder checks that the changes of agents are made in the order of the filters, and that a refusal holds over
// a failure.
func TestAgentOrder(t *testing.T) {
	allow := func(name string) *scriptedAgent {
		return &scriptedAgent{request: func(*agent.Request) *agent.Verdict {
			return agent.Allow().SetRequestHeader("X-Who", name).AddRequestHeader("X-All", name)
		}}
	}
	t.Run("the last to set a header wins", func(t *testing.T) {
		o := newHTTPOrigin(t, nil)
		p := launch(t, agentPlan(o, `unix-socket "`+serveAgent(t, &agent.Server{Handler: allow("one")})+`"`,
			`unix-socket "`+serveAgent(t, &agent.Server{Handler: allow("two")})+`"`), nil, nil)
		c := dial(t, p.Proxy)
		c.get(t, "/")
		c.expect(t, 200)
		got := receive(t, "the request", o.got)
		if got.Header.Get("X-Who") != "two" || strings.Join(got.Header.Values("X-All"), ",") != "one,two" {
			t.Errorf("%v", got.Header)
		}
	})
	t.Run("a refusal holds over a failure", func(t *testing.T) {
		o := newHTTPOrigin(t, nil)
		blocks := &scriptedAgent{request: func(*agent.Request) *agent.Verdict { return agent.Block(418, "") }}
		p := launch(t, agentPlan(o, `unix-socket "`+filepath.Join(t.TempDir(), "none")+`"`,
			`unix-socket "`+serveAgent(t, &agent.Server{Handler: blocks})+`"`), nil, nil)
		c := dial(t, p.Proxy)
		c.get(t, "/")
		c.expect(t, 418)
	})
}

// TestAgentClientGone checks that a client that leaves frees its agent's question.
func TestAgentClientGone(t *testing.T) {
	asked, freed := make(chan struct{}), make(chan struct{})
	h := &scriptedAgent{context: func(ctx context.Context, _ *agent.Request) *agent.Verdict {
		close(asked)
		<-ctx.Done()
		close(freed)
		return agent.Allow()
	}}
	socket := serveAgent(t, &agent.Server{Handler: h})
	log := newAccessLog()
	o := newHTTPOrigin(t, nil)
	p := launch(t, agentPlan(o, `unix-socket "`+socket+`"; timeout-ms 60000`), log, nil)
	c := dial(t, p.Proxy)
	c.get(t, "/")
	receive(t, "the question", asked)
	_ = c.Close()
	log.expect(t, 499, "client_gone")
	receive(t, "the end of the question", freed)
	if len(o.got) != 0 {
		t.Error("the origin got the request")
	}
}

// TestAgentBodies checks what agents make of bodies in every mode, and what goes on with which framing.
func TestAgentBodies(t *testing.T) {
	upper := func(c *agent.Chunk) *agent.Verdict {
		return agent.Allow().ReplaceBody([]byte(strings.ToUpper(string(c.Data))))
	}
	long := strings.Repeat("abcdefgh", 20<<10)
	for _, c := range []struct{ name, settings, body, want string }{
		{"held", "", "some text", "SOME TEXT"},
		{"held, large", "max-body-bytes 1000000; max-response-body-bytes 1000000", long, strings.ToUpper(long)},
		{"streamed", `request-body-mode "stream"; response-body-mode "stream"`, "some text", "SOME TEXT"},
		{"streamed, large", `request-body-mode "stream"; response-body-mode "stream"; max-body-bytes 1000000; max-response-body-bytes 1000000`, long, strings.ToUpper(long)},
		{"hybrid, short", `request-body-mode "hybrid:100"; response-body-mode "hybrid:100"`, "some text", "SOME TEXT"},
		{"hybrid, large", `request-body-mode "hybrid:10000"; response-body-mode "hybrid:10000"; max-body-bytes 1000000; max-response-body-bytes 1000000`, long, strings.ToUpper(long)},
	} {
		for _, framing := range []string{"length", "chunks"} {
			t.Run(c.name+", "+framing, func(t *testing.T) {
				h := &scriptedAgent{
					requestBody: func(_ *agent.Request, c *agent.Chunk) *agent.Verdict { v := upper(c); v.NeedsMore = !c.Last; return v },
					responseBody: func(_ *agent.Request, _ *agent.Response, c *agent.Chunk) *agent.Verdict {
						v := upper(c)
						v.NeedsMore = !c.Last
						return v
					},
				}
				socket := serveAgent(t, &agent.Server{Handler: h, Chunks: true, Dialect: agent.V1})
				o := newHTTPOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
					if framing == "length" {
						w.Header().Set("Content-Length", strconv.Itoa(len(c.body)))
					}
					for rest := c.body; len(rest) > 0; {
						n := min(len(rest), 7000)
						_, _ = io.WriteString(w, rest[:n])
						rest = rest[n:]
						w.(http.Flusher).Flush()
					}
				})
				p := launch(t, agentPlan(o, `unix-socket "`+socket+`"`+"\n"+allEvents+"\n"+c.settings), nil, nil)
				client := dial(t, p.Proxy)
				go func() {
					head := "POST / HTTP/1.1\r\nHost: a.test\r\n"
					if framing == "length" {
						_, _ = io.WriteString(client, head+"Content-Length: "+strconv.Itoa(len(c.body))+"\r\n\r\n"+c.body)
						return
					}
					_, _ = io.WriteString(client, head+"Transfer-Encoding: chunked\r\n\r\n")
					for rest := c.body; len(rest) > 0; {
						n := min(len(rest), 5000)
						_, _ = fmt.Fprintf(client, "%x\r\n%s\r\n", n, rest[:n])
						rest = rest[n:]
					}
					_, _ = io.WriteString(client, "0\r\n\r\n")
				}()
				got := receive(t, "the request", o.got)
				if got.body != c.want {
					t.Errorf("the origin got %d bytes %.40q, want %d %.40q", len(got.body), got.body, len(c.want), c.want)
				}
				resp, body := client.response(t)
				if body != c.want || resp.StatusCode != 200 {
					t.Errorf("the client got %d, %d bytes %.40q, want %d", resp.StatusCode, len(body), body, len(c.want))
				}
				client.get(t, "/again")
				receive(t, "the next request on the connection", o.got)
				client.expect(t, 200)
			})
		}
	}
}

// TestAgentEncodedBody checks that a waf sees what a body says and the upstream gets what was sent.
func TestAgentEncodedBody(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	h := &scriptedAgent{requestBody: func(_ *agent.Request, c *agent.Chunk) *agent.Verdict {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, string(c.Data))
		if strings.Contains(string(c.Data), "replace") {
			return agent.Allow().ReplaceBody([]byte("replaced"))
		}
		return agent.Allow()
	}}
	socket := serveAgent(t, &agent.Server{Handler: h, Dialect: agent.V2R})
	o := newHTTPOrigin(t, nil)
	p := launch(t, agentPlan(o, `type "waf"; unix-socket "`+socket+`"; events "request_headers" "request_body"`), nil, nil)
	c := dial(t, p.Proxy)
	for _, body := range []string{"keep this", "replace this"} {
		sent := gzipped(t, body)
		c.send(t, fmt.Sprintf("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(sent), sent))
		c.expect(t, 200)
		got := receive(t, "the request", o.got)
		switch {
		case body == "keep this" && (got.body != sent || got.Header.Get("Content-Encoding") != "gzip"):
			t.Errorf("the origin got %q %v, want what was sent", got.body, got.Header)
		case body == "replace this" && (got.body != "replaced" || got.Header.Get("Content-Encoding") != ""):
			t.Errorf("the origin got %q %v, want the replacement, not encoded", got.body, got.Header)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Join(seen, "|") != "keep this|replace this" {
		t.Errorf("the agent saw %q", seen)
	}
	c.send(t, "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope")
	c.expect(t, 400)
}

// TestAgentCorrelation checks that a trace id that a client chose cannot meet another request's at an agent.
func TestAgentCorrelation(t *testing.T) {
	ids := make(chan string, 10)
	h := &scriptedAgent{request: func(r *agent.Request) *agent.Verdict {
		ids <- r.CorrelationID + " " + r.RequestID
		return agent.Allow()
	}}
	socket := serveAgent(t, &agent.Server{Handler: h, Dialect: agent.V1})
	o := newHTTPOrigin(t, nil)
	p := launch(t, agentPlan(o, `unix-socket "`+socket+`"`), nil, nil)
	c := dial(t, p.Proxy)
	seen := map[string]bool{}
	for range 2 {
		c.send(t, "GET / HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: mine\r\n\r\n")
		c.expect(t, 200)
		id, request, _ := strings.Cut(receive(t, "an id", ids), " ")
		if seen[id] || !strings.HasPrefix(id, "mine.") || request != "mine" {
			t.Errorf("correlation id %q, request id %q", id, request)
		}
		seen[id] = true
	}
}

// TestAgentConfig checks that an agent gets its config block before the first request.
func TestAgentConfig(t *testing.T) {
	h := &configured{got: make(chan string, 1)}
	socket := serveAgent(t, &agent.Server{Handler: h, Dialect: agent.V1})
	o := newHTTPOrigin(t, nil)
	launch(t, agentPlan(o, `unix-socket "`+socket+`"; config { rules 1 2; strict #true }`), nil, nil)
	var got map[string]any
	if err := json.Unmarshal([]byte(receive(t, "the config", h.got)), &got); err != nil || got["strict"] != true {
		t.Errorf("%v %v", got, err)
	}
}

type configured struct {
	agent.Base
	got chan string
}

func (c *configured) Configure(_ context.Context, config json.RawMessage) error {
	c.got <- string(config)
	return nil
}
