package peers

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/template"
)

//go:embed configs
var configs embed.FS

var templates = template.Must(template.ParseFS(configs, "configs/*"))

// poolSize is how many idle connections to the origin each proxy may keep.
const poolSize = 256

// proxyConnections is how many client connections a proxy is set up for when memory is not measured.
const proxyConnections = 1024

// body is the short answer: 1 KiB.
var body = strings.Repeat("sentinel", 128)

// setup is what the configuration templates are filled with. The same setup goes to every subject of a fleet,
// apart from its own addresses and directory.
type setup struct {
	Listen      netip.AddrPort // where the process serves
	Backend     netip.AddrPort // the origin
	Metrics     netip.AddrPort // used when AccessLog is set
	Dir         string         // the process's own directory, absolute
	AccessLog   string         // absolute file name; empty: access log and metrics are off
	Connections int            // client connections to be ready for
	Guarded     bool           // everything on that looks after the upstream
	Agent       string         // the node that says how to reach the agent on the route; empty: no agent
}

func (s setup) url(path string) string { return "http://" + s.Listen.String() + path }

// PoolSize is the bound of idle origin connections.
func (setup) PoolSize() int { return poolSize }

// Body is the answer of 1 KiB.
func (setup) Body() string { return body }

// Descriptors is what a process needs when every client connection has one to the origin.
func (s setup) Descriptors() int { return 2*s.Connections + 512 }

func render(template string, s setup) (string, error) {
	var text bytes.Buffer
	if err := templates.ExecuteTemplate(&text, template, s); err != nil {
		return "", fmt.Errorf("writing a configuration: %w", err)
	}
	return text.String(), nil
}

// PrintConfigs writes the configuration of every subject of o, with the access log and without, with made-up addresses.
func PrintConfigs(w io.Writer, o Options) error {
	chosen, err := choose(subjects(o.Programs), o.Subjects)
	if err != nil {
		return err
	}
	st := setup{
		Listen:      netip.MustParseAddrPort("127.0.0.1:8080"),
		Backend:     netip.MustParseAddrPort("127.0.0.1:8081"),
		Metrics:     netip.MustParseAddrPort("127.0.0.1:9090"),
		Dir:         "/tmp/bench-peers",
		Connections: proxyConnections,
	}
	for _, log := range []string{"", "/tmp/bench-peers/access.log"} {
		st.AccessLog = log
		for _, s := range append([]subject{originSubject()}, chosen...) {
			text, err := render(s.template, st)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "# %s, %s, access log %q, environment %v\n%s\n", s.name, s.template, log, s.env, text); err != nil {
				return fmt.Errorf("printing configurations: %w", err)
			}
		}
	}
	return nil
}
