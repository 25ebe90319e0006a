package conformance

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
)

// hostileSite is a proxy with every wait short, but long enough for an honest client on a busy machine.
// Connections to the target are many: what a slow upload holds of them is not what these scenarios are about.
const hostileSite = `
system { graceful-shutdown-timeout-secs 5; max-connections 20000 }
listener "main" {
    address "127.0.0.1:0"
    request-timeout-secs SECS
    body-idle-timeout-secs SECS
}
listener "secure" {
    address "127.0.0.1:0"
    protocol "https"
    tls { cert-file "CERT"; key-file "KEY" }
    request-timeout-secs SECS
}
listener "balanced" {
    address "127.0.0.1:0"
    proxy-protocol "require"
    request-timeout-secs SECS
}
route "all" { matches { path-prefix "/" }; upstream "o" }
upstream "o" {
    target "ORIGIN"
    connection-pool { max-connections 20000; idle-timeout-secs 1 }
    circuit-breaker { failure-threshold 1000000 }
}
limits { max-total-connections 20000; max-connections-per-route 20000 }
observability { logging { access-log { file "ACCESS" } } }
`

// attack is something that hostile clients do.
type attack struct {
	name   string
	play   func(t *testing.T, f *battle)
	reason string // of the access log's lines about it; empty: it leaves none
	n      int    // how many of those; 0: one for each of the crowd
}

// attacks lists them, the long ones first.
func attacks() []attack {
	return []attack{
		{name: "slow bodies", play: slowBodies, reason: "body_timeout"},
		{name: "slow readers", play: slowReaders, reason: "client_stalled", n: readers},
		{name: "pipelining without reading", play: pipelineFlood, reason: "client_stalled", n: floods},
		{name: "slow heads", play: slowHeads, reason: "head_timeout"},
		{name: "idle flood", play: idleFlood},
		{name: "half handshakes", play: halfHandshakes},
		{name: "slow announcements", play: slowAnnouncements},
		{name: "churn", play: churn},
		{name: "chunk extensions", play: func(t *testing.T, f *battle) { bomb(t, f, chunkExtensions, 400) }, reason: "bad_chunk"},
		{name: "trailers", play: func(t *testing.T, f *battle) { bomb(t, f, trailers, 431) }, reason: "header_too_large"},
		{name: "one huge header", play: func(t *testing.T, f *battle) { bomb(t, f, hugeHeader, 431) }, reason: "header_too_large"},
		{name: "101 headers", play: func(t *testing.T, f *battle) { bomb(t, f, manyHeaders, 431) }, reason: "header_too_large"},
	}
}

const (
	horde     = 100 // connections of an attack, at scale 1
	perSource = 50  // of them from one address
	goodRate  = 50  // requests per second of good clients
	readers   = 4   // slow readers: each makes the target send a large answer
	floods    = 2   // pipelines
)

// battle is a proxy under attack.
type battle struct {
	p    *outpost
	size int // connections of the attack

	before burden    // what the proxy held before the attack
	midway func()    // called when all attackers are at it; nil: nothing
	full   time.Time // when all were connected
	thins  time.Time // when the first of them had ended
}

// TestHostile lets clients attack a proxy in a process of its own. Every request of good clients succeeds
// meanwhile, every attacker is dealt with and the log says how, and afterwards the proxy holds what it held
// before. -scale 50 attacks with 5,000 connections, one attack at a time, so that the figures mean something:
//
//	go test ./conformance -run 'TestHostile/slow_heads' -v -args -scale 50
func TestHostile(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue(t, "a.example")
	secs := "2"
	if *scale > 1 {
		secs = "20" // so that the attackers are all there for a while
	}
	text := strings.NewReplacer("SECS", secs, "CERT", a.path("a.example.pem"), "KEY", a.path("a.example.key")).Replace(hostileSite)
	var playing sync.WaitGroup
	places := make(chan struct{}, max(atOnce / *scale, 1))
	for _, one := range attacks() {
		places <- struct{}{}
		playing.Go(func() {
			defer func() { <-places }()
			t.Run(one.name, func(t *testing.T) { one.run(t, text) })
		})
	}
	playing.Wait()
}

