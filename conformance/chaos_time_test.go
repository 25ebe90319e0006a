package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
)

// slow is a target that takes its time, and the limit that ends it.
type slow struct {
	name    string
	script  func(t *testing.T) string // starts the target and returns its address
	more    string                    // of the upstream's configuration
	body    int                       // bytes of a POST; 0: a GET
	status  int
	word    string
	limit   time.Duration // when it is over, 0: the answer's own time
	partial string        // of the body that the client gets
}

// slowOnes have limits of different lengths, so that each shows whose it was.
var slowOnes = []slow{
	{name: "takes no connection", script: func(t *testing.T) string { return deaf(t) }, status: 504, word: "upstream_connect_timeout", limit: 2 * time.Second},
	{name: "never shakes hands", script: faulty(fault.Blackhole()), more: "tls { }", status: 504, word: "upstream_connect_timeout", limit: 2 * time.Second},
	{name: "accepts and hangs", script: faulty(fault.Blackhole()), status: 504, word: "upstream_timeout", limit: time.Second},
	{name: "accepts and reads nothing", script: func(t *testing.T) string { return mute(t) }, body: 16 << 20, status: 504, word: "upstream_write_timeout", limit: 4 * time.Second},
	{name: "drips the head", script: faulty(fault.Drip(time.Second)), status: 504, word: "upstream_timeout", limit: time.Second},
	{name: "hangs after the head", script: saying("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), status: 200, word: "upstream_read_timeout", limit: 3 * time.Second},
	{name: "hangs in the body", script: saying("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"), status: 200, word: "upstream_read_timeout", limit: 3 * time.Second, partial: "ok"},
	{name: "hangs in a chunk", script: saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok"), status: 200, word: "upstream_read_timeout", limit: 3 * time.Second, partial: "ok"},
	{name: "drips the body", script: saying("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "s", "l", "o", "w"), status: 200, partial: "slow"},
}

// faulty returns the script of a target that has a fault.
func faulty(f fault.Fault) func(*testing.T) string {
	return func(t *testing.T) string {
		r, _ := newFault(t)
		r.Set(f)
		return r.Addr()
	}
}

// saying returns the script of a target that says the parts, one a second, and no more.
func saying(parts ...string) func(*testing.T) string {
	return func(t *testing.T) string {
		o := newOrigin(t, "127.0.0.1:0")
		o.auto = func(r *request) {
			next := time.NewTicker(time.Second)
			defer next.Stop()
			r.answer([]byte(parts[0]))
			for _, part := range parts[1:] {
				<-next.C
				r.answer([]byte(part))
			}
		}
		return o.addr()
	}
}

func (f *slow) routes(id, target string) string {
	return fmt.Sprintf("upstream %q {\n target %q\n timeouts { connect-secs 2; request-secs 1; read-secs 3; write-secs 4 }\n %s\n}\n"+
		"route %[1]q { matches { path \"/%[1]s\" }; upstream %[1]q; policies { max-body-size \"64MB\" } }\n", id, target, f.more)
}

// early and patient are how much too soon and too late a limit may be seen to end something. The promise is
// 100 ms each way on a quiet machine; what was measured is in the test's log.
const (
	early   = 100 * time.Millisecond
	patient = 3 * time.Second
)

// ownTimeouts holds that whatever a target does slowly ends at the limit that is meant for it, with the
// status and the word that say so, and that slowness alone, within the limits, ends nothing (UP-03).
func ownTimeouts(t *testing.T) {
	text := ""
	for i, f := range slowOnes {
		text += f.routes("slow-"+strconv.Itoa(i), f.script(t))
	}
	s := openSite(t, text, nil)
	replies := make([]reply, len(slowOnes))
	var all sync.WaitGroup
	for i, f := range slowOnes {
		all.Go(func() {
			a := asked{method: "GET", path: "/slow-" + strconv.Itoa(i), body: f.body}
			if f.body > 0 {
				a.method = "POST"
			}
			replies[i] = s.ask(a)
		})
	}
	all.Wait()
	for i, f := range slowOnes {
		f.check(t, s.line(t, "slow-"+strconv.Itoa(i), 0), replies[i])
	}
}

func (f *slow) check(t *testing.T, l accessLine, r reply) {
	t.Helper()
	cut := f.status == 200 && f.word != ""
	if r.status() != f.status || l.Error != f.word || (r.err != nil) != cut || l.Attempts != 1 {
		t.Errorf("%s: the client got %q (%v), the log %+v; want %d %q", f.name, r.start, r.err, l, f.status, f.word)
	}
	if f.status == 200 && string(r.body) != f.partial {
		t.Errorf("%s: body %q, want %q", f.name, r.body, f.partial)
	}
	if f.limit == 0 {
		return
	}
	t.Logf("%s: %s after %v, limit %v", f.name, f.word, r.took.Round(time.Millisecond), f.limit)
	if r.took < f.limit-early || r.took > f.limit+patient {
		t.Errorf("%s: over after %v, want %v", f.name, r.took, f.limit)
	}
}

// flaps are the changes that flapping waits for, at the smallest scale.
const flaps = 4

// flapping puts clients before a target that is there for a second and gone for the next.
func flapping(t *testing.T) {
	relay, bad := newFault(t)
	good := newCounter(t)
	one, two := fmt.Sprintf("target %q", relay.Addr()), fmt.Sprintf("target %q; target %q", relay.Addr(), good.Addr())
	ends := "retry-policy { max-attempts 2; backoff-base-ms 1 }"
	text := flapper("get-one", one, "") + flapper("post-one", one, "") + flapper("get-two", two, ends) + flapper("post-two", two, ends)
	s := openSite(t, text, nil)
	relay.Flap(fault.Pass(), fault.Refuse(), time.Second)
	failed := map[string][]reply{}
	var mu sync.Mutex // guards failed
	var all sync.WaitGroup
	for _, route := range []string{"get-one", "post-one", "get-two", "post-two"} {
		all.Go(func() {
			bad := s.insist(route, func() bool { return relay.Stats().Switches >= flaps*(*scale) })
			mu.Lock()
			defer mu.Unlock()
			failed[route] = bad
		})
	}
	all.Wait()
	relay.SetAll(fault.Pass())
	for _, route := range []string{"get-one", "post-one"} {
		eventually(t, route+" is served again", func() bool { return s.ask(asked{method: "GET", path: "/" + route}).status() == 200 })
	}
	s.stop(t)
	checkFlaps(t, s, failed, relay.Stats().Switches)
	for _, o := range []*fault.Origin{bad, good} {
		if twice := slices.DeleteFunc(o.Duplicates(), func(id string) bool { return !strings.HasPrefix(id, "post") }); len(twice) > 0 {
			t.Errorf("POST came twice: %q", twice)
		}
	}
}

func flapper(id, targets, policy string) string {
	return fmt.Sprintf("upstream %q { %s; circuit-breaker { timeout-seconds 1 } }\n"+
		"route %[1]q { matches { path \"/%[1]s\" }; upstream %[1]q; %s }\n", id, targets, policy)
}

// insist asks again and again, a little apart, until over, and returns what failed.
func (s *site) insist(route string, over func() bool) (failed []reply) {
	method, _, _ := strings.Cut(strings.ToUpper(route), "-")
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for i := 0; !over(); i++ {
		r := s.ask(asked{method: method, path: "/" + route, id: fmt.Sprintf("%s-%d", strings.ToLower(route), i)})
		if r.err != nil || r.status() != 200 {
			failed = append(failed, r)
		}
		<-pace.C
	}
	return failed
}

// checkFlaps: a second target hides the flapping from every GET whose answer had not begun, and from every
// POST that was not under way at that moment. Alone, the target costs its clients the time it is gone.
func checkFlaps(t *testing.T, s *site, failed map[string][]reply, switches int) {
	t.Helper()
	for _, r := range failed["get-two"] {
		if r.status() != 200 {
			t.Errorf("a GET failed in spite of another target: %q (%v)", r.start, r.err)
		}
	}
	for _, route := range []string{"get-two", "post-two"} {
		if n := len(failed[route]); n > switches {
			t.Errorf("%s: %d failed over %d changes, at most one may be under way at each", route, n, switches)
		}
	}
	for _, route := range []string{"get-one", "post-one"} {
		if len(failed[route]) == 0 {
			t.Errorf("%s: nobody noticed", route)
		}
	}
	for route, replies := range failed {
		for _, r := range replies {
			if cut := r.status() == 200 && r.err != nil; !cut && r.status() != 502 && r.status() != 503 || r.took > patient {
				t.Errorf("%s: %q (%v) after %v", route, r.start, r.err, r.took)
			}
		}
	}
	gone := []string{"", "upstream_refused", "upstream_reset", "upstream_closed", "upstream_stale", "upstream_truncated", "breaker_open"}
	words := map[string]int{}
	for _, l := range s.access.snapshot() {
		words[l.RouteID+" "+l.Error]++
		if !slices.Contains(gone, l.Error) {
			t.Errorf("an unexpected word: %+v", l)
		}
	}
	t.Logf("%d changes: %v", switches, words)
}
