package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A socket that is missing, or that we may not connect to, may be right once its agent has started.
func TestSocketsThatMayCome(t *testing.T) {
	t.Chdir(t.TempDir())
	listener, err := net.Listen("unix", "a.sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	for _, err := range []error{os.Chmod("a.sock", 0), os.Mkdir("closed", 0), os.Symlink("nowhere", "dangling")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct{ path, problem string }{
		"missing":              {"b.sock", "socket b.sock: no such file or directory; until the agent listens there"},
		"a link to nothing":    {"dangling", "socket dangling: no such file or directory"},
		"not writable":         {"a.sock", "socket a.sock: permission denied; while that is so"},
		"in another's home":    {"closed/a.sock", "socket closed/a.sock: permission denied"},
		"deep in another home": {"closed/b/a.sock", "directory closed/b: permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			for choice, want := range map[Resources][]string{ResourceErrors: {c.problem}, ResourceWarnings: {c.problem}, ResourcesOff: nil} {
				problems := parseAsNobody(withAgent("", `unix-socket "`+c.path+`"`), choice)
				checkWarnings(t, problems, want)
				if problems.HasErrors() {
					t.Errorf("resources %d: %v", choice, problems)
				}
			}
		})
	}
}

// parseAsNobody reads a configuration as a user without privileges, whom permissions keep from things. The
// thread that became that user ends with its goroutine, which never unlocks it.
func parseAsNobody(text string, choice Resources) (problems Problems) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		const nobody = 65534
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody) // only root can, and only root must
		_, problems = Parse("test.kdl", []byte(text), Options{Resources: choice})
	}()
	<-done
	return problems
}

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.example"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestResources(t *testing.T) {
	dir := tree(t, map[string]string{"text": "x", "www/index.html": "x"})
	t.Chdir(dir)
	certificate(t, "c.pem", "k.pem")
	certificate(t, "other.pem", "otherkey.pem")
	listener, err := net.Listen("unix", filepath.Join(dir, "a.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	tlsListener := func(body string) string {
		return withListener("address \"127.0.0.1:0\"; protocol \"https\"\ntls {\n" + body + "\n}")
	}
	upstream := func(body string) string { return withUpstream("target \"127.0.0.1:1\"\n" + body) }
	route := func(body string) string {
		return systemPart + listenerPart + "route \"r\" { priority \"low\"\n" + body + "\n}\n"
	}
	audit := func(file string) string {
		return withTop("observability { logging { audit-log { file \"" + file + "\" } } }")
	}
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, text, problem string }{
		{name: "pair", text: tlsListener(`cert-file "c.pem"; key-file "k.pem"`)},
		{name: "pair missing", text: tlsListener(`cert-file "no.pem"; key-file "k.pem"`), problem: "tls.cert-file: cannot read no.pem: no such file or directory"},
		{name: "pair is no pair", text: tlsListener(`cert-file "c.pem"; key-file "otherkey.pem"`), problem: "the certificate in c.pem and the key in otherkey.pem cannot be used"},
		{name: "pair is no PEM", text: tlsListener(`cert-file "text"; key-file "k.pem"`), problem: "cannot be used"},
		{name: "pair is a directory", text: tlsListener(`cert-file "www"; key-file "k.pem"`), problem: "cannot read www: not a regular file"},
		{name: "sni", text: tlsListener(`cert-file "c.pem"; key-file "k.pem"; sni { cert-file "c.pem"; key-file "no" }`), problem: "tls.sni.cert-file: cannot read no"},
		{name: "authorities", text: tlsListener(`cert-file "c.pem"; key-file "k.pem"; ca-file "other.pem"; client-auth #true`)},
		{name: "no authorities", text: tlsListener(`cert-file "c.pem"; key-file "k.pem"; ca-file "text"`), problem: "tls.ca-file: text holds no PEM certificate"},
		{name: "upstream pair", text: upstream(`tls { client-cert "c.pem"; client-key "k.pem"; ca-cert "c.pem" }`)},
		{name: "upstream authorities", text: upstream(`tls { ca-cert "no" }`), problem: `upstream "u".tls.ca-cert: cannot read no`},
		{name: "root", text: route(`static-files { root "www" }`)},
		{name: "root missing", text: route(`static-files { root "nowhere" }`), problem: "root: directory nowhere: no such file or directory"},
		{name: "root is a file", text: route(`static-files { root "text" }`), problem: "root: text is not a directory"},
		{name: "root below working directory", text: strings.Replace(route(`static-files { root "www" }`), "system { }", "system { working-directory \""+dir+"\" }", 1)},
		{name: "template", text: route(`builtin-handler "status"; error-pages { template-dir "www"; pages { "404" { template "index.html" } } }`)},
		{name: "template missing", text: route(`builtin-handler "status"; error-pages { pages { "404" { template "no.html" } } }`), problem: "pages.404.template: cannot read no.html"},
		{name: "socket", text: withAgent("", `unix-socket "a.sock"`)},
		{name: "socket is a file", text: withAgent("", `unix-socket "text"`), problem: "unix-socket.path: text is a regular file, not a socket"},
		{name: "socket is a directory", text: withAgent("", `unix-socket "www"`), problem: "www is a directory, not a socket"},
		{name: "socket is a pipe", text: withAgent("", `unix-socket "pipe"`), problem: "pipe is a named pipe, not a socket"},
		{name: "socket is a device", text: withAgent("", `unix-socket "/dev/null"`), problem: "/dev/null is a device, not a socket"},
		{name: "socket in a file", text: withAgent("", `unix-socket "text/a.sock"`), problem: "text is not a directory"},
		{name: "socket nowhere", text: withAgent("", `unix-socket "nowhere/a.sock"`), problem: "directory nowhere: no such file or directory"},
		{name: "agent pair", text: withAgent("", `grpc "https://127.0.0.1:1" { ca-cert "text" }`), problem: "grpc.ca-cert: text holds no PEM certificate"},
		{name: "audit log", text: audit("audit.log")},
		{name: "audit log to output", text: audit("-")},
		{name: "audit log nowhere", text: audit("nowhere/audit.log"), problem: "audit-log.file: cannot write nowhere/audit.log: no such file or directory"},
		{name: "working directory", text: withSystem(`working-directory "/no/where"`), problem: "system.working-directory: directory /no/where"},
		{name: "pid-file", text: withSystem(`pid-file "pid"`)},
		{name: "pid-file nowhere", text: withSystem(`pid-file "nowhere/pid"`), problem: "system.pid-file: directory nowhere: no such file or directory"},
		{name: "admin-socket", text: withSystem(`admin-socket "admin.sock"`)},
		{name: "admin-socket that is there", text: withSystem(`admin-socket "a.sock"`)},
		{name: "admin-socket is a file", text: withSystem(`admin-socket "text"`), problem: "system.admin-socket: text is a regular file, not a socket"},
		{name: "admin-socket nowhere", text: withSystem(`admin-socket "nowhere/a.sock"`), problem: "system.admin-socket: directory nowhere: no such file or directory"},
		{name: "user", text: withSystem(`user "no-such-user-here"`), problem: "system.user: user: unknown user no-such-user-here"},
		{name: "group", text: withSystem(`group "no-such-group-here"`), problem: "system.group: group: unknown group no-such-group-here"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for choice, want := range map[Resources]string{ResourceErrors: "error: ", ResourceWarnings: "warning: ", ResourcesOff: ""} {
				_, problems := Parse("test.kdl", []byte(test.text), Options{Resources: choice})
				if test.problem == "" || want == "" {
					checkWarnings(t, problems, nil)
					continue
				}
				if text := problems.Error(); !strings.HasPrefix(text, want) || !strings.Contains(text, test.problem) || problems[0].Line == 0 {
					t.Errorf("resources %d: problems %q, want %s… %s", choice, text, want, test.problem)
				}
			}
		})
	}
	if _, err := os.Stat("audit.log"); err == nil {
		t.Error("looking at the audit log created it")
	}
}
