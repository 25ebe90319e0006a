package conformance

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/cmd/sentinel-agent/lua"
)

// lawScript sets fields in both directions, refuses, and never ends, by the path.
const lawScript = `
function on_request_headers(request)
  if request.path == "/blocked" then
    tag("no-entry")
    return block(451, "not here")
  end
  if request.path == "/loops" then
    while true do end
  end
  set_request_header("X-Law", request.method .. " " .. request.path)
  remove_request_header("X-Secret")
end

function on_response_headers(request, response)
  set_response_header("X-Seen", request.path .. " " .. response.status)
end
`

// newLaw starts a proxy that asks the script. The limits are the script's, the settings the proxy's for the agent.
func newLaw(t *testing.T, network, settings string, limits lua.Options) *guarded {
	t.Helper()
	limits.Script, limits.Log = filepath.Join(t.TempDir(), "law.lua"), slog.New(slog.DiscardHandler)
	sound(t, os.WriteFile(limits.Script, []byte(lawScript), 0o600))
	h, err := lua.New(limits)
	sound(t, err)
	return newGuarded(t, settings+`; events "request_headers" "response_headers"; `+serveAgent(t, network, h))
}

// TestLua lets a script change both directions of one request and refuse another.
func TestLua(t *testing.T) {
	overEach(t, func(t *testing.T, network string) {
		g := newLaw(t, network, `timeout-ms 10000`, lua.Options{Timeout: 10 * time.Second})
		m := g.exchange(t, g.request("/a", "changed", "X-Secret: 1\r\nX-Law: mine\r\n"))
		got := g.got("changed")
		if m.status() != 200 || !slices.Equal(values(m.fields, "X-Seen"), []string{"/a 200"}) {
			t.Errorf("the client got %q %q, want the script's X-Seen", m.start, m.fields)
		}
		if got == nil || !slices.Equal(values(got.fields, "X-Law"), []string{"GET /a"}) || len(values(got.fields, "X-Secret")) > 0 {
			t.Errorf("the origin got %+v, want the script's X-Law and no X-Secret", got)
		}
		m = g.exchange(t, g.request("/blocked", "blocked", ""))
		if m.status() != 451 || string(m.body) != "not here" || g.got("blocked") != nil {
			t.Errorf("the client got %q %q, want 451", m.start, m.body)
		}
		if entry := g.audit.find(t, record{"trace_id": "blocked"}); !strings.Contains(entry["tags"], "no-entry") || entry["action"] != "block" {
			t.Errorf("the audit entry is %v, want a block with the script's tag", entry)
		}
	})
}

// TestLuaLoops asks a script that never ends. Its limits end it and there is no verdict; where they are wide,
// the proxy does not wait for that. Then the failure mode decides, and the next request is served.
func TestLuaLoops(t *testing.T) {
	overEach(t, func(t *testing.T, network string) {
		wide := lua.Options{Timeout: 3 * time.Second, Instructions: 100_000_000, States: 8}
		for name, c := range map[string]struct {
			settings string
			limits   lua.Options
			status   int
			reason   string
		}{
			"its limits, closed":  {`failure-mode "closed"`, lua.Options{}, 503, "agent_bad_reply"},
			"its limits, open":    {`failure-mode "open"`, lua.Options{}, 200, ""},
			"the proxy's, closed": {`failure-mode "closed"; timeout-ms 200`, wide, 504, "agent_timeout"},
			"the proxy's, open":   {`failure-mode "open"; timeout-ms 200`, wide, 200, ""},
		} {
			t.Run(name, func(t *testing.T) {
				g := newLaw(t, network, c.settings, c.limits)
				began := time.Now()
				m := g.exchange(t, g.request("/loops", "loops", ""))
				took := time.Since(began)
				if l := g.traced(t, "loops"); m.status() != c.status || l.Error != c.reason || (g.got("loops") != nil) != (c.status == 200) {
					t.Errorf("the client got %q: %+v, want %d for %q", m.start, l, c.status, c.reason)
				}
				if took > 2*time.Second { // the limits are 10 ms of the script's and 200 ms of the proxy's
					t.Errorf("it took %v", took)
				}
				if m := g.exchange(t, g.request("/a", "after", "")); m.status() != 200 {
					t.Errorf("the next client got %q: %+v", m.start, g.traced(t, "after"))
				}
			})
		}
	})
}
