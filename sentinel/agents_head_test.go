package sentinel_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel/agent"
)

// v1Event is what tests look at in a frame of dialect V1.
type v1Event struct {
	Type    string `json:"event_type"`
	Payload struct{ Status int }
}

// listening is an agent of V1 that passes on whatever it is told, and answers that this went well.
func listening(t *testing.T) (socket string, events <-chan v1Event) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "a")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	got, over := make(chan v1Event, 100), make(chan struct{})
	go func() {
		defer close(over)
		c, err := l.Accept()
		for err == nil {
			var e v1Event
			if e, err = readV1(c); err == nil {
				got <- e
				_, err = io.WriteString(c, "\x00\x00\x00\x10"+`{"success":true}`)
			}
		}
		if c != nil {
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-over }) // the proxy, which began later, has ended by then
	return socket, got
}

func readV1(r io.Reader) (e v1Event, err error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return e, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(r, frame); err != nil {
		return e, err
	}
	return e, json.Unmarshal(frame, &e)
}

// TestAgentForTheLog checks that an agent for the log alone learns how requests end that another agent refused, or whose
// client left, and that a refusal beside it leaves the client's connection as it is.
func TestAgentForTheLog(t *testing.T) {
	for _, c := range []struct {
		name, path string
		end        func(t *testing.T, client *peer, arrived <-chan struct{})
		status     int
	}{
		{"refused", "/refused", func(t *testing.T, client *peer, _ <-chan struct{}) {
			client.expect(t, http.StatusForbidden)
			client.get(t, "/refused")
			client.expect(t, http.StatusForbidden)
		}, http.StatusForbidden},
		{"client gone", "/", func(t *testing.T, client *peer, arrived <-chan struct{}) {
			receive(t, "the request", arrived)
			_ = client.Close()
		}, 499},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, arrived, events := besideTheLog(t)
			client.get(t, c.path)
			c.end(t, client, arrived)
			if e := receive(t, "the end of the request", events); e.Type != "request_complete" || e.Payload.Status != c.status {
				t.Errorf("the agent was told %+v, want status %d", e, c.status)
			}
		})
	}
}

// besideTheLog is a client of a route whose agents are one that refuses a path and one for the log, which is connected.
// Its origin tells of requests, and answers none.
func besideTheLog(t *testing.T) (client *peer, arrived <-chan struct{}, events <-chan v1Event) {
	t.Helper()
	got := make(chan struct{}, 1)
	origin := scripted(t, func(c *peer) {
		if _, err := c.request(); err == nil {
			got <- struct{}{}
			_ = c.ends()
		}
	})
	refuses := blockOf(t, &scriptedAgent{request: func(r *agent.Request) *agent.Verdict {
		if r.URI == "/refused" {
			return agent.Block(403, "no")
		}
		return agent.Allow()
	}}, "")
	socket, events := listening(t)
	proxy := launch(t, plan{
		targets: fmt.Sprintf("target %q", origin), route: `agents "refuses" "log"`,
		routes: "route \"agents\" {\nmatches { path \"/agents\" }\nbuiltin-handler \"agents\"\n}",
		more:   fmt.Sprintf("agent \"refuses\" {\n%s\n}\nagent \"log\" { protocol-version \"v1\"; unix-socket %q; events \"log\" }", refuses, socket),
	}.String(), nil, nil)
	eventually(t, "the agents are connected", func() bool {
		var page agentPage
		fetch(t, proxy.Proxy, "/agents", &page)
		return page.Summary["connected"] == 2
	})
	return dial(t, proxy.Proxy), got, events
}

// TestAgentSwitchingProtocols checks that what an agent wants to have in the response is in that of an upgrade.
func TestAgentSwitchingProtocols(t *testing.T) {
	block := blockOf(t, &scriptedAgent{request: func(*agent.Request) *agent.Verdict {
		return agent.Allow().SetResponseHeader("Set-Cookie", "a=b")
	}}, "")
	c, _ := tunnelTo(t, plan{route: `agents "a"`, more: fmt.Sprintf("agent \"a\" {\n%s\n}", block)}, func(c *peer) {
		_, _ = io.WriteString(c, upgradeAnswer)
		_ = c.ends()
	})
	c.send(t, upgradeRequest)
	if resp := c.head(t, http.MethodGet); resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Set-Cookie") != "a=b" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

// TestAgentForTheLogHearsAll tells an agent of every request, also while it owes the answer about the one before.
func TestAgentForTheLogHearsAll(t *testing.T) {
	client, _, events := besideTheLog(t)
	for range 50 {
		client.get(t, "/refused")
		client.expect(t, http.StatusForbidden)
	}
	for range 50 {
		receive(t, "the end of a request", events)
	}
}
