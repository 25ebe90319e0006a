package conformance

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures"
)

// fence is the path of the request that shows where a connection stands after a raw vector.
const fence = "/fence"

// rawResult is what became of a raw vector.
type rawResult struct {
	status   int // first status at the client; 0 none
	closed   bool
	complete int      // complete requests at the origin
	lines    []string // their request lines
	upstream string   // all bytes at the origin, a rune each
	client   string   // all bytes at the client
}

// TestRawVectors plays http-vectors.json.
func TestRawVectors(t *testing.T) {
	all, err := fixtures.RawVectors()
	if err != nil {
		t.Fatal(err)
	}
	var passed atomic.Int32
	t.Cleanup(func() { t.Logf("%d of %d raw vectors pass", passed.Load(), len(all)) })
	for _, v := range all {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			o := newRawOrigin(t, &v)
			s := start(t, "basic", map[string]string{"ORIGIN": o.addr()})
			got := playRaw(t, &v, o, s)
			if err := accepts(t, v.Exp, &got); err != nil {
				t.Fatalf("%s: %v\n  sent:     %q\n  client:   %q\n  upstream: %q\n  rerun:    go test ./conformance -run '%s$'",
					v.Title, err, clip([]byte(strings.Join(v.Parts, "|"))), clip([]byte(got.client)), clip([]byte(got.upstream)), t.Name())
			}
			passed.Add(1)
		})
	}
}

// newRawOrigin starts an origin that answers by itself: as the vector says, else 200.
func newRawOrigin(t *testing.T, v *fixtures.RawVector) *origin {
	o := newOrigin(t, "127.0.0.1:0")
	special, closes := "", false
	if v.Resp != nil {
		special, closes = strings.CutSuffix(string(latin1(t, *v.Resp)), "\x00CLOSE")
	}
	o.auto = func(r *request) {
		_, target, _ := strings.Cut(r.start, " ")
		switch {
		case strings.HasPrefix(target, fence+" "):
			r.answer([]byte("HTTP/1.1 200 OK\r\nX-Fence: 1\r\nContent-Length: 2\r\n\r\nok"))
		case v.Resp == nil || !strings.Contains(target, "/r/"):
			r.answer(defaultAnswer)
		default:
			r.answer([]byte(special))
			if closes {
				r.close()
			}
		}
	}
	return o
}

func latin1(t *testing.T, s string) []byte {
	t.Helper()
	b, err := fixtures.Latin1(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// playRaw sends a vector's parts and reads to the end of what they cause.
func playRaw(t *testing.T, v *fixtures.RawVector, o *origin, s *subject) rawResult {
	t.Helper()
	c := dial(t, s.addr, whole)
	var res rawResult
	for i, part := range v.Parts {
		if i > 0 { // the client waits for an interim answer
			m, err := c.response(false)
			if err != nil {
				t.Fatalf("no answer before part %d: %v", i+1, err)
			}
			res.status = m.status()
		}
		c.send(latin1(t, part))
	}
	if v.Fin {
		c.fin()
	}
	res.closed = readRaw(t, v, c, &res)
	playFollow(t, v, s)
	c.close()
	s.stop(t)
	o.must(t, "the proxy's upstream connections are closed", func() bool { return o.open == 0 })
	res.client = runes(c.got)
	o.mu.Lock() // a connection that was opened for nobody may be accepted only now
	defer o.mu.Unlock()
	for _, r := range o.requests {
		if strings.HasPrefix(r.start, "GET "+fence+" ") {
			continue
		}
		res.upstream += runes(r.raw)
		if r.complete {
			res.complete++
			res.lines = append(res.lines, r.start)
		}
	}
	return res
}

// readRaw reads the answers to come, then asks whether the connection lives.
func readRaw(t *testing.T, v *fixtures.RawVector, c *client, res *rawResult) (closed bool) {
	t.Helper()
	expected, asked := 1, v.Fin
	for _, e := range v.Exp {
		if e.Complete != nil {
			expected = max(expected, *e.Complete)
		}
	}
	for finals := 0; ; {
		if finals >= expected && !asked {
			asked = true
			c.send(get(fence))
		}
		m, err := c.response(finals == 0 && sendsHead([]byte(v.Parts[0])))
		if res.status == 0 {
			res.status = m.status()
		}
		if values(m.fields, "X-Fence") != nil {
			return false
		}
		if err != nil {
			if errors.Is(err, errMalformed) {
				t.Fatalf("the client got what it must not: %v", err)
			}
			return true
		}
		if m.status() >= 200 || m.status() == 101 {
			finals++
		}
	}
}

// playFollow checks the request that comes later on a connection of its own.
func playFollow(t *testing.T, v *fixtures.RawVector, s *subject) {
	t.Helper()
	if v.Follow == nil {
		return
	}
	c := dial(t, s.addr, whole)
	c.send(latin1(t, v.Follow.Raw))
	m, err := c.response(false)
	if err != nil || !slices.Contains(v.Follow.Status, m.status()) {
		t.Errorf("the request after it got %q (%v), want %v", m.start, err, v.Follow.Status)
	}
	for _, p := range v.Follow.ResponseMustNot {
		if matches(t, p, runes(c.got)) {
			t.Errorf("the request after it got %q, which has %q", clip(c.got), p)
		}
	}
}

// runes makes each byte a code point, as the patterns of the raw vectors expect.
func runes(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

func matches(t *testing.T, pattern, s string) bool {
	t.Helper()
	re, err := regexp.Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return re.MatchString(s)
}

// accepts reports why none of the accepted outcomes is what happened.
func accepts(t *testing.T, outcomes []fixtures.RawOutcome, got *rawResult) error {
	var all []error
	for _, e := range outcomes {
		err := unlike(t, &e, got)
		if err == nil {
			return nil
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// unlike returns the first way in which a result departs from an outcome.
func unlike(t *testing.T, e *fixtures.RawOutcome, got *rawResult) error {
	switch {
	case e.Status != nil && !slices.Contains(e.Status, got.status):
		return fmt.Errorf("status %d, want one of %v", got.status, e.Status)
	case e.Close != nil && *e.Close != got.closed:
		return fmt.Errorf("closed %t, want %t", got.closed, *e.Close)
	case e.Complete != nil && *e.Complete != got.complete:
		return fmt.Errorf("%d complete requests upstream, want %d", got.complete, *e.Complete)
	}
	lines := strings.Join(got.lines, "\n")
	for _, group := range []struct {
		patterns []string
		in       string
		want     bool
	}{
		{e.Must, got.upstream, true},
		{e.MustNot, got.upstream, false},
		{e.MustNotLine, lines, false},
		{e.ResponseMust, got.client, true},
		{e.ResponseMustNot, got.client, false},
	} {
		for _, p := range group.patterns {
			if matches(t, p, group.in) != group.want {
				return fmt.Errorf("pattern %q: found %t, want %t", p, !group.want, group.want)
			}
		}
	}
	return nil
}
