package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/sentinel"
)

// adminConfig is goodConfig with an admin socket, and the path of that.
func adminConfig(t *testing.T) (file, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "admin.sock")
	return write(t, strings.Replace(goodConfig, "system {", `system { admin-socket "`+socket+`";`, 1)), socket
}

// TestReloadAndStatus drives a running proxy by its admin socket: a good reload, a broken file, and what status says
// of both.
func TestReloadAndStatus(t *testing.T) {
	t.Parallel()
	file, socket := adminConfig(t)
	p := start(t, "-c", file)
	execute(t, "status", "-c", file).expect(t, 0, `(?s)serving since .*generation 1 .*reloads: 0 succeeded, 0 failed.*listener main: 127\.0\.0\.1:\d+`, "")
	execute(t, "reload", "--wait", "-c", file).expect(t, 0, `^reload done: generation 2 is served \(admin, \d+ ms\)`, "")
	execute(t, "reload", "--socket", socket).expect(t, 0, `^reload requested`, "")
	p.await(t, "the reload", func(line string) bool {
		return strings.Contains(line, "reload done") && strings.Contains(line, `"generation":3`)
	})
	if err := os.WriteFile(file, []byte("system { }\nroute \"a\" {\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	execute(t, "reload", "--wait", "--socket", socket).expect(t, 1, `(?s)^reload failed, the old configuration goes on: generation 3 .*error: .*sentinel\.kdl:2:\d+: `, "")
	execute(t, "status", "-c", file).expect(t, 1, "", `(?s)give --socket.*sentinel\.kdl:2:`)
	o := execute(t, "status", "--json", "--socket", socket)
	var st sentinel.Status
	if err := json.Unmarshal([]byte(o.stdout), &st); err != nil || st.PID != p.Process.Pid || st.Generation != 3 || st.ReloadsFailed != 1 ||
		st.LastReload == nil || st.LastReload.OK || len(st.LastReload.Problems) == 0 || st.LastReload.Problems[0].Line != 2 {
		t.Errorf("%v in %s", err, o.stdout)
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v %v, want mode 0600", info, err)
	}
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	execute(t, "status", "--socket", socket).expect(t, 2, "", `no proxy answers at .*admin\.sock`)
	execute(t, "reload").expect(t, 1, "", `give --socket`)
}
