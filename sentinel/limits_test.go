package sentinel

import (
	"bufio"
	"bytes"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/sentinel/internal/config"
)

func limitsText(limits string) []byte {
	return []byte(strings.Replace(limitsConfig, "LIMITS", limits, 1))
}

func parseHead(t *testing.T, b []byte) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	_ = resp.Body.Close()
	return resp
}

// changed compiles limitsConfig once more, changed, as a reload does.
func changed(t *testing.T, p *Proxy, from, to string) *snapshot {
	t.Helper()
	text := strings.Replace(string(limitsText("")), from, to, 1)
	cfg, problems := config.Parse("changed.kdl", []byte(text), config.Options{Resources: config.ResourcesOff})
	if cfg == nil {
		t.Fatal(problems)
	}
	old := p.snapshot.Load()
	s, err := p.buildSnapshot(cfg, old, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, pool := range s.pools {
			if !slices.Contains(old.pools, pool) {
				pool.Close()
			}
		}
	})
	return s
}

// TestLimitsSurvive builds configurations one after the other: what they count is the same while its definition
// is, and forgotten once no live one uses it.
func TestLimitsSurvive(t *testing.T) {
	t.Parallel()
	p := limited(t, "")
	defer p.release()
	first := p.snapshot.Load()
	for name, row := range map[string]struct {
		from, to            string
		filter, byDef, uses bool // the same as in the first
	}{
		"nothing":         {"system { }", "system { worker-threads 1 }", true, true, true},
		"message":         {"max-rps 1000000 }", "max-rps 1000000; message \"no\"; status-code 503; on-limit \"delay\" }", true, true, true},
		"rate":            {"max-rps 1000000 }", "max-rps 999 }", false, true, true},
		"burst":           {"max-rps 1000000 }", "max-rps 1000000; burst 5 }", false, true, true},
		"key":             {"max-rps 1000000 }", "max-rps 1000000; key \"path\" }", false, true, true},
		"max-keys":        {"max-rps 1000000 }", "max-rps 1000000; max-keys 5 }", false, true, true},
		"default":         {"default-rps 1000000", "default-rps 5", true, false, true},
		"limit of routes": {"\nlimits { ", "\nlimits { max-connections-per-route 5 ", true, true, true},
	} {
		s := changed(t, p, row.from, row.to)
		for id, same := range map[string]bool{"o": row.filter, "p": row.byDef} {
			if n := len(s.routes[id].rates); n != 1 {
				t.Errorf("%s: route %s has %d rate limits, want 1: its own, or the default", name, id, n)
			}
			if got := s.routes[id].rates[0].keys == first.routes[id].rates[0].keys; got != same {
				t.Errorf("%s: the buckets of route %s are the same: %t, want %t", name, id, got, same)
			}
		}
		if s.routes["o"].use != first.routes["o"].use {
			t.Errorf("%s: the route's count begins anew", name)
		}
	}
	other := changed(t, p, "max-rps 1000000 }", "max-rps 5 }")
	kept := other.routes["o"].rates[0]
	p.limits.keep(first) // as when a reload ends in the middle of another
	p.limits.own(other)
	if p.limits.keys(kept.def) != kept.keys || p.limits.evicted("filter:f") != kept.evictions || p.limits.use("o") != other.routes["o"].use {
		t.Error("what is about to serve is forgotten")
	}
	p.limits.keep(first)
	if n := len(p.limits.rates); n != 2 || p.limits.keys(kept.def) == kept.keys {
		t.Errorf("%d sets of buckets are left, want 2", n)
	}
}

// TestSetLimits changes the proxy's own limits while something is under way.
func TestSetLimits(t *testing.T) {
	t.Parallel()
	p := limited(t, "max-in-flight-requests 2; max-connections-per-client 2")
	defer p.release()
	l, a := p.limits, netip.MustParseAddr("192.0.2.1")
	from := func(client netip.Addr) *conn {
		return &conn{p: p, l: listenerOf(p, "main"), client: netip.AddrPortFrom(client, 1)}
	}
	first := from(a)
	if !first.admitted() || !from(a).admitted() || from(a).admitted() {
		t.Error("not two connections of a client get in")
	}
	for i := range 3 {
		if in := l.requests.Enter(); in != (i < 2) {
			t.Errorf("request %d gets in: %t, two may", i+1, in)
		}
	}
	cfg := *p.snapshot.Load().cfg
	cfg.Limits.MaxInFlight, cfg.Limits.MaxConnectionsPerClient, cfg.Limits.QueueTimeout, cfg.System.MaxConnections = 3, 3, time.Minute, 7
	p.setLimits(&cfg)
	if !l.requests.Enter() || l.requests.Enter() || !from(a).admitted() || from(a).admitted() {
		t.Error("the new limits do not hold")
	}
	cfg.Limits.MaxTotalConnections = 6
	p.setLimits(&cfg)
	if l.connections.Load() != 6 || l.patience.Load() != int64(time.Minute) {
		t.Error("the new limits are not all taken over")
	}
	first.closeAccount()
	first.closeAccount()
	if !from(a).admitted() || from(a).admitted() {
		t.Error("a connection that has ended leaves not just its own place")
	}
	proxy := from(a)
	proxy.trusted = true
	if !proxy.admitted() || proxy.accounted.IsValid() {
		t.Error("a trusted proxy is on an account")
	}
	if l.clients.Len() != 1 {
		t.Errorf("%d clients have connections, want 1", l.clients.Len())
	}
}
