package peers

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestStartFleetWithoutAnOrigin(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	b := &bench{dir: t.TempDir(), results: &Results{}}
	if f, err := b.startFleet(t.Context(), "plain", false); err == nil || !strings.Contains(err.Error(), origin) {
		t.Errorf("startFleet = %v, %v, want an error that names the origin", f, err)
	}
}

// What was started before the failure is ended.
func TestStartFleetWithoutAProxy(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir()
	if err := os.Symlink(self, filepath.Join(path, "nginx")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", path)
	t.Setenv(roleVariable, "server")
	b := &bench{
		dir: t.TempDir(), results: &Results{},
		subjects: []subject{{name: "nobody", template: "sentinel.kdl", program: "/nowhere/program"}},
	}
	if f, err := b.startFleet(t.Context(), "plain", false); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Fatalf("startFleet = %v, %v, want an error that names the subject", f, err)
	}
	if len(b.results.Configs) != 1 {
		t.Fatalf("configurations kept are %+v, want that of the origin", b.results.Configs)
	}
	listen := regexp.MustCompile(`listen (\S+)`).FindStringSubmatch(b.results.Configs[0].Text)
	if err := ask(t.Context(), "http://"+listen[1]+smallPath); err == nil {
		t.Error("the origin answers after the fleet has failed to start")
	}
}
