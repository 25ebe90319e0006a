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
	"strconv"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// TestTimeoutFilter shows that each of the filter's limits replaces one that is far away.
func TestTimeoutFilter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, setting, request, reason string
		status                         int
		origin                         func(*testing.T) string
	}{
		{"body", "request-timeout-secs 1", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello", "body_timeout", 408, silent},
		{"head of the answer", "upstream-timeout-secs 1", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "upstream_timeout", 504, silent},
		{"connection", "connect-timeout-secs 1", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "upstream_connect_timeout", 504, deaf},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, log := proxyTo(t, c.origin(t), plan{
				route: `filters "f"; policies { timeout-secs 600 }`, listener: "body-idle-timeout-secs 600",
				upstream: "timeouts { connect-secs 600; request-secs 600 }", more: `filter "f" { type "timeout"; ` + c.setting + " }",
			})
			client := dial(t, p)
			client.send(t, c.request)
			client.expect(t, c.status)
			log.expect(t, c.status, c.reason)
		})
	}
}

// silent is an origin that reads and never answers.
func silent(t *testing.T) string { return scripted(t, func(c *peer) { _ = c.ends() }) }

// TestCompressBehindAgents checks that agents see bodies as they were, whatever the filters' order, and that what
// they make of them is encoded.
func TestCompressBehindAgents(t *testing.T) {
	for _, mode := range []string{"buffer", "stream"} {
		for _, framing := range []string{"length", "chunks"} {
			t.Run(mode+" "+framing, func(t *testing.T) {
				t.Parallel()
				body := repeated(200_000)
				o := newHTTPOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/plain")
					if framing == "length" {
						w.Header().Set("Content-Length", strconv.Itoa(len(body)))
					}
					_, _ = io.WriteString(w, body)
				})
				seen := &bytes.Buffer{}
				h := &scriptedAgent{responseBody: func(_ *agent.Request, _ *agent.Response, c *agent.Chunk) *agent.Verdict {
					seen.Write(c.Data)
					return onward(c).ReplaceBody(bytes.ToUpper(c.Data))
				}}
				text := agentPlan(o, blockOf(t, h, fmt.Sprintf("%s\nresponse-body-mode %q", allEvents, mode)))
				text = strings.Replace(text, `agents "a0"`, "filters \"small\" \"guard\"", 1) +
					"filter \"small\" { type \"compress\" }\nfilter \"guard\" { type \"agent\"; agent \"a0\" }\n"
				client := dial(t, launch(t, text, nil, nil).Proxy)
				client.send(t, "GET / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n")
				resp := client.head(t, http.MethodGet)
				if got := unzipped(t, resp); got != strings.ToUpper(body) || seen.String() != body {
					t.Errorf("the client got %d bytes, the agent saw %d, of %d", len(got), seen.Len(), len(body))
				}
			})
		}
	}
}

func unzipped(t *testing.T, resp *http.Response) string {
	t.Helper()
	if resp.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("status %d %v is not in gzip", resp.StatusCode, resp.Header)
	}
	r, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestPreflightBeforeAgents checks that an agent which refuses whoever brings no credentials is not asked about a
// preflight, which never does; and that a page may read the refusal of the request that follows.
func TestPreflightBeforeAgents(t *testing.T) {
	o := newHTTPOrigin(t, nil)
	h := &scriptedAgent{request: func(*agent.Request) *agent.Verdict { return agent.Block(401, "who are you?") }}
	text := strings.Replace(agentPlan(o, blockOf(t, h, allEvents)), `agents "a0"`, "agents \"a0\"\nfilters \"cors\"", 1) +
		"filter \"cors\" { type \"cors\"; allowed-origins \"https://a.example\"; allow-credentials #true }\n"
	client := dial(t, launch(t, text, nil, nil).Proxy)
	client.send(t, "OPTIONS / HTTP/1.1\r\nHost: a.test\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n")
	if resp := client.expect(t, http.StatusNoContent); resp.Header.Get("Access-Control-Allow-Origin") != "https://a.example" {
		t.Errorf("preflight: %v", resp.Header)
	}
	client.send(t, "PUT / HTTP/1.1\r\nHost: a.test\r\nOrigin: https://a.example\r\nContent-Length: 0\r\n\r\n")
	if resp := client.expect(t, http.StatusUnauthorized); resp.Header.Get("Access-Control-Allow-Origin") != "https://a.example" {
		t.Errorf("refusal: %v", resp.Header)
	}
}

// entries is the operator's log as JSON; tests take its lines one by one.
type entries struct{ lines chan map[string]any }

func (e *entries) Write(b []byte) (int, error) {
	var entry map[string]any
	if err := json.Unmarshal(b, &entry); err != nil {
		return 0, err
	}
	if entry["filter"] != nil {
		e.lines <- entry
	}
	return len(b), nil
}

