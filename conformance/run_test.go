package conformance

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sentinel-proxy/sentinel-go/fixtures"
)

// defaultAnswer is what a request gets that the transcript does not answer.
var defaultAnswer = []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

// run plays one vector once.
type run struct {
	v              *fixtures.Vector
	o              *origin
	c              *client
	base           int // requests at the origin before this run
	matched        int // u< requests so far
	req            *request
	resp           *message // the response last read
	finals         []*message
	byDefault      bool // the last answer was the default one
	probe          *request
	implied        bool  // the rejection is not written out
	maySayContinue bool  // a 100 that the vector does not mention is in order, once
	cutShort       error // how the last response's reading ended
}

// newRun connects a client to addr. Runs that share an origin follow one another.
func newRun(t testing.TB, v *fixtures.Vector, o *origin, addr string, cut cutter) *run {
	begun, _ := o.count()
	r := &run{v: v, o: o, base: begun, c: dial(t, addr, cut)}
	r.implied = v.Expect.Verdict == fixtures.Reject && lastStatus(v) != v.Expect.Status
	return r
}

// lastStatus returns the status of the last response a vector writes out; 0: none.
func lastStatus(v *fixtures.Vector) int {
	status := 0
	for _, s := range v.Steps {
		if s.Kind == fixtures.ClientGets && s.Message != nil && s.Message.Start != "" {
			status = (&message{start: s.Message.Start}).status()
		}
	}
	return status
}

// play carries out the steps up to the first that is not kept.
func (r *run) play() error {
	for i, s := range r.v.Steps {
		if err := r.step(i, s); err != nil {
			return fmt.Errorf("line %d: %w", s.Line, err)
		}
	}
	return nil
}

func (r *run) step(i int, s fixtures.Step) error {
	switch s.Kind {
	case fixtures.ClientSends:
		r.clientSends(s)
	case fixtures.UpstreamSends:
		return r.upstreamSends(s)
	case fixtures.UpstreamGets:
		if s.Message != nil {
			return r.upstreamGets(i, s.Message)
		}
	case fixtures.ClientGets:
		if s.Mark != fixtures.NoMark {
			return r.end(s.Mark)
		}
		return r.clientGets(s.Message)
	}
	return nil // what u< nothing and u< incomplete say can only be checked at the end
}

func (r *run) clientSends(s fixtures.Step) {
	switch s.Mark {
	case fixtures.Fin:
		r.c.fin()
	case fixtures.Close:
		r.c.close()
	case fixtures.Reset:
		r.c.reset()
	default:
		r.c.send(s.Bytes)
	}
}

func (r *run) upstreamSends(s fixtures.Step) error {
	switch {
	case r.req == nil:
		return errors.New("the upstream answers no request: write u< first")
	case s.Mark == fixtures.Close:
		r.req.close()
	case s.Mark == fixtures.Reset:
		r.req.reset()
	case s.Mark == fixtures.NoMark:
		r.req.answer(s.Bytes)
	}
	return nil
}

// upstreamGets waits for the next request, or the next part of it, and compares.
func (r *run) upstreamGets(i int, want *fixtures.Message) error {
	holds := complete
	if want.HeadOnly {
		holds = headDone
	}
	if want.Start != "" {
		r.matched++
	}
	r.req = r.o.request(r.base+r.matched-1, holds)
	if r.req == nil {
		return fmt.Errorf("the upstream never got %q; it has %s; the client has %q", want.Start, r.o, clip(r.c.got))
	}
	got := r.req.seen()
	if r.req.fault != nil {
		return fmt.Errorf("the upstream got what it must not: %w", r.req.fault)
	}
	if err := compare(want, got); err != nil {
		return fmt.Errorf("at the upstream: %w", err)
	}
	if err := soundRequest(got, want.Fields); err != nil {
		return fmt.Errorf("at the upstream: %w", err)
	}
	r.byDefault = !want.HeadOnly && !r.answered(i)
	if r.byDefault {
		r.req.answer(defaultAnswer)
	}
	return nil
}

// answered reports whether the transcript has an answer for the request of step i.
func (r *run) answered(i int) bool {
	for _, s := range r.v.Steps[i+1:] {
		switch {
		case s.Kind == fixtures.UpstreamSends:
			return true
		case s.Kind == fixtures.UpstreamGets && s.Message != nil:
			return false
		}
	}
	return false
}

