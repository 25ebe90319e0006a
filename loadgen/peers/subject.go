package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names of the subjects, as written in Options.Subjects and in the results.
const (
	nginx       = "nginx"
	haproxy     = "haproxy"
	caddy       = "caddy"
	sentinelOne = "sentinel1"
	sentinel    = "sentinel"
	origin      = "origin"
)

// Subjects lists every subject that can be measured. "sentinel1" is Sentinel with GOMAXPROCS=1, the one the gates are
// for; "sentinel" is Sentinel as it comes.
func Subjects() []string { return []string{nginx, haproxy, caddy, sentinelOne, sentinel} }

// subject is one program in one way of running it.
type subject struct {
	name     string
	template string
	program  string
	args     []string // before the name of the configuration file
	env      []string
	guarded  bool          // only Sentinel's template knows it
	agent    *agentProgram // on the route; only Sentinel's template knows it; nil: none
}

// Programs says where the binaries are that no package installs.
type Programs struct {
	Caddy    string
	Sentinel string
}

func subjects(p Programs) []subject {
	one := []string{"GOMAXPROCS=1"}
	return []subject{
		{name: nginx, template: "nginx.conf", program: "nginx", args: []string{"-c"}},
		{name: haproxy, template: "haproxy.cfg", program: "haproxy", args: []string{"-db", "-f"}},
		{name: caddy, template: "Caddyfile", program: p.Caddy, args: []string{"run", "--adapter", "caddyfile", "--config"}, env: one},
		{name: sentinelOne, template: "sentinel.kdl", program: p.Sentinel, args: []string{"--config"}, env: one},
		{name: sentinel, template: "sentinel.kdl", program: p.Sentinel, args: []string{"--config"}},
	}
}

func originSubject() subject {
	return subject{name: origin, template: "backend.conf", program: "nginx", args: []string{"-c"}}
}

// choose returns the named subjects in the order of Subjects.
func choose(all []subject, names []string) ([]subject, error) {
	for _, name := range names {
		if !slices.ContainsFunc(all, func(s subject) bool { return s.name == name }) {
			return nil, fmt.Errorf("unknown subject %q; there are %s", name, strings.Join(Subjects(), ", "))
		}
	}
	return slices.DeleteFunc(all, func(s subject) bool { return !slices.Contains(names, s.name) }), nil
}

// prepare makes the subject's directory with its configuration and returns the configuration's file name.
func (s subject) prepare(st setup) (file string, err error) {
	text, err := render(s.template, st)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(st.Dir, 0o755); err != nil { //nolint:gosec // nginx's worker may be another user.
		return "", fmt.Errorf("preparing %s: %w", s.name, err)
	}
	file = filepath.Join(st.Dir, s.template)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("preparing %s: %w", s.name, err)
	}
	return file, nil
}