func (a *attack) run(t *testing.T, text string) {
	o, err := fault.NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	o.Set(fault.Script{Path: "/large", Size: 64 << 20})
	f := &battle{p: garrison(t, strings.ReplaceAll(text, "ORIGIN", o.Addr()), 0, "main", "secure", "balanced"), size: horde * *scale}
	f.serve(t, "/warm", nil)
	f.before = f.p.settles(t, func(b burden) bool { return b.goroutines < 40 })

	quiet := f.serve(t, "/quiet", nil)
	peak, used, began := f.p.watch(t), f.p.cpu(t), time.Now()
	calls := f.serve(t, "/good", func() { a.play(t, f) })
	used, lasted, most := f.p.cpu(t)-used, time.Since(began), peak()

	after := f.p.settles(t, f.isOver)
	during := slices.DeleteFunc(slices.Clone(calls), func(c call) bool { return c.began.Before(f.full) || c.ended.After(f.thins) })
	t.Logf("%d connections in %v cost %v of processor time; most memory %d KiB, before %+v, after %+v", cmp.Or(a.n, f.size), lasted, used, most>>10, f.before, after)
	t.Logf("good requests: p99 %v of %d while all were there, %v of all %d; quiet %v", percentile(latencies(during), 99), len(during),
		percentile(latencies(calls), 99), len(calls), percentile(latencies(quiet), 99))
	f.p.end(t)
	a.wantReasons(t, f)
}

// serve lets good clients ask for a path, before, during and after something; all of them must succeed.
func (f *battle) serve(t *testing.T, path string, meanwhile func()) []call {
	t.Helper()
	good := lay(t, f.p.addrs["main"], path, goodRate)
	more(t, 2, goodRate/4, good)
	if meanwhile != nil {
		meanwhile()
	}
	more(t, 2, goodRate/4, good)
	calls := good.raise()
	if bad := failed(calls); len(bad) > 0 {
		t.Errorf("%d of %d good requests failed, the first with %d %v", len(bad), len(calls), bad[0].status, bad[0].err)
	}
	return calls
}

// isOver reports whether the proxy holds no more than before the attack.
func (f *battle) isOver(b burden) bool {
	return b.goroutines <= f.before.goroutines+2 && b.descriptors <= f.before.descriptors+pipes &&
		b.heap <= f.before.heap+f.remains() && b.resident <= f.before.resident+32<<20
}

// remains is how much heap may stay in use after an attack: Go's runtime keeps a record of some 440 bytes for
// each goroutine there was at once, of which a connection with an upload has two.
func (f *battle) remains() uint64 { return 4<<20 + uint64(f.size)<<10 }

// pipes is how many descriptors of pipes the proxy may keep for the next large body.
const pipes = 2 * 64

// wantReasons compares the access log with what the attack should have left.
func (a *attack) wantReasons(t *testing.T, f *battle) {
	t.Helper()
	want := map[string]int{}
	if a.reason != "" {
		want[a.reason] = cmp.Or(a.n, f.size)
	}
	got := f.p.reasons(t)
	delete(got, "")            // good requests
	delete(got, "client_gone") // every attacker's right
	if !maps.Equal(got, want) {
		t.Errorf("the access log has %v, want %v", got, want)
	}
}

// watch samples the process's memory until the returned function is called, which returns the most.
func (p *outpost) watch(t testing.TB) func() uint64 {
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		beat := time.NewTicker(50 * time.Millisecond)
		defer beat.Stop()
		for top := uint64(0); ; {
			top = max(top, p.resident(t))
			select {
			case <-beat.C:
			case <-done:
				most <- top
				return
			}
		}
	}()
	return func() uint64 {
		close(done)
		return <-most
	}
}

// assault is what one connection of an attack does.
type assault func(nc *net.TCPConn, i int) error

// assail opens n connections to a listener from many addresses, lets all of them do their worst at once, and
// fails the test for the first error.
func (f *battle) assail(t *testing.T, listener string, n int, do assault) {
	t.Helper()
	var all sync.WaitGroup
	var first sync.Once
	wrong := make(chan error, n)
	for i := range n {
		nc := dialFrom(t, source(i), f.p.addrs[listener])
		_ = nc.SetDeadline(time.Now().Add(3 * *patience))
		all.Go(func() {
			defer func() { _ = nc.Close() }()
			err := do(nc, i)
			first.Do(func() { f.thins = time.Now() })
			if err != nil {
				wrong <- fmt.Errorf("connection %d: %w", i, err)
			}
		})
	}
	f.full = time.Now()
	if f.midway != nil {
		f.midway()
	}
	all.Wait()
	select {
	case err := <-wrong:
		t.Errorf("%d of %d connections: %v", len(wrong)+1, n, err)
	default:
	}
}

// source is the address of the ith attacker: they are many, so that no bound for one client helps.
func source(i int) string {
	k := i / perSource
	return fmt.Sprintf("127.%d.%d.%d", 1+k/62500, 1+k/250%250, 1+k%250)
}
