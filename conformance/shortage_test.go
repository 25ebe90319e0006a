package conformance

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
)

// shortSite is a proxy that tells its metrics.
const shortSite = `
system { graceful-shutdown-timeout-secs 5 }
listener "main" { address "127.0.0.1:0" }
route "metrics" { matches { path "/metrics" }; builtin-handler "metrics" }
route "all" { matches { path-prefix "/" }; upstream "o" }
upstream "o" { target "ORIGIN" }
observability { logging { access-log { file "ACCESS" } } }
`

// besiegedBy opens connections that hold a descriptor of the proxy each, and returns what closes them. The
// system completes their handshakes, whether the proxy takes them or not.
func besiegedBy(t testing.TB, addr string, n int) (leave func()) {
	t.Helper()
	var all []net.Conn
	for i := range n {
		all = append(all, dialFrom(t, source(i), addr))
	}
	return func() {
		for _, nc := range all {
			_ = nc.Close()
		}
	}
}

// TestDescriptorShortage lets clients take every descriptor that the proxy may have (RES-02): it does not
// end, it does not spin, whoever is connected is served, and it recovers when they leave.
func TestDescriptorShortage(t *testing.T) {
	t.Parallel()
	const files, crowd = 64, 200
	o, err := fault.NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	p := garrison(t, strings.ReplaceAll(shortSite, "ORIGIN", o.Addr()), files, "main")
	early := &caller{addr: p.addrs["main"]}
	defer early.close()
	call := func(c *caller) string {
		m, err := c.call(getPath("/x"))
		return fmt.Sprintf("%q %v", m.start, err)
	}
	const well = `"HTTP/1.1 200 OK" <nil>`
	if got := call(early); got != well {
		t.Fatalf("before: %s", got)
	}
	leave := besiegedBy(t, p.addrs["main"], crowd)
	p.told.must(t, "the proxy says that it cannot accept", func() bool { return strings.Contains(string(p.told.text), "accept failed") })

	used, began := p.cpu(t), time.Now()
	for time.Since(began) < 1500*time.Millisecond { // somebody it knows goes on, at leisure
		if got := call(early); got != well {
			t.Errorf("during the shortage: %s\n%s", got, &p.told)
			break
		}
		<-time.After(50 * time.Millisecond)
	}
	took := time.Since(began)
	spent := p.cpu(t) - used
	t.Logf("%v of processor time in %v without descriptors", spent, took)
	if spent > took/2 {
		t.Errorf("the proxy spins: %v of processor time in %v", spent, took)
	}
	leave()
	late := &caller{addr: p.addrs["main"]}
	defer late.close()
	if got := call(late); got != well {
		t.Errorf("afterwards: %s\n%s", got, &p.told)
	}
	p.settles(t, func(b burden) bool { return b.descriptors < files/2 })
}

// TestLogShortage gives the access log to a full disk, and to a reader that does not read (RES-03): no
// request waits for it or fails, and what is lost is counted.
func TestLogShortage(t *testing.T) {
	t.Parallel()
	for name, sink := range map[string]func(*testing.T) string{
		"full": func(*testing.T) string { return "/dev/full" },
		"stuck": func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := os.OpenFile(path, os.O_RDWR, 0) // a reader that is there and never reads
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Close() })
			return path
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := fault.NewOrigin()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = o.Close() })
			p := garrison(t, strings.NewReplacer("ORIGIN", o.Addr(), "ACCESS", sink(t)).Replace(shortSite), 0, "main")
			serveUnlogged(t, p)
		})
	}
}

// serveUnlogged asks a proxy for more than its log can keep, and demands that all is served and some counted
// as lost.
func serveUnlogged(t *testing.T, p *outpost) {
	t.Helper()
	const requests = 1000
	long := getPath("/x?" + strings.Repeat("x", 7000)) // 7 MB in all, where a log holds 1 MiB
	var took []time.Duration
	c := &caller{addr: p.addrs["main"]}
	defer c.close()
	for i := range requests {
		began := time.Now()
		if m, err := c.call(long); err != nil || m.status() != 200 {
			t.Fatalf("request %d: %q %v\n%s", i, m.start, err, &p.told)
		}
		took = append(took, time.Since(began))
	}
	m, err := c.call(getPath("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(m.body), series("log_dropped_total", "log", "access")+" ")
	var lost float64
	if _, err := fmt.Sscan(rest, &lost); err != nil || lost < requests/10 || lost > requests {
		t.Errorf("%v of %d lines are counted as lost (%v)", lost, requests, err)
	}
	t.Logf("p50 %v, p99 %v, longest %v; %v of %d lines lost", percentile(took, 50), percentile(took, 99), percentile(took, 100), lost, requests)
}