// clientGets reads the next response, or the part of it that is next, and compares.
func (r *run) clientGets(want *fixtures.Message) error {
	err := r.read(want)
	if err != nil && !r.endsCut() {
		return err
	}
	r.cutShort = err
	if !r.resp.headDone {
		return fmt.Errorf("no response: %w", err)
	}
	if err := compare(want, r.resp); err != nil {
		return fmt.Errorf("at the client: %w", err)
	}
	if r.byDefault && !want.HasBody && !sendsHead(r.v.Steps[0].Bytes) && r.resp.status() == 200 && string(r.resp.body) != "ok" {
		return fmt.Errorf("at the client: body %q, want the default answer's", clip(r.resp.body))
	}
	return nil
}

func (r *run) endsCut() bool { return r.v.Steps[len(r.v.Steps)-1].Mark == fixtures.Cut }

// read reads one response, interim or final, or what a block says of it.
func (r *run) read(want *fixtures.Message) (err error) {
	toHead := sendsHead(r.v.Steps[0].Bytes)
	switch {
	case want.HeadOnly:
		r.resp, err = r.c.responseHead()
	case want.Start == "":
		err = r.c.responseBody(r.resp, toHead)
	default:
		r.resp, err = r.c.response(toHead)
	}
	if err == nil && r.maySayContinue && r.resp.status() == 100 && want.Start != r.resp.start {
		r.maySayContinue = false
		return r.read(want)
	}
	final := r.resp.status() >= 200 || r.resp.status() == 101
	if r.resp.headDone && final && want.Start != "" {
		r.finals = append(r.finals, r.resp)
	}
	if err != nil {
		return fmt.Errorf("reading a response: %w; all bytes %q", err, clip(r.c.got))
	}
	return soundResponse(r.resp, r.o.addr())
}

// end checks an end mark, and before it the rejection that is not written out.
func (r *run) end(m fixtures.Mark) error {
	if r.implied {
		if err := r.read(&fixtures.Message{Start: "the rejection"}); err != nil {
			return err
		}
		if r.resp.status() != r.v.Expect.Status {
			return fmt.Errorf("the client got %q, want status %d", r.resp.start, r.v.Expect.Status)
		}
	}
	if m == fixtures.Either {
		m = fixtures.Open
		if saysClose(r.resp) {
			m = fixtures.EOF
		}
	}
	switch m {
	default: // fixtures.EOF: below
	case fixtures.Open:
		return r.another()
	case fixtures.Cut:
		if !errors.Is(r.cutShort, io.ErrUnexpectedEOF) && !errors.Is(r.cutShort, io.EOF) && !errors.Is(r.cutShort, syscall.ECONNRESET) {
			return fmt.Errorf("the response is not cut short: %v", r.cutShort) //nolint:errorlint // it may be nil
		}
		return nil
	}
	if r.v.Expect.Verdict == fixtures.Reject && !saysClose(r.resp) {
		return errors.New("the connection ends, and the rejection does not say Connection: close")
	}
	return r.c.eof()
}

// saysClose reports whether a response announces the end of its connection (RFC 9112 9.6).
func saysClose(m *message) bool {
	return strings.EqualFold(strings.Join(values(m.fields, "Connection"), ","), "close")
}

// another sends one more request on the connection: it must be read as one.
func (r *run) another() error {
	if saysClose(r.resp) {
		return errors.New("the last response says Connection: close")
	}
	r.c.send(get("/probe"))
	r.o.await(func() bool {
		for _, q := range r.o.requests[r.base:] {
			if q.complete && q.start == "GET /probe HTTP/1.1" {
				r.probe = q
			}
		}
		return r.probe != nil
	})
	if r.probe == nil {
		return fmt.Errorf("the next request on the connection did not arrive; the upstream has %s", r.o)
	}
	r.probe.answer(defaultAnswer)
	m, err := r.c.response(false)
	if err != nil || m.status() != 200 {
		return fmt.Errorf("the next request on the connection was answered %q (%w)", m.start, err)
	}
	return nil
}

// String lists what the origin has, for failures' texts.
func (o *origin) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := strconv.Itoa(len(o.requests)) + " requests:"
	for _, r := range o.requests {
		all += fmt.Sprintf(" [%s complete=%t body=%q]", r.start, r.complete, clip(r.body))
	}
	return all
}
