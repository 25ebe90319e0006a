package conformance

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"
)

// holding is what a proxy holds that an outage could pile up.
type holding struct{ goroutines, sockets int }

// TestAllKilled is UP-02: with every target killed and the breakers open, clients get their 503 at once and
// the proxy holds no more than before. Restarted targets serve again when their probes have succeeded.
func TestAllKilled(t *testing.T) {
	t.Parallel()
	const interval, threshold = 1, 2
	f := launch(t, 3, 0)
	label := pprof.Labels("proxy", t.Name())
	var s *site
	pprof.Do(t.Context(), label, func(context.Context) {
		s = openSite(t, fmt.Sprintf(`
upstream "all" {
    %s
    health-check { interval-secs %d; timeout-secs 1; healthy-threshold %d; unhealthy-threshold 2 }
}
route "all" { matches { path "/all" }; upstream "all" }
`, f.targets(), interval, threshold), nil)
	})
	clients := lay(t, s.addr, "/all", 300**scale)
	for n := range f {
		more(t, n+1, 20, clients)
	}
	before := s.holds(t, f)
	for n := range f {
		f.kill(t, n)
	}
	for _, p := range f {
		atLeast(t, s.audit, 1, turned("all", p.Addr(), "open"))
	}
	open := time.Now()
	for _, p := range f { // as the check finds some time later
		atLeast(t, s.audit, 1, record{"event_type": "upstream_health_change", "metadata.target": p.Addr(), "reason": "unhealthy"})
	}
	clients.until(t, time.Now().Add(time.Second))
	during := s.holds(t, f)
	dead := time.Now()
	for n := range f {
		f.restart(t, n)
	}
	back := time.Now()
	for n := range f {
		more(t, n+1, 20, clients)
	}
	calls := clients.raise()
	s.stop(t)
	checkOutage(t, s, calls, open, dead)
	checkReturn(t, calls, back, (interval*threshold+1)*time.Second)
	if during.goroutines > before.goroutines+3 || during.sockets > before.sockets+3 {
		t.Errorf("the proxy held %+v, and with every target dead %+v", before, during)
	}
	t.Logf("held before: %+v, during: %+v", before, during)
}

// checkOutage checks what clients got who asked while every breaker was open.
func checkOutage(t *testing.T, s *site, calls []call, open, dead time.Time) {
	t.Helper()
	var refused []call
	for _, c := range calls {
		if c.began.Before(open) || c.ended.After(dead) {
			continue
		}
		refused = append(refused, c)
		if c.status != 503 {
			t.Errorf("%s got %d (%v), want 503", c.id, c.status, c.err)
		}
	}
	words := map[string]int{}
	for _, l := range s.access.snapshot() {
		if words[l.Error]++; l.Status == 503 && l.Attempts > 0 {
			t.Errorf("a 503 after %d attempts: %+v", l.Attempts, l)
		}
	}
	// 50 ms is the promise for each; a machine with other things to do gets ten times that.
	all := latencies(refused)
	if p99 := percentile(all, 99); p99 > 500*time.Millisecond || len(refused) < 100 {
		t.Errorf("%d answers, p99 %v", len(refused), p99)
	}
	t.Logf("%d answers while down: p50 %v, p99 %v, slowest %v; words %v",
		len(refused), percentile(all, 50), percentile(all, 99), percentile(all, 100), words)
}

// checkReturn checks how long after the targets' return clients noticed nothing any more.
func checkReturn(t *testing.T, calls []call, back time.Time, promised time.Duration) {
	t.Helper()
	var first, last time.Duration
	for _, c := range calls {
		switch since := c.ended.Sub(back); {
		case since < 0:
		case c.good() && (first == 0 || since < first):
			first = since
		case !c.good() && since > last:
			last = since
		}
	}
	if first == 0 || last > 2*promised {
		t.Errorf("the first good answer came %v after the return, the last bad one %v; promised are %v", first, last, promised)
	}
	t.Logf("after the return the first good answer came after %v, the last bad one after %v; promised %v", first, last, promised)
}

// holds counts the goroutines of the proxy that its test has labelled, and the sockets that lead to targets.
func (s *site) holds(t testing.TB, f fleet) (h holding) {
	t.Helper()
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		t.Fatal(err)
	}
	for _, stack := range strings.Split(profile.String(), "\n\n") {
		if count, _, ok := strings.Cut(stack, " @ "); ok && strings.Contains(stack, strconv.Quote(t.Name())) {
			n, err := strconv.Atoi(count[strings.LastIndex(count, "\n")+1:])
			if err != nil {
				t.Fatalf("the profile says %q", count)
			}
			h.goroutines += n
		}
	}
	if h.goroutines == 0 {
		t.Fatal("the profile has no goroutine of the proxy")
	}
	for _, p := range f {
		h.sockets += socketsTo(t, p.Addr())
	}
	return h
}

// socketsTo counts the sockets of any process that are connected, or connecting, to an address of 127.0.0.1.
func socketsTo(t testing.TB, addr string) (n int) {
	t.Helper()
	_, port, _ := strings.Cut(addr, ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		columns := strings.Fields(line)
		const remote, inode = 2, 9
		if len(columns) > inode && columns[remote] == fmt.Sprintf("0100007F:%04X", number) && columns[inode] != "0" {
			n++
		}
	}
	return n
}