// logged serves a route with a log filter and an origin.
func logged(t *testing.T, settings string, level slog.Level, origin http.HandlerFunc) (*peer, *entries) {
	t.Helper()
	e := &entries{lines: make(chan map[string]any, 100)}
	o := newHTTPOrigin(t, origin)
	p, err := sentinel.New(sentinel.Options{
		Text: []byte(plan{
			targets: "target \"" + o.addr + "\"", route: `filters "notes" "small"`,
			more: "filter \"notes\" { type \"log\"; " + settings + " }\nfilter \"small\" { type \"compress\"; min-size 1; content-types \"text/plain\" }",
		}.String()),
		Log: slog.New(slog.NewJSONHandler(e, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return dial(t, p), e
}

// want takes the next entry and compares members, written as JSON; null stands for one that must be missing.
func (e *entries) want(t *testing.T, members string) {
	t.Helper()
	entry := receive(t, "an entry of the log filter", e.lines)
	var want map[string]any
	if err := json.Unmarshal([]byte(members), &want); err != nil {
		t.Fatal(err)
	}
	for name, value := range want {
		if entry[name] != value {
			t.Errorf("%s is %#v, want %#v; the entry is %v", name, entry[name], value, entry)
		}
	}
}

func TestLogFilter(t *testing.T) {
	t.Parallel()
	client, log := logged(t, `fields "X-Odd" "X-Empty" "Cookie" "set-cookie" "AUTHORIZATION" "Content-Type"`, slog.LevelInfo, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Set-Cookie", "session=secret")
		w.Header().Add("Set-Cookie", "other=secret")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "hello")
	})
	client.send(t, "GET /a%20b?token=secret HTTP/1.1\r\nHost: a.test\r\nX-Odd: \x9b1mred \\\r\nX-Empty:\r\nX-Odd: two\r\nCookie: session=secret\r\nAuthorization: Basic secret\r\n\r\n")
	client.expect(t, http.StatusTeapot)
	log.want(t, `{"msg":"request","level":"INFO","filter":"notes","route":"all","method":"GET","path":"/a%20b","host":"a.test","client":"127.0.0.1",
		"header.x-odd":"\\x9b1mred \\\\, two","header.x-empty":"","header.cookie":"[redacted]","header.authorization":"[redacted]","header.set-cookie":null,"body":null}`)
	log.want(t, `{"msg":"response","status":418,"body_bytes_sent":5,"error":null,
		"header.set-cookie":"[redacted]","header.content-type":"text/plain; charset=utf-8","body":null}`)
}

// TestLogFilterSecrets checks that names that contain a secret's word keep their values, and that others do not.
func TestLogFilterSecrets(t *testing.T) {
	t.Parallel()
	client, log := logged(t, `fields "X-API-Key" "x-session-id" "SAML-Assertion" "X-Keyboard" "Referer" "X-Plain" "Location"`, slog.LevelInfo, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://a.test/#access_token=secret&state=1")
		w.WriteHeader(http.StatusFound)
	})
	client.send(t, "GET /a;JSESSIONID=secret?password=secret HTTP/1.1\r\nHost: a.test\r\nX-Api-Key: secret\r\nX-Session-Id: secret\r\nSaml-Assertion: secret\r\n"+
		"X-Keyboard: qwertz\r\nReferer: https://b.test/?page=2&Password=secret&lang=en\r\nX-Plain: token\r\n\r\n")
	client.expect(t, http.StatusFound)
	log.want(t, `{"msg":"request","path":"/a;JSESSIONID=[redacted]","header.x-api-key":"[redacted]","header.x-session-id":"[redacted]",
		"header.saml-assertion":"[redacted]","header.x-keyboard":"[redacted]","header.x-plain":"token",
		"header.referer":"https://b.test/?page=2&Password=[redacted]&lang=en"}`)
	log.want(t, `{"msg":"response","status":302,"header.location":"https://a.test/#access_token=[redacted]&state=1"}`)
}

func TestLogFilterBodies(t *testing.T) {
	t.Parallel()
	client, log := logged(t, `log-body #true; max-body-log-size 10; level "warn"`, slog.LevelWarn, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "line\r\n\"\x1b[0m and more")
	})
	for _, body := range []string{"whole", "Transfer-Encoding: chunked", "late"} {
		client.send(t, "POST / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n")
		switch body {
		case "whole":
			client.send(t, "Content-Length: 12\r\n\r\nhello, world")
		case "late":
			client.send(t, "Content-Length: 12\r\nExpect: 100-continue\r\n\r\n")
			client.head(t, http.MethodPost)
			client.send(t, "hello, world")
		default:
			client.send(t, body+"\r\n\r\n5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n")
		}
		if got := unzipped(t, client.head(t, http.MethodPost)); !strings.HasSuffix(got, "and more") {
			t.Errorf("the client got %q", got)
		}
		log.want(t, `{"msg":"request","level":"WARN","body":"hello, wor","body_cut_from_bytes":12}`)
		log.want(t, `{"msg":"response","body":"line\\r\\n\"\\x1b[0","body_cut_from_bytes":20}`)
	}
}

// TestLogFilterFailures checks that an exchange that fails is written down as one.
func TestLogFilterFailures(t *testing.T) {
	t.Parallel()
	client, log := logged(t, `log-request #false`, slog.LevelInfo, func(w http.ResponseWriter, _ *http.Request) {
		panic(http.ErrAbortHandler)
	})
	client.get(t, "/")
	client.expect(t, http.StatusBadGateway)
	log.want(t, `{"msg":"response","status":502,"error":"upstream_closed"}`)
}

// TestLogFilterLevel checks that entries below the log's level are not made: the next one is of another request.
func TestLogFilterLevel(t *testing.T) {
	t.Parallel()
	client, log := logged(t, `level "debug"`, slog.LevelInfo, nil)
	client.get(t, "/")
	client.expect(t, http.StatusOK)
	select {
	case entry := <-log.lines:
		t.Errorf("an entry below the level: %v", entry)
	default:
	}
}
