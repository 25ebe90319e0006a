package sentinel_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// Validate connects to agents: what a proxy would find at its start, it says beforehand.
func TestValidateAgents(t *testing.T) {
	dir := t.TempDir()
	listen := func(network, address string) net.Listener {
		l, err := new(net.ListenConfig).Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	listen("unix", path("a"))
	left := listen("unix", path("left")).(*net.UnixListener)
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := listen("tcp", "127.0.0.1:0").Addr().String()
	shut := listen("tcp", "127.0.0.1:0")
	_ = shut.Close()
	for name, c := range map[string]struct{ transport, failure string }{
		"socket":              {fmt.Sprintf("unix-socket %q", path("a")), ""},
		"no socket":           {fmt.Sprintf("unix-socket %q", path("none")), `agent "x": socket ` + path("none") + ": no such file or directory"},
		"a file":              {fmt.Sprintf("unix-socket %q", path("file")), `agent "x": ` + path("file") + " is no socket"},
		"nobody listens":      {fmt.Sprintf("unix-socket %q", path("left")), `agent "x": socket ` + path("left") + " refused the connection"},
		"grpc":                {fmt.Sprintf("grpc %q", open), ""},
		"grpc refused":        {fmt.Sprintf("grpc %q", shut.Addr()), `agent "x": address ` + shut.Addr().String() + " refused the connection"},
		"http is not checked": {`http "http://` + shut.Addr().String() + `/"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := scaffold + "\nagent \"x\" { " + c.transport + " }\n"
			in, err := sentinel.Inspect(sentinel.Options{Text: []byte(text), Name: "v.kdl"})
			if err != nil {
				t.Fatal(err)
			}
			r := in.Validate(t.Context(), sentinel.ValidateOptions{SkipNetwork: true})
			if got := strings.Join(r.Errors, "\n"); got != c.failure || len(r.Warnings) > 0 {
				t.Errorf("errors %q, warnings %q; want %q", got, r.Warnings, c.failure)
			}
			if r := in.Validate(t.Context(), sentinel.ValidateOptions{SkipNetwork: true, SkipAgents: true}); len(r.Errors) > 0 {
				t.Errorf("with the agents left out: %q", r.Errors)
			}
		})
	}
}
