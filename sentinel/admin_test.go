package sentinel

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// adminClient asks at an admin socket.
func adminClient(t *testing.T, socket string) *http.Client {
	t.Helper()
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// instance returns the instance id of whoever answers at an admin socket; empty: nobody.
func instance(t *testing.T, c *http.Client) string {
	t.Helper()
	answer, err := c.Get("http://sentinel/status")
	if err != nil {
		return ""
	}
	defer func() { _ = answer.Body.Close() }()
	var st Status
	if err := json.NewDecoder(answer.Body).Decode(&st); err != nil {
		t.Fatal(err)
	}
	return st.InstanceID
}

// serving runs a proxy until stop is called or the test ends.
func serving(t *testing.T, p *Proxy) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	for limit := time.Now().Add(10 * time.Second); p.Status().State == "starting"; {
		if time.Now().After(limit) {
			t.Fatal("the proxy does not serve")
		}
		time.Sleep(time.Millisecond) // nothing announces it
	}
	return stop
}

// TestAdminTakenOver shows that a process keeps its admin socket until another serves: one that was only made, and
// failed, takes nothing away; and that whoever ends removes just its own.
func TestAdminTakenOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "admin.sock")
	config := strings.Replace(clockConfig, "system { }", `system { admin-socket "`+socket+`" }`, 1)
	open := func() *Proxy {
		p, err := New(Options{Text: []byte(config), Name: t.Name(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	client := adminClient(t, socket)
	first := open()
	stopFirst := serving(t, first)
	open().Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("one that never served left something behind: %v %v", left, err)
	}
	killed := open() // as far as files tell
	defer killed.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("one that does not serve yet has files: %v %v", left, err)
	}
	if got := instance(t, client); got != first.instance {
		t.Errorf("after one that never served, %q answers, want %q", got, first.instance)
	}
	second := open()
	stopSecond := serving(t, second)
	if got := instance(t, client); got != second.instance {
		t.Errorf("%q answers, want the second %q", got, second.instance)
	}
	stopFirst()
	if got := instance(t, client); got != second.instance {
		t.Errorf("after the end of the first %q answers, want %q", got, second.instance)
	}
	stopSecond()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestAdminPages asks for profiles and for what is not there.
func TestAdminPages(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "admin.sock")
	config := strings.Replace(clockConfig, "system { }", `system { admin-socket "`+socket+`" }`, 1)
	p, err := New(Options{Text: []byte(config), Name: t.Name(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	serving(t, p)
	client := adminClient(t, socket)
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/pprof/goroutine", 200},
		{"GET", "/pprof/goroutine?debug=1", 200},
		{"GET", "/pprof/cpu?seconds=1", 200},
		{"GET", "/pprof/cpu?seconds=61", 400},
		{"GET", "/pprof/cpu", 400},
		{"GET", "/pprof/nonsense", 404},
		{"GET", "/reload", 405},
		{"POST", "/reload?wait=true", 422}, // a text has no file to be read again
		{"POST", "/reload", 202},
		{"GET", "/", 404},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, "http://sentinel"+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if strings.HasSuffix(test.path, "debug=1") && !strings.HasPrefix(string(body), "goroutine profile: total ") {
			t.Errorf("%s is no text: %q", test.path, body)
		}
		if answer.StatusCode != test.status || len(body) == 0 && test.status != 202 {
			t.Errorf("%s %s: %d %q, want %d", test.method, test.path, answer.StatusCode, body, test.status)
		}
	}
}
