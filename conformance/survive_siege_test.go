package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentinel-proxy/sentinel-go/fixtures/fault"
)

// caller is a client that keeps its connection for the next request.
type caller struct {
	addr string
	nc   net.Conn // nil: none
	br   *bufio.Reader
}

// call sends a request and reads the final answer to it.
func (c *caller) call(request string) (*message, error) {
	if err := c.connect(); err != nil {
		return &message{}, err
	}
	_ = c.nc.SetDeadline(time.Now().Add(*patience))
	if _, err := io.WriteString(c.nc, request); err != nil {
		c.close()
		return &message{}, err
	}
	m, err := readResponse(c.br, false)
	if err != nil || saysClose(m) {
		c.close()
	}
	return m, err
}

func (c *caller) connect() error {
	if c.nc != nil {
		return nil
	}
	nc, err := net.Dial("tcp", c.addr)
	if err != nil {
		return err
	}
	c.nc, c.br = nc, bufio.NewReader(nc)
	return nil
}

func (c *caller) close() {
	if c.nc != nil {
		_ = c.nc.Close()
		c.nc = nil
	}
}

// demand is the text of a request with an id for the target, for the logs and for the ledger.
func demand(method, path, id, body string) string {
	length := ""
	if body != "" || method == "POST" || method == "PUT" {
		length = "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return method + " " + path + " HTTP/1.1\r\nHost: a.example\r\nX-Trace-Id: " + id + "\r\n" + fault.IDHeader + ": " + id + "\r\n" +
		length + "\r\n" + body
}

// crowd lets some callers at a time make n calls, numbered from 0.
func crowd(addr string, callers, n int, call func(c *caller, i int)) {
	numbers := make(chan int)
	var busy sync.WaitGroup
	for range callers {
		busy.Go(func() {
			c := &caller{addr: addr}
			defer c.close()
			for i := range numbers {
				call(c, i)
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	busy.Wait()
}

// besiegers is how many requests of a siege may be under way: enough for those that a target holds.
const besiegers = 64

// siege offers GET requests at a steady rate, whatever becomes of them, and notes every one.
type siege struct {
	board
	addr, path string
	rate       int // per second
	calls      []call
	served     map[int]int // answers of status 200 by the size of their body, which names the target

	raised  chan struct{}
	running sync.WaitGroup
}

// call is one request of a siege.
type call struct {
	id           string
	began, ended time.Time
	status       int // 0: no complete answer
	size         int // of the body
	err          error
}

// good reports whether the client got what it wanted.
func (c *call) good() bool { return c.err == nil && c.status == 200 }

// spans reports whether the request was under way at some moment of [from, to].
func (c *call) spans(from, to time.Time) bool { return !c.began.After(to) && !c.ended.Before(from) }

// lay begins a siege of a path, whose last element begins the ids of its requests.
func lay(t testing.TB, addr, path string, rate int) *siege {
	t.Helper()
	s := &siege{addr: addr, path: path, rate: rate, served: map[int]int{}, raised: make(chan struct{})}
	due := make(chan int)
	s.running.Go(func() { s.dispatch(due) })
	for range besiegers {
		s.running.Go(func() { s.serve(due) })
	}
	t.Cleanup(func() { s.raise() })
	return s
}

// raise ends the siege and returns every request of it.
func (s *siege) raise() []call {
	s.update(func() {
		select {
		case <-s.raised:
		default:
			close(s.raised)
		}
	})
	s.running.Wait()
	return s.calls
}

// dispatch says when the next request is due. One that finds every besieger busy waits, and those behind it.
func (s *siege) dispatch(due chan<- int) {
	defer close(due)
	beat := time.NewTicker(5 * time.Millisecond)
	defer beat.Stop()
	began := time.Now()
	for n := 0; ; {
		select {
		case <-beat.C:
		case <-s.raised:
			return
		}
		for ; n < int(time.Since(began).Seconds()*float64(s.rate)); n++ {
			select {
			case due <- n:
			case <-s.raised:
				return
			}
		}
	}
}

func (s *siege) serve(due <-chan int) {
	c := &caller{addr: s.addr}
	defer c.close()
	for n := range due {
		one := call{id: fmt.Sprintf("%s-%d", strings.Trim(s.path, "/"), n), began: time.Now()}
		m, err := c.call(demand("GET", s.path, one.id, ""))
		one.ended, one.err, one.size = time.Now(), err, len(m.body)
		if err == nil {
			one.status = m.status()
		}
		s.update(func() {
			s.calls = append(s.calls, one)
			if one.good() {
				s.served[one.size]++
			}
		})
	}
}

// more waits until each siege has had so many more good answers of a size.
func more(t testing.TB, size, n int, all ...*siege) {
	t.Helper()
	for _, s := range all {
		var from int
		s.update(func() { from = s.served[size] })
		s.must(t, fmt.Sprintf("%d more answers of target %d on %s", n, size, s.path), func() bool { return s.served[size] >= from+n })
	}
}

// until waits until a request that began after a moment has ended.
func (s *siege) until(t testing.TB, moment time.Time) {
	t.Helper()
	last := func() time.Time { return s.calls[max(len(s.calls)-1, 0)].began }
	s.must(t, "the siege goes on", func() bool { return len(s.calls) > 0 && last().After(moment) })
}

// failed returns the requests that were not answered well.
func failed(calls []call) []call {
	return slices.DeleteFunc(slices.Clone(calls), func(c call) bool { return c.good() })
}

// percentile returns the least value that p per cent of all do not exceed.
func percentile(all []time.Duration, p int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max((len(sorted)*p+99)/100, 1)-1]
}

// latencies returns how long each request took.
func latencies(calls []call) (all []time.Duration) {
	for _, c := range calls {
		all = append(all, c.ended.Sub(c.began))
	}
	return all
}

// atLeast waits until there are n records with the members of want.
func atLeast(t testing.TB, l *records, n int, want record) {
	t.Helper()
	l.must(t, fmt.Sprintf("%d records %v", n, want), func() bool {
		have := 0
		for _, r := range l.all {
			if r.has(want) {
				have++
			}
		}
		return have >= n
	})
}

// turned is the record of a target's breaker that changed.
func turned(upstream, addr, to string) record {
	return record{"event_type": "circuit_breaker_change", "metadata.component": "upstream:" + upstream + "/" + addr, "action": to}
}

// when returns the time a record tells.
func when(t testing.TB, r record) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, r["timestamp"])
	if err != nil {
		t.Fatalf("record %v: %v", r, err)
	}
	return at
}

// fleet is targets in processes of their own. Answers of the nth, counted from 1, have n bytes.
type fleet []*fault.Process

func launch(t testing.TB, n int, delay time.Duration) (f fleet) {
	t.Helper()
	for i := range n {
		p, err := fault.StartProcess()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Errorf("ending a target: %v", err)
			}
		})
		if err := p.Set(fault.Script{Size: int64(i + 1), Delay: delay}); err != nil {
			t.Fatal(err)
		}
		f = append(f, p)
	}
	return f
}

// targets is the fleet in an upstream's block.
func (f fleet) targets() string {
	var all strings.Builder
	for _, p := range f {
		fmt.Fprintf(&all, "target %q\n", p.Addr())
	}
	return all.String()
}

// kill is the time in which a target was killed.
type kill struct{ from, to time.Time }

func (f fleet) kill(t testing.TB, n int) (k kill) {
	t.Helper()
	k.from = time.Now()
	if err := f[n].Kill(); err != nil {
		t.Fatal(err)
	}
	k.to = time.Now()
	return k
}

func (f fleet) restart(t testing.TB, n int) {
	t.Helper()
	if err := f[n].Restart(); err != nil {
		t.Fatal(err)
	}
}
