package peers

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// roleVariable makes the test binary play a subject, so that no real proxy is needed.
const roleVariable = "PEERS_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		play(role, os.Args[len(os.Args)-1])
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// play serves on the address the nginx configuration names, until it cannot; an agent is told its address itself.
func play(role, config string) {
	if role == "agent" {
		playAgent(config)
		return
	}
	text, err := os.ReadFile(config)
	listen := regexp.MustCompile(`listen (\S+)`).FindSubmatch(text)
	if err != nil || listen == nil || role == "broken" {
		fmt.Println("cannot use", config)
		return
	}
	server := http.Server{Addr: string(listen[1]), ReadHeaderTimeout: time.Minute}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, body)
	})
	fmt.Println(server.ListenAndServe())
}

// playAgent takes connections and says nothing.
func playAgent(address string) {
	l, err := net.Listen("unix", address)
	for err == nil {
		_, err = l.Accept()
	}
	fmt.Println(err)
}

func startRole(t *testing.T, role string) (*process, error) {
	t.Helper()
	listen, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := subject{name: role, template: "nginx.conf", program: os.Args[0], env: []string{roleVariable + "=" + role}}
	return start(t.Context(), s, setup{Listen: listen, Dir: t.TempDir(), Connections: 10}, "/1k")
}

func TestStartAndStop(t *testing.T) {
	p, err := startRole(t, "server")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(p.pids, p.cmd.Process.Pid) {
		t.Errorf("pids are %v without the started %d", p.pids, p.cmd.Process.Pid)
	}
	if err := ask(t.Context(), p.url("/1k")); err != nil {
		t.Errorf("it does not answer: %v", err)
	}
	p.stop()
	if err := ask(t.Context(), p.url("/1k")); err == nil {
		t.Error("it answers after stop")
	}
}

func TestStartReportsWhatTheProcessSaid(t *testing.T) {
	_, err := startRole(t, "broken")
	if err == nil || !strings.Contains(err.Error(), "cannot use") {
		t.Errorf("start = %v, want the output of the process in it", err)
	}
}

func TestStartMissingProgram(t *testing.T) {
	s := subject{name: "nobody", template: "nginx.conf", program: "/nowhere/program"}
	if _, err := start(t.Context(), s, setup{Dir: t.TempDir()}, "/"); err == nil {
		t.Error("a missing program was started")
	}
}

func TestChoose(t *testing.T) {
	got, err := choose(subjects(Programs{}), []string{caddy, nginx})
	if err != nil || len(got) != 2 || got[0].name != nginx || got[1].name != caddy {
		t.Errorf("choose = %+v, %v, want nginx and caddy", got, err)
	}
	if _, err := choose(subjects(Programs{}), []string{"traefik"}); err == nil || !strings.Contains(err.Error(), haproxy) {
		t.Errorf("choose = %v, want an error that lists the subjects", err)
	}
}
