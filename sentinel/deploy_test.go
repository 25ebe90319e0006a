package sentinel_test

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// deployed loads a configuration below deploy and returns its settings by path.
func deployed(t *testing.T, file string) (map[string]string, sentinel.ProcessSettings) {
	t.Helper()
	in, err := sentinel.Inspect(sentinel.Options{Path: filepath.Join("../deploy", file)})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range in.Warnings {
		if strings.Contains(w, "unknown setting") || strings.Contains(w, "surplus") {
			t.Error(w)
		}
	}
	settings := map[string]string{}
	for _, s := range in.Settings() {
		settings[s.Path] = strings.Trim(s.Value, `"`)
	}
	return settings, in.ProcessSettings()
}

// TestKubernetesConfig loads what the ConfigMap holds. deploy/kubernetes has a test for the manifests around it.
func TestKubernetesConfig(t *testing.T) {
	t.Parallel()
	settings, process := deployed(t, "kubernetes/sentinel.kdl")
	if settings["system.auto-reload"] != "#true" || process.Daemon || process.PIDFile != "" {
		t.Errorf("auto-reload %s, %+v", settings["system.auto-reload"], process)
	}
	for path, value := range settings {
		if strings.HasSuffix(path, ".file") && strings.Contains(path, "-log") && value != "-" {
			t.Errorf("%s is %s: the file system cannot be written", path, value)
		}
	}
}

// unit reads a systemd unit: the values of each key.
func unit(t *testing.T, file string) map[string][]string {
	t.Helper()
	values := map[string][]string{}
	for line := range strings.Lines(read(t, filepath.Join("../deploy/systemd", file))) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '[' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || value == "" {
			t.Errorf("%s: %q", file, line)
		}
		values[key] = append(values[key], value)
	}
	return values
}

// TestSystemdUnits holds the units against the configuration that they are for.
func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	settings, process := deployed(t, "systemd/sentinel.kdl")
	service, socket := unit(t, "sentinel.service"), unit(t, "sentinel.socket")
	for key, command := range map[string]string{
		"ExecStart":    "/usr/local/bin/sentinel -c /etc/sentinel/sentinel.kdl",
		"ExecStartPre": "/usr/local/bin/sentinel test -c /etc/sentinel/sentinel.kdl",
		"ExecReload":   "/usr/local/bin/sentinel reload --wait --socket " + settings["system.admin-socket"],
	} {
		if got := service[key]; len(got) != 1 || got[0] != command {
			t.Errorf("%s is %q", key, got)
		}
	}
	within := func(what, name, dir string) {
		if rest, ok := strings.CutPrefix(name, dir); !ok || !strings.HasPrefix(rest, "/") {
			t.Errorf("%s is %s, which the unit does not let it write", what, name)
		}
	}
	within("pid-file", process.PIDFile, "/run/"+service["RuntimeDirectory"][0])
	within("admin-socket", settings["system.admin-socket"], "/run/"+service["RuntimeDirectory"][0])
	for _, log := range []string{"access", "error", "audit"} {
		within(log+"-log", settings["observability.logging."+log+"-log.file"], "/var/log/"+service["LogsDirectory"][0])
	}
	if stop, err := strconv.Atoi(service["TimeoutStopSec"][0]); err != nil || time.Duration(stop)*time.Second <= process.StopTimeout+5*time.Second {
		t.Errorf("the service is killed after %d seconds, a drain takes up to %v and 5 s", stop, process.StopTimeout)
	}
	if start, err := strconv.Atoi(service["TimeoutStartSec"][0]); err != nil || time.Duration(start)*time.Second < process.UpgradeTimeout {
		t.Errorf("the service is killed after %d seconds, a start may take %v", start, process.UpgradeTimeout)
	}
	if process.User != "" || process.Daemon || service["Type"][0] != "notify" {
		t.Errorf("systemd and the proxy both want to be in charge: %+v", process)
	}
	for _, address := range socket["ListenStream"] {
		if !slices.Contains(process.Addresses, address) {
			t.Errorf("sentinel.socket opens %s, which no listener has", address)
		}
	}
}
